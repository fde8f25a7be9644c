//! What does a SentencePiece `.model` file say?
//!
//! A protocol buffer: the pieces with their scores and types (field 1), how the model was trained (2) and how text is
//! normalized (3, and 5 for decoded text). Everything else, such as self-tests, is skipped. What the fields mean is in
//! [`crate::pieces`]. Linear in the file.

use tokenloom_tokenize::spec::TokenizerSpec;

use crate::error::{FormatError, FormatErrorKind};
use crate::pieces::{Piece, PieceModel, PieceType, Reading};
use crate::proto::{Fields, Wire};
use crate::{Kind, limits};

/// Reads the bytes of a `.model` file.
///
/// # Errors
/// [`FormatError`] of [`Kind::SentencePiece`]: not such a message, a limit, or something unsupported by its name.
pub fn parse(data: &[u8]) -> Result<TokenizerSpec, FormatError> {
    let found = data.len() as u64;
    if found > limits::PIECE_FILE_BYTES {
        let kind = FormatErrorKind::TooLarge { what: "bytes", found, limit: limits::PIECE_FILE_BYTES };
        return Err(FormatError::new(Kind::SentencePiece, "", kind));
    }
    let mut model = PieceModel::new(Kind::SentencePiece, Reading::SentencePiece);
    // The defaults of the format.
    (model.adds_dummy_prefix, model.removes_extra_spaces) = (true, true);
    let mut fields = Fields::new(data, 0);
    while let Some((number, value)) = fields.next()? {
        let Wire::Bytes(message) = value else { continue };
        let start = fields.byte_offset() - message.len();
        match number {
            1 => {
                let piece = piece(message, start)?;
                model.push(piece).map_err(|error| error.at(start as u64))?;
            }
            2 => trainer(Fields::new(message, start), &mut model)?,
            3 => normalizer(Fields::new(message, start), &mut model)?,
            5 => denormalizer(Fields::new(message, start))?,
            _ => {}
        }
    }
    if model.pieces.is_empty() {
        return Err(FormatError::new(
            Kind::SentencePiece,
            "",
            FormatErrorKind::MissingField { field: "pieces" },
        ));
    }
    model.finish()
}

fn text(fields: &Fields<'_>, bytes: &[u8]) -> Result<String, FormatError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| fields.error(FormatErrorKind::NotUtf8))
}

fn piece(message: &[u8], start: usize) -> Result<Piece, FormatError> {
    let mut fields = Fields::new(message, start);
    let mut piece = Piece { text: String::new(), score: 0.0, piece_type: PieceType::Normal };
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Wire::Bytes(bytes)) => piece.text = text(&fields, bytes)?,
            (2, value) => piece.score = value.float().unwrap_or_default(),
            (3, value) => {
                let number = value.integer().unwrap_or_default();
                piece.piece_type = PieceType::from_number(number).ok_or_else(|| {
                    let found = format!("type {number}").into();
                    fields.error(FormatErrorKind::WrongType { expected: "a piece type from 1 to 6", found })
                })?;
            }
            _ => {}
        }
    }
    Ok(piece)
}

fn trainer(mut fields: Fields<'_>, model: &mut PieceModel) -> Result<(), FormatError> {
    while let Some((number, value)) = fields.next()? {
        match number {
            3 => {
                model.is_bpe = match value.integer() {
                    Some(1) => false,
                    Some(2) => true,
                    Some(3) => return Err(unsupported("trainer_spec.model_type", "WORD")),
                    Some(4) => return Err(unsupported("trainer_spec.model_type", "CHAR")),
                    _ => return Err(unsupported("trainer_spec.model_type", "of an unknown number")),
                };
            }
            24 if value.flag() == Some(true) => {
                return Err(unsupported("trainer_spec.treat_whitespace_as_suffix", "true"));
            }
            35 => model.has_byte_fallback = value.flag().unwrap_or_default(),
            44 => model.unknown_surface = text(&fields, value.bytes().unwrap_or_default())?,
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(mut fields: Fields<'_>, model: &mut PieceModel) -> Result<(), FormatError> {
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => model.has_charsmap = value.bytes().is_some_and(|map| !map.is_empty()),
            3 => model.adds_dummy_prefix = value.flag().unwrap_or_default(),
            4 => model.removes_extra_spaces = value.flag().unwrap_or_default(),
            5 if value.flag() == Some(false) => {
                return Err(unsupported("normalizer_spec.escape_whitespaces", "false"));
            }
            _ => {}
        }
    }
    Ok(())
}

fn denormalizer(mut fields: Fields<'_>) -> Result<(), FormatError> {
    while let Some((number, value)) = fields.next()? {
        if number == 2 && value.bytes().is_some_and(|map| !map.is_empty()) {
            return Err(unsupported("denormalizer_spec.precompiled_charsmap", ""));
        }
    }
    Ok(())
}

fn unsupported(path: &str, what: &str) -> FormatError {
    let component = format!("{path} {what}").trim_end().into();
    FormatError::new(Kind::SentencePiece, path, FormatErrorKind::Unsupported { component })
}
