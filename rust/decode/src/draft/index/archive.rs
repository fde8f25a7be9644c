//! How is a history kept in a file?
//!
//! 32-bit words, every section on a multiple of 16 of them, so that a mapped file can be used where it lies:
//!
//! ```text
//! words  0-3   "tokenloom-draft\0"
//! word   4     version
//! word   5     1 in the byte order of the writer
//! word   6     segments
//! words  7-8   words of the file, low half first
//! words  9-10  checksum of word 6 and of everything behind the header, low half first
//! words 11-15  0
//! then         tokens of each segment, 0 up to a multiple of 16
//! then         each segment: its text, its order, 0 up to a multiple of 16
//! ```
//!
//! A reader checks all of it: a file of another kind, version or byte order, a short one, one with a changed bit, and
//! one with a right checksum whose places lie outside are each refused. O(n) to read and to write.

use std::io::{self, Write};
use std::sync::Arc;

use super::history::History;
use super::segment::{Segment, Words};

const MAGIC: &[u8; 16] = b"tokenloom-draft\0";
const VERSION: u32 = 1;
const ALIGNMENT: usize = 16;
const HEADER: usize = 16;
/// Words of the header from here on are 0.
const RESERVED: usize = 11;

/// A file that is no history, or a damaged one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ArchiveError {
    kind: ArchiveErrorKind,
}

/// The reasons behind an [`ArchiveError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveErrorKind {
    /// Another kind of file.
    #[error("expected a file that begins with \"tokenloom-draft\", found another beginning")]
    Foreign,
    /// A version that this program does not know.
    #[error("expected format version {VERSION}, found {version}")]
    Version {
        /// The version found.
        version: u32,
    },
    /// Written on a machine of another byte order.
    #[error("expected the byte order of this machine, found the other one")]
    ByteOrder,
    /// Too short or too long.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// Bytes the header promises.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The header was changed where nothing is kept yet.
    #[error("expected 0 in word {word} of the header, found {found}: the file is damaged")]
    Reserved {
        /// Which of the words.
        word: usize,
        /// What it holds.
        found: u32,
    },
    /// The content was changed.
    #[error("expected checksum {expected:016x}, found {found:016x}: the file is damaged")]
    Checksum {
        /// What the header says.
        expected: u64,
        /// What the content gives.
        found: u64,
    },
    /// Places or tokens that cannot be.
    #[error("expected a sorted text in segment {segment}, found places or tokens out of range")]
    Segment {
        /// Which of the segments.
        segment: usize,
    },
}

impl ArchiveError {
    /// What is wrong, with its numbers.
    pub fn kind(&self) -> &ArchiveErrorKind {
        &self.kind
    }
}

impl From<ArchiveErrorKind> for ArchiveError {
    fn from(kind: ArchiveErrorKind) -> Self {
        Self { kind }
    }
}

/// Writing and reading of histories.
#[derive(Debug)]
pub struct Archive;

impl Archive {
    /// Writes the segments of a history.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write<W: Write>(history: &History, mut out: W) -> io::Result<W> {
        let segments = history.segments();
        let mut table: Vec<u32> = segments.iter().map(|segment| segment.n_tokens() as u32).collect();
        table.resize(table.len().next_multiple_of(ALIGNMENT), 0);
        let padding =
            |segment: &Segment| &[0; ALIGNMENT][..(2 * segment.n_tokens()).wrapping_neg() % ALIGNMENT];
        let mut sections: Vec<&[u32]> = vec![&table];
        for segment in segments.iter() {
            sections.extend([segment.text(), segment.order(), padding(segment)]);
        }
        let mut checksum = Checksum::of_segments(segments.len() as u32);
        sections.iter().for_each(|section| checksum.add(section));
        let n_words = (HEADER + sections.iter().map(|section| section.len()).sum::<usize>()) as u64;
        out.write_all(MAGIC)?;
        let sum = checksum.value();
        let halves = [n_words, sum].map(|value| [value as u32, (value >> 32) as u32]).concat();
        let header = [&[VERSION, 1, segments.len() as u32][..], &halves, &[0; HEADER - RESERVED]].concat();
        for section in std::iter::once(&header[..]).chain(sections) {
            for part in section.chunks(1 << 14) {
                let bytes: Vec<u8> = part.iter().flat_map(|word| word.to_ne_bytes()).collect();
                out.write_all(&bytes)?;
            }
        }
        Ok(out)
    }

    /// Adds the segments in `words`, a file of `n_bytes`, to a history, copied or `in_place`.
    ///
    /// # Errors
    /// [`ArchiveErrorKind`].
    pub fn read(
        words: &Arc<dyn Words>,
        n_bytes: usize,
        in_place: bool,
        history: &History,
    ) -> Result<(), ArchiveError> {
        let all = (**words).as_ref();
        let magic = all.iter().flat_map(|word| word.to_ne_bytes()).take(MAGIC.len());
        if all.len() < HEADER || !magic.eq(MAGIC.iter().copied()) {
            return Err(ArchiveErrorKind::Foreign.into());
        }
        match all[5] {
            1 => {}
            0x0100_0000 => return Err(ArchiveErrorKind::ByteOrder.into()),
            _ => return Err(ArchiveErrorKind::Foreign.into()),
        }
        if all[4] != VERSION {
            return Err(ArchiveErrorKind::Version { version: all[4] }.into());
        }
        let wide = |at: usize| u64::from(all[at]) | u64::from(all[at + 1]) << 32;
        let (expected, found) = (wide(7).saturating_mul(4), n_bytes as u64);
        if expected != found {
            return Err(ArchiveErrorKind::Length { expected, found }.into());
        }
        if let Some(word) = (RESERVED..HEADER).find(|&word| all[word] != 0) {
            return Err(ArchiveErrorKind::Reserved { word, found: all[word] }.into());
        }
        let mut checksum = Checksum::of_segments(all[6]);
        checksum.add(&all[HEADER..]);
        let (expected, found) = (wide(9), checksum.value());
        if expected != found {
            return Err(ArchiveErrorKind::Checksum { expected, found }.into());
        }
        let n_segments = all[6] as usize;
        let table = all[HEADER..].get(..n_segments).ok_or(ArchiveErrorKind::Foreign)?;
        let mut start = HEADER + n_segments.next_multiple_of(ALIGNMENT);
        let mut segments = Vec::with_capacity(n_segments);
        for (segment, &n_tokens) in table.iter().enumerate() {
            let n_tokens = n_tokens as usize;
            let view = Segment::view(Arc::clone(words), start, n_tokens);
            let view = view.ok_or(ArchiveErrorKind::Segment { segment })?;
            segments.push(if in_place { view } else { view.to_owned() });
            start += (2 * n_tokens).next_multiple_of(ALIGNMENT);
        }
        for segment in &segments {
            history.add_segment(segment);
        }
        Ok(())
    }

    /// As [`Archive::read`], of the bytes of a file.
    ///
    /// # Errors
    /// [`ArchiveErrorKind`].
    pub fn read_bytes(bytes: &[u8], history: &History) -> Result<(), ArchiveError> {
        let words = bytes.as_chunks().0.iter().map(|&word| u32::from_ne_bytes(word)).collect::<Vec<_>>();
        let words: Arc<dyn Words> = Arc::new(words);
        Self::read(&words, bytes.len(), false, history)
    }
}

