//! How is the text of a `tokenizer.json` read and written?
//!
//! [`reader`] runs the streaming JSON reader once over the file, [`model`] and [`value`] hold what it finds (long lists
//! flat, small components as values), [`components`] reads the components, [`document`] is all of it together, and
//! [`writer`] is the way back.

pub(crate) mod components;
pub(crate) mod document;
pub(crate) mod model;
pub(crate) mod reader;
pub(crate) mod value;
pub(crate) mod writer;
