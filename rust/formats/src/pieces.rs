//! What tokenizer are pieces with scores?
//!
//! SentencePiece models and the `llama` vocabularies of GGUF files are lists of pieces: text in which U+2581 stands for a
//! space, a score, a type. BPE joins two neighbours whose text together is a piece, the highest score first, leftmost on
//! ties. So every cut of a piece into two pieces is a merge, and equal scores are equal ranks. With a token for every byte
//! this is the compiled machine's model.
//!
//! Unigram models, character maps, removed spaces, models without byte tokens and a few more things make a model that is
//! interpreted as the `sentencepiece` library does it.
//!
//! Control pieces are never produced from text: they become special added tokens, user-defined ones added tokens that
//! always match. Cutting costs the length of a piece squared, which [`limits::TOKEN_BYTES`] bounds.

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::pipeline::definition::{
    Definition, Model, Piece, PieceAlgorithm, PieceModel, PieceType,
};
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

/// The type that a file gives by its number.
pub(crate) fn piece_type(number: i64) -> Option<PieceType> {
    Some(match number {
        1 => PieceType::Normal,
        2 => PieceType::Unknown,
        3 => PieceType::Control,
        4 => PieceType::UserDefined,
        5 => PieceType::Unused,
        6 => PieceType::Byte,
        _ => return None,
    })
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
pub(crate) struct PieceFile {
    format: Kind,
    reading: Reading,
    pub(crate) model: PieceModel,
    pub(crate) template: Template,
}

const SPACE_MARK: char = '\u{2581}';

impl PieceFile {
    pub(crate) fn new(format: Kind, reading: Reading) -> Self {
        Self {
            format,
            reading,
            model: PieceModel {
                pieces: Vec::new(),
                algorithm: PieceAlgorithm::default(),
                byte_fallback: false,
                unknown_surface: " \u{2047} ".to_owned(),
                charsmap: Vec::new(),
                add_dummy_prefix: false,
                remove_extra_whitespaces: false,
                escape_whitespaces: true,
                treat_whitespace_as_suffix: false,
            },
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
        let path = format!("pieces[{}]", self.model.pieces.len());
        for (what, found, limit) in [
            ("bytes in one token", piece.text.len() as u64, limits::TOKEN_BYTES),
            ("tokens", self.model.pieces.len() as u64 + 1, limits::TOKENS),
        ] {
            if found > limit {
                return Err(self.error(path, FormatErrorKind::TooLarge { what, found, limit }));
            }
        }
        if piece.text.is_empty() && piece.piece_type == PieceType::Normal {
            let found = "an empty piece".into();
            return Err(self.error(path, FormatErrorKind::WrongType { expected: "text", found }));
        }
        self.model.pieces.push(piece);
        Ok(())
    }

    /// The tokenizer of the list: compiled if that is exact, interpreted if there is a program that reads the list so.
    pub(crate) fn finish(self) -> Result<Parsed, FormatError> {
        match self.compiled() {
            Ok(spec) => Ok(Parsed::Spec(spec)),
            Err(reason) if reason.is_unsupported() && self.reading == Reading::SentencePiece => {
                Ok(Parsed::Definition(Box::new(self.definition()?), Box::new(reason)))
            }
            Err(error) => Err(error),
        }
    }

    /// The list as it is, for the machine that reads it as `sentencepiece` does.
    pub(crate) fn definition(self) -> Result<Definition, FormatError> {
        let by_text = self.by_text()?;
        let of_type = |wanted| self.model.pieces.iter().filter(move |piece| piece.piece_type == wanted);
        match of_type(PieceType::Unknown).count() {
            1 => {}
            0 => return Err(self.error("pieces", FormatErrorKind::MissingField { field: "unknown piece" })),
            n_unknown => {
                let found = format!("{n_unknown} unknown pieces").into();
                return Err(self.error("pieces", FormatErrorKind::WrongType { expected: "one", found }));
            }
        }
        let n_bytes = of_type(PieceType::Byte).count();
        let is_whole = self.byte_tokens(&by_text).is_some() && n_bytes == 256;
        drop(by_text);
        if self.model.byte_fallback && !is_whole || !self.model.byte_fallback && n_bytes > 0 {
            let found = format!("{n_bytes} byte pieces").into();
            let expected = "a piece for every byte with byte_fallback, none without";
            return Err(self.error("pieces", FormatErrorKind::WrongType { expected, found }));
        }
        let control = |(piece, id): (&Piece, TokenId)| {
            (piece.piece_type == PieceType::Control).then(|| added_token(id, piece, true))
        };
        Ok(Definition {
            truncation: None,
            padding: None,
            added_tokens: self.model.pieces.iter().zip(0..).filter_map(control).collect(),
            normalizer: None,
            pre_tokenizer: None,
            post_processor: None,
            decoder: None,
            model: Model::Pieces(Box::new(self.model)),
        })
    }

    /// The list for the compiled machine.
    pub(crate) fn compiled(&self) -> Result<TokenizerSpec, FormatError> {
        let is_spaced = |piece: &Piece| {
            let is_user = piece.piece_type == PieceType::UserDefined;
            is_user && self.reading == Reading::SentencePiece && piece.text.contains([' ', SPACE_MARK])
        };
        let model = &self.model;
        let refused = [
            (model.algorithm != PieceAlgorithm::Bpe, "trainer_spec.model_type", "other than BPE"),
            (model.treat_whitespace_as_suffix, "trainer_spec.treat_whitespace_as_suffix", "true"),
            (!model.charsmap.is_empty(), "normalizer_spec.precompiled_charsmap", ""),
            (model.remove_extra_whitespaces, "normalizer_spec.remove_extra_whitespaces", "true"),
            (!model.escape_whitespaces, "normalizer_spec.escape_whitespaces", "false"),
            (model.pieces.iter().any(is_spaced), "pieces", "that the user defined with a space"),
        ];
        if let Some((_, path, what)) = refused.into_iter().find(|(is_set, ..)| *is_set) {
            return Err(self.unsupported(path, what));
        }
        let by_text = self.by_text()?;
        let unknown = model
            .pieces
            .iter()
            .position(|piece| piece.piece_type == PieceType::Unknown)
            .map(|id| id as TokenId);
        if let Some(id) = model.pieces.iter().position(|piece| piece.piece_type == PieceType::Unused)
            && self.reading == Reading::SentencePiece
        {
            return Err(self.unsupported(&format!("pieces[{id}].type"), "UNUSED"));
        }
        if self.byte_tokens(&by_text).is_none() {
            return Err(self.unsupported("trainer_spec.byte_fallback", "without a piece for every byte"));
        }
        // Stored as a space, it would fall back to one byte instead of three.
        let mark = by_text.get(SPACE_MARK.encode_utf8(&mut [0; 4]) as &str);
        let is_made = mark.is_some_and(|&id| self.is_made(&model.pieces[id as usize]));
        if self.reading == Reading::SentencePiece && !is_made {
            return Err(self.unsupported("pieces", "without U+2581"));
        }
        self.spec(&by_text, unknown)
    }

    fn by_text(&self) -> Result<HashMap<&str, TokenId, FxBuildHasher>, FormatError> {
        let mut by_text = HashMap::with_capacity_and_hasher(self.model.pieces.len(), FxBuildHasher);
        for (piece, id) in self.model.pieces.iter().zip(0..) {
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
            let is_byte = self.model.pieces[id as usize].piece_type == PieceType::Byte;
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
        let mut scored: Vec<(f32, Merge)> = Vec::with_capacity(self.model.pieces.len() * 2);
        let made = |text: &str| {
            by_text.get(text).copied().filter(|&id| self.is_made(&self.model.pieces[id as usize]))
        };
        let is_one_character = |text: &str| text.chars().nth(1).is_none();
        for (piece, result) in self.model.pieces.iter().zip(0..) {
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
            (!piece.text.is_empty()).then(|| added_token(id, piece, special))
        };
        self.model.pieces.iter().zip(0..).filter_map(added).collect()
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
                strip_space: self.model.add_dummy_prefix,
                invalid: match self.reading {
                    Reading::SentencePiece => InvalidRun::Pieces,
                    Reading::LlamaCpp => InvalidRun::Bytes,
                },
            },
            template: self.template.clone(),
            ..TokenizerSpec::default()
        };
        match (self.model.add_dummy_prefix, self.reading) {
            (false, _) => {}
            (true, Reading::LlamaCpp) => spec.normalizers.insert(0, Normalizer::PrependSpace),
            (true, Reading::SentencePiece) => spec.normalizers.insert(0, Normalizer::PrependFirst),
        }
        for (piece, id) in self.model.pieces.iter().zip(0..) {
            let bytes = piece.text.replace(SPACE_MARK, " ").into_bytes().into_boxed_slice();
            match piece.piece_type {
                PieceType::Byte => {}
                PieceType::Unknown if self.reading == Reading::SentencePiece => {
                    // Of several unknown pieces text becomes the first.
                    let surface = if Some(id) == unknown { &self.model.unknown_surface } else { &piece.text };
                    spec.decode_only.push((id, surface.as_bytes().into()));
                }
                PieceType::Normal if piece.text.contains(' ') => spec.decode_only.push((id, bytes)),
                _ if self.is_made(piece) => spec.tokens.push(id, bytes),
                PieceType::Unused => spec.decode_only.push((id, bytes)),
                _ => {}
            }
        }
        let is_spaced = |id: TokenId| self.model.pieces[id as usize].text.contains(' ');
        if let Some((id, _)) = spec.decode_only.iter().find(|&&(id, _)| Some(id) != unknown)
            && self.reading == Reading::SentencePiece
        {
            return Err(self.unsupported(&format!("pieces[{id}]"), "with a space"));
        }
        if let Some(merge) = spec.merges.iter().find(|merge| is_spaced(merge.result)) {
            return Err(self.unsupported(&format!("pieces[{}]", merge.result), "with a space"));
        }
        Ok(spec)
    }
}

fn added_token(id: TokenId, piece: &Piece, special: bool) -> AddedToken {
    AddedToken {
        id,
        content: piece.text.clone(),
        special,
        normalized: false,
        lstrip: false,
        rstrip: false,
        single_word: false,
    }
}
