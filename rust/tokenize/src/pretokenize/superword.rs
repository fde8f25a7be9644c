//! Where is the next match of the second stage of SuperBPE?
//!
//! Up to three numbers, two or more signs behind one space with the slashes and newlines that follow, or spaces before
//! white space or the end. All else lies between the matches: words with the spaces between them.

use super::class::{ClassTable, NUMBER, PRESENT, SPACE};
use super::scan::WORDLIKE;

/// The second stage of SuperBPE.
pub(crate) struct Superword;

impl Superword {
    pub(crate) fn find(table: &ClassTable, text: &[u8], mut at: usize) -> Option<(usize, usize)> {
        while at < text.len() {
            // Most of a text, and no start of a match: a letter, or a space with a letter behind it.
            let n_plain = match text[at..] {
                [letter, ..] if letter.is_ascii_alphabetic() => 1,
                [b' ', letter, ..] if letter.is_ascii_alphabetic() => 2,
                _ => 0,
            };
            if n_plain > 0 {
                at += n_plain;
                continue;
            }
            let (found, length) = table.at(text, at);
            if found & NUMBER != 0 {
                return Some((at, table.numbers(text, at, 3)));
            }
            if text[at] == b' ' {
                if let Some(end) = signs(table, text, at + 1) {
                    return Some((at, end));
                }
                let run = text[at..].iter().take_while(|&&byte| byte == b' ').count();
                let (behind, _) = table.at(text, at + run);
                let n_taken = if behind & PRESENT == 0 || behind & SPACE != 0 { run } else { run - 1 };
                if n_taken > 0 {
                    return Some((at, at + n_taken));
                }
            } else if found & WORDLIKE == 0
                && let Some(end) = signs(table, text, at)
            {
                return Some((at, end));
            }
            at += length;
        }
        None
    }
}

/// The end of two or more signs at `at`, with the slashes and newlines behind them.
fn signs(table: &ClassTable, text: &[u8], at: usize) -> Option<usize> {
    for n_seen in 0..2 {
        let second = table.at(text, at).1 * n_seen;
        let (found, length) = table.at(text, at + second);
        if length == 0 || found & WORDLIKE != 0 {
            return None;
        }
    }
    let mut end = table.run_without(text, at, WORDLIKE);
    while text.get(end).is_some_and(|byte| matches!(byte, b'\r' | b'\n' | b'/')) {
        end += 1;
    }
    Some(end)
}
