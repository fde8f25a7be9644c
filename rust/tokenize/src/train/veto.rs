//! Which tokens may not be made, however frequent?
//!
//! Rules on the bytes of a merged token, read once for each candidate that comes up. A refused pair stays refused: the
//! rules see nothing but the bytes. O(bytes of the token).

use std::sync::OnceLock;

use memchr::memmem;
use regex_syntax::hir::{Class, HirKind};

use super::{TrainError, TrainErrorKind};

/// What a merged token may not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Veto {
    /// The most words: non-empty pieces between spaces.
    pub max_words: Option<usize>,
    /// No token holds any of these.
    pub forbidden: Vec<Vec<u8>>,
    /// The most bytes.
    pub max_bytes: Option<usize>,
    /// The most characters; a part of one counts as one.
    pub max_chars: Option<usize>,
    /// A token is whole characters, or a part of a single one.
    pub whole_characters: bool,
    /// All letters of a token are of one script. Han and kana count as one.
    pub one_script: bool,
}

impl Veto {
    /// Refuses rules that would refuse every token.
    pub(super) fn check(&self) -> Result<(), TrainError> {
        if self.max_words == Some(0) {
            return Err(TrainErrorKind::NoWords.into());
        }
        match self.forbidden.iter().position(Vec::is_empty) {
            Some(index) => Err(TrainErrorKind::EmptyForbidden { index }.into()),
            None => Ok(()),
        }
    }

    /// Whether the rules refuse a merged token.
    pub fn refuses(&self, token: &[u8]) -> bool {
        let n_words = || token.split(|&byte| byte == b' ').filter(|piece| !piece.is_empty()).count();
        self.max_bytes.is_some_and(|most| token.len() > most)
            || self.max_chars.is_some_and(|most| n_chars(token) > most)
            || self.max_words.is_some_and(|most| n_words() > most)
            || self.forbidden.iter().any(|part| memmem::find(token, part).is_some())
            || (self.whole_characters && !is_whole(token))
            || (self.one_script && !is_one_script(token))
    }
}

/// Bytes that start a character, and one for a part of one before them.
fn n_chars(token: &[u8]) -> usize {
    let is_inside = |byte: &u8| byte & 0xC0 == 0x80;
    token.iter().filter(|byte| !is_inside(byte)).count() + usize::from(token.first().is_some_and(is_inside))
}

fn is_whole(token: &[u8]) -> bool {
    std::str::from_utf8(token).is_ok()
        || (n_chars(token) == 1 && std::str::from_utf8(token).is_err_and(|error| error.valid_up_to() == 0))
}

fn is_one_script(token: &[u8]) -> bool {
    let mut scripts = token.utf8_chunks().flat_map(|chunk| chunk.valid().chars()).filter_map(script_of);
    scripts.next().is_none_or(|first| scripts.all(|script| script == first))
}

/// Scripts with letters that people write today; each line is one.
const SCRIPTS: [&str; 31] = [
    r"\p{Latin}",
    r"\p{Greek}",
    r"\p{Cyrillic}",
    r"\p{Armenian}",
    r"\p{Hebrew}",
    r"\p{Arabic}",
    r"\p{Syriac}",
    r"\p{Thaana}",
    r"\p{Devanagari}",
    r"\p{Bengali}",
    r"\p{Gurmukhi}",
    r"\p{Gujarati}",
    r"\p{Oriya}",
    r"\p{Tamil}",
    r"\p{Telugu}",
    r"\p{Kannada}",
    r"\p{Malayalam}",
    r"\p{Sinhala}",
    r"\p{Thai}",
    r"\p{Lao}",
    r"\p{Tibetan}",
    r"\p{Myanmar}",
    r"\p{Georgian}",
    r"\p{Hangul}",
    r"\p{Ethiopic}",
    r"\p{Cherokee}",
    r"\p{Khmer}",
    r"\p{Mongolian}",
    r"[\p{Han}\p{Hiragana}\p{Katakana}]",
    r"\p{Bopomofo}",
    r"\p{Canadian_Aboriginal}",
];

/// The place of a letter's script in the list; none for what all scripts share.
fn script_of(character: char) -> Option<u8> {
    static RANGES: OnceLock<Vec<(char, char, u8)>> = OnceLock::new();
    let ranges = RANGES.get_or_init(|| {
        let mut ranges = Vec::new();
        for (script, class) in SCRIPTS.iter().enumerate() {
            // All names are of the tables that the crate is built with; the tests look at each.
            if let Ok(HirKind::Class(Class::Unicode(class))) =
                regex_syntax::parse(class).map(|hir| hir.into_kind())
            {
                ranges.extend(class.iter().map(|range| (range.start(), range.end(), script as u8)));
            }
        }
        ranges.sort_unstable();
        ranges
    });
    let after = ranges.partition_point(|&(start, _, _)| start <= character);
    let &(_, end, script) = ranges.get(after.checked_sub(1)?)?;
    (character <= end).then_some(script)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(veto: &Veto, token: &str) -> bool {
        veto.refuses(token.as_bytes())
    }

    #[test]
    fn words_and_strings() {
        let veto = Veto { max_words: Some(2), forbidden: vec![b": ".to_vec()], ..Veto::default() };
        assert!(!refused(&veto, " a  b "));
        assert!(refused(&veto, "a b c"));
        assert!(refused(&veto, "a: b"));
        assert!(!refused(&Veto::default(), "a: b c d e f"));
    }

    #[test]
    fn bytes_and_characters() {
        let veto = Veto { max_bytes: Some(4), max_chars: Some(3), ..Veto::default() };
        assert!(!refused(&veto, "éé"));
        assert!(refused(&veto, "ééa"));
        assert!(refused(&veto, "abcd"));
        assert!(!veto.refuses(b"\xA9ab"));
        assert!(veto.refuses(b"\xA9abc"));
    }

    #[test]
    fn characters_are_not_cut() {
        let veto = Veto { whole_characters: true, ..Veto::default() };
        let parts: [(&[u8], bool); 8] = [
            ("aéあ".as_bytes(), false),
            (b"\xE3\x81", false),
            (b"\x81\x82", false),
            (b"\xE3", false),
            (b"a\xE3\x81", true),
            (b"\x81\x82a", true),
            (b"\xA9\xC3", true),
            (b"\xC3\xA9\xC3", true),
        ];
        for (token, refused) in parts {
            assert_eq!(veto.refuses(token), refused, "{token:?}");
        }
    }

    #[test]
    fn scripts() {
        assert!(SCRIPTS.iter().all(|class| regex_syntax::parse(class).is_ok()));
        let veto = Veto { one_script: true, ..Veto::default() };
        for (token, is_refused) in
            [("ab, é1", false), ("aб", true), ("漢字かな", false), ("한a", true), ("1. ", false)]
        {
            assert_eq!(refused(&veto, token), is_refused, "{token}");
        }
        assert!(!veto.refuses(b"a\xD0"));
    }
}
