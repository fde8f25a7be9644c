//! What is known of an encoded text beside its ids?
//!
//! Parallel arrays, one entry an id, as in `Encoding` of Hugging Face `tokenizers`. Cutting, filling and joining keep
//! them parallel and follow it step by step, since what falls out of them (which parts overflow, which sequence an id
//! belongs to) is visible. All offsets are in characters of the original text of the id's sequence.
//!
//! Where only ids are asked for, `tokens`, `words` and `offsets` stay empty and every step passes over them: such an
//! encoding is *plain*, and the same steps over the same text with all arrays give its details later.

use std::ops::Range;

use tokenloom_vocab::TokenId;

use super::definition::Side;
use super::truncation::{TruncationError, TruncationErrorKind};

/// The encoding of one text or of a pair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids.
    pub ids: Vec<TokenId>,
    /// By id: which part of a template it belongs to.
    pub type_ids: Vec<u32>,
    /// By id: the token string. Empty where the encoding is plain.
    pub tokens: Vec<String>,
    /// By id: the word it is part of; none for special tokens and padding. Empty where the encoding is plain.
    pub words: Vec<Option<u32>>,
    /// By id: start and end in characters of its sequence. Empty where the encoding is plain.
    pub offsets: Vec<(usize, usize)>,
    /// By id: whether the post-processor or the padding added it.
    pub special_tokens_mask: Vec<bool>,
    /// By id: false for padding.
    pub attention_mask: Vec<bool>,
    /// What truncation cut off, in parts that overlap by the stride.
    pub overflowing: Vec<Encoding>,
    /// The ids of each sequence; empty where the whole is the first sequence.
    pub sequence_ranges: Vec<(usize, Range<usize>)>,
}

/// What [`Encoding::pad`] fills with.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The id.
    pub id: TokenId,
    /// Its type id.
    pub type_id: u32,
    /// Its token string; none where encodings are plain.
    pub token: Option<&'a str>,
    /// The side that is filled.
    pub side: Side,
}

