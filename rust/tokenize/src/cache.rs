//! Which ids did this pretoken become the last time?
//!
//! Text repeats its words: nearly all pretokens of a document were seen before. A short pretoken (15 bytes at most) is
//! packed with its length into 16 bytes, key and comparison at once, and up to four ids lie beside it. Four such slots are
//! a set, two cache lines: one for what came again, one for what came once, so that rare words do not push out frequent
//! ones and a frequent one costs one line. Longer pretokens (56 bytes at most), and short ones of five to sixteen ids, have
//! a table of larger slots; a mark in the first table says that such a short one is in the other. All else is not kept.
//!
//! The tables start small and grow while they fill, up to [`PretokenCache::MAX_BYTES`]; after that a new entry takes the
//! place of one that did not come again. So memory is bounded whatever the text, an entry costs O(1), and text
//! that never repeats pays one missed look-up a pretoken; of its longer ones few are kept. What a look-up answers depends on the pretoken alone: the cache
//! changes the time, never the ids.

use std::ops::Range;

use tokenloom_vocab::TokenId;

use crate::large_pages::Table;
use crate::prefetch::{prefetch, prefetch_line};

/// A pretoken of at most 15 bytes, with its length in the low bits of the last byte; `[0; 2]` is none.
pub(crate) type Key = [u64; 2];

pub(crate) const MAX_KEY_BYTES: usize = 15;
const SHORT_IDS: usize = 4;
/// Of a longer pretoken nothing is kept.
pub(crate) const MAX_KEPT_BYTES: usize = 56;
const LONG_IDS: usize = 16;

/// Above the length, in a slot: how many of its ids count, or one of these.
const STATE_SHIFT: u32 = 60;
/// The caller has its ids; where, the first two of the slot's say.
const APART: u64 = 11;
/// Long, and merged together with others.
const TOGETHER: u64 = 12;
/// Missed already; what it becomes will be known soon.
const PENDING: u64 = 13;
/// The table of long pretokens knows.
const ELSEWHERE: u64 = 14;
/// There is no such entry.
const UNKNOWN: u64 = 15;

/// A key with a state, and the ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot {
    key: Key,
    /// All four can be copied, whatever counts.
    pub(crate) ids: [TokenId; SHORT_IDS],
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
    bytes: [u8; MAX_KEPT_BYTES],
    ids: [TokenId; LONG_IDS],
}

const NO_SHORT: ShortSet = ShortSet([[NO_SLOT; 2]; 2]);
const NO_SLOT: Slot = Slot { key: [0, UNKNOWN << STATE_SHIFT], ids: [0; SHORT_IDS] };
const NO_LONG: LongSlot =
    LongSlot { tag: 0, n_bytes: 0, n_ids: 0, bytes: [0; MAX_KEPT_BYTES], ids: [0; LONG_IDS] };

impl Slot {
    /// Four ids at most; of more it says that they are elsewhere.
    fn new(key: Key, ids: &[TokenId]) -> Self {
        let mut slot = Self::in_state(key, ELSEWHERE);
        if let Some(places) = slot.ids.get_mut(..ids.len()) {
            places.copy_from_slice(ids);
            slot.key[1] = key[1] | (ids.len() as u64) << STATE_SHIFT;
        }
        slot
    }

    /// What is thought of a key where its slot was not found.
    pub(crate) fn unknown(key: Key) -> Self {
        Self::in_state(key, UNKNOWN)
    }

    fn in_state(key: Key, state: u64) -> Self {
        Self { key: [key[0], key[1] | state << STATE_SHIFT], ids: [0; SHORT_IDS] }
    }

    /// Of a pretoken of more ids than a slot has, which the caller keeps in a span of its own.
    pub(crate) fn apart(ids: Range<u32>) -> Self {
        let mut slot = Self::in_state([0; 2], APART);
        (slot.ids[0], slot.ids[1]) = (ids.start, ids.end);
        slot
    }

    /// The span of the caller's in which the ids are.
    #[inline]
    pub(crate) fn span_apart(&self) -> Option<Range<usize>> {
        (self.state() == APART).then(|| self.ids[0] as usize..self.ids[1] as usize)
    }

