//! How is the text of a `tokenizer.json` read and written?
//!
//! [`reader`] runs the streaming JSON reader once over the file, [`model`], with [`vocab`] and [`merges`], and [`value`] hold
//! what it finds (long lists flat, small components as values), [`components`] reads the components, [`document`] is all of it together, and
//! [`writer`] is the way back.

pub(crate) mod components;
pub(crate) mod document;
pub(crate) mod merges;
pub(crate) mod model;
pub(crate) mod reader;
pub(crate) mod value;
pub(crate) mod vocab;
pub(crate) mod writer;
