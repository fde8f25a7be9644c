//! What is the shortest way from a short text to its ids?
//!
//! Most calls on a few words have none of what a text may have: no added token, nothing to normalize, one scanner. Then
//! the pieces go to the cache at once, those of very short texts one by one, without the batches that pay on longer ones,
//! and the ids stay in the memory of the thread until the caller has made something of them: nothing is allocated. Whatever
//! is not so plain goes the way of every text.

use tokenloom_vocab::TokenId;

use crate::scratch::Scratch;
use crate::{EncodeError, EncodeOptions, Text, Tokenizer};

/// Pieces of longer texts are worth looking up in batches.
const MAX_SINGLE_BYTES: usize = 96;

impl Tokenizer {
    /// What `make` makes of the ids of a text. Meant for short ones: the memory of the ids is kept.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn with_ids<R>(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        make: impl FnOnce(&[TokenId]) -> R,
    ) -> Result<R, EncodeError> {
        self.scratches.with(|scratch| {
            let mut ids = std::mem::take(&mut scratch.ids);
            ids.clear();
            let done = match text {
                Text::Str(text) if self.is_plain(text, options) => {
                    if text.len() <= MAX_SINGLE_BYTES {
                        self.encode_singly(text, scratch, &mut ids);
                    } else {
                        self.encode_covered(text, scratch, &mut ids);
                    }
                    Ok(())
                }
                _ => self.encode_into(text, options, scratch, &mut ids),
            };
            let made = done.map(|()| make(&ids));
            scratch.ids = ids;
            made
        })
    }

    fn is_plain(&self, text: &str, options: &EncodeOptions) -> bool {
        !options.add_special_tokens
            && self.pretokenizers.has_ends()
            && self.normalizers.keep(text)
            && !self.added_raw.may_match(text)
            && !self.added_normalized.may_match(text)
    }

    fn encode_singly(&self, text: &str, scratch: &mut Scratch, ids: &mut Vec<TokenId>) {
        let mut ends = std::mem::take(&mut scratch.ends);
        let mut start = 0;
        while start < text.len() {
            ends.clear();
            self.pretokenizers.ends(text, start, &mut ends);
            if ends.is_empty() {
                break;
            }
            for &end in ends.iter() {
                self.encode_piece(&text.as_bytes()[start..end], scratch, ids);
                start = end;
            }
        }
        scratch.ends = ends;
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::{Normalizer, Pretokenizer, SplitBehavior, SplitPattern, TokenizerSpec};
    use crate::{AllowedSpecial, EncodeOptions, Tokenizer};
    use tokenloom_vocab::AddedToken;

    #[test]
    fn a_short_text_has_the_ids_of_any_text() {
        let pattern = SplitPattern::Regex(crate::pretokenize::covering_patterns()[0][0].into());
        let split = Pretokenizer::Split { pattern, behavior: SplitBehavior::Isolated, invert: false };
        let added = |id, content: &str, normalized| AddedToken {
            id,
            content: content.into(),
            special: true,
            normalized,
            lstrip: false,
            rstrip: false,
            single_word: false,
        };
        let added = [added(300, "<s>", false), added(301, "[a]", true), added(302, "{", false)];
        let tokens = (0..=255u8).map(|byte| (u32::from(byte), Box::from([byte])));
        for (n_added, normalizers) in [(0, vec![]), (1, vec![]), (3, vec![Normalizer::Nfc])] {
            let spec = TokenizerSpec {
                tokens: tokens.clone().collect(),
                added_tokens: added[..n_added].to_vec(),
                pretokenizers: vec![split.clone()],
                normalizers,
                ..TokenizerSpec::default()
            };
            let tokenizer = Tokenizer::new(spec).unwrap();
            let only = AllowedSpecial::only(&tokenizer, []).unwrap();
            let texts =
                ["", "a", "Hello, <s> you[a]{", "e\u{301} \u{301}x", " \n 12345 's", &"word ".repeat(40)];
            for text in texts {
                for allowed_special in [AllowedSpecial::All, only.clone()] {
                    let options = EncodeOptions { allowed_special, ..EncodeOptions::default() };
                    let ids = tokenizer.with_ids(text.into(), &options, <[u32]>::to_vec).unwrap();
                    assert_eq!(ids, tokenizer.encode(text, &options).unwrap(), "{text:?}");
                }
            }
        }
    }
}
