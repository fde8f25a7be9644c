//! How does text become ids, and ids text?
#![deny(unsafe_code)]

pub mod spec;
