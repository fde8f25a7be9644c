//! Where do the words of a text begin, for models that read bytes and pool them?
//!
//! A rule cuts a text into words that cover it; bytes that belong to no character are words of their own. Batches are cut by the
//! threads of one call and joined in order. All rules are O(n).

mod hat;
mod rows;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};

use unicode_segmentation::UnicodeSegmentation;

use crate::encode::{Part, Run, Utf8Runs};
use crate::pretokenize::class::is_white_space;
use crate::{AllowedSpecial, EncodeError, EncodeOptions, Tokenizer};

pub use rows::{LongWord, permutation, rows};

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A run of other characters with the white space behind it; white space at the start is a word.
    WhiteSpace,
    /// What lies between two word boundaries of Unicode Standard Annex 29.
    Uax29,
    /// Words of hierarchical autoregressive transformers: UAX 29, cut behind punctuation and between lower and upper case,
    /// with a single space before a word and punctuation behind it joined to it (Neitemeier et al. 2025).
    Hat,
    /// Bytes up to the first byte of a run that is no letter, digit or continuation of a character (Slagle 2024).
    SpaceByte,
    /// So many bytes; the last word of a text may have fewer.
    Fixed(usize),
}

/// The words of a batch of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// All bytes of all texts.
    pub bytes: Vec<u8>,
    /// By byte: the number of its word, counted through the batch.
    pub word_id: Vec<i32>,
    /// Word `w` is `bytes[word_start[w]..word_start[w + 1]]`.
    pub word_start: Vec<i64>,
    /// Text `d` is `bytes[doc_start[d]..doc_start[d + 1]]`.
    pub doc_start: Vec<i64>,
    /// Text `d` has the words `doc_word[d]..doc_word[d + 1]`.
    pub doc_word: Vec<i64>,
}

impl Rule {
    /// Appends where the words of `bytes` end.
    pub fn ends(self, bytes: &[u8], ends: &mut Vec<usize>) {
        match self {
            Self::Fixed(n_bytes) => {
                let n_bytes = n_bytes.max(1);
                ends.extend((n_bytes..bytes.len()).step_by(n_bytes));
                ends.extend((!bytes.is_empty()).then_some(bytes.len()));
            }
            Self::SpaceByte => space_byte(bytes, ends),
            Self::WhiteSpace | Self::Uax29 | Self::Hat => {
                let mut at = 0;
                for run in Utf8Runs(bytes) {
                    match run {
                        Run::Text(text) => {
                            self.ends_in_text(text, |end| ends.push(at + end));
                            at += text.len();
                        }
                        Run::Raw(raw) => {
                            at += raw.len();
                            ends.push(at);
                        }
                    }
                }
            }
        }
    }

    fn ends_in_text(self, text: &str, mut emit: impl FnMut(usize)) {
        match self {
            Self::Uax29 => text.split_word_bound_indices().for_each(|(at, word)| emit(at + word.len())),
            Self::Hat => hat::ends(text, emit),
            _ => {
                let mut was_space = false;
                for (at, c) in text.char_indices() {
                    let is_space = is_white_space(c);
                    if was_space && !is_space {
                        emit(at);
                    }
                    was_space = is_space;
                }
                emit(text.len());
            }
        }
    }
}

fn space_byte(bytes: &[u8], ends: &mut Vec<usize>) {
    let is_spacelike = |byte: u8| !byte.is_ascii_alphanumeric() && !(0x80..0xC0).contains(&byte);
    let mut before = false;
    for (at, &byte) in bytes.iter().enumerate() {
        let now = is_spacelike(byte);
        if (now && !before) || at + 1 == bytes.len() {
            ends.push(at + 1);
        }
        before = now;
    }
}

/// Cuts words of more than `max_bytes` bytes, between characters where one ends within reach.
fn cut_long(bytes: &[u8], ends: Vec<usize>, max_bytes: usize) -> Vec<usize> {
    let mut cut = Vec::with_capacity(ends.len());
    let mut start = 0;
    for end in ends {
        while end - start > max_bytes {
            let far = start + max_bytes;
            let is_boundary = |at: &usize| bytes[*at] & 0xC0 != 0x80;
            start = (start + 1..=far).rev().find(is_boundary).unwrap_or(far);
            cut.push(start);
        }
        cut.push(end);
        start = end;
    }
    cut
}

