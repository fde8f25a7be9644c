//! What does SentencePiece's compiled map make of a text?
//!
//! The map is a double array (Darts) over UTF-8 bytes, whose values are places in a text of replacements that end with
//! a zero byte. A grapheme of fewer than six bytes is looked up as a whole, and where that fails each of its characters.
//! A look-up returns the value of the shortest key that the string starts with, and the replacement replaces all of it:
//! so it is in Hugging Face `tokenizers`, and published models rely on it.
//!
//! The map comes from an untrusted file: a walk that leaves the array finds nothing.

use unicode_segmentation::UnicodeSegmentation;

use crate::BuildErrorKind;
use crate::pipeline::text::{AlignedText, Change, Misaligned};

/// Graphemes of this many bytes are not looked up as a whole.
const LONG_GRAPHEME_BYTES: usize = 6;

/// A compiled map.
#[derive(Clone, Debug)]
pub(in crate::pipeline) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads the length of the array in bytes, the array, and the replacements.
    pub(in crate::pipeline) fn new(data: &[u8]) -> Result<Self, BuildErrorKind> {
        let malformed = |reason| BuildErrorKind::Charsmap { n_bytes: data.len(), reason };
        let (&size, rest) = data.split_first_chunk::<4>().ok_or(malformed("no size"))?;
        let n_units = u32::from_le_bytes(size) as usize / 4;
        let (array, replacements) =
            rest.split_at_checked(4 * n_units).ok_or(malformed("fewer bytes than its size says"))?;
        let (units, _) = array.as_chunks::<4>();
        let replacements = std::str::from_utf8(replacements)
            .map_err(|_| malformed("replacements that are no UTF-8"))?
            .to_owned();
        Ok(Self { units: units.iter().map(|&unit| u32::from_le_bytes(unit)).collect(), replacements })
    }

    pub(super) fn apply(&self, text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
        let old = text.clone();
        let mut changes: Vec<Change> = Vec::with_capacity(old.len());
        let mut is_changed = false;
        for grapheme in old.as_str().graphemes(true) {
            if grapheme.len() < LONG_GRAPHEME_BYTES
                && let Some(replacement) = self.lookup(grapheme)
            {
                is_changed = true;
                replace(&mut changes, grapheme.chars().count(), replacement);
                continue;
            }
            let mut utf8 = [0; 4];
            for c in grapheme.chars() {
                match self.lookup(c.encode_utf8(&mut utf8)) {
                    Some(replacement) => {
                        is_changed = true;
                        replace(&mut changes, 1, replacement);
                    }
                    None => changes.push((c, 0)),
                }
            }
        }
        if is_changed { text.transform(changes, 0) } else { Ok(()) }
    }

    /// The replacement at the shortest key that `text` starts with.
    fn lookup(&self, text: &str) -> Option<&str> {
        self.keys(text).next().and_then(|(_, start)| self.replacement(start))
    }

    /// The length of the longest key that `text` starts with, and its replacement: SentencePiece's own reading.
    pub(in crate::pipeline) fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let (n_bytes, start) = self.keys(text).last()?;
        Some((n_bytes, self.replacement(start)?))
    }

    /// Every key that `text` starts with, shortest first: its length and where its replacement starts.
    fn keys(&self, text: &str) -> impl Iterator<Item = (usize, usize)> {
        let unit = |at: usize| self.units.get(at).copied();
        let mut at = unit(0).map(child_base);
        let walk = (1..).zip(text.bytes()).map_while(move |(n_bytes, byte)| {
            let place = at? ^ usize::from(byte);
            let node = unit(place)?;
            if byte == 0 || node & (1 << 31 | 0xFF) != u32::from(byte) {
                return None;
            }
            let place = place ^ child_base(node);
            at = Some(place);
            let value = (node >> 8 & 1 == 1).then(|| unit(place)).flatten();
            Some(value.map(|value| (n_bytes, (value & !(1 << 31)) as usize)))
        });
        walk.flatten()
    }

    fn replacement(&self, start: usize) -> Option<&str> {
        self.replacements.get(start..)?.split('\0').next()
    }
}

/// What a node adds (exclusively) to its place to get to its children.
fn child_base(node: u32) -> usize {
    ((node >> 10) << ((node & 1 << 9) >> 6)) as usize
}

/// `n_old` characters become `new`: surplus new ones are insertions, surplus old ones go with the last character that
/// there is, be it of an earlier change.
fn replace(changes: &mut Vec<Change>, n_old: usize, new: &str) {
    let n_before = changes.len();
    changes.extend(new.chars().map(|c| (c, 0)));
    let n_new = changes.len() - n_before;
    for (_, change) in changes.iter_mut().rev().take(n_new.saturating_sub(n_old)) {
        *change = 1;
    }
    if let Some((_, change)) = changes.last_mut() {
        *change -= n_old.saturating_sub(n_new) as isize;
    }
}
