//! How do counts leave memory and come back?
//!
//! A *run* is a file of distinct words in the order of their bytes, each with what it shares with the one before left
//! out. Runs are merged by reading them side by side: equal words meet, and their counts add up. O(words) time and one
//! word of memory a run to read; O(words log runs) to merge. What is cut off or was never a run is an error: an end mark
//! with the number of words closes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, BufRead, Read, Write};

const MAGIC: &[u8; 8] = b"tlwords1";

/// Writes a run word by word.
#[derive(Debug)]
pub struct RunWriter<W> {
    out: W,
    last: Vec<u8>,
    n_words: u64,
}

impl<W: Write> RunWriter<W> {
    /// Begins a run.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        Ok(Self { out, last: Vec::new(), n_words: 0 })
    }

    /// Adds a word, which comes behind all before it.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn push(&mut self, word: &[u8], count: u64) -> io::Result<()> {
        let n_shared = self.last.iter().zip(word).take_while(|(last, new)| last == new).count();
        write_number(&mut self.out, n_shared as u64 + 1)?;
        write_number(&mut self.out, (word.len() - n_shared) as u64)?;
        self.out.write_all(&word[n_shared..])?;
        write_number(&mut self.out, count)?;
        self.last.truncate(n_shared);
        self.last.extend_from_slice(&word[n_shared..]);
        self.n_words += 1;
        Ok(())
    }

    /// Ends the run.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn finish(mut self) -> io::Result<W> {
        write_number(&mut self.out, 0)?;
        write_number(&mut self.out, self.n_words)?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads a run word by word.
#[derive(Debug)]
pub struct RunReader<R> {
    input: R,
    word: Vec<u8>,
    n_words: u64,
    is_done: bool,
}

impl<R: BufRead> RunReader<R> {
    /// Begins to read a run.
    ///
    /// # Errors
    /// Those of `input`; invalid data if this is no run.
    pub fn new(mut input: R) -> io::Result<Self> {
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(invalid("expected a file of counted words, found other bytes"));
        }
        Ok(Self { input, word: Vec::new(), n_words: 0, is_done: false })
    }

    /// The next word and its count.
    ///
    /// # Errors
    /// Those of `input`; invalid data if the run is damaged.
    pub fn next_word(&mut self) -> io::Result<Option<(&[u8], u64)>> {
        if self.is_done {
            return Ok(None);
        }
        let n_shared = read_number(&mut self.input)?;
        if n_shared == 0 {
            if read_number(&mut self.input)? != self.n_words {
                return Err(invalid("a file of counted words has lost some"));
            }
            self.is_done = true;
            return Ok(None);
        }
        let n_new = read_number(&mut self.input)?;
        if n_shared - 1 > self.word.len() as u64 {
            return Err(invalid("a counted word shares more than the one before has"));
        }
        self.word.truncate(n_shared as usize - 1);
        // Not reserved: a damaged length ends with the input.
        let n_read = self.input.by_ref().take(n_new).read_to_end(&mut self.word)?;
        if n_read as u64 != n_new {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = read_number(&mut self.input)?;
        self.n_words += 1;
        Ok(Some((&self.word, count)))
    }
}

/// Tells every distinct word of some runs with the sum of its counts, in the order of the words.
///
/// # Errors
/// Those of the inputs, or of `visit`.
pub fn merge_runs<R: BufRead, E: From<io::Error>>(
    mut runs: Vec<RunReader<R>>,
    mut visit: impl FnMut(&[u8], u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut heap = BinaryHeap::new();
    for (at, run) in runs.iter_mut().enumerate() {
        if let Some((word, count)) = run.next_word()? {
            heap.push(Reverse((word.to_vec(), at, count)));
        }
    }
    let mut spent = Vec::new();
    while let Some(Reverse((word, at, mut total))) = heap.pop() {
        spent.push(at);
        while heap.peek().is_some_and(|Reverse((other, ..))| *other == word) {
            if let Some(Reverse((_, at, count))) = heap.pop() {
                total = total.saturating_add(count);
                spent.push(at);
            }
        }
        visit(&word, total)?;
        for at in spent.drain(..) {
            if let Some((word, count)) = runs[at].next_word()? {
                heap.push(Reverse((word.to_vec(), at, count)));
            }
        }
    }
    Ok(())
}

fn write_number(out: &mut impl Write, mut number: u64) -> io::Result<()> {
    let mut bytes = [0; 10];
    let mut n_bytes = 0;
    while number >= 0x80 {
        bytes[n_bytes] = number as u8 | 0x80;
        number >>= 7;
        n_bytes += 1;
    }
    bytes[n_bytes] = number as u8;
    out.write_all(&bytes[..=n_bytes])
}

fn read_number(input: &mut impl Read) -> io::Result<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        input.read_exact(&mut byte)?;
        number |= u64::from(byte[0] & 0x7F) << shift;
        if byte[0] < 0x80 {
            return Ok(number);
        }
    }
    Err(invalid("a number of a file of counted words has more than 64 bits"))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Words = BTreeMap<Vec<u8>, u64>;

    fn written(words: &Words) -> Vec<u8> {
        let mut writer = RunWriter::new(Vec::new()).unwrap();
        words.iter().for_each(|(word, &count)| writer.push(word, count).unwrap());
        writer.finish().unwrap()
    }

    fn merged(runs: &[Vec<u8>]) -> io::Result<Vec<(Vec<u8>, u64)>> {
        let readers = runs.iter().map(|run| RunReader::new(run.as_slice())).collect::<io::Result<_>>()?;
        let mut found = Vec::new();
        merge_runs(readers, |word, count| {
            found.push((word.to_vec(), count));
            Ok::<_, io::Error>(())
        })?;
        Ok(found)
    }

    proptest! {
        #[test]
        fn runs_add_up(runs in prop::collection::vec(
            prop::collection::btree_map(prop::collection::vec(prop_oneof![0u8..3, Just(255)], 0..6), 1u64..u64::MAX / 8, 0..20),
            0..6,
        )) {
            let mut sums = Words::new();
            for (word, count) in runs.iter().flatten() {
                *sums.entry(word.clone()).or_default() += count;
            }
            let files: Vec<Vec<u8>> = runs.iter().map(written).collect();
            prop_assert_eq!(merged(&files).unwrap(), sums.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn damage_is_an_error_or_other_words(
            words in prop::collection::btree_map(prop::collection::vec(0u8..3, 0..6), 1u64..300, 1..20),
            cut in 0usize..200,
            flip in 0usize..200,
        ) {
            let whole = written(&words);
            if cut < whole.len() {
                prop_assert!(merged(&[whole[..cut].to_vec()]).is_err());
            }
            let mut other = whole.clone();
            let at = flip % other.len();
            other[at] ^= 0x41;
            // It ends, whatever it says.
            let _ = merged(&[other]);
        }
    }
}
