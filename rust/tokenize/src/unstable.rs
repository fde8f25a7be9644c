//! Which tokens of a text are settled, and how may the rest go on?
//!
//! Appending text can change the last tokens: "fanta" is not the start of "fantastic" in ids. The unsettled part is the
//! last pretoken (with the white space before it, where it is white space); everything a token could make of it is
//! found by laying every token over every place at its end and encoding again. These are tiktoken's rules, heuristics
//! included: a pretoken boundary counts as settled unless white space touches it.
//!
//! O(t · n) for t tokens that start with an end of the unsettled n bytes, which is also the size of the answer. Worst
//! input: one long pretoken whose last byte starts thousands of tokens.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rustc_hash::FxHashSet;
use tokenloom_vocab::TokenId;

use crate::encode::Part;
use crate::scratch::Scratch;
use crate::{AllowedSpecial, EncodeError, EncodeOptions, Tokenizer};

/// Settled ids and the ways to go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unstable {
    /// The ids that further text does not change.
    pub stable: Vec<TokenId>,
    /// Sequences of ids whose bytes start with the rest of the text, or are all of it.
    pub completions: BTreeSet<Vec<TokenId>>,
}

/// The ids of a text and how many of them the last pretoken became; 0 behind an added token.
struct LastPiece {
    ids: Vec<TokenId>,
    n_last: usize,
}

impl Tokenizer {
    /// The settled ids of `text` and the completions of the rest, as tiktoken's method of this name.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_with_unstable(
        &self,
        text: &str,
        allowed: &AllowedSpecial,
    ) -> Result<Unstable, EncodeError> {
        let LastPiece { ids: mut stable, n_last } = self.encode_last_piece(text, allowed)?;
        let mut completions = BTreeSet::new();
        if n_last == 0 {
            return Ok(Unstable { stable, completions });
        }
        let rest = self.take_unsettled(&mut stable, n_last);
        let trie = self.byte_trie();
        if let Some(node) = trie.find(&rest) {
            completions.extend(trie.ids()[node.range()].iter().map(|&id| vec![id]));
        }
        self.scratches.with(|scratch| self.straddle(&rest, &mut completions, scratch))?;
        Ok(Unstable { stable, completions })
    }

    /// Lays every token over every place at the end of `rest` but the first.
    fn straddle(
        &self,
        rest: &[u8],
        completions: &mut BTreeSet<Vec<TokenId>>,
        scratch: &mut Scratch,
    ) -> Result<(), EncodeError> {
        let trie = self.byte_trie();
        let mut joined = Vec::new();
        let first = rest.len().saturating_sub(self.table().max_token_bytes()).max(1);
        for at in first..rest.len() {
            let (head, tail) = rest.split_at(at);
            let Some(node) = trie.find(tail) else { continue };
            for position in node.range() {
                joined.clear();
                joined.extend_from_slice(head);
                joined.extend_from_slice(trie.bytes(position));
                let ids = self.encode_or_merge(&joined, scratch)?;
                completions.insert(self.until(ids, rest.len()));
            }
        }
        completions.extend(self.split_before_last_space(rest, scratch));
        Ok(())
    }

    /// The ids of bytes that may end, or break off, inside a character: what is not UTF-8 is merged together with the
    /// last pretoken before it, as tiktoken does. Added tokens are ordinary text.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_broken_utf8(&self, bytes: &[u8]) -> Result<Vec<TokenId>, EncodeError> {
        let none = AllowedSpecial::Only(FxHashSet::default());
        let (text, broken) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, &[][..]),
            Err(error) => {
                let (valid, broken) = bytes.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), broken)
            }
        };
        let LastPiece { mut ids, n_last } = self.encode_last_piece(text, &none)?;
        if !broken.is_empty() {
            let mut rest = self.take_unsettled(&mut ids, n_last);
            rest.extend_from_slice(broken);
            self.scratches.with(|scratch| self.encode_piece(&rest, scratch, &mut ids));
        }
        Ok(ids)
    }

    fn encode_last_piece(&self, text: &str, allowed: &AllowedSpecial) -> Result<LastPiece, EncodeError> {
        let (mut ids, mut n_last, mut prefixed) = (Vec::new(), 0, String::new());
        let _never_broken = self.scratches.with(|scratch| {
            self.walk::<false>(text.into(), allowed, |part| match part {
                Part::Added { id, .. } => {
                    ids.push(id);
                    n_last = 0;
                    Ok(ControlFlow::Continue(()))
                }
                Part::Inside { text, at_start, .. } => {
                    self.pretokenizers.try_for_each(text, at_start, |piece| {
                        let n_before = ids.len();
                        self.encode_piece(piece.bytes(text, &mut prefixed), scratch, &mut ids);
                        n_last = ids.len() - n_before;
                        ControlFlow::Continue(())
                    })
                }
                // `str` has no bytes that belong to no character.
                Part::Run { .. } | Part::Raw { .. } => Ok(ControlFlow::Continue(())),
            })
        })?;
        Ok(LastPiece { ids, n_last })
    }

    /// Removes the ids of the last piece, and of the white space before a piece that starts with it; returns the bytes.
    fn take_unsettled(&self, ids: &mut Vec<TokenId>, mut n_last: usize) -> Vec<u8> {
        let is_space = |id: TokenId| {
            self.table().bytes(id).is_some_and(|bytes| bytes.iter().all(|byte| b" \n\t".contains(byte)))
        };
        if n_last > 0 && is_space(ids[ids.len() - n_last]) {
            while n_last < ids.len() && is_space(ids[ids.len() - n_last - 1]) {
                n_last += 1;
            }
        }
        let taken = ids.split_off(ids.len() - n_last);
        taken.iter().filter_map(|&id| self.token_bytes(id)).flatten().copied().collect()
    }

    /// Text is encoded; bytes that are no text are merged as one pretoken.
    fn encode_or_merge(&self, bytes: &[u8], scratch: &mut Scratch) -> Result<Vec<TokenId>, EncodeError> {
        let mut ids = Vec::new();
        if std::str::from_utf8(bytes).is_ok() {
            let allowed_special = AllowedSpecial::Only(FxHashSet::default());
            let options = EncodeOptions { add_special_tokens: false, allowed_special };
            self.encode_into(bytes.into(), &options, scratch, &mut ids)?;
        } else {
            self.bpe().merge_piece(bytes, &mut ids, &mut scratch.bpe);
        }
        Ok(ids)
    }

    /// The first ids that together have `n_bytes` bytes or more.
    fn until(&self, mut ids: Vec<TokenId>, n_bytes: usize) -> Vec<TokenId> {
        let mut done = 0;
        let enough = ids.iter().position(|&id| {
            done += self.token_bytes(id).map_or(0, <[u8]>::len);
            done >= n_bytes
        });
        ids.truncate(enough.map_or(ids.len(), |last| last + 1));
        ids
    }

    /// A last character that is white space may come to stand alone: `\s+(?!\S)` gives it away to what follows.
    fn split_before_last_space(&self, rest: &[u8], scratch: &mut Scratch) -> Option<Vec<TokenId>> {
        let start =
            (1..=4usize.min(rest.len())).map(|back| rest.len() - back).find(|&at| rest[at] & 0xC0 != 0x80)?;
        let last = std::str::from_utf8(&rest[start..]).ok()?.chars().next()?;
        if start == 0 || !last.is_whitespace() {
            return None;
        }
        let mut ids = Vec::new();
        self.bpe().merge_piece(&rest[..start], &mut ids, &mut scratch.bpe);
        self.bpe().merge_piece(&rest[start..], &mut ids, &mut scratch.bpe);
        Some(ids)
    }
}
