//! How often does each word occur?
//!
//! A multiset of byte strings: all bytes in one buffer, one hash table of indices that compares through the buffer.
//! Words keep the order in which they were first seen; nothing that is trained from them depends on that order. While
//! text is counted, the places of short words that came lately are kept under the words packed into 16 bytes.
//! Memory: the bytes of the distinct words, 16 B and about 5 B of hash table for each.

use std::hash::BuildHasher;
use std::io::{self, BufRead, Write};

use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use super::runs::{RunReader, RunWriter};
use crate::cache::{Key, MAX_KEY_BYTES, key_of, mix, pack};

/// Distinct words with 64-bit counts.
#[derive(Clone, Debug, Default)]
pub struct WordCounts {
    buffer: Vec<u8>,
    /// Where each word ends in `buffer`; it starts where the one before ends.
    ends: Vec<usize>,
    counts: Vec<u64>,
    index: HashTable<u32>,
    /// Where short words are that came lately; empty until there are some.
    recent: Vec<Recent>,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    key: Key,
    at: u32,
}

const NO_WORD: Recent = Recent { key: [0; 2], at: 0 };
const RECENT_BITS: u32 = 16;

impl WordCounts {
    /// No words.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `count` more occurrences of `word`. A count stops at `u64::MAX`, which no training accepts.
    pub fn add(&mut self, word: &[u8], count: u64) {
        self.place_of(word, count);
    }

    /// The same for the word at `start..end` of `text`. Short words that came lately are found by one comparison.
    #[inline]
    pub(super) fn add_piece(&mut self, text: &[u8], start: usize, end: usize, count: u64) {
        let n_bytes = end - start;
        if n_bytes > MAX_KEY_BYTES || n_bytes == 0 {
            self.place_of(&text[start..end], count);
            return;
        }
        let key = match text[start..].first_chunk::<16>() {
            Some(chunk) => key_of(chunk, n_bytes).into(),
            None => pack(&text[start..end]),
        };
        let slot = (mix(key) >> (64 - RECENT_BITS)) as usize;
        if let Some(recent) = self.recent.get(slot).filter(|recent| recent.key == key) {
            let total = &mut self.counts[recent.at as usize];
            *total = total.saturating_add(count);
            return;
        }
        let at = self.place_of(&text[start..end], count);
        if self.recent.is_empty() {
            self.recent.resize(1 << RECENT_BITS, NO_WORD);
        }
        self.recent[slot] = Recent { key, at };
    }

    fn place_of(&mut self, word: &[u8], count: u64) -> u32 {
        let Self { buffer, ends, counts, index, .. } = self;
        let hash = FxBuildHasher.hash_one(word);
        if let Some(&found) = index.find(hash, |&other| word_at(buffer, ends, other as usize) == word) {
            let total = &mut counts[found as usize];
            *total = total.saturating_add(count);
            return found;
        }
        let new = ends.len() as u32;
        buffer.extend_from_slice(word);
        ends.push(buffer.len());
        counts.push(count);
        index
            .insert_unique(hash, new, |&other| FxBuildHasher.hash_one(word_at(buffer, ends, other as usize)));
        new
    }

    /// No more words come soon: what makes adding fast is given back.
    pub(super) fn rest(&mut self) {
        self.recent = Vec::new();
    }

    /// Adds all counts of `other`, `weight` times.
    pub fn merge(&mut self, other: &Self, weight: u64) {
        for (word, count) in other.iter() {
            self.add(word, count.saturating_mul(weight));
        }
    }

    /// Writes a run: the words in the order of their bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_sorted<W: Write>(&self, out: W) -> io::Result<W> {
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        order.sort_unstable_by(|&a, &b| self.word(a as usize).cmp(self.word(b as usize)));
        let mut writer = RunWriter::new(out)?;
        for at in order {
            writer.push(self.word(at as usize), self.counts[at as usize])?;
        }
        writer.finish()
    }

    /// Reads a run.
    ///
    /// # Errors
    /// Those of `input`; invalid data if it is no run.
    pub fn read_sorted<R: BufRead>(input: R) -> io::Result<Self> {
        let (mut words, mut reader) = (Self::new(), RunReader::new(input)?);
        while let Some((word, count)) = reader.next_word()? {
            words.add(word, count);
        }
        Ok(words)
    }

    /// Every distinct word with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        (0..self.len()).map(|at| (self.word(at), self.counts[at]))
    }

    fn word(&self, at: usize) -> &[u8] {
        word_at(&self.buffer, &self.ends, at)
    }

    /// How many distinct words there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether no word was added.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The bytes of all distinct words.
    pub fn n_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The memory that is held.
    pub fn n_bytes_held(&self) -> usize {
        let n_table = self.index.capacity() * (size_of::<u32>() + 1) + size_of_val(&self.recent[..]);
        self.buffer.capacity() + self.ends.capacity() * 8 + self.counts.capacity() * 8 + n_table
    }
}

fn word_at<'a>(buffer: &'a [u8], ends: &[usize], at: usize) -> &'a [u8] {
    let start = if at == 0 { 0 } else { ends[at - 1] };
    &buffer[start..ends[at]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up() {
        let mut words = WordCounts::new();
        for word in [b"a".as_slice(), b"bc", b"", b"a"] {
            words.add(word, 1 << 41);
        }
        let mut other = WordCounts::new();
        other.add(b"bc", 5);
        other.add(b"d", u64::MAX);
        other.add(b"d", 1);
        words.merge(&other, 1);
        words.merge(&WordCounts::new(), 7);
        let all: Vec<(&[u8], u64)> = words.iter().collect();
        assert_eq!(
            all,
            [(b"a".as_slice(), 1 << 42), (b"bc", (1 << 41) + 5), (b"", 1 << 41), (b"d", u64::MAX)]
        );
        assert_eq!(words.n_bytes(), 4);
    }
}