    /// Of a long pretoken that is merged together with others.
    pub(crate) fn together() -> Self {
        Self::in_state([0; 2], TOGETHER)
    }

    /// Of a long pretoken that the other table knows, or that is encoded by itself.
    pub(crate) fn elsewhere() -> Self {
        Self::in_state([0; 2], ELSEWHERE)
    }

    #[inline(always)]
    fn state(&self) -> u64 {
        self.key[1] >> STATE_SHIFT
    }

    /// Whether this is the slot of a key; a free one is that of no key. By words: comparing them as one vector waits for a
    /// key that was just made of two.
    #[inline(always)]
    fn is_of(&self, key: Key) -> bool {
        (self.key[0] ^ key[0]) | (self.key[1] ^ key[1]) << (u64::BITS - STATE_SHIFT) == 0
    }

    fn is_free(&self) -> bool {
        self.key == NO_SLOT.key
    }

    /// `[0; 2]` if the pretoken is long.
    #[inline]
    pub(crate) fn key(&self) -> Key {
        [self.key[0], self.key[1] << (u64::BITS - STATE_SHIFT) >> (u64::BITS - STATE_SHIFT)]
    }

    /// How many of the four ids count, if the ids are here.
    #[inline(always)]
    pub(crate) fn n_ids(&self) -> Option<usize> {
        let n_ids = self.state() as usize;
        (n_ids <= SHORT_IDS).then_some(n_ids)
    }

    /// The ids of the pretoken, if they are here.
    #[inline]
    pub(crate) fn ids(&self) -> Option<&[TokenId]> {
        self.ids.get(..self.state() as usize)
    }

    /// Nothing is known of the pretoken.
    #[inline]
    pub(crate) fn is_unknown(&self) -> bool {
        self.state() == UNKNOWN
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.state() == PENDING
    }

    pub(crate) fn is_elsewhere(&self) -> bool {
        self.state() == ELSEWHERE
    }

    pub(crate) fn is_together(&self) -> bool {
        self.state() == TOGETHER
    }
}

/// A pretoken that was not found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Missed {
    /// How many pretokens, or ids of those that were found, come before it.
    pub(crate) at: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// What is known of it by now.
    pub(crate) slot: Slot,
}

impl Missed {
    #[inline]
    pub(crate) fn is_long(&self) -> bool {
        self.slot.key() == [0; 2]
    }
}

/// The key of a pretoken, and the set in which it would be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) key: Key,
    set: usize,
}

/// The ids of pretokens that were encoded before. One a thread.
#[derive(Clone, Debug)]
pub(crate) struct PretokenCache {
    short: Table<ShortSet>,
    long: Table<[LongSlot; 2]>,
    /// 64 less the binary logarithm of the number of sets.
    short_shift: u32,
    long_shift: u32,
    /// Entries made since a table last grew.
    n_short: usize,
    n_long: usize,
    worth: Worth,
}

/// Whether long pretokens come again, by what came of those that were kept: text that never repeats need not wait for the memory of
/// a large table.
#[derive(Clone, Copy, Debug, Default)]
struct Worth {
    n_found: usize,
    n_offered: usize,
    is_little: bool,
}

impl Worth {
    /// So many pretokens are offered before it is decided anew,
    const N_OFFERED: usize = 1 << 10;
    /// and of so many offered one was found again where it pays,
    const N_A_HIT: usize = 32;
    /// of so many one is kept where it does not.
    const N_A_TRY: usize = 8;

    /// Whether to keep one more.
    fn keeps_next(&mut self) -> bool {
        self.n_offered += 1;
        if self.n_offered == Self::N_OFFERED {
            let is_little = self.n_found < Self::N_OFFERED / Self::N_A_HIT;
            *self = Self { n_found: 0, n_offered: 0, is_little };
        }
        !self.is_little || self.n_offered.is_multiple_of(Self::N_A_TRY)
    }
}

