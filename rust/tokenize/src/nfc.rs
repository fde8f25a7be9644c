//! What is the canonical composition of a text, without composing all of it?
//!
//! Nearly all characters are left as they are and do nothing to their neighbours: they start anew (combining class 0) and
//! the quick check says yes. Between two of those nothing changes; a stretch from the last of them before another kind of
//! character up to the next one is composed by itself. Composition never crosses such a boundary (UAX #15, section 9), so
//! the parts joined are the composition of the whole. O(n), with one bit looked up for each character beyond U+02FF.

use std::sync::LazyLock;

use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// All characters below this are stable.
const FIRST: u32 = 0x300;
const N_TABLE: u32 = 0x2_0000;

/// A bit for each character below `N_TABLE`: it is not stable. 16 kB, a function of the Unicode data alone.
static UNSTABLE: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut bits = vec![0; N_TABLE as usize / 64];
    for c in (FIRST..N_TABLE).filter_map(char::from_u32).filter(|&c| !is_stable_by_tables(c)) {
        bits[c as usize / 64] |= 1 << (c as usize % 64);
    }
    bits
});

fn is_stable_by_tables(c: char) -> bool {
    canonical_combining_class(c) == 0 && matches!(is_nfc_quick(std::iter::once(c)), IsNormalized::Yes)
}

#[inline]
fn is_stable(c: char) -> bool {
    let code_point = u32::from(c);
    code_point < FIRST
        || match UNSTABLE.get(code_point as usize / 64) {
            Some(bits) => bits >> (code_point % 64) & 1 == 0,
            None => is_stable_by_tables(c),
        }
}

/// The composition of `text`; `None` where that is the text itself.
pub(crate) fn compose(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let mut composed: Option<String> = None;
    let (mut done, mut stable) = (0, 0);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if is_stable(c) {
            stable = at;
            continue;
        }
        let end = chars.find(|&(_, c)| is_stable(c)).map_or(text.len(), |(end, _)| end);
        let stretch = &text[stable..end];
        if !stretch.chars().nfc().map(|(c, _)| c).eq(stretch.chars()) {
            let out = composed.get_or_insert_with(|| String::with_capacity(text.len()));
            out.push_str(&text[done..stable]);
            out.extend(stretch.chars().nfc().map(|(c, _)| c));
            done = end;
        }
        stable = end;
    }
    let mut out = composed?;
    out.push_str(&text[done..]);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> String {
        text.chars().nfc().map(|(c, _)| c).collect()
    }

    #[test]
    fn composition_by_parts_is_that_of_the_whole() {
        // Bases, marks of several classes, jamo, characters that decompose for good, and those that compose.
        let kinds: Vec<char> = "aeKé가ᄀ\u{1161}\u{11a8}\u{300}\u{301}\u{323}\u{327}\u{338}\u{345}\u{93c}क\u{958}\u{9c7}\u{9be}\u{3099}か\u{212b}\u{2126}\u{f900}\u{fb1d}\u{1d15e}\u{1d165}=😀 "
            .chars()
            .collect();
        let mut state = 7_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for _ in 0..60_000 {
            let text: String = (0..random(12)).map(|_| kinds[random(kinds.len())]).collect();
            let composed = compose(&text);
            assert_eq!(composed.as_deref().unwrap_or(&text), whole(&text), "{text:?}");
            assert_eq!(composed.is_some(), whole(&text) != text, "{text:?}");
        }
    }

    #[test]
    fn every_character_behind_a_base_and_a_mark() {
        for c in '\0'..=char::MAX {
            let text: String = ['x', c, 'e', '\u{301}', c].iter().collect();
            assert_eq!(compose(&text).as_deref().unwrap_or(&text), whole(&text), "{c:?}");
        }
    }
}
