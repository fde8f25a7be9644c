//! Which ids did this pretoken become the last time?
//!
//! Text repeats its words: nearly all pretokens of a document were seen before. A short pretoken (15 bytes at most) is
//! packed with its length into 16 bytes, key and comparison at once, and up to four ids lie beside it. Four such slots are
//! a set, two cache lines: one for what came again, one for what came once, so that rare words do not push out frequent
//! ones and a frequent one costs one line. Longer pretokens (56 bytes at most), and short ones of five to sixteen ids, have
//! a table of larger slots; a mark in the first table says that such a short one is in the other. All else is not kept.
//!
//! The tables start small and double while they fill, up to [`PretokenCache::MAX_BYTES`]; after that a new entry takes the
//! place of the oldest one that did not come again. So memory is bounded whatever the text, an entry costs O(1), and text
//! that never repeats pays one missed look-up a pretoken. What a look-up answers depends on the pretoken alone: the cache
//! changes the time, never the ids.

use tokenloom_vocab::{TokenId, TokenTable};

use crate::prefetch::prefetch;

/// A pretoken of at most 15 bytes, with its length in the last byte; `[0; 2]` is none.
pub(crate) type Key = [u64; 2];

pub(crate) const MAX_KEY_BYTES: usize = 15;
const SHORT_IDS: usize = 4;
const LONG_BYTES: usize = 56;
const LONG_IDS: usize = 16;

/// Ids use the low bits of a number; the count of a short slot lies above them in its first one.
const ID_BITS: u32 = 28;
const _: () = assert!(TokenTable::MAX_ID < 1 << ID_BITS);
/// Instead of a count: the table of long pretokens knows.
const ELSEWHERE: u32 = u32::MAX >> ID_BITS;
/// Instead of a count: there is no such entry.
const UNKNOWN: u32 = ELSEWHERE - 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    key: Key,
    ids: [TokenId; SHORT_IDS],
}

/// A hit in the second line changes places with the second slot of the first.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct ShortSet([[Slot; 2]; 2]);

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct LongSlot {
    /// Of the bytes; compared first.
    tag: u32,
    n_bytes: u8,
    n_ids: u8,
    bytes: [u8; LONG_BYTES],
    ids: [TokenId; LONG_IDS],
}

const NO_SHORT: ShortSet = ShortSet([[NO_SLOT; 2]; 2]);
const NO_SLOT: Slot = Slot { key: [0; 2], ids: [UNKNOWN << ID_BITS, 0, 0, 0] };
const NO_LONG: LongSlot =
    LongSlot { tag: 0, n_bytes: 0, n_ids: 0, bytes: [0; LONG_BYTES], ids: [0; LONG_IDS] };

impl Slot {
    /// Four ids at most; of more it says that they are elsewhere.
    fn new(key: Key, ids: &[TokenId]) -> Self {
        let mut slot = Self { key, ids: [ELSEWHERE << ID_BITS, 0, 0, 0] };
        if ids.len() <= SHORT_IDS {
            slot.ids = [0; SHORT_IDS];
            slot.ids[..ids.len()].copy_from_slice(ids);
            slot.ids[0] |= (ids.len() as u32) << ID_BITS;
        }
        slot
    }

    /// The ids of the pretoken and how many of the four count, if they are here.
    #[inline]
    pub(crate) fn ids(&self) -> Option<([TokenId; SHORT_IDS], usize)> {
        let n_ids = self.ids[0] >> ID_BITS;
        if n_ids as usize > SHORT_IDS {
            return None;
        }
        let [first, rest @ ..] = self.ids;
        let [second, third, fourth] = rest;
        Some(([first & ((1 << ID_BITS) - 1), second, third, fourth], n_ids as usize))
    }

    /// The table of long pretokens knows of it.
    fn is_elsewhere(&self) -> bool {
        self.ids[0] >> ID_BITS == ELSEWHERE
    }

    /// Nothing is known of the pretoken.
    #[inline]
    pub(crate) fn is_unknown(&self) -> bool {
        self.ids[0] == NO_SLOT.ids[0]
    }
}

/// A pretoken of a batch that was not found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missed {
    /// Its place in the batch.
    pub(crate) at: usize,
    /// `[0; 2]` if it is long.
    pub(crate) key: Key,
    /// How many ids of the batch were found before it.
    pub(crate) n_before: usize,
    /// What is known of it by now.
    pub(crate) slot: Slot,
}

impl Missed {
    #[inline]
    pub(crate) fn is_short_and_unknown(&self) -> bool {
        self.key != [0; 2] && self.slot.is_unknown()
    }
}

