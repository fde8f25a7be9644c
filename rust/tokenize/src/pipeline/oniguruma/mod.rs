//! How is a regular expression of Oniguruma said in the dialect of the `fancy-regex` crate?
//!
//! `tokenizer.json` is read by Oniguruma 6.9. The pattern is parsed as Oniguruma parses it and written again so that
//! `fancy-regex` reads the same; what it could not read the same is refused and named. The two differ in
//!
//! | written | Oniguruma reads | here |
//! |---|---|---|
//! | `^`, `$` | at lines; never behind the last line feed, before and behind it | look-around |
//! | `\w`, `\b`; `[\w]` | word characters and `²³¹¼½¾`; without them | classes |
//! | `[[:alpha:]]`, `\p{Punct}` | Unicode properties | classes |
//! | `x{1,3}+`, `x{2}?`, `x{,2}` | `(?:x{1,3})+`, `(?:x{2})?`, `x{0,2}` | rewritten |
//! | `(?m:.)`; `a(?i)b\|c` | dot matches line feeds; `a(?i:b\|c)` | rewritten |
//! | `(?i:\p{Lu})`; `(?i:[\p{Lu}])` | upper case; any case | rewritten |
//! | `(?i:ss)`, `(?i:ß)` | also `ß`; also `ss` | refused |
//! | `a*{2}`, `(?:a?)+` | one loop | rewritten; any other loop over what can be empty is refused |
//! | `(?:a+?)+*` | a greedy loop | refused: the `regex` crate below reads a lazy one |
//! | `(a)(?<n>b)` | one group: names turn numbers off | rewritten |
//!
//! Both have the tables of Unicode 16. Linear in the pattern.

mod class;
mod fold;
mod parser;

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
    parser::Parser::new(pattern)?.whole()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> Vec<(usize, usize)> {
        let regex = fancy_regex::Regex::new(&translate(pattern).unwrap()).unwrap();
        regex.find_iter(text).map(|found| found.unwrap()).map(|found| (found.start(), found.end())).collect()
    }

    #[test]
    fn patterns_mean_what_oniguruma_says() {
        for (pattern, text, expected) in [
            (r"\p{N}{1,3}+", "12345", vec![(0, 5)]),
            (r"a{2}?b", "aab b", vec![(0, 3), (4, 5)]),
            (r"a{,2}b", "aaab", vec![(1, 4)]),
            (r"^x", "x\nx", vec![(0, 1), (2, 3)]),
            (r"^", "a\n", vec![(0, 0)]),
            (r"$", "a\n", vec![(1, 1), (2, 2)]),
            (r"\Z", "a\n\n", vec![(2, 2), (3, 3)]),
            (r"\w+", "a²\u{200d}b", vec![(0, 3), (6, 7)]),
            (r"[\w]+", "a²b", vec![(0, 1), (3, 4)]),
            (r"[[:punct:]a-c]+", "a+!d", vec![(0, 3)]),
            (r"(?m:.)", "\n", vec![(0, 1)]),
            (r"a(?i)b|c", "aB aC c", vec![(0, 2), (3, 5)]),
            (r"(?i:\p{Lu})", "aA", vec![(1, 2)]),
            (r"(?i:[A-F&&[^B]])", "1ba", vec![(2, 3)]),
            (r"(?i:'s|'RE)", "'S're", vec![(0, 2), (2, 5)]),
            (r"[]a-]+", "a]-b", vec![(0, 3)]),
            (r"[a--c]", "b", vec![]),
            (r"(?x) a b # both", "ab", vec![(0, 2)]),
            (r"(a)(?<n>b)\k<n>", "abb", vec![(0, 3)]),
            (r"\R", "\r\n\n", vec![(0, 2), (2, 3)]),
            (r"a*{2}", "aab", vec![(0, 2), (3, 3)]),
            (r"(?:\p{L}?)+", "ab1", vec![(0, 2), (3, 3)]),
            (r"(?:a?){2}b", "aaab", vec![(1, 4)]),
            (r"a?*", "aab", vec![(0, 2), (3, 3)]),
            (r"(?:(?i:a)*)*{3}", "aAb", vec![(0, 2), (3, 3)]),
        ] {
            if pattern == r"[a--c]" {
                assert!(translate(pattern).is_err());
            } else {
                assert_eq!(matches(pattern, text), expected, "{pattern} -> {}", translate(pattern).unwrap());
            }
        }
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        for pattern in [
            r"(?i:ss)",
            r"(?i:s(?:t))",
            r"(?i:ß)",
            r"(?i:[ß])",
            r"\G",
            r"\K",
            r"\X",
            r"(?~a)",
            r"(?(1)a)",
            r"\g<1>",
            r"\p{foo}",
            r"\p{InBasicLatin}",
            r"[[:foo:]]",
            r"\xE9",
            r"a*?+",
            r"(?s:.)",
            r"(?W:\w)",
            r"a{3,1}",
            r"*a",
            r"a)",
            r"(a",
            r"[a",
            r"\2",
            r"[a-\d]",
            r"[z-a]",
            r"(?P<n>a)",
            r"\1a",
            r"(?:a+?)+*",
            r"(?:(?:a|b)+?)+{2}",
            r"(?:(?:a+?)*b)+",
            r"(?:(a)*)*",
            r"(?:a*b*)+",
            r"(?:a*|b)+",
            r"(?:a*)+?",
            r"(?:a??)+",
        ] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
        assert!(translate(&"(".repeat(100_000)).is_err());
        assert!(translate(&"[".repeat(100_000)).is_err());
    }
}
