//! Which characters stand for several when case does not matter?
//!
//! Full case folding maps `ß` to "ss" and `ﬁ` to "fi". Oniguruma applies it, the `regex` crates fold characters one to
//! one only. These are the characters whose upper case is several characters, and two more.

use std::sync::LazyLock;

/// The foldings of several characters.
static SEQUENCES: LazyLock<Vec<Vec<char>>> = LazyLock::new(|| {
    let mut sequences: Vec<Vec<char>> =
        ('\0'..='\u{ffff}').filter(|&c| stands_for_several(c)).map(folded).collect();
    sequences.sort_unstable();
    sequences.dedup();
    sequences
});

/// Whether `c` folds to several characters.
pub(super) fn stands_for_several(c: char) -> bool {
    matches!(c, 'İ' | 'ẞ') || c.to_uppercase().len() > 1
}

fn folded(c: char) -> Vec<char> {
    match c {
        'İ' => vec!['i', '\u{307}'],
        'ẞ' => vec!['s', 's'],
        c => c.to_uppercase().flat_map(char::to_lowercase).collect(),
    }
}

/// Whether one character can stand for a part of `text` that ends where the text ends.
pub(super) fn has_one_for_end_of(text: &[char]) -> bool {
    let folded: Vec<char> = text.iter().rev().take(3).map(|&c| simple(c)).collect();
    (2..=folded.len()).any(|n_chars| {
        let end: Vec<char> = folded[..n_chars].iter().rev().copied().collect();
        SEQUENCES.binary_search(&end).is_ok()
    })
}

/// Lower case; the long s folds to s.
fn simple(c: char) -> char {
    match c {
        'ſ' => 's',
        c => c.to_lowercase().next().unwrap_or(c),
    }
}
