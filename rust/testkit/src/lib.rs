//! How do the tests of every crate read one case file?
//!
//! `tests/cases/<domain>.toml` and `tests/data/` belong to the whole repository; Rust and Python tests read the same
//! files. A file that is missing or malformed is a failing test, so these functions panic.
#![forbid(unsafe_code)]

use std::path::PathBuf;

/// The path of a file below `tests/`.
#[must_use]
pub fn test_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests").join(name)
}

/// The bytes of a file in `tests/data`.
///
/// # Panics
/// If it cannot be read.
#[must_use]
pub fn data(name: &str) -> Vec<u8> {
    let path = test_path("data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The tables called `name` in `tests/cases/<domain>.toml`.
///
/// # Panics
/// If the file or the list is missing or malformed.
#[must_use]
pub fn cases(domain: &str, name: &str) -> Vec<toml::Table> {
    let path = test_path("cases").join(format!("{domain}.toml"));
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    let mut table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let Some(toml::Value::Array(list)) = table.remove(name) else {
        panic!("{}: no list {name:?}", path.display())
    };
    let to_table = |value| match value {
        toml::Value::Table(table) => table,
        other => panic!("{}: {name} holds {other}", path.display()),
    };
    list.into_iter().map(to_table).collect()
}

/// The string `key` of a case.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn text<'a>(case: &'a toml::Table, key: &str) -> &'a str {
    case.get(key)
        .and_then(toml::Value::as_str)
        .unwrap_or_else(|| panic!("case without a string {key:?}: {case}"))
}