impl Default for PretokenCache {
    fn default() -> Self {
        let (short, long) = (Self::MIN_SHORT, Self::MIN_LONG);
        Self {
            short: Table::filled(NO_SHORT, short),
            long: Table::filled([NO_LONG; 2], long),
            short_shift: 64 - short.trailing_zeros(),
            long_shift: 64 - long.trailing_zeros(),
            n_short: 0,
            n_long: 0,
            worth: Worth::default(),
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
    pub(crate) fn long(&mut self, piece: &[u8]) -> Option<&[TokenId]> {
        if piece.len() > MAX_KEPT_BYTES {
            return None;
        }
        let hash = hash(piece);
        let slots = &self.long[(hash >> self.long_shift) as usize];
        let same = |slot: &&LongSlot| {
            slot.tag == hash as u32
                && usize::from(slot.n_bytes) == piece.len()
                && slot.bytes[..piece.len()] == *piece
        };
        let slot = slots.iter().find(same)?;
        self.worth.n_found += 1;
        Some(&slot.ids[..usize::from(slot.n_ids)])
    }

    /// The keys of spans of the text and where they would be, with that memory on the way. A long pretoken has the key of none.
    /// Behind the first `n_spans` places are older ones.
    #[inline(never)]
    pub(crate) fn find_places(
        &self,
        text: &[u8],
        n_spans: usize,
        spans: impl Iterator<Item = (usize, usize)>,
        places: &mut Vec<Place>,
    ) {
        if places.len() < n_spans {
            places.resize(n_spans, Place::default());
        }
        let mut places = places.iter_mut().zip(spans);
        for (place, (start, end)) in &mut places {
            let Some(chunk) = text.get(start..start + 16).and_then(<[u8]>::first_chunk) else {
                *place = self.place_at_end(&text[start..end]);
                break;
            };
            let (low, high) = key_of(chunk, end - start);
            let set = self.set_of([low, high]);
            prefetch_line(self.short.as_ptr().wrapping_add(set));
            *place = Place { key: [low, high], set };
        }
        places.for_each(|(place, (start, end))| *place = self.place_at_end(&text[start..end]));
    }

    /// The place of a piece behind whose start there are fewer than 16 bytes.
    #[cold]
    fn place_at_end(&self, piece: &[u8]) -> Place {
        let key = if piece.len() > MAX_KEY_BYTES { [0; 2] } else { pack(piece) };
        Place { key, set: self.set_of(key) }
    }

    /// Writes the ids of those whose first line has them to `ids`, one after the other from `n` on; calls `other` with the index
    /// of each other place, and how many ids come before it. How many there are in the end.
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn copy_known(
        &self,
        places: &[Place],
        ids: &mut [TokenId],
        mut n: usize,
        mut other: impl FnMut(usize, usize),
    ) -> usize {
        assert!(ids.len().checked_sub(n).is_some_and(|room| room / SHORT_IDS >= places.len()));
        let ids = ids.as_mut_ptr();
        for (index, &Place { key, set }) in places.iter().enumerate() {
            if let Some(ShortSet([often, _])) = self.short.get(set)
                // A guess: where the first words are equal the others are. A wrong one costs a second look.
                && let slot = &often[usize::from(often[1].key[0] == key[0])]
                && slot.is_of(key)
                && let Some(n_ids) = slot.n_ids()
            {
                // All four, whatever counts: a copy of fixed size.
                // SAFETY: there was room for four ids a place, and no place before this one took more.
                unsafe { ids.add(n).cast::<[TokenId; SHORT_IDS]>().write(slot.ids) };
                n += n_ids;
            } else {
                self.prefetch_once(set);
                other(index, n);
            }
        }
        n
    }

    /// Asks for the line of a set that a first look leaves out.
    #[inline(always)]
    fn prefetch_once(&self, set: usize) {
        if let Some(ShortSet(lines)) = self.short.get(set) {
            prefetch(lines, 1);
        }
    }

    /// Asks for the memory in which [`PretokenCache::long`] looks for a pretoken.
    pub(crate) fn prefetch_long(&self, piece: &[u8]) {
        if piece.len() > MAX_KEPT_BYTES {
            return;
        }
        prefetch(&self.long, (hash(piece) >> self.long_shift) as usize);
    }

    #[inline(always)]
    fn set_of(&self, key: Key) -> usize {
        (mix(key) >> self.short_shift) as usize
    }

    /// What the table of short pretokens says of a key at its place.
    #[inline(always)]
    pub(crate) fn at(&mut self, Place { key, set }: Place) -> &Slot {
        let Some(ShortSet([often, once])) = self.short.get_mut(set) else { return &NO_SLOT };
        let in_line = usize::from(often[1].is_of(key));
        if often[in_line].is_of(key) { &often[in_line] } else { Self::again(often, once, key) }
    }

    /// What the second line of a set says; what is found there moves to the first one.
    #[cold]
    fn again<'a>(often: &'a mut [Slot; 2], once: &mut [Slot; 2], key: Key) -> &'a Slot {
        match once.iter_mut().find(|slot| slot.is_of(key)) {
            Some(found) => {
                std::mem::swap(found, &mut often[1]);
                &often[1]
            }
            None => &NO_SLOT,
        }
    }

