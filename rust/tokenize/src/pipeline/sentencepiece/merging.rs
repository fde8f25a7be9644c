//! Which pieces does SentencePiece merge the characters of a text into?
//!
//! Two neighbours whose text together is a piece may be joined, the highest score first and the leftmost among equals.
//! Symbols of the user are never joined with anything. A piece that must not be used is taken apart again, into what it
//! was last joined from.
//!
//! O(n log n) pairs in a heap for n characters, each with the look-up of a string of at most the longest piece.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use hashbrown::HashMap;

use super::cutter::{Found, PieceCutter};
use crate::pipeline::models::Vocabulary;

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Symbol {
    start: usize,
    /// 0 once it is merged into the one before it.
    n_bytes: usize,
    is_frozen: bool,
    previous: u32,
    next: u32,
}

/// Two neighbours that wait to be joined.
#[derive(Clone, Copy)]
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    n_bytes: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

struct Merging<'a> {
    cutter: &'a PieceCutter,
    vocabulary: &'a Vocabulary,
    text: &'a str,
    symbols: Vec<Symbol>,
    waiting: BinaryHeap<Pair>,
    /// By text of an unused piece: the length of the left part that it was last joined from.
    parts: HashMap<&'a str, usize>,
}

/// The pieces of `text`.
pub(super) fn merged(cutter: &PieceCutter, vocabulary: &Vocabulary, text: &str) -> Vec<Found> {
    let mut symbols: Vec<Symbol> = (0u32..)
        .zip(cutter.symbols_and_characters(text))
        .map(|(place, (start, end, is_frozen))| Symbol {
            start,
            n_bytes: end - start,
            is_frozen,
            previous: place.wrapping_sub(1),
            next: place + 1,
        })
        .collect();
    if let Some(last) = symbols.last_mut() {
        last.next = NONE;
    }
    let (waiting, parts) = Default::default();
    let mut merging = Merging { cutter, vocabulary, text, symbols, waiting, parts };
    merging.run();
    merging.found()
}

impl<'a> Merging<'a> {
    fn run(&mut self) {
        for right in 1..self.symbols.len() as u32 {
            self.propose(right - 1, right);
        }
        while let Some(Pair { left, right, n_bytes, .. }) = self.waiting.pop() {
            let (first, second) = (self.symbols[left as usize], self.symbols[right as usize]);
            if first.n_bytes == 0 || second.n_bytes == 0 || first.n_bytes + second.n_bytes != n_bytes {
                continue;
            }
            self.symbols[left as usize] = Symbol { n_bytes, next: second.next, ..first };
            self.symbols[right as usize].n_bytes = 0;
            if let Some(after) = self.symbols.get_mut(second.next as usize) {
                after.previous = left;
            }
            self.propose(first.previous, left);
            self.propose(left, second.next);
        }
    }

    fn propose(&mut self, left: u32, right: u32) {
        if left == NONE || right == NONE {
            return;
        }
        let (first, second) = (self.symbols[left as usize], self.symbols[right as usize]);
        if first.is_frozen || second.is_frozen {
            return;
        }
        let n_bytes = first.n_bytes + second.n_bytes;
        let text = &self.text[first.start..first.start + n_bytes];
        let Some((id, score)) = self.cutter.piece(self.vocabulary, text) else { return };
        // Adding zero makes one of both zeros.
        self.waiting.push(Pair { score: score + 0.0, left, right, n_bytes });
        if self.cutter.is_unused(id) {
            self.parts.insert(text, first.n_bytes);
        }
    }

    fn found(&self) -> Vec<Found> {
        let mut found = Vec::new();
        let mut open = Vec::new();
        for symbol in self.symbols.iter().filter(|symbol| symbol.n_bytes > 0) {
            open.push((symbol.start, symbol.start + symbol.n_bytes));
            while let Some((start, end)) = open.pop() {
                let text = &self.text[start..end];
                let id = self.cutter.id(self.vocabulary, text);
                match self.parts.get(text).filter(|_| self.cutter.is_unused(id)) {
                    Some(n_left) => open.extend([(start + n_left, end), (start, start + n_left)]),
                    None => found.push(Found { start, end, id }),
                }
            }
        }
        found
    }
}