/// The words of every text by `ends_of`, on at most `n_threads` threads. Words of more than `max_word_bytes` are cut.
///
/// # Errors
/// The first one of `ends_of`, by text.
pub fn segment_batch<E: Send>(
    texts: &[&[u8]],
    max_word_bytes: Option<usize>,
    n_threads: usize,
    ends_of: impl Fn(&[u8], &mut Vec<usize>) -> Result<(), E> + Sync,
) -> Result<Segments, E> {
    const TEXTS_AT_A_TIME: usize = 16;
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let first = next.fetch_add(TEXTS_AT_A_TIME, Ordering::Relaxed);
            if first >= texts.len() {
                return done;
            }
            for (at, text) in texts.iter().enumerate().skip(first).take(TEXTS_AT_A_TIME) {
                let mut ends = Vec::with_capacity(text.len() / 5 + 1);
                let found = ends_of(text, &mut ends).map(|()| match max_word_bytes {
                    Some(max_bytes) => cut_long(text, ends, max_bytes.max(1)),
                    None => ends,
                });
                done.push((at, found));
            }
        }
    };
    let n_threads = n_threads.clamp(1, texts.len().div_ceil(TEXTS_AT_A_TIME).max(1));
    let mut parts = std::thread::scope(|scope| {
        let others: Vec<_> = (1..n_threads).map(|_| scope.spawn(work)).collect();
        let mut parts = work();
        for other in others {
            match other.join() {
                Ok(more) => parts.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        parts
    });
    parts.sort_unstable_by_key(|part| part.0);
    let mut joined =
        Segments { word_start: vec![0], doc_start: vec![0], doc_word: vec![0], ..Segments::default() };
    for (at, ends) in parts {
        let (base, mut start) = (joined.bytes.len(), 0);
        for end in ends? {
            let word = joined.word_start.len() as i32 - 1;
            joined.word_id.extend(std::iter::repeat_n(word, end - start));
            joined.word_start.push((base + end) as i64);
            start = end;
        }
        joined.bytes.extend_from_slice(texts[at]);
        joined.doc_start.push(joined.bytes.len() as i64);
        joined.doc_word.push(joined.word_start.len() as i64 - 1);
    }
    Ok(joined)
}

/// Why a tokenizer gives no words.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WordsError {
    /// A text does not encode.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Pretokens are parts of normalized text, which is not the text.
    #[error("expected a tokenizer without normalizer for words that are pretokens\nhint: take its tokens")]
    Normalizer,
}

impl Tokenizer {
    /// Appends where the tokens of `bytes` end; each boundary once. Text that is dropped belongs to the word before it.
    ///
    /// # Errors
    /// [`WordsError::Encode`].
    pub fn token_ends(&self, bytes: &[u8], ends: &mut Vec<usize>) -> Result<(), WordsError> {
        let encoding = self.encode_with_offsets(bytes, &EncodeOptions::default())?;
        ends.extend(encoding.byte_offsets.iter().map(|span| span[1] as usize).filter(|&end| end > 0));
        ends.dedup();
        cover(bytes.len(), ends);
        Ok(())
    }

    /// Appends where the pretokens and added tokens of `bytes` end. Text that is dropped is a word.
    ///
    /// # Errors
    /// [`WordsError`].
    pub fn pretoken_ends(&self, bytes: &[u8], ends: &mut Vec<usize>) -> Result<(), WordsError> {
        if !self.spec().normalizers.is_empty() {
            return Err(WordsError::Normalizer);
        }
        let mut run = 0;
        let _never_broken = self.walk::<false>(bytes.into(), &AllowedSpecial::All, |part| {
            match part {
                Part::Run { at, .. } => run = at,
                Part::Added { span, stretch, .. } => {
                    let at = run + stretch.map_or(0, |stretch| stretch.at);
                    ends.extend([at + span.start, at + span.end]);
                }
                Part::Inside { text, start, at_start, stretch } => {
                    let at = run + stretch.at + start;
                    return self.pretokenizers.try_for_each(text, at_start, |piece| {
                        ends.extend([at + piece.start, at + piece.end]);
                        ControlFlow::Continue(())
                    });
                }
                Part::Raw { bytes } => ends.extend([run, run + bytes.len()]),
            }
            Ok(ControlFlow::Continue(()))
        })?;
        ends.retain(|&end| end > 0);
        ends.dedup();
        cover(bytes.len(), ends);
        Ok(())
    }
}

/// Lets the words reach the end of the text.
fn cover(n_bytes: usize, ends: &mut Vec<usize>) {
    if ends.last().copied().unwrap_or(0) < n_bytes {
        ends.push(n_bytes);
    }
}