/// Sixty-four bits of a sequence of words, however it is cut.
#[derive(Default)]
struct Checksum {
    state: u64,
    n_words: u64,
}

impl Checksum {
    /// How many segments there are belongs to what is summed.
    fn of_segments(n_segments: u32) -> Self {
        let mut checksum = Self::default();
        checksum.add(&[n_segments]);
        checksum
    }

    fn add(&mut self, words: &[u32]) {
        for &word in words {
            // The product is odd times a bijection of the state, so no single change cancels.
            self.state = (self.state ^ u64::from(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
        }
        self.n_words += words.len() as u64;
    }

    fn value(&self) -> u64 {
        let mixed = (self.state ^ self.n_words).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        mixed ^ (mixed >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes() -> (History, Vec<u8>) {
        let history = History::new(1 << 20);
        for text in [vec![1, 2, 3, 1, 2], vec![], (0..100).collect()] {
            history.add(text);
        }
        let bytes = Archive::write(&history, Vec::new()).unwrap();
        (history, bytes)
    }

    #[test]
    fn a_history_comes_back() {
        let (history, bytes) = bytes();
        let copy = History::new(1 << 20);
        Archive::read_bytes(&bytes, &copy).unwrap();
        assert_eq!(copy.documents(), history.documents());
        assert_eq!(copy.segments().len(), history.segments().len());
        assert_eq!(copy.n_bytes(), history.n_bytes());
        let empty = Archive::write(&History::new(0), Vec::new()).unwrap();
        Archive::read_bytes(&empty, &copy).unwrap();
        assert_eq!(copy.documents(), history.documents());
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_seen() {
        let (_, bytes) = bytes();
        let into = History::new(1 << 20);
        for i in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[i] ^= 1 << bit;
                assert!(Archive::read_bytes(&damaged, &into).is_err(), "bit {bit} of byte {i}");
            }
            assert!(Archive::read_bytes(&bytes[..i], &into).is_err(), "cut at {i}");
        }
        for n_added in 1..9 {
            let longer = [&bytes[..], &[0; 8][..n_added]].concat();
            assert!(Archive::read_bytes(&longer, &into).is_err(), "{n_added} bytes behind the end");
        }
        assert_eq!(into.n_tokens(), 0);
    }

    #[test]
    fn a_right_checksum_does_not_help_wrong_places() {
        let (_, bytes) = bytes();
        let mut words: Vec<u32> = bytes.as_chunks().0.iter().map(|&word| u32::from_ne_bytes(word)).collect();
        let place = words.len() - ALIGNMENT;
        words[HEADER] = 1 << 30;
        let resum = |words: &mut [u32]| {
            let mut checksum = Checksum::of_segments(words[6]);
            checksum.add(&words[HEADER..]);
            (words[9], words[10]) = (checksum.value() as u32, (checksum.value() >> 32) as u32);
        };
        resum(&mut words);
        let read = |words: &[u32]| {
            let words: Arc<dyn Words> = Arc::new(words.to_vec());
            let n_bytes = 4 * (*words).as_ref().len();
            Archive::read(&words, n_bytes, true, &History::new(1 << 20)).unwrap_err()
        };
        assert_eq!(*read(&words).kind(), ArchiveErrorKind::Segment { segment: 0 });
        words[HEADER] = 6;
        words[place - 16] = 1 << 20;
        resum(&mut words);
        assert_eq!(*read(&words).kind(), ArchiveErrorKind::Segment { segment: 2 });
        words[6] = u32::MAX;
        resum(&mut words);
        assert_eq!(*read(&words).kind(), ArchiveErrorKind::Foreign);
        words[4] = 9;
        assert_eq!(*read(&words).kind(), ArchiveErrorKind::Version { version: 9 });
        words[5] = 1 << 24;
        assert_eq!(*read(&words).kind(), ArchiveErrorKind::ByteOrder);
    }
}
