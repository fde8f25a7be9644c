//! How does a long job keep on disk what memory does not hold?
//!
//! File input and output behind traits that `tokenize` defines. A file appears whole or not at all: it is written beside
//! its place, flushed to the disk and renamed.

mod mapped;
mod whole_file;
mod words;

pub use mapped::read_words;
pub use whole_file::write_whole;
pub use words::SpilledWords;
