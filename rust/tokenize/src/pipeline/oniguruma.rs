//! How is a regular expression of Oniguruma said in the dialect of the `fancy-regex` crate?

/// A construct that cannot be said in the other dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untranslatable(pub &'static str);

impl std::fmt::Display for Untranslatable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

/// The pattern of a `tokenizer.json` as fancy-regex must be given it.
///
/// # Errors
/// The construct that cannot be said.
pub fn translate(pattern: &str) -> Result<String, Untranslatable> {
    if pattern == crate::pretokenize::generic::GPT2 {
        return Ok(pattern.to_owned());
    }
    Err(Untranslatable("constructs that are not translated yet"))
}
