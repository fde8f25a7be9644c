//! Which strings are tokens, and which ids have they?
//!
//! All strings lie in one text, spans of it in the order of the file, and the places of these in a table of hashes. A
//! look-up waits for the memory of the table, the span and the text; who has many asks for it ahead. O(1) a look-up.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::prefetch::prefetch;
use tokenloom_tokenize::spec::Merge;

use crate::error::FormatErrorKind;
use crate::limits::{self, check_length};

/// The strings of the vocabulary and their ids.
#[derive(Debug, Default)]
pub(crate) struct Vocab {
    arena: String,
    /// `(start, length, id)` in file order.
    entries: Vec<(u32, u32, u32)>,
    by_text: Places,
    /// One bit per id that is taken.
    seen: Vec<u64>,
}

/// The places of tokens by string: open addressing, at most half full.
#[derive(Debug, Default)]
struct Places {
    /// As many as a power of two, or none.
    slots: Vec<Named>,
    n_taken: usize,
}

/// A token in the table of strings.
#[derive(Clone, Copy, Debug)]
struct Named {
    /// Of the string: most others are known by it, and a table that grows need not read strings.
    hash: u32,
    /// The place in the file's order, or [`Named::FREE`].
    index: u32,
}

impl Named {
    const FREE: u32 = u32::MAX;

    fn hash_of(text: &str) -> u32 {
        let hash = FxBuildHasher.hash_one(text);
        (hash ^ hash >> 32) as u32
    }
}

impl Places {
    fn start(&self, hash: u32) -> usize {
        let spread = u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (((spread >> 32) * self.slots.len() as u64) >> 32) as usize
    }

    /// The places of tokens whose strings may have this hash.
    fn candidates(&self, hash: u32) -> impl Iterator<Item = usize> {
        let (before, from) = self.slots.split_at(self.start(hash));
        let taken = from.iter().chain(before).take_while(|named| named.index != Named::FREE);
        taken.filter(move |named| named.hash == hash).map(|named| named.index as usize)
    }

    /// Of a string that is not there.
    fn insert(&mut self, named: Named) {
        if self.slots.len() <= 2 * self.n_taken {
            let n_slots = (2 * self.slots.len()).max(16);
            let old =
                std::mem::replace(&mut self.slots, vec![Named { hash: 0, index: Named::FREE }; n_slots]);
            old.into_iter().filter(|named| named.index != Named::FREE).for_each(|named| self.put(named));
        }
        self.n_taken += 1;
        self.put(named);
    }

    fn put(&mut self, named: Named) {
        let mut at = self.start(named.hash);
        while self.slots[at].index != Named::FREE {
            at = (at + 1) % self.slots.len();
        }
        self.slots[at] = named;
    }
}

impl Vocab {
    /// With room for what a file of so many bytes may hold: room that is never written to costs nothing, to move what
    /// outgrew its own does.
    pub(super) fn with_room(n_bytes: usize) -> Self {
        let mut vocab = Self::default();
        reserve(&mut vocab.entries, n_bytes / LEAST_TOKEN_BYTES);
        // Where that fails it grows, or fails, as it is filled.
        let _ = vocab.arena.try_reserve_exact(n_bytes / 2);
        vocab
    }

