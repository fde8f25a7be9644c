//! What tokenizer are pieces with scores?
//!
//! SentencePiece models and the `llama` vocabularies of GGUF files are lists of pieces: text in which U+2581 stands for a
//! space, a score, a type. BPE joins two neighbours whose text together is a piece, the highest score first, leftmost on
//! ties. So every cut of a piece into two pieces is a merge, and equal scores are equal ranks. With a token for every byte
//! this is the compiled machine's model.
//!
//! Unigram models, character maps, removed spaces and models without byte tokens are refused: SentencePiece's own reading of
//! them is not that of `tokenizer.json`, which is all that the interpreting machine knows.
//!
//! Control pieces are never produced from text: they become special added tokens, user-defined ones added tokens that
//! always match. Cutting costs the length of a piece squared, which [`limits::TOKEN_BYTES`] bounds.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::pipeline::definition::Definition;
use tokenloom_tokenize::spec::{
    Decoder, InvalidRun, Merge, Normalizer, Ranks, Symbols, Template, TokenizerSpec,
};
use tokenloom_vocab::{AddedToken, TokenId};

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, limits};

/// What a file became: a specification for the compiled machine, or a definition for the one that interprets it.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one, and it is taken apart at once")]
pub enum Parsed {
    /// The compiled machine gives exactly what the file says.
    Spec(TokenizerSpec),
    /// Every step as it is, and why it is not compiled.
    Definition(Box<Definition>, Box<FormatError>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceType {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl PieceType {
    pub(crate) fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) score: f32,
    pub(crate) piece_type: PieceType,
}

/// Whose reading of a piece list holds where two programs differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// One space before the whole text; an unknown piece decodes to its surface; nothing is put around the text.
    SentencePiece,
    /// A space before the text and behind every added token.
    LlamaCpp,
}

/// A list of pieces and how text is prepared for it.
#[derive(Clone, Debug)]
pub(crate) struct PieceModel {
    format: Kind,
    reading: Reading,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) is_bpe: bool,
    pub(crate) has_byte_fallback: bool,
    pub(crate) adds_dummy_prefix: bool,
    pub(crate) removes_extra_spaces: bool,
    pub(crate) has_charsmap: bool,
    pub(crate) unknown_surface: String,
    pub(crate) template: Template,
}

const SPACE_MARK: char = '\u{2581}';

impl PieceModel {
    pub(crate) fn new(format: Kind, reading: Reading) -> Self {
        Self {
            format,
            reading,
            pieces: Vec::new(),
            is_bpe: false,
            has_byte_fallback: false,
            adds_dummy_prefix: false,
            removes_extra_spaces: false,
            has_charsmap: false,
            unknown_surface: " \u{2047} ".to_owned(),
            template: Template::default(),
        }
    }

    fn error(&self, path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
        FormatError::new(self.format, path, kind)
    }

    fn unsupported(&self, path: &str, what: &str) -> FormatError {
        let component = format!("{path} {what}").trim_end().into();
        self.error(path, FormatErrorKind::Unsupported { component })
    }

    pub(crate) fn push(&mut self, piece: Piece) -> Result<(), FormatError> {
        let path = format!("pieces[{}]", self.pieces.len());
        for (what, found, limit) in [
            ("bytes in one token", piece.text.len() as u64, limits::TOKEN_BYTES),
            ("tokens", self.pieces.len() as u64 + 1, limits::TOKENS),
        ] {
            if found > limit {
                return Err(self.error(path, FormatErrorKind::TooLarge { what, found, limit }));
            }
        }
        if piece.text.is_empty() && piece.piece_type == PieceType::Normal {
            let found = "an empty piece".into();
            return Err(self.error(path, FormatErrorKind::WrongType { expected: "text", found }));
        }
        self.pieces.push(piece);
        Ok(())
    }

    /// The tokenizer of the list.
    pub(crate) fn finish(self) -> Result<TokenizerSpec, FormatError> {
        let refused = [
            (!self.is_bpe, "trainer_spec.model_type", "UNIGRAM"),
            (self.has_charsmap, "normalizer_spec.precompiled_charsmap", ""),
            (self.removes_extra_spaces, "normalizer_spec.remove_extra_whitespaces", "true"),
        ];
        if let Some((_, path, what)) = refused.into_iter().find(|(is_set, ..)| *is_set) {
            return Err(self.unsupported(path, what));
        }
        let by_text = self.by_text()?;
        let unknown = self
            .pieces
            .iter()
            .position(|piece| piece.piece_type == PieceType::Unknown)
            .map(|id| id as TokenId);
        if let Some(id) = self.pieces.iter().position(|piece| piece.piece_type == PieceType::Unused)
            && self.reading == Reading::SentencePiece
        {
            return Err(self.unsupported(&format!("pieces[{id}].type"), "UNUSED"));
        }
        if self.byte_tokens(&by_text).is_none() {
            return Err(self.unsupported("trainer_spec.byte_fallback", "without a piece for every byte"));
        }
        self.spec(&by_text, unknown)
    }

    fn by_text(&self) -> Result<HashMap<&str, TokenId, FxBuildHasher>, FormatError> {
        let mut by_text = HashMap::with_capacity_and_hasher(self.pieces.len(), FxBuildHasher);
        for (piece, id) in self.pieces.iter().zip(0..) {
            if by_text.insert(piece.text.as_str(), id).is_some() && !piece.text.is_empty() {
                let kind = FormatErrorKind::DuplicateToken { token: piece.text.as_str().into() };
                return Err(self.error(format!("pieces[{id}]"), kind));
            }
        }
        Ok(by_text)
    }

