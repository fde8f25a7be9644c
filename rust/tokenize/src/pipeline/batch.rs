//! How are many inputs encoded, cut, finished and filled at once?
//!
//! Inputs are independent until the batch is filled, so threads of this call alone take them from a shared counter; the
//! result does not depend on their number.

use super::assembly::{Assembly, AssemblyError, Input, Sequences, Settings};
use super::encoding::Encoding;
use super::padding;
use crate::workers;

/// Which arrays of the encodings are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Ids, type ids and masks now, the others later where they cost extra.
    Ids,
    /// All of them.
    All,
    /// All, with token strings, words and offsets of the texts left blank.
    Blank,
}

/// The encodings of a batch.
#[derive(Debug)]
pub struct Batch {
    /// One an input.
    pub encodings: Vec<Encoding>,
    /// Whether token strings, words and offsets are missing.
    pub is_plain: bool,
    /// The length that they were filled to.
    pub padded_to: Option<usize>,
}

impl Assembly {
    /// Encodes a batch on at most `n_threads` threads. `seed` decides what a model with dropout leaves out.
    ///
    /// # Errors
    /// [`AssemblyError`] of the first input that has one.
    pub fn encode_batch(
        &self,
        inputs: &[Input<'_>],
        settings: &Settings,
        add_special_tokens: bool,
        columns: Columns,
        seed: u64,
        n_threads: usize,
    ) -> Result<Batch, AssemblyError> {
        let is_plain = columns == Columns::Ids;
        let as_text = settings.encode_special_tokens;
        let sequences = match columns {
            Columns::All => None,
            _ => self.compiled_sequences(inputs, as_text, n_threads)?,
        };
        let sequences = match sequences {
            Some(sequences) => sequences,
            None => in_parallel(inputs, n_threads, |place, input| {
                self.sequences(input, as_text, seed_of(seed, place), columns != Columns::All)
            })?,
        };
        let finish = |(mut first, mut second): Sequences| {
            if columns == Columns::Blank {
                first.blank();
                second.iter_mut().for_each(Encoding::blank);
            }
            self.finish((first, second), settings, add_special_tokens, is_plain)
        };
        let mut encodings = sequences.into_iter().map(finish).collect::<Result<Vec<_>, _>>()?;
        let padding = settings.padding.as_ref().filter(|_| !encodings.is_empty());
        let padded_to = padding.map(|padding| padding::pad(&mut encodings, padding, is_plain));
        Ok(Batch { encodings, is_plain, padded_to })
    }

    /// All arrays of the encoding at `place` of a batch that was filled to `padded_to`.
    ///
    /// # Errors
    /// [`AssemblyError`].
    pub fn encode_details(
        &self,
        input: &Input<'_>,
        settings: &Settings,
        add_special_tokens: bool,
        (seed, place): (u64, usize),
        padded_to: Option<usize>,
    ) -> Result<Encoding, AssemblyError> {
        let sequences = self.sequences(input, settings.encode_special_tokens, seed_of(seed, place), false)?;
        let mut encoding = self.finish(sequences, settings, add_special_tokens, false)?;
        if let (Some(padding), Some(length)) = (&settings.padding, padded_to) {
            encoding.pad(length, padding.filling(false));
        }
        Ok(encoding)
    }
}

/// Each input of a batch draws for itself.
fn seed_of(seed: u64, place: usize) -> u64 {
    seed.wrapping_add((place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

impl Encoding {
    /// Forgets what the ids stand for.
    fn blank(&mut self) {
        let n_ids = self.len();
        self.set_type(0);
        self.tokens = vec![String::new(); n_ids];
        self.words = vec![None; n_ids];
        self.offsets = vec![(0, 0); n_ids];
    }
}

/// Maps all items in order; of several errors the first item's is given.
fn in_parallel<T: Sync, R: Send, E: Send>(
    items: &[T],
    n_threads: usize,
    map: impl Fn(usize, &T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    const RUN: usize = 8;
    let mut results = Vec::with_capacity(items.len());
    let work = |_, run: usize| {
        let places = run * RUN..items.len().min((run + 1) * RUN);
        places.map(|place| map(place, &items[place])).collect::<Result<Vec<_>, _>>()
    };
    workers::each_in_order(items.len().div_ceil(RUN), n_threads, work, |run| {
        results.extend(run);
    })?;
    Ok(results)
}