/// The ids of pretokens that were encoded before. One a thread.
#[derive(Clone, Debug)]
pub(crate) struct PretokenCache {
    short: Vec<ShortSet>,
    long: Vec<[LongSlot; 2]>,
    /// 64 less the binary logarithm of the number of sets.
    short_shift: u32,
    long_shift: u32,
    /// Entries made since a table last grew.
    n_short: usize,
    n_long: usize,
}

impl Default for PretokenCache {
    fn default() -> Self {
        let (short, long) = (Self::MIN_SHORT, Self::MIN_LONG);
        Self {
            short: vec![NO_SHORT; short],
            long: vec![[NO_LONG; 2]; long],
            short_shift: 64 - short.trailing_zeros(),
            long_shift: 64 - long.trailing_zeros(),
            n_short: 0,
            n_long: 0,
        }
    }
}

impl PretokenCache {
    const MIN_SHORT: usize = 1 << 7;
    const MAX_SHORT: usize = 1 << 15;
    const MIN_LONG: usize = 1 << 4;
    const MAX_LONG: usize = 1 << 14;

    /// The tables never take more than this.
    pub(crate) const MAX_BYTES: usize =
        Self::MAX_SHORT * size_of::<ShortSet>() + Self::MAX_LONG * size_of::<[LongSlot; 2]>();

    /// The ids of a long pretoken, or of a short one of more ids than its table keeps.
    #[inline]
    pub(crate) fn long(&self, piece: &[u8]) -> Option<&[TokenId]> {
        if piece.len() > LONG_BYTES {
            return None;
        }
        let hash = hash(piece);
        let slots = &self.long[(hash >> self.long_shift) as usize];
        let same = |slot: &&LongSlot| {
            slot.tag == hash as u32
                && usize::from(slot.n_bytes) == piece.len()
                && slot.bytes[..piece.len()] == *piece
        };
        slots.iter().find(same).map(|slot| &slot.ids[..usize::from(slot.n_ids)])
    }

    /// The key of `text[start..start + n_bytes]` and where it would be, with that memory on the way. A long pretoken has the
    /// key of none.
    #[inline(always)]
    pub(crate) fn place(&self, text: &[u8], start: usize, n_bytes: usize) -> (Key, usize) {
        match text.get(start..).and_then(|rest| rest.first_chunk::<16>()) {
            Some(chunk) if n_bytes <= MAX_KEY_BYTES => self.place_of(key_of(chunk, n_bytes)),
            _ => self.place_of_other(&text[start..start + n_bytes]),
        }
    }

    /// The same for a long pretoken or one near the end of the text.
    #[inline(never)]
    fn place_of_other(&self, piece: &[u8]) -> (Key, usize) {
        if piece.len() <= MAX_KEY_BYTES {
            return self.place_of(pack(piece));
        }
        if piece.len() <= LONG_BYTES {
            prefetch(&self.long, (hash(piece) >> self.long_shift) as usize);
        }
        ([0; 2], 0)
    }

    #[inline(always)]
    fn place_of(&self, key: Key) -> (Key, usize) {
        let place = self.set_of(key);
        prefetch(&self.short, place);
        (key, place)
    }

    #[inline]
    fn set_of(&self, key: Key) -> usize {
        (mix(key) >> self.short_shift) as usize
    }

    /// What the table of short pretokens says of a key at its place.
    #[inline]
    pub(crate) fn at(&mut self, place: usize, key: Key) -> &Slot {
        let Some(ShortSet([often, once])) = self.short.get_mut(place) else { return &NO_SLOT };
        let in_line = usize::from(same(often[1].key, key));
        if same(often[in_line].key, key) { &often[in_line] } else { Self::again(often, once, key) }
    }

