//! Is this pretoken one token as a whole?
//!
//! Nine in ten are, so the answer should cost one cache line. Tokens of up to 15 bytes are packed with their length
//! into 16 bytes, which are key and comparison at once, in an open-addressed table at most half full; longer pretokens
//! ask the token table. O(1) a look-up; 24 bytes a slot.

use tokenloom_vocab::{TokenId, TokenTable};

use crate::cache::{Key, MAX_KEY_BYTES, pack};
use crate::large_pages::Table;
use crate::prefetch::prefetch;

/// The tokens that a whole pretoken may become.
#[derive(Clone, Debug)]
pub(crate) struct WholePieces {
    slots: Table<Slot>,
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The bytes, and the length in the last one; 0 where the slot is free, as no token is empty.
    key: Key,
    id: TokenId,
}

impl WholePieces {
    /// The tokens for which `keep` holds; of several with the same bytes the one that the table answers.
    pub(crate) fn new(table: &TokenTable, keep: impl Fn(TokenId) -> bool) -> Self {
        let kept =
            |&(id, bytes): &(TokenId, &[u8])| !bytes.is_empty() && bytes.len() <= MAX_KEY_BYTES && keep(id);
        let n_kept = table.iter_answering().filter(kept).count();
        let n_slots = (2 * n_kept + 1).next_power_of_two().max(2);
        let mut this = Self {
            slots: Table::filled(Slot { key: [0; 2], id: 0 }, n_slots),
            shift: 64 - n_slots.trailing_zeros(),
        };
        for (id, bytes) in table.iter_answering().filter(kept) {
            let key = pack(bytes);
            let mut at = this.start(key);
            while this.slots[at].key != [0; 2] && this.slots[at].key != key {
                at = (at + 1) & (this.slots.len() - 1);
            }
            // The first of several with the same bytes stays.
            if this.slots[at].key != key {
                this.slots[at] = Slot { key, id };
            }
        }
        this
    }

    #[inline]
    fn start(&self, key: Key) -> usize {
        let mixed = (key[0] ^ key[1].rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> self.shift) as usize
    }

    /// Asks for the memory that [`WholePieces::get`] reads first.
    #[inline]
    pub(crate) fn prefetch(&self, key: Key) {
        prefetch(&self.slots, self.start(key));
    }

    /// The token of a pretoken of at most 15 bytes, not empty; `Err` for others.
    #[inline]
    pub(crate) fn get(&self, piece: &[u8]) -> Result<Option<TokenId>, TooLong> {
        if piece.len() > MAX_KEY_BYTES { Err(TooLong) } else { Ok(self.of_key(pack(piece))) }
    }

    /// The token of a packed pretoken; `None` if it was too long to pack.
    #[inline]
    pub(crate) fn of_key(&self, key: Key) -> Option<TokenId> {
        let mut at = self.start(key);
        loop {
            let slot = &self.slots[at];
            // First: a pretoken that is too long has the key of none.
            if slot.key == [0; 2] {
                return None;
            }
            if slot.key == key {
                return Some(slot.id);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }
}

/// The pretoken does not fit a slot.
pub(crate) struct TooLong;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_tokens_and_no_others_are_found() {
        let words: Vec<String> = (0..500).map(|n| "x".repeat(n % 18) + &n.to_string()).collect();
        let table =
            TokenTable::new(words.iter().enumerate().map(|(id, word)| (id as TokenId, word))).unwrap();
        let whole = WholePieces::new(&table, |id| id % 3 != 0);
        for (id, word) in words.iter().enumerate() {
            match whole.get(word.as_bytes()) {
                Ok(found) => assert_eq!(found, (id % 3 != 0).then_some(id as TokenId)),
                Err(TooLong) => assert!(word.len() > MAX_KEY_BYTES),
            }
        }
        assert!(matches!(WholePieces::new(&table, |_| false).get(b"x1"), Ok(None)));
    }
}
