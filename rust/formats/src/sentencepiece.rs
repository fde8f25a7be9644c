//! What does a SentencePiece `.model` file say?
//!
//! A protocol buffer: the pieces with their scores and types (field 1), how the model was trained (2) and how text is
//! normalized (3, and 5 for decoded text). Everything else, such as self-tests, is skipped. What the fields mean is in
//! [`crate::pieces`]. Linear in the file.

use tokenloom_tokenize::pipeline::definition::{Definition, Piece, PieceAlgorithm, PieceModel, PieceType};

use crate::error::{FormatError, FormatErrorKind};
use crate::pieces::{PieceFile, Reading, piece_type};
use crate::proto::{Fields, Wire, Writer};
use crate::{Kind, Parsed, limits};

/// Reads the bytes of a `.model` file.
///
/// # Errors
/// [`FormatError`] of [`Kind::SentencePiece`]: not such a message, a limit, or something unsupported by its name.
pub fn parse(data: &[u8]) -> Result<Parsed, FormatError> {
    read(data)?.finish()
}

/// Reads the bytes of a `.model` file as they are.
///
/// # Errors
/// As [`parse`].
pub fn parse_definition(data: &[u8]) -> Result<Definition, FormatError> {
    read(data)?.definition()
}

/// Reads the pieces of a Unigram model, as they are.
///
/// # Errors
/// As [`parse`], and for a model of another algorithm.
pub fn parse_unigram(data: &[u8]) -> Result<PieceModel, FormatError> {
    let model = read(data)?.model;
    match model.algorithm {
        PieceAlgorithm::Unigram => Ok(model),
        _ => Err(unsupported("trainer_spec.model_type", "other than Unigram")),
    }
}

fn read(data: &[u8]) -> Result<PieceFile, FormatError> {
    let found = data.len() as u64;
    if found > limits::PIECE_FILE_BYTES {
        let kind = FormatErrorKind::TooLarge { what: "bytes", found, limit: limits::PIECE_FILE_BYTES };
        return Err(FormatError::new(Kind::SentencePiece, "", kind));
    }
    let mut file = PieceFile::new(Kind::SentencePiece, Reading::SentencePiece);
    // The defaults of the format.
    (file.model.add_dummy_prefix, file.model.remove_extra_whitespaces) = (true, true);
    let mut fields = Fields::new(data, 0);
    while let Some((number, value)) = fields.next()? {
        let Wire::Bytes(message) = value else { continue };
        let start = fields.byte_offset() - message.len();
        match number {
            1 => {
                let piece = piece(message, start)?;
                file.push(piece).map_err(|error| error.at(start as u64))?;
            }
            2 => trainer(Fields::new(message, start), &mut file.model)?,
            3 => normalizer(Fields::new(message, start), &mut file.model)?,
            5 => denormalizer(Fields::new(message, start))?,
            _ => {}
        }
    }
    if file.model.pieces.is_empty() {
        return Err(FormatError::new(
            Kind::SentencePiece,
            "",
            FormatErrorKind::MissingField { field: "pieces" },
        ));
    }
    Ok(file)
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
                piece.piece_type = piece_type(number).ok_or_else(|| {
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
                model.algorithm = match value.integer() {
                    Some(1) => PieceAlgorithm::Unigram,
                    Some(2) => PieceAlgorithm::Bpe,
                    Some(3) => PieceAlgorithm::Word,
                    Some(4) => PieceAlgorithm::Char,
                    _ => return Err(unsupported("trainer_spec.model_type", "of an unknown number")),
                };
            }
            24 => model.treat_whitespace_as_suffix = value.flag().unwrap_or_default(),
            35 => model.byte_fallback = value.flag().unwrap_or_default(),
            44 => model.unknown_surface = text(&fields, value.bytes().unwrap_or_default())?,
            _ => {}
        }
    }
    Ok(())
}

fn normalizer(mut fields: Fields<'_>, model: &mut PieceModel) -> Result<(), FormatError> {
    while let Some((number, value)) = fields.next()? {
        match number {
            2 => model.charsmap = value.bytes().unwrap_or_default().to_vec(),
            3 => model.add_dummy_prefix = value.flag().unwrap_or_default(),
            4 => model.remove_extra_whitespaces = value.flag().unwrap_or_default(),
            5 => model.escape_whitespaces = value.flag().unwrap_or_default(),
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

/// The bytes of a `.model` file that says what `model` says.
pub fn write(model: &PieceModel) -> Vec<u8> {
    let mut file = Writer::default();
    for piece in &model.pieces {
        let mut message = Writer::default();
        message.bytes(1, piece.text.as_bytes());
        message.float(2, piece.score);
        message.integer(3, number_of(piece.piece_type));
        file.bytes(1, &message.finish());
    }
    let mut trainer = Writer::default();
    let algorithm = match model.algorithm {
        PieceAlgorithm::Unigram => 1,
        PieceAlgorithm::Bpe => 2,
        PieceAlgorithm::Word => 3,
        PieceAlgorithm::Char => 4,
    };
    trainer.integer(3, algorithm);
    trainer.integer(24, model.treat_whitespace_as_suffix.into());
    trainer.integer(35, model.byte_fallback.into());
    trainer.bytes(44, model.unknown_surface.as_bytes());
    file.bytes(2, &trainer.finish());
    let mut normalizer = Writer::default();
    normalizer.bytes(2, &model.charsmap);
    normalizer.integer(3, model.add_dummy_prefix.into());
    normalizer.integer(4, model.remove_extra_whitespaces.into());
    normalizer.integer(5, model.escape_whitespaces.into());
    file.bytes(3, &normalizer.finish());
    file.finish()
}

fn number_of(piece_type: PieceType) -> u64 {
    match piece_type {
        PieceType::Normal => 1,
        PieceType::Unknown => 2,
        PieceType::Control => 3,
        PieceType::UserDefined => 4,
        PieceType::Unused => 5,
        PieceType::Byte => 6,
    }
}