    /// What the second line of a set says; what is found there moves to the first one.
    #[cold]
    fn again<'a>(often: &'a mut [Slot; 2], once: &mut [Slot; 2], key: Key) -> &'a Slot {
        match once.iter_mut().find(|slot| slot.key == key && key != [0; 2]) {
            Some(found) => {
                std::mem::swap(found, &mut often[1]);
                &often[1]
            }
            None => &NO_SLOT,
        }
    }

    /// Appends the ids of a pretoken, if they are kept; whether they are.
    #[inline]
    pub(crate) fn recall(&mut self, piece: &[u8], out: &mut Vec<TokenId>) -> bool {
        if piece.len() <= MAX_KEY_BYTES {
            let key = pack(piece);
            let slot = self.at(self.set_of(key), key);
            if let Some((ids, n_ids)) = slot.ids() {
                out.extend_from_slice(&ids[..n_ids]);
                return true;
            }
            if !slot.is_elsewhere() {
                return false;
            }
        }
        let ids = self.long(piece);
        out.extend_from_slice(ids.unwrap_or_default());
        ids.is_some()
    }

    /// Keeps the ids of a pretoken that was not found, if they fit.
    pub(crate) fn insert(&mut self, piece: &[u8], ids: &[TokenId]) {
        if piece.is_empty() || piece.len() > LONG_BYTES || ids.len() > LONG_IDS {
            return;
        }
        if piece.len() <= MAX_KEY_BYTES {
            self.grow_short();
            self.put_short(Slot::new(pack(piece), ids));
        }
        if piece.len() > MAX_KEY_BYTES || ids.len() > SHORT_IDS {
            let mut slot = LongSlot { tag: hash(piece) as u32, ..NO_LONG };
            (slot.n_bytes, slot.n_ids) = (piece.len() as u8, ids.len() as u8);
            slot.bytes[..piece.len()].copy_from_slice(piece);
            slot.ids[..ids.len()].copy_from_slice(ids);
            self.grow_long();
            self.put_long(slot);
        }
    }

    /// Keeps the ids of a short pretoken unless they are known by now. What the table of short pretokens says of it.
    pub(crate) fn keep(&mut self, key: Key, ids: &[TokenId]) -> Slot {
        let slot = self.at(self.set_of(key), key);
        if !slot.is_unknown() {
            return *slot;
        }
        let (bytes, n_bytes) = unpack(key);
        self.insert(&bytes[..n_bytes], ids);
        Slot::new(key, ids)
    }

    /// Into the line of what came once, unless the other one has room.
    fn put_short(&mut self, slot: Slot) {
        let place = self.set_of(slot.key);
        let ShortSet([often, once]) = &mut self.short[place];
        match often.iter_mut().find(|slot| slot.key == [0; 2]) {
            Some(free) => *free = slot,
            None => *once = [slot, once[0]],
        }
    }

    fn put_long(&mut self, slot: LongSlot) {
        let hash = hash(&slot.bytes[..usize::from(slot.n_bytes)]);
        let pair = &mut self.long[(hash >> self.long_shift) as usize];
        *pair = [slot, pair[0]];
    }

    /// Doubles the table of short pretokens once half as many entries were made as it has slots.
    fn grow_short(&mut self) {
        self.n_short += 1;
        if self.n_short <= 2 * self.short.len() || self.short.len() == Self::MAX_SHORT {
            return;
        }
        let larger = vec![NO_SHORT; 2 * self.short.len()];
        let old = std::mem::replace(&mut self.short, larger);
        (self.short_shift, self.n_short) = (self.short_shift - 1, 2 * old.len());
        // What came often first; of the others the older ones first.
        for ShortSet([often, once]) in old {
            let taken = |slot: &Slot| slot.key != [0; 2];
            often
                .into_iter()
                .chain(once.into_iter().rev())
                .filter(taken)
                .for_each(|slot| self.put_short(slot));
        }
    }

    fn grow_long(&mut self) {
        self.n_long += 1;
        if 2 * self.n_long <= self.long.len() || self.long.len() == Self::MAX_LONG {
            return;
        }
        let larger = vec![[NO_LONG; 2]; 2 * self.long.len()];
        let old = std::mem::replace(&mut self.long, larger);
        (self.long_shift, self.n_long) = (self.long_shift - 1, old.len() / 2);
        for pair in old {
            pair.into_iter().rev().filter(|slot| slot.n_bytes > 0).for_each(|slot| self.put_long(slot));
        }
    }
}

/// Whether two keys are equal. By words: comparing them as one vector waits for a key that was just made of two.
#[inline]
fn same(a: Key, b: Key) -> bool {
    (a[0] ^ b[0]) | (a[1] ^ b[1]) == 0
}

const MIX: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD6E8_FEB8_6659_FD93];

#[inline]
pub(crate) fn mix(key: Key) -> u64 {
    let wide = u128::from(key[0] ^ MIX[0]) * u128::from(key[1] ^ MIX[1]);
    // The table is indexed by the high bits, which one product alone spreads badly over keys that follow each other.
    (wide as u64 ^ (wide >> 64) as u64).wrapping_mul(MIX[0])
}

#[inline]
fn hash(bytes: &[u8]) -> u64 {
    let Some(last) = bytes.last_chunk::<8>() else { return mix(pack(bytes)) };
    let (words, _) = bytes.as_chunks::<8>();
    // The last word overlaps the one before it where the length is no multiple of eight.
    let hash = words.iter().fold(bytes.len() as u64, |hash, word| mix([hash, u64::from_le_bytes(*word)]));
    mix([hash, u64::from_le_bytes(*last)])
}

/// Masks of the low bytes of two words, by the number of bytes.
const LOW: [Key; 16] = {
    let mut masks = [[0; 2]; 16];
    let mut n_bytes = 1;
    while n_bytes < 16 {
        masks[n_bytes] = masks[n_bytes - 1];
        masks[n_bytes][(n_bytes - 1) / 8] = masks[n_bytes][(n_bytes - 1) / 8] << 8 | 0xFF;
        n_bytes += 1;
    }
    masks
};

