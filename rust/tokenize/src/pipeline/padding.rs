//! How do the encodings of a batch become equally long?

use super::definition::Padding;
use super::encoding::{Encoding, Filling};

impl Padding {
    /// The length that encodings with these numbers of ids are filled to.
    pub fn target(&self, lengths: impl IntoIterator<Item = usize>) -> usize {
        let length = self.length.unwrap_or_else(|| lengths.into_iter().max().unwrap_or(0));
        match self.pad_to_multiple_of {
            Some(multiple) if multiple > 0 => length.div_ceil(multiple).saturating_mul(multiple),
            _ => length,
        }
    }

    /// What encodings are filled with; without the token string where they are plain.
    pub fn filling(&self, is_plain: bool) -> Filling<'_> {
        Filling {
            id: self.pad_id,
            type_id: self.pad_type_id,
            token: (!is_plain).then_some(&self.pad_token),
            side: self.direction,
        }
    }
}

/// Fills all encodings, and their overflowing parts, to one length. Gives that length.
pub fn pad(encodings: &mut [Encoding], padding: &Padding, is_plain: bool) -> usize {
    let length = padding.target(encodings.iter().map(Encoding::len));
    for encoding in encodings {
        encoding.pad(length, padding.filling(is_plain));
    }
    length
}
