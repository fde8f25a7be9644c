//! Where does the script of a text change?
//!
//! Every character has a script; the kana count as Han, as does the prolonged sound mark, and a space and characters
//! without a script go with whatever surrounds them. What stands before the first character with a script is in no
//! part: so it is in Hugging Face `tokenizers`. Its table is that of Unicode 9 but for four characters; here it is read
//! from `regex-syntax`, restricted to the characters that Unicode 9 had.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

use crate::pipeline::pieces::Part;

/// The number of a script in [`SCRIPTS`], from 1; 0 for none.
type Script = u8;

/// The first characters of the runs of characters with one script, and that script.
static RUNS: LazyLock<Vec<(char, Script)>> = LazyLock::new(runs);

const SCRIPTS: &str = "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali \
    Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham \
    Cherokee Common Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari Duployan Egyptian_Hieroglyphs Elbasan \
    Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gurmukhi Han Hangul Hanunoo Hatran Hebrew Hiragana \
    Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian Javanese Kaithi Kannada Katakana \
    Kayah_Li Kharoshthi Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani \
    Malayalam Mandaic Manichaean Marchen Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi \
    Mongolian Mro Multani Myanmar Nabataean New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian Old_Italic \
    Old_North_Arabian Old_Permic Old_Persian Old_South_Arabian Old_Turkic Oriya Osage Osmanya Pahawh_Hmong Palmyrene \
    Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham \
    Sign_Writing Sinhala Sora_Sompeng Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri \
    Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Ugaritic Vai Warang_Citi Yi";

/// Characters that Unicode moved to another script after version 9.
const MOVED: [(char, &str); 4] =
    [('\u{589}', "Common"), ('\u{61c}', "Common"), ('\u{953}', "Devanagari"), ('\u{954}', "Devanagari")];

fn number(name: &str) -> Script {
    SCRIPTS.split_ascii_whitespace().position(|script| script == name).map_or(0, |place| place as Script + 1)
}

fn runs() -> Vec<(char, Script)> {
    let mut by_char = vec![0; char::MAX as usize + 1];
    for name in SCRIPTS.split_ascii_whitespace() {
        let script = number(match name {
            "Hiragana" | "Katakana" => "Han",
            other => other,
        });
        // The patterns are made of constants of this file; a test reads every one of them.
        let hir = regex_syntax::parse(&format!(r"[\p{{script={name}}}&&\p{{age=9.0}}]")).ok();
        if let Some(HirKind::Class(Class::Unicode(class))) = hir.as_ref().map(|hir| hir.kind()) {
            for range in class.ranges() {
                by_char[range.start() as usize..=range.end() as usize].fill(script);
            }
        }
    }
    for (c, name) in MOVED {
        by_char[c as usize] = number(name);
    }
    by_char['\u{30fc}' as usize] = number("Han");
    by_char[' ' as usize] = 0;
    let mut runs: Vec<(char, Script)> = Vec::new();
    for c in '\0'..=char::MAX {
        let script = by_char[c as usize];
        if runs.last().is_none_or(|&(_, last)| last != script) {
            runs.push((c, script));
        }
    }
    runs
}

fn script(c: char) -> Script {
    let place = RUNS.partition_point(|&(start, _)| start <= c);
    RUNS.get(place.wrapping_sub(1)).map_or(0, |&(_, script)| script)
}

/// The parts of `text` with one script each, from the first character with a script on.
pub(super) fn parts(text: &str) -> Vec<Part> {
    let mut last = 0;
    let mut starts = Vec::new();
    for (at, c) in text.char_indices() {
        let script = script(c);
        if script != 0 {
            if script != last {
                starts.push(at);
            }
            last = script;
        }
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&start, end)| (start..end, false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_characters_and_kana_are_han() {
        let found: std::collections::BTreeSet<Script> = RUNS.iter().map(|&(_, script)| script).collect();
        // All but the two kana, and none.
        assert_eq!(found.len(), SCRIPTS.split_ascii_whitespace().count() - 2 + 1);
        let han = number("Han");
        assert_eq!(['あ', 'ア', 'ー', '漢'].map(script), [han; 4]);
        assert_eq!(script(' '), 0);
        assert_eq!(script('a'), number("Latin"));
        assert_eq!(parts("  どこで生れ。Yes"), [(2..17, false), (17..20, false), (20..23, false)]);
    }
}