/// The key of the first bytes of a text; at most 15.
#[inline(always)]
pub(crate) fn key_of(chunk: &[u8; 16], n_bytes: usize) -> Key {
    let (words, mask) = (chunk.as_chunks::<8>().0, LOW[n_bytes % 16]);
    let [low, high] = [words[0], words[1]].map(u64::from_le_bytes);
    [low & mask[0], high & mask[1] | (n_bytes as u64) << 56]
}

/// The bytes in order, and their number in the last byte.
#[inline]
pub(crate) fn pack(bytes: &[u8]) -> Key {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let n_bytes = (bytes.len() as u64) << 56;
    // Two overlapping words of a fixed size are cheaper than a loop over the bytes.
    if let (Some(first), Some(last)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        // The last word without the bytes that the first one has; all of them where there are eight.
        let high = u64::from_le_bytes(*last).checked_shr(8 * (16 - bytes.len() as u32)).unwrap_or(0);
        return [u64::from_le_bytes(*first), high | n_bytes];
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let low = u64::from(u32::from_le_bytes(*first));
        return [low | u64::from(u32::from_le_bytes(*last)) << (8 * (bytes.len() - 4)), n_bytes];
    }
    [word(bytes), n_bytes]
}

/// The bytes of a key, and their number.
#[inline]
pub(crate) fn unpack(key: Key) -> ([u8; 16], usize) {
    let wide = u128::from(key[0]) | u128::from(key[1]) << 64;
    (wide.to_le_bytes(), (key[1] >> 56) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(cache: &mut PretokenCache, piece: &[u8]) -> Option<Vec<TokenId>> {
        let mut ids = Vec::new();
        cache.recall(piece, &mut ids).then_some(ids)
    }

    #[test]
    fn packing_keeps_every_byte_and_the_length() {
        for length in 1..=MAX_KEY_BYTES {
            let bytes: Vec<u8> = (0..40).map(|at: u8| at.wrapping_mul(17).wrapping_add(1)).collect();
            let mut plain = [0; 16];
            plain[..length].copy_from_slice(&bytes[..length]);
            plain[15] = length as u8;
            let [low, high] = pack(&bytes[..length]);
            assert_eq!([low.to_le_bytes(), high.to_le_bytes()].concat(), plain, "{length} bytes");
            assert_eq!(unpack([low, high]), (plain, length));
            assert_eq!(key_of(bytes.first_chunk().unwrap(), length), [low, high], "{length} bytes");
        }
    }

    #[test]
    fn what_was_put_in_is_found_or_gone_and_never_wrong() {
        let mut cache = PretokenCache::default();
        let piece = |n: u32| format!("{n}{}", "é".repeat(n as usize % 30)).into_bytes();
        let ids = |n: u32| (0..n % 19).map(|at| TokenTable::MAX_ID - n - at).collect::<Vec<_>>();
        let mut n_found = 0;
        for n in 0..400_000 {
            assert_eq!(look_up(&mut cache, &piece(n)), None);
            cache.insert(&piece(n), &ids(n));
            let fits = ids(n).len() <= LONG_IDS && piece(n).len() <= LONG_BYTES;
            assert_eq!(look_up(&mut cache, &piece(n)), fits.then(|| ids(n)), "{n}");
            let earlier = n.wrapping_mul(7919) % (n + 1);
            let found = look_up(&mut cache, &piece(earlier));
            n_found += usize::from(found.is_some());
            assert!(found.is_none_or(|found| found == ids(earlier)), "{earlier}");
        }
        assert!(n_found > 100_000, "{n_found}");
    }

    #[test]
    fn a_table_that_grows_forgets_little() {
        let mut cache = PretokenCache::default();
        let n_entries = PretokenCache::MAX_SHORT as u32 * 2;
        (0..n_entries).for_each(|n| cache.insert(&n.to_le_bytes(), &[n]));
        let n_kept = (0..n_entries).filter(|n| look_up(&mut cache, &n.to_le_bytes()).is_some()).count();
        assert!(n_kept > n_entries as usize * 9 / 10, "{n_kept} of {n_entries}");
    }

    #[test]
    fn memory_stays_below_the_bound() {
        let mut cache = PretokenCache::default();
        for n in 0..1_000_000u32 {
            cache.insert(&n.to_le_bytes(), &[n]);
            cache.insert(format!("a long pretoken {n}").as_bytes(), &[n]);
        }
        let n_bytes = size_of_val(&cache.short[..]) + size_of_val(&cache.long[..]);
        assert_eq!(n_bytes, PretokenCache::MAX_BYTES);
    }
}
