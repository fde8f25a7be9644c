//! What tokens exist?
//!
//! Ids, the bytes each id stands for, and the added tokens that are matched before the model runs. No text processing
//! and no input or output happen here: every other room builds on these tables.
//!
//! ```
//! use tokenloom_vocab::TokenTable;
//! let table = TokenTable::new([(0, b"a".as_slice()), (1, b"b"), (7, b"ab")]).unwrap();
//! assert_eq!(table.id(b"ab"), Some(7));
//! assert_eq!(table.bytes(1), Some(b"b".as_slice()));
//! assert_eq!(table.id_bound(), 8);
//! ```
#![forbid(unsafe_code)]

mod added;
mod bytes;
mod error;
mod id;
mod list;
mod mask;
mod table;
mod trie;

pub use added::AddedToken;
pub use bytes::TokenBytes;
pub use error::{VocabError, VocabErrorKind};
pub use id::{Rank, TokenId};
pub use list::TokenList;
pub use mask::TokenMask;
pub use table::TokenTable;
pub use trie::{ByteTrie, TrieNode};
