//! How large may a file make us?
//!
//! Every count that a file states is checked against one of these before memory is reserved for it, so that a short
//! file cannot ask for a long allocation. Each is several times above the largest tokenizer in public use.

use crate::error::FormatErrorKind;

/// Bytes of a `tokenizer.json`. The largest published one has 33 MB.
pub const JSON_FILE_BYTES: u64 = 256 << 20;

/// Bytes of a tiktoken rank file. The largest published one has 5 MB; all splits of all tokens are looked up.
pub const RANK_FILE_BYTES: u64 = 64 << 20;

/// Bytes of a SentencePiece model. The largest published one has 7 MB.
pub const PIECE_FILE_BYTES: u64 = 64 << 20;

/// Bytes read from the front of a GGUF file: its metadata, never its tensors.
pub const GGUF_METADATA_BYTES: u64 = 256 << 20;

/// Arrays and objects inside each other in JSON. The JSON reader is recursive and keeps this limit itself.
pub const JSON_DEPTH: usize = 128;

/// Values in one component of a `tokenizer.json` (normalizer, pretokenizer, ...). Real ones have fewer than 100.
pub const COMPONENT_VALUES: u64 = 1 << 16;

/// Bytes of one token. The longest tokens in use are runs of a few hundred spaces.
pub const TOKEN_BYTES: u64 = 4096;

/// Bytes of one token of a rank file: its splits cost the square of this.
pub const RANK_TOKEN_BYTES: u64 = 1024;

/// Tokens of the model. The largest vocabulary in use has about a million.
pub const TOKENS: u64 = 1 << 22;

/// Token ids are below this, since tables are indexed by id.
pub const TOKEN_IDS: u64 = 1 << 24;

/// Merges. The largest list in use has half a million; 12 bytes are kept of each.
pub const MERGES: u64 = 1 << 24;

/// Added tokens, each of which is a pattern of one automaton.
pub const ADDED_TOKENS: u64 = 1 << 20;

/// Keys of a GGUF file.
pub const GGUF_KEYS: u64 = 1 << 16;

/// Arrays inside each other in GGUF. No tokenizer key nests at all.
pub const GGUF_DEPTH: usize = 4;

/// Refuses a count above its limit.
pub(crate) fn check_length(what: &'static str, found: u64, limit: u64) -> Result<(), FormatErrorKind> {
    if found > limit { Err(FormatErrorKind::TooLarge { what, found, limit }) } else { Ok(()) }
}
