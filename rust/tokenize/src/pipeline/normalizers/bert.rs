//! How did BERT clean its text?
//!
//! Four optional steps: control characters go and white space becomes a space; Chinese characters get spaces around
//! them; accents go (decomposition, then no non-spacing marks); lower case. Which characters are controls or marks is
//! read from tables of Unicode 8, in which characters added since are unassigned and therefore "other": they go.

use unicode_categories::UnicodeCategories;

use super::{decompose, lowercase};
use crate::pipeline::text::{AlignedText, Misaligned};

/// The steps that are on.
#[derive(Clone, Copy, Debug)]
pub(super) struct BertNormalizer {
    pub(super) clean_text: bool,
    pub(super) handle_chinese_chars: bool,
    pub(super) strip_accents: bool,
    pub(super) lowercase: bool,
}

impl BertNormalizer {
    pub(super) fn apply(self, text: &mut AlignedText<'_>) -> Result<(), Misaligned> {
        if self.clean_text {
            text.filter(|c| c != '\0' && c != char::REPLACEMENT_CHARACTER && !is_control(c))?;
            text.map(|c| if c.is_whitespace() { ' ' } else { c })?;
        }
        if self.handle_chinese_chars {
            text.expand(
                |c| !is_chinese(c),
                |c| {
                    let spaced = is_chinese(c);
                    let n_chars = if spaced { 3 } else { 1 };
                    let chars = if spaced { [' ', c, ' '] } else { [c; 3] };
                    chars.into_iter().take(n_chars)
                },
            )?;
        }
        if self.strip_accents {
            decompose(text)?;
            text.filter(|c| !c.is_mark_nonspacing())?;
        }
        if self.lowercase {
            lowercase(text)?;
        }
        Ok(())
    }
}

fn is_control(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        ' '..='~' => false,
        c => c.is_other(),
    }
}

/// The blocks of Chinese characters, as BERT counts them (one of them starts later than its block).
fn is_chinese(c: char) -> bool {
    matches!(
        c,
        '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{2a6df}'
            | '\u{2a700}'..='\u{2b73f}'
            | '\u{2b740}'..='\u{2b81f}'
            | '\u{2b920}'..='\u{2ceaf}'
            | '\u{2f800}'..='\u{2fa1f}'
    )
}