    /// The same as [`PretokenCache::at`] at whatever place.
    #[inline]
    pub(crate) fn find(&mut self, key: Key) -> &Slot {
        self.at(Place { key, set: self.set_of(key) })
    }

    /// Notes what was missed at a place: the next time it is pending. What is to be thought of it now. The table does not grow:
    /// places that were found stay right.
    pub(crate) fn note(&mut self, place: Place) -> Slot {
        let (slot, key) = (*self.at(place), place.key);
        if !slot.is_unknown() || key == [0; 2] {
            return slot;
        }
        self.n_short += 1;
        self.put_short(Slot::in_state(key, PENDING));
        Slot::unknown(key)
    }

    /// Appends the ids of a pretoken, if they are kept; whether they are.
    #[inline]
    pub(crate) fn recall(&mut self, piece: &[u8], out: &mut Vec<TokenId>) -> bool {
        if piece.len() <= MAX_KEY_BYTES {
            let slot = self.find(pack(piece));
            if let Some(ids) = slot.ids() {
                out.extend_from_slice(ids);
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
        if piece.is_empty() || piece.len() > MAX_KEPT_BYTES || ids.len() > LONG_IDS {
            return;
        }
        if piece.len() <= MAX_KEY_BYTES {
            self.keep(pack(piece), ids);
        } else if self.worth.keeps_next() {
            self.insert_long(piece, ids);
        }
    }

    /// Keeps the ids of a short pretoken unless they are known by now. What the table of short pretokens says of it.
    pub(crate) fn keep(&mut self, key: Key, ids: &[TokenId]) -> Slot {
        let made = Slot::new(key, ids);
        let set = self.set_of(key);
        let is_kept = !made.is_elsewhere() || self.worth.keeps_next();
        match self.short[set].0.as_flattened_mut().iter_mut().find(|slot| slot.is_of(key)) {
            Some(slot) if !slot.is_pending() => return *slot,
            Some(slot) => *slot = if is_kept { made } else { NO_SLOT },
            None if !is_kept => {}
            None => {
                self.n_short += 1;
                self.grow_short();
                self.put_short(made);
            }
        }
        if made.is_elsewhere() && is_kept {
            let (bytes, n_bytes) = unpack(key);
            self.insert_long(&bytes[..n_bytes], ids);
        }
        made
    }

    fn insert_long(&mut self, piece: &[u8], ids: &[TokenId]) {
        self.grow_long();
        let hash = hash(piece);
        let slot = self.place_of_long(hash);
        (slot.tag, slot.n_bytes, slot.n_ids) = (hash as u32, piece.len() as u8, ids.len() as u8);
        slot.bytes[..piece.len()].copy_from_slice(piece);
        slot.ids[..ids.len()].copy_from_slice(ids);
    }

    /// Into the line of what came once, unless the other one has room.
    fn put_short(&mut self, slot: Slot) {
        let place = self.set_of(slot.key());
        let ShortSet([often, once]) = &mut self.short[place];
        match often.iter_mut().find(|slot| slot.is_free()) {
            Some(free) => *free = slot,
            None => *once = [slot, once[0]],
        }
    }

    /// Where a long pretoken is put: the first place of its pair if that is free, then one and the other by turns.
    #[inline]
    fn place_of_long(&mut self, hash: u64) -> &mut LongSlot {
        let pair = &mut self.long[(hash >> self.long_shift) as usize];
        let is_second = pair[0].n_bytes > 0 && (pair[1].n_bytes == 0 || self.n_long % 2 == 1);
        &mut pair[usize::from(is_second)]
    }

    /// Makes the table of short pretokens four times as large once half as many entries were made as it has slots: to move them
    /// takes longer than to have room for more.
    pub(crate) fn grow_short(&mut self) {
        if self.n_short <= 2 * self.short.len() || self.short.len() == Self::MAX_SHORT {
            return;
        }
        let larger = Table::filled(NO_SHORT, 4 * self.short.len());
        let old = std::mem::replace(&mut self.short, larger);
        (self.short_shift, self.n_short) = (self.short_shift - 2, 2 * old.len());
        // What came often first; of the others the older ones first.
        for &ShortSet([often, once]) in &*old {
            let taken = |slot: &Slot| !slot.is_free();
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
        let larger = Table::filled([NO_LONG; 2], 2 * self.long.len());
        let old = std::mem::replace(&mut self.long, larger);
        (self.long_shift, self.n_long) = (self.long_shift - 1, old.len() / 2);
        for pair in &*old {
            for slot in pair.iter().filter(|slot| slot.n_bytes > 0) {
                *self.place_of_long(hash(&slot.bytes[..usize::from(slot.n_bytes)])) = *slot;
            }
        }
    }
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

/// What becomes of two words of text, by the number of bytes that count: their masks, and what the second one gets in its last byte.
/// Of more bytes than a key has nothing is left.
const SHAPES: [[u64; 3]; MAX_KEY_BYTES + 2] = {
    let mut shapes = [[0; 3]; MAX_KEY_BYTES + 2];
    let mut n_bytes = 1;
    while n_bytes <= MAX_KEY_BYTES {
        shapes[n_bytes] = shapes[n_bytes - 1];
        shapes[n_bytes][(n_bytes - 1) / 8] = shapes[n_bytes][(n_bytes - 1) / 8] << 8 | 0xFF;
        shapes[n_bytes][2] = (n_bytes as u64) << 56;
        n_bytes += 1;
    }
    shapes
};

/// The two words of the key of the first bytes of a text, none where they are too many. As an array they would wait to be read as one.
#[inline(always)]
pub(crate) fn key_of(chunk: &[u8; 16], n_bytes: usize) -> (u64, u64) {
    let (words, [mask, high_mask, length]) =
        (chunk.as_chunks::<8>().0, SHAPES[n_bytes.min(MAX_KEY_BYTES + 1)]);
    let (low, high) = (u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1]));
    (low & mask, high & high_mask | length)
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
    use tokenloom_vocab::TokenTable;

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
            assert_eq!(key_of(bytes.first_chunk().unwrap(), length), (low, high), "{length} bytes");
        }
        for length in [0, MAX_KEY_BYTES + 1, 100] {
            assert_eq!(key_of(&[7; 16], length), (0, 0), "{length} bytes");
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
            let fits = ids(n).len() <= LONG_IDS && piece(n).len() <= MAX_KEPT_BYTES;
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
    fn what_never_comes_again_is_kept_seldom_until_something_does() {
        let mut cache = PretokenCache::default();
        let piece = |n: usize| format!("{n:020}").into_bytes();
        (0..Worth::N_OFFERED).for_each(|n| cache.insert(&piece(n), &[0]));
        let mut n_kept = |n: usize| {
            cache.insert(&piece(n), &[0]);
            usize::from(look_up(&mut cache, &piece(n)).is_some())
        };
        let end = 2 * Worth::N_OFFERED;
        let seldom: usize = (Worth::N_OFFERED..end - 1).map(&mut n_kept).sum();
        assert_eq!(seldom, Worth::N_OFFERED / Worth::N_A_TRY - 1);
        let again: usize = (end..end + 100).map(&mut n_kept).sum();
        assert!(again > 98, "{again}");
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
