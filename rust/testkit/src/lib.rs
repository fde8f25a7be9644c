//! How do the tests of every crate read one case file?
#![forbid(unsafe_code)]