impl Encoding {
    /// A plain encoding of one sequence.
    pub fn plain(ids: Vec<TokenId>, type_id: u32) -> Self {
        let n_ids = ids.len();
        Self {
            ids,
            type_ids: vec![type_id; n_ids],
            special_tokens_mask: vec![false; n_ids],
            attention_mask: vec![true; n_ids],
            ..Self::default()
        }
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Says that all ids are of sequence `sequence`, beside what is known already.
    pub fn set_sequence(&mut self, sequence: usize) {
        self.set_range(sequence, 0..self.len());
    }

    fn set_range(&mut self, sequence: usize, range: Range<usize>) {
        match self.sequence_ranges.iter_mut().find(|(other, _)| *other == sequence) {
            Some(entry) => entry.1 = range,
            None => self.sequence_ranges.push((sequence, range)),
        }
    }

    /// Gives all ids one type id; the overflowing parts keep theirs.
    pub fn set_type(&mut self, type_id: u32) {
        self.type_ids.clear();
        self.type_ids.resize(self.ids.len(), type_id);
    }

    /// Keeps `max_length` ids; the rest becomes overflowing parts of at most as many, which share `stride` ids with
    /// their neighbours.
    ///
    /// # Errors
    /// [`TruncationErrorKind::Stride`] if the parts would not advance.
    pub fn truncate(&mut self, max_length: usize, stride: usize, side: Side) -> Result<(), TruncationError> {
        let n_ids = self.len();
        if max_length >= n_ids {
            return Ok(());
        }
        if max_length == 0 {
            let whole = std::mem::take(self);
            self.overflowing.push(whole);
            return Ok(());
        }
        if stride >= max_length {
            return Err(TruncationErrorKind::Stride { stride, max_length }.into());
        }
        let mut parts =
            part_ranges(n_ids, max_length, max_length - stride, side).map(|range| self.cut(range));
        let first = parts.next().unwrap_or_default();
        *self = Self { overflowing: parts.collect(), ..first };
        Ok(())
    }

    /// A part of the arrays, without overflowing parts and sequences.
    fn cut(&self, range: Range<usize>) -> Self {
        Self {
            ids: self.ids[range.clone()].to_vec(),
            type_ids: self.type_ids[range.clone()].to_vec(),
            tokens: self.tokens.get(range.clone()).unwrap_or_default().to_vec(),
            words: self.words.get(range.clone()).unwrap_or_default().to_vec(),
            offsets: self.offsets.get(range.clone()).unwrap_or_default().to_vec(),
            special_tokens_mask: self.special_tokens_mask[range.clone()].to_vec(),
            attention_mask: self.attention_mask[range].to_vec(),
            ..Self::default()
        }
    }

    /// Joins encodings one after another; see [`Encoding::append`].
    pub fn merge(encodings: impl IntoIterator<Item = Self>, growing_offsets: bool) -> Self {
        let mut whole = Self::default();
        for encoding in encodings {
            whole.append(&encoding, growing_offsets);
        }
        whole
    }

    /// Joins `other` behind. Each part, overflowing or not, meets each part of the other. With `growing_offsets` those
    /// of `other` start where the last one here ends.
    pub fn append(&mut self, other: &Self, growing_offsets: bool) {
        let mut overflowing = Vec::new();
        for part in &self.overflowing {
            for other in std::iter::once(other).chain(&other.overflowing) {
                let mut joined = part.clone();
                joined.append(other, growing_offsets);
                overflowing.push(joined);
            }
        }
        for other in &other.overflowing {
            let mut joined = self.clone();
            joined.append(other, growing_offsets);
            overflowing.push(joined);
        }
        self.overflowing = overflowing;
        let n_before = self.len();
        for (sequence, range) in &other.sequence_ranges {
            self.set_range(*sequence, n_before + range.start..n_before + range.end);
        }
        let grown = if growing_offsets { self.offsets.last().map_or(0, |last| last.1) } else { 0 };
        self.ids.extend_from_slice(&other.ids);
        self.type_ids.extend_from_slice(&other.type_ids);
        self.tokens.extend_from_slice(&other.tokens);
        self.words.extend_from_slice(&other.words);
        self.offsets.extend(other.offsets.iter().map(|(start, end)| (start + grown, end + grown)));
        self.special_tokens_mask.extend_from_slice(&other.special_tokens_mask);
        self.attention_mask.extend_from_slice(&other.attention_mask);
    }

    /// Fills this and its overflowing parts up to `length`; what is longer stays.
    pub fn pad(&mut self, length: usize, filling: Filling<'_>) {
        for part in &mut self.overflowing {
            part.pad(length, filling);
        }
        let Some(n_added) = length.checked_sub(self.len()).filter(|&n_added| n_added > 0) else { return };
        let at = if filling.side == Side::Left { 0 } else { self.len() };
        fill(&mut self.ids, at, n_added, filling.id);
        fill(&mut self.type_ids, at, n_added, filling.type_id);
        fill(&mut self.attention_mask, at, n_added, false);
        fill(&mut self.special_tokens_mask, at, n_added, true);
        if let Some(token) = filling.token {
            fill(&mut self.tokens, at, n_added, token.to_owned());
            fill(&mut self.words, at, n_added, None);
            fill(&mut self.offsets, at, n_added, (0, 0));
        }
        if filling.side == Side::Left {
            for (_, range) in &mut self.sequence_ranges {
                *range = range.start + n_added..range.end + n_added;
            }
        }
    }
}

fn fill<T: Clone>(column: &mut Vec<T>, at: usize, n_added: usize, value: T) {
    column.splice(at..at, std::iter::repeat_n(value, n_added));
}

/// The parts of `n_ids` ids in the order in which they are listed: from the side that is kept on.
fn part_ranges(
    n_ids: usize,
    max_length: usize,
    step: usize,
    side: Side,
) -> impl Iterator<Item = Range<usize>> {
    let mut done = 0;
    std::iter::from_fn(move || {
        // What is left once the parts before reach the other end is part of the last of them.
        if done > 0 && done - step + max_length >= n_ids {
            return None;
        }
        let near = done;
        let far = (done + max_length).min(n_ids);
        done += step;
        Some(if side == Side::Right { near..far } else { n_ids - far..n_ids - near })
    })
}

/// Maps between characters, words and tokens. Words and tokens are places, from 0; offsets are half-open.
impl Encoding {
    /// How many sequences there are.
    pub fn n_sequences(&self) -> usize {
        self.sequence_ranges.len().max(1)
    }

    /// The ids of a sequence; all of them if nothing is known of it.
    fn sequence_range(&self, sequence: usize) -> Range<usize> {
        let known = self.sequence_ranges.iter().find(|(other, _)| *other == sequence);
        known.map_or(0..self.len(), |(_, range)| range.clone())
    }

    /// By id: its sequence; none for special tokens and padding.
    pub fn sequence_ids(&self) -> Vec<Option<usize>> {
        let mut sequences = vec![None; self.len()];
        for sequence in 0..self.n_sequences() {
            for place in self.sequence_range(sequence) {
                sequences[place] = Some(sequence);
            }
        }
        sequences
    }

