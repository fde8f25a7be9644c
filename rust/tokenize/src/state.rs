//! How does a tokenizer travel between processes?
//!
//! A versioned flat image of the specification, for pickling: little-endian integers, lengths before lists, fields in
//! the order below. Not a file format: only the same layout reads it back. The reader trusts nothing: a list is no
//! longer than the bytes that are left, so a damaged image is an error and costs memory in proportion to its size.

use tokenloom_vocab::{AddedToken, TokenList};

use crate::spec::{
    Decoder, InvalidRun, Merge, Normalizer, PrependScheme, Pretokenizer, Ranks, SplitBehavior, SplitPattern,
    Symbols, Template, TokenizerSpec,
};

/// First bytes of an image: a name and the number of this layout.
const MAGIC: [u8; 8] = *b"tkloom\0\x04";

/// An image that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the pickled state of a tokenizer of this version, from byte {byte_offset}")]
pub struct StateError {
    /// Where reading stopped.
    pub byte_offset: usize,
}

impl TokenizerSpec {
    /// The image of this specification.
    pub fn to_state(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        self.put(&mut out);
        out
    }

    /// The specification of an image.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are not a whole image of this layout.
    pub fn from_state(bytes: &[u8]) -> Result<Self, StateError> {
        let mut reader = Reader { bytes, at: 0 };
        let spec = (reader.take(MAGIC.len()) == Some(&MAGIC)).then(|| Self::get(&mut reader)).flatten();
        spec.filter(|_| reader.at == bytes.len()).ok_or(StateError { byte_offset: reader.at })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }
}

/// A part of the image.
trait Field: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(reader: &mut Reader<'_>) -> Option<Self>;
}

impl Field for u32 {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self::from_le_bytes(reader.take(4)?.try_into().ok()?))
    }
}

impl Field for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        match reader.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl Field for Box<[u8]> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self);
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        let length = u32::get(reader)? as usize;
        reader.take(length).map(Self::from)
    }
}

impl Field for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        Self::from_utf8(Box::<[u8]>::get(reader)?.into_vec()).ok()
    }
}

impl Field for TokenList {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        for (id, bytes) in self.iter() {
            id.put(out);
            (bytes.len() as u32).put(out);
            out.extend_from_slice(bytes);
        }
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        let mut tokens = Self::new();
        for _ in 0..u32::get(reader)? {
            let (id, length) = (u32::get(reader)?, u32::get(reader)?);
            tokens.push(id, reader.take(length as usize)?);
        }
        tokens.shrink_to_fit();
        Some(tokens)
    }
}

impl<T: Field> Field for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|item| item.put(out));
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        let length = u32::get(reader)?;
        (0..length).map(|_| T::get(reader)).collect()
    }
}

impl<A: Field, B: Field> Field for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn get(reader: &mut Reader<'_>) -> Option<Self> {
        Some((A::get(reader)?, B::get(reader)?))
    }
}

macro_rules! record {
    ($type:ident { $($field:ident),* }) => {
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }

            fn get(reader: &mut Reader<'_>) -> Option<Self> {
                Some(Self { $($field: Field::get(reader)?),* })
            }
        }
    };
}

macro_rules! choice {
    ($type:ident { $($tag:literal = $variant:ident $(($inner:ident))? $({ $($field:ident),* })?),* }) => {
        impl Field for $type {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($inner))? $({ $($field),* })? => {
                        out.push($tag);
                        $($inner.put(out);)?
                        $($($field.put(out);)*)?
                    })*
                }
            }

            fn get(reader: &mut Reader<'_>) -> Option<Self> {
                match reader.take(1)? {
                    $([$tag] => {
                        $(let $inner = Field::get(reader)?;)?
                        $($(let $field = Field::get(reader)?;)*)?
                        Some(Self::$variant $(($inner))? $({ $($field),* })?)
                    })*
                    _ => None,
                }
            }
        }
    };
}

record!(TokenizerSpec {
    tokens,
    decode_only,
    merges,
    ranks,
    ignore_merges,
    symbols,
    added_tokens,
    normalizers,
    pretokenizers,
    decoder,
    template,
    trim_offsets,
    trim_keeps_first_space
});
record!(Merge { left, right, result });
record!(AddedToken { id, content, special, normalized, lstrip, rstrip, single_word });
record!(Template { prefix, suffix });
choice!(Ranks { 0 = ByPlace, 1 = ByResult, 2 = Given(ranks), 3 = Splits });
choice!(Symbols { 0 = Bytes, 1 = Characters { byte_tokens } });
choice!(Decoder { 0 = Bytes, 1 = ByteFallback { strip_space, invalid } });
choice!(InvalidRun { 0 = Whole, 1 = Bytes, 2 = Pieces });
choice!(Normalizer { 0 = Nfc, 1 = PrependSpace, 2 = SpaceMark, 3 = PrependFirst });
choice!(PrependScheme { 0 = First, 1 = Never, 2 = Always });
choice!(Pretokenizer {
    0 = Split { pattern, behavior, invert },
    1 = Digits { individual },
    2 = ByteLevel { add_prefix_space, use_regex },
    3 = Metaspace { prepend, split }
});
choice!(SplitPattern { 0 = Regex(text), 1 = Literal(text) });
choice!(SplitBehavior { 0 = Isolated, 1 = Removed, 2 = MergedWithPrevious, 3 = MergedWithNext, 4 = Contiguous });

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> TokenizerSpec {
        let added = AddedToken {
            id: 300,
            content: "<|é|>".into(),
            special: true,
            normalized: false,
            lstrip: true,
            rstrip: false,
            single_word: true,
        };
        let split = Pretokenizer::Split {
            pattern: SplitPattern::Regex(r"\s+".into()),
            behavior: SplitBehavior::MergedWithNext,
            invert: true,
        };
        TokenizerSpec {
            tokens: [(0, b"a"), (7, b"\xff")].into_iter().collect(),
            merges: vec![Merge { left: 1, right: 2, result: 3 }],
            ranks: Ranks::Given(vec![0]),
            added_tokens: vec![added],
            symbols: Symbols::Characters { byte_tokens: vec![4, 5] },
            decoder: Decoder::ByteFallback { strip_space: true, invalid: InvalidRun::Bytes },
            normalizers: vec![Normalizer::Nfc, Normalizer::SpaceMark],
            pretokenizers: vec![
                split,
                Pretokenizer::ByteLevel { add_prefix_space: true, use_regex: false },
                Pretokenizer::Metaspace { prepend: PrependScheme::First, split: true },
            ],
            template: Template { prefix: vec![1], suffix: vec![] },
            trim_offsets: true,
            ..TokenizerSpec::default()
        }
    }

    #[test]
    fn an_image_reads_back_and_every_cut_of_it_is_an_error() {
        let image = spec().to_state();
        assert_eq!(TokenizerSpec::from_state(&image).unwrap().to_state(), image);
        for end in 0..image.len() {
            assert!(TokenizerSpec::from_state(&image[..end]).is_err(), "cut at {end}");
        }
        assert!(TokenizerSpec::from_state(&[image, vec![0]].concat()).is_err());
    }

    #[test]
    fn a_length_beyond_the_image_costs_nothing() {
        let mut image = spec().to_state();
        image[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(TokenizerSpec::from_state(&image).is_err());
    }
}
