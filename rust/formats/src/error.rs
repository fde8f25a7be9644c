//! What is wrong with a file, and where?

use std::fmt;

use crate::Kind;

/// A file that no tokenizer can be read from, or a tokenizer that a file cannot say.
#[derive(Debug)]
pub struct FormatError {
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    format: Option<Kind>,
    path: Box<str>,
    byte_offset: Option<u64>,
    kind: FormatErrorKind,
}

/// The reasons behind a [`FormatError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// A valid file that uses something not supported.
    #[error("{component} is not supported")]
    Unsupported {
        /// The component as the file names it.
        component: Box<str>,
    },
    /// The kind of the file could not be told from its first bytes.
    #[error("expected a tokenizer file, found bytes of no known kind")]
    UnknownKind,
    /// A limit of [`crate::limits`] is passed.
    #[error("expected at most {limit} {what}, found {found}")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The count found; where counting stopped early, the first count above the limit.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// Arrays or objects inside each other beyond the limit.
    #[error("expected at most {limit} levels of nesting")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The file ends too early.
    #[error("expected {n_missing} more bytes of {what}, found the end of the file")]
    Truncated {
        /// What is cut off.
        what: &'static str,
        /// How many bytes are missing at least.
        n_missing: u64,
    },
    /// Bytes that are no UTF-8 where text is required.
    #[error("expected UTF-8")]
    NotUtf8,
    /// The JSON reader's complaint about the grammar.
    #[error("expected JSON: {message}")]
    Json {
        /// What the JSON reader says.
        message: Box<str>,
    },
    /// A value has another type than required.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// The type required.
        expected: &'static str,
        /// The value found, in words.
        found: Box<str>,
    },
    /// A required field is not there.
    #[error("expected a field {field:?}")]
    MissingField {
        /// The name of the field.
        field: &'static str,
    },
    /// An object has one key twice.
    #[error("key {key:?} is given twice")]
    DuplicateKey {
        /// The key.
        key: Box<str>,
    },
    /// Two entries claim one token id.
    #[error("token id {id} is given twice")]
    DuplicateId {
        /// The id.
        id: u32,
    },
    /// One byte string is given two ids.
    #[error("token {token:?} is given twice")]
    DuplicateToken {
        /// The token, lossily as text.
        token: Box<str>,
    },
    /// One pair of tokens is merged twice.
    #[error("merge {index} repeats an earlier one")]
    DuplicateMerge {
        /// Place in the list, from 0.
        index: usize,
    },
    /// A merge has a part or a result that is no token.
    #[error("merge {index} names {token:?}, which is no token")]
    UnknownMergeToken {
        /// Place in the list, from 0.
        index: usize,
        /// The string that is no token.
        token: Box<str>,
    },
    /// A merge that leads back to its own part, because the other part is empty.
    #[error("merge {index} is cyclic: it joins an empty string")]
    CyclicMerge {
        /// Place in the list, from 0.
        index: usize,
    },
    /// A merge string is not two parts with one space between them.
    #[error("expected two parts with one space between them, found {merge:?}")]
    MalformedMerge {
        /// The string found.
        merge: Box<str>,
    },
    /// A line of a rank file is not `base64 rank`.
    #[error("expected a base64 token, a space and a decimal rank")]
    MalformedLine,
    /// The magic number or the version of a binary file.
    #[error("expected {what} {expected}, found {found}")]
    Unexpected {
        /// What the number is.
        what: &'static str,
        /// The number required.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// Two lists that belong together differ in length.
    #[error("expected {expected} entries, as many as tokens, found {found}")]
    LengthMismatch {
        /// The length required.
        expected: u64,
        /// The length found.
        found: u64,
    },
    /// A special token named elsewhere is not defined.
    #[error("{token:?} is not defined")]
    UndefinedToken {
        /// The name.
        token: Box<str>,
    },
    /// A rank belongs to no single byte although ranks imply a byte vocabulary.
    #[error("byte {byte:#04x} is no token")]
    MissingByte {
        /// The byte.
        byte: u8,
    },
    /// The reader under a binary file failed.
    #[error("cannot read: {message}")]
    Read {
        /// What the operating system says.
        message: Box<str>,
    },
}

impl FormatError {
    pub(crate) fn new(format: Kind, path: impl Into<Box<str>>, kind: FormatErrorKind) -> Self {
        Self { inner: Box::new(Inner { format: Some(format), path: path.into(), byte_offset: None, kind }) }
    }

    pub(crate) fn unknown_kind() -> Self {
        let kind = FormatErrorKind::UnknownKind;
        Self { inner: Box::new(Inner { format: None, path: "".into(), byte_offset: None, kind }) }
    }

    pub(crate) fn at(mut self, byte_offset: u64) -> Self {
        self.inner.byte_offset = Some(byte_offset);
        self
    }

    /// The format the file was read as, if it could be told.
    pub fn format(&self) -> Option<Kind> {
        self.inner.format
    }

    /// Where in the structure of the file: keys and indices, empty for the file as a whole.
    pub fn path(&self) -> &str {
        &self.inner.path
    }

    /// Where in the bytes of the file, if known.
    pub fn byte_offset(&self) -> Option<u64> {
        self.inner.byte_offset
    }

    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &FormatErrorKind {
        &self.inner.kind
    }

    /// The file may be valid but uses something that is not supported.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.inner.kind, FormatErrorKind::Unsupported { .. })
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(format) = self.inner.format {
            write!(f, "{format}: ")?;
        }
        write!(f, "{}", self.inner.kind)?;
        if !self.inner.path.is_empty() {
            write!(f, " at {}", self.inner.path)?;
        }
        if let Some(byte_offset) = self.inner.byte_offset {
            write!(f, " (byte {byte_offset})")?;
        }
        Ok(())
    }
}

impl std::error::Error for FormatError {}