    /// The sequence of a token.
    pub fn token_to_sequence(&self, token: usize) -> Option<usize> {
        if token > self.len() {
            None
        } else if self.sequence_ranges.is_empty() {
            Some(0)
        } else {
            self.sequence_ranges
                .iter()
                .find(|(_, range)| range.contains(&token))
                .map(|(sequence, _)| *sequence)
        }
    }

    /// The tokens of a word.
    pub fn word_to_tokens(&self, word: u32, sequence: usize) -> Option<(usize, usize)> {
        let range = self.sequence_range(sequence);
        // Words rise; the search ends at the first later one, as it does in the peer.
        let words = self.words.get(range.clone())?.iter().take_while(|other| **other <= Some(word));
        let mut places = words.enumerate().filter(|(_, other)| **other == Some(word)).map(|(place, _)| place);
        let first = places.next()?;
        let last = places.last().unwrap_or(first);
        Some((range.start + first, range.start + last + 1))
    }

    /// The characters of a word.
    pub fn word_to_chars(&self, word: u32, sequence: usize) -> Option<(usize, usize)> {
        let (start, end) = self.word_to_tokens(word, sequence)?;
        Some((self.offsets[start].0, self.offsets[end - 1].1))
    }

    /// The characters of a token, if it is of a sequence.
    pub fn token_to_chars(&self, token: usize) -> Option<(usize, usize)> {
        self.token_to_sequence(token)?;
        self.offsets.get(token).copied()
    }

    /// The word of a token, if it is of a sequence.
    pub fn token_to_word(&self, token: usize) -> Option<u32> {
        self.token_to_sequence(token)?;
        self.words.get(token).copied().flatten()
    }

    /// The first token that covers a character.
    pub fn char_to_token(&self, position: usize, sequence: usize) -> Option<usize> {
        let range = self.sequence_range(sequence);
        let covers = |(start, end): &(usize, usize)| (*start..*end).contains(&position);
        self.offsets.get(range.clone())?.iter().position(covers).map(|place| range.start + place)
    }

    /// The word of the first token that covers a character.
    pub fn char_to_word(&self, position: usize, sequence: usize) -> Option<u32> {
        self.token_to_word(self.char_to_token(position, sequence)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(n_ids: usize, max_length: usize, stride: usize, side: Side) -> Vec<Vec<u32>> {
        let mut encoding = Encoding::plain((0..n_ids as u32).collect(), 0);
        encoding.truncate(max_length, stride, side).unwrap();
        std::iter::once(encoding.ids).chain(encoding.overflowing.into_iter().map(|part| part.ids)).collect()
    }

    #[test]
    fn parts_overlap_by_the_stride_and_the_last_ends_the_text() {
        assert_eq!(parts(5, 2, 0, Side::Right), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(parts(5, 3, 1, Side::Right), [vec![0, 1, 2], vec![2, 3, 4]]);
        assert_eq!(parts(5, 2, 0, Side::Left), [vec![3, 4], vec![1, 2], vec![0]]);
        assert_eq!(parts(4, 3, 2, Side::Left), [vec![1, 2, 3], vec![0, 1, 2]]);
        assert_eq!(parts(3, 3, 9, Side::Right), [vec![0, 1, 2]]);
        assert_eq!(parts(3, 0, 9, Side::Right), [vec![], vec![0, 1, 2]]);
        assert!(Encoding::plain(vec![0; 9], 0).truncate(2, 2, Side::Right).is_err());
    }

    #[test]
    fn every_part_meets_every_part_of_the_other() {
        let mut first = Encoding::plain(vec![1, 2], 0);
        let mut second = Encoding::plain(vec![3, 4, 5], 1);
        first.truncate(1, 0, Side::Right).unwrap();
        second.truncate(1, 0, Side::Right).unwrap();
        first.append(&second, false);
        let ids: Vec<_> = first.overflowing.iter().map(|part| part.ids.clone()).collect();
        assert_eq!(first.ids, [1, 3]);
        assert_eq!(ids, [[2, 3], [2, 4], [2, 5], [1, 4], [1, 5]]);
        assert_eq!(first.overflowing[0].overflowing.len(), 2);
    }

    #[test]
    fn padding_on_the_left_moves_the_sequences() {
        let mut encoding = Encoding::plain(vec![7], 0);
        encoding.set_sequence(0);
        encoding.pad(3, Filling { id: 9, type_id: 2, token: None, side: Side::Left });
        assert_eq!(encoding.ids, [9, 9, 7]);
        assert_eq!(encoding.type_ids, [2, 2, 0]);
        assert_eq!(encoding.attention_mask, [false, false, true]);
        assert_eq!(encoding.sequence_ids(), [None, None, Some(0)]);
    }
}