    fn byte_tokens(&self, by_text: &HashMap<&str, TokenId, FxBuildHasher>) -> Option<Vec<TokenId>> {
        let id = |byte: u8| {
            let id = by_text.get(format!("<0x{byte:02X}>").as_str()).copied()?;
            let is_byte = self.pieces[id as usize].piece_type == PieceType::Byte;
            is_byte.then_some(id)
        };
        (0..=255).map(id).collect()
    }

    /// Whether merging may produce the piece.
    fn is_made(&self, piece: &Piece) -> bool {
        match piece.piece_type {
            PieceType::Normal => true,
            PieceType::Byte => false,
            // The other program joins whatever is in its list.
            _ => self.reading == Reading::LlamaCpp && !piece.text.is_empty(),
        }
    }

    /// Every cut of a piece into two pieces, the highest score first, and the groups of equal scores.
    fn merges(
        &self,
        by_text: &HashMap<&str, TokenId, FxBuildHasher>,
    ) -> Result<(Vec<Merge>, Vec<u32>), FormatError> {
        let mut scored: Vec<(f32, Merge)> = Vec::with_capacity(self.pieces.len() * 2);
        let made =
            |text: &str| by_text.get(text).copied().filter(|&id| self.is_made(&self.pieces[id as usize]));
        let is_one_character = |text: &str| text.chars().nth(1).is_none();
        for (piece, result) in self.pieces.iter().zip(0..) {
            if !self.is_made(piece) {
                continue;
            }
            for (at, _) in piece.text.char_indices().skip(1) {
                let (left, right) = piece.text.split_at(at);
                match (made(left), made(right)) {
                    (Some(left), Some(right)) => {
                        scored.push((piece.score + 0.0, Merge { left, right, result }));
                    }
                    // A character that is no piece would be joined, too, but has no id to be known by.
                    (a, b)
                        if piece.piece_type == PieceType::Normal
                            && (a.is_some() || is_one_character(left))
                            && (b.is_some() || is_one_character(right)) =>
                    {
                        let path = format!("pieces[{result}]");
                        return Err(self.unsupported(&path, "with a character that is no piece"));
                    }
                    _ => {}
                }
            }
            if scored.len() as u64 > limits::MERGES {
                let (found, limit) = (scored.len() as u64, limits::MERGES);
                return Err(self.error("pieces", FormatErrorKind::TooLarge { what: "splits", found, limit }));
            }
        }
        scored.sort_by(|(a, left), (b, right)| {
            let places = |merge: &Merge| (merge.result, merge.left, merge.right);
            b.total_cmp(a).then_with(|| places(left).cmp(&places(right)))
        });
        let mut groups = Vec::with_capacity(scored.len());
        let mut group = 0;
        for (index, (score, _)) in scored.iter().enumerate() {
            group += u32::from(index > 0 && *score != scored[index - 1].0);
            groups.push(group);
        }
        Ok((scored.into_iter().map(|(_, merge)| merge).collect(), groups))
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = |(piece, id): (&Piece, TokenId)| {
            let special = match piece.piece_type {
                PieceType::Control => true,
                PieceType::UserDefined => false,
                PieceType::Unknown if self.reading == Reading::LlamaCpp => true,
                _ => return None,
            };
            (!piece.text.is_empty()).then(|| AddedToken {
                id,
                content: piece.text.clone(),
                special,
                normalized: false,
                lstrip: false,
                rstrip: false,
                single_word: false,
            })
        };
        self.pieces.iter().zip(0..).filter_map(added).collect()
    }

    fn spec(
        &self,
        by_text: &HashMap<&str, TokenId, FxBuildHasher>,
        unknown: Option<TokenId>,
    ) -> Result<TokenizerSpec, FormatError> {
        let (merges, groups) = self.merges(by_text)?;
        let byte_tokens = self.byte_tokens(by_text).unwrap_or_default();
        let mut spec = TokenizerSpec {
            merges,
            ranks: Ranks::Given(groups),
            symbols: Symbols::Characters { byte_tokens },
            added_tokens: self.added_tokens(),
            normalizers: vec![Normalizer::SpaceMark],
            decoder: Decoder::ByteFallback {
                strip_space: self.adds_dummy_prefix,
                invalid: InvalidRun::Bytes,
            },
            template: self.template.clone(),
            ..TokenizerSpec::default()
        };
        match (self.adds_dummy_prefix, self.reading) {
            (false, _) => {}
            (true, Reading::LlamaCpp) => spec.normalizers.insert(0, Normalizer::PrependSpace),
            (true, Reading::SentencePiece) => spec.normalizers.insert(0, Normalizer::PrependFirst),
        }
        for (piece, id) in self.pieces.iter().zip(0..) {
            let bytes = piece.text.replace(SPACE_MARK, " ").into_bytes().into_boxed_slice();
            match piece.piece_type {
                PieceType::Byte => {}
                PieceType::Unknown if self.reading == Reading::SentencePiece => {
                    // Of several unknown pieces text becomes the first.
                    let surface = if Some(id) == unknown { &self.unknown_surface } else { &piece.text };
                    spec.decode_only.push((id, surface.as_bytes().into()));
                }
                PieceType::Normal if piece.text.contains(' ') => spec.decode_only.push((id, bytes)),
                _ if self.is_made(piece) => spec.tokens.push(id, bytes),
                PieceType::Unused => spec.decode_only.push((id, bytes)),
                _ => {}
            }
        }
        let is_spaced = |id: TokenId| self.pieces[id as usize].text.contains(' ');
        if let Some(merge) = spec.merges.iter().find(|merge| is_spaced(merge.result)) {
            return Err(self.unsupported(&format!("pieces[{}]", merge.result), "with a space"));
        }
        Ok(spec)
    }
}