    /// The bytes of all tokens.
    pub(crate) fn n_bytes(&self) -> usize {
        self.arena.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.entries.iter().map(|&entry| (self.text(entry), entry.2))
    }

    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.index(Named::hash_of(text), text).map(|index| self.entries[index].2)
    }

    /// The id of the token at a place of the file's order.
    pub(super) fn id_at(&self, index: usize) -> u32 {
        self.entries[index].2
    }

    /// The place of a token in the file's order.
    pub(super) fn index(&self, hash: u32, text: &str) -> Option<usize> {
        self.by_text.candidates(hash).find(|&index| self.is_at(index, text))
    }

    /// The same, looked for first at a place and the next one.
    pub(super) fn index_near(&self, near: usize, text: &str) -> Option<usize> {
        let found = (near..near + 2).find(|&index| self.is_at(index, text));
        found.or_else(|| self.index(Named::hash_of(text), text))
    }

    /// Whether a place is that of the token.
    fn is_at(&self, index: usize, text: &str) -> bool {
        self.entries
            .get(index)
            .is_some_and(|&entry| entry.1 as usize == text.len() && self.text(entry) == text)
    }

    pub(crate) fn is_taken(&self, id: u32) -> bool {
        self.seen.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// The vocabulary of tokens that are in memory.
    pub(crate) fn of<'a>(tokens: impl Iterator<Item = (&'a str, u32)>) -> Result<Self, FormatErrorKind> {
        let mut vocab = Self::default();
        tokens.into_iter().try_for_each(|(text, id)| vocab.insert(text, u64::from(id)))?;
        Ok(vocab)
    }

    /// Merges given by the ids of their parts, with what they make.
    pub(crate) fn merges(
        &self,
        parts: &[(u32, u32)],
        n_prefix: usize,
    ) -> Result<Vec<Merge>, FormatErrorKind> {
        let text_of: HashMap<u32, &str, FxBuildHasher> = self.iter().map(|(text, id)| (id, text)).collect();
        let mut both = String::new();
        let merge = |&(left, right): &(u32, u32)| {
            both.clear();
            both.push_str(text_of.get(&left)?);
            both.push_str(text_of.get(&right)?.get(n_prefix..)?);
            Some(Merge { left, right, result: self.id(&both)? })
        };
        let n_merges = parts.len();
        let merges: Option<Vec<Merge>> = parts.iter().map(merge).collect();
        let expected = "merges of tokens into a token";
        merges.ok_or_else(|| FormatErrorKind::WrongType {
            expected,
            found: format!("{n_merges} merges").into(),
        })
    }

    fn text(&self, (start, length, _): (u32, u32, u32)) -> &str {
        &self.arena[start as usize..(start + length) as usize]
    }

    pub(super) fn insert(&mut self, text: &str, id: u64) -> Result<(), FormatErrorKind> {
        check_length("bytes in one token", text.len() as u64, limits::TOKEN_BYTES * 2)?;
        check_length("tokens", self.entries.len() as u64 + 1, limits::TOKENS)?;
        if id >= limits::TOKEN_IDS {
            return Err(FormatErrorKind::TooLarge {
                what: "as token id",
                found: id,
                limit: limits::TOKEN_IDS - 1,
            });
        }
        let id = id as u32;
        if self.is_taken(id) {
            return Err(FormatErrorKind::DuplicateId { id });
        }
        let hash = Named::hash_of(text);
        if self.index(hash, text).is_some() {
            return Err(FormatErrorKind::DuplicateToken { token: text.into() });
        }
        if self.seen.len() <= id as usize / 64 {
            self.seen.resize(id as usize / 64 + 1, 0);
        }
        self.seen[id as usize / 64] |= 1 << (id % 64);
        let index = self.entries.len() as u32;
        self.entries.push((self.arena.len() as u32, text.len() as u32, id));
        self.arena.push_str(text);
        self.by_text.insert(Named { hash, index });
        Ok(())
    }
}

/// The hashes of strings that are looked for one after the other. Where one may be found is asked of the memory while those
/// before it are looked for: first its slot, and once that is there its token.
#[derive(Default)]
pub(super) struct Ahead {
    /// Those of the next strings, each at its place in a ring.
    hashes: [u32; Self::N_SLOTS],
    n_next: usize,
    n_asked: usize,
}

impl Ahead {
    const N_SLOTS: usize = 32;
    const N_TOKENS: usize = 16;

    /// The hash of the next string; `others` are those that come.
    pub(super) fn next<'a>(&mut self, vocab: &Vocab, others: &mut impl Iterator<Item = &'a str>) -> u32 {
        while self.n_asked < self.n_next + Self::N_SLOTS {
            let hash = others.next().map(Named::hash_of).unwrap_or_default();
            self.hashes[self.n_asked % Self::N_SLOTS] = hash;
            self.n_asked += 1;
            prefetch(&vocab.by_text.slots, vocab.by_text.start(hash));
        }
        let later = self.hashes[(self.n_next + Self::N_TOKENS) % Self::N_SLOTS];
        if let Some(index) = vocab.by_text.candidates(later).next() {
            prefetch(&vocab.entries, index);
        }
        self.n_next += 1;
        self.hashes[(self.n_next - 1) % Self::N_SLOTS]
    }
}

/// Fewer bytes of a file rarely make a token, or a merge.
pub(super) const LEAST_TOKEN_BYTES: usize = 12;

/// Makes room that is likely needed. Where that fails the vector grows, or fails, as it is filled.
pub(super) fn reserve<T>(vector: &mut Vec<T>, n: usize) {
    let _ = vector.try_reserve_exact(n);
}
