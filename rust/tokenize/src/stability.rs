//! Which tokens of a text stay whatever is appended?
//!
//! Two things can change: where the text is cut, and what the last pretoken becomes. Where a pretokenizer cuts, a bound on
//! how far a pattern looks settles all pretokens but the last few (`pretokenize::settled`). Where nothing cuts, the
//! answer is exact: either a token of the longer text ends where the text ends, then the tokens before are those of the
//! text; or one lies across the end, starts at some `i`, and the tokens before are those of the first `i` bytes. The encodings of
//! all prefixes form a tree (the last token leads to the prefix before it), so what all of these have in common is one
//! lowest common ancestor. The beginning of an added token at the end of the text counts as unsettled.
//!
//! O(n · tokens that start at one position · spine).

use std::ops::ControlFlow;

use tokenloom_vocab::TokenId;

use crate::encode::Part;
use crate::pretokenize::settled::last_runs;
use crate::spec::{Normalizer, Symbols};
use crate::{AllowedSpecial, EncodeError, Tokenizer};

/// Tokens that stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many of the first tokens stay.
    pub n_tokens: usize,
    /// Their bytes.
    pub n_bytes: usize,
    /// No more tokens stay, if bytes of any kind may follow; otherwise more may.
    pub exact: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StabilityError {
    /// The text does not encode.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The tokenizer has a part for which no bound is known.
    #[error("no bound is known for how far back appended text changes tokens with {part}")]
    Unsupported {
        /// The part.
        part: &'static str,
    },
}

/// What a walk over a text met.
struct Met {
    ids: Vec<TokenId>,
    /// Of the last stretch without added tokens: its text, and of each pretoken the end and how many tokens there are then.
    text: String,
    ends: Vec<(usize, usize)>,
    /// Tokens before that stretch.
    n_before: usize,
}

impl Tokenizer {
    /// The tokens of `text` that further text does not change.
    ///
    /// # Errors
    /// [`StabilityError`].
    pub fn settled(&self, text: &str, allowed: &AllowedSpecial) -> Result<Settled, StabilityError> {
        let unsupported = |part| Err(StabilityError::Unsupported { part });
        if self.spec().symbols != Symbols::Bytes {
            return unsupported("symbols that are not bytes");
        }
        let cuts_nothing = self.pretokenizers.cuts_nothing();
        let has_normalizer = !self.spec().normalizers.is_empty();
        if self.spec().normalizers.iter().any(|step| *step != Normalizer::Nfc) {
            return unsupported("a normalizer other than NFC");
        }
        let Some(n_runs) = self.pretokenizers.n_unsettled_runs() else {
            return unsupported("a split pattern that has no scanner or that spans words");
        };
        if cuts_nothing && (has_normalizer || self.spec().added_tokens.iter().any(|token| token.lstrip)) {
            return unsupported(
                "no split pattern but a normalizer, or an added token that takes white space",
            );
        }
        if self.bpe().leaves_out_bytes() {
            return unsupported("bytes that are no token");
        }
        let met = self.meet(text, allowed)?;
        let n_open = self.open_added_token(text, &met.text, allowed);
        if n_open > met.text.len() {
            return Ok(Settled::default());
        }
        let inside = met.text.len() - n_open;
        if cuts_nothing {
            let n_kept = self.n_settled_of_piece(met.text.as_bytes(), inside);
            return Ok(self.settled_of(&met.ids[..met.n_before + n_kept], true));
        }
        // A character may still be composed with what follows, and one before the last run with it.
        let start = last_runs(&met.text[..inside], n_runs + 2 * usize::from(has_normalizer));
        let settled = met.ends.iter().take_while(|&&(end, _)| end < start).last();
        Ok(self.settled_of(&met.ids[..settled.map_or(met.n_before, |&(_, n_ids)| n_ids)], false))
    }

    fn settled_of(&self, ids: &[TokenId], exact: bool) -> Settled {
        let n_bytes = ids.iter().filter_map(|&id| self.token_bytes(id)).map(<[u8]>::len).sum();
        Settled { n_tokens: ids.len(), n_bytes, exact }
    }

    fn meet(&self, text: &str, allowed: &AllowedSpecial) -> Result<Met, EncodeError> {
        let mut met = Met { ids: Vec::new(), text: String::new(), ends: Vec::new(), n_before: 0 };
        let mut prefixed = String::new();
        let _never_broken = self.scratches.with(|scratch| {
            self.walk::<false>(text.into(), allowed, |part| {
                match part {
                    Part::Added { id, .. } => {
                        met.ids.push(id);
                        met.text.clear();
                        met.ends.clear();
                        met.n_before = met.ids.len();
                    }
                    Part::Inside { text, at_start, .. } => {
                        met.text.push_str(text);
                        return self.pretokenizers.try_for_each(text, at_start, |piece| {
                            self.encode_piece(piece.bytes(text, &mut prefixed), scratch, &mut met.ids);
                            met.ends.push((piece.end, met.ids.len()));
                            ControlFlow::Continue(())
                        });
                    }
                    Part::Run { .. } | Part::Raw { .. } => {}
                }
                Ok(ControlFlow::Continue(()))
            })
        })?;
        Ok(met)
    }

    /// How many bytes at the end of the text further text may turn into an added token, or take away from one.
    fn open_added_token(&self, text: &str, last: &str, allowed: &AllowedSpecial) -> usize {
        let mut n_open = 0;
        for token in &self.spec().added_tokens {
            if token.special && !allowed.allows(token.id) {
                continue;
            }
            let content = token.content.as_bytes();
            if token.single_word && last.is_empty() && text.as_bytes().ends_with(content) {
                n_open = n_open.max(content.len());
            }
            let longest = (n_open + 1..content.len()).rev();
            n_open =
                longest.into_iter().find(|&n| text.as_bytes().ends_with(&content[..n])).unwrap_or(n_open);
        }
        n_open
    }

    /// How many tokens of one pretoken stay if any bytes follow it, or follow after its first `open` bytes were cut off.
    fn n_settled_of_piece(&self, piece: &[u8], open: usize) -> usize {
        let (parents, straddled) = self.prefix_encodings(piece);
        let common = |mut a: usize, mut b: usize| {
            while a != b {
                if a > b { a = parents[a] as usize } else { b = parents[b] as usize }
            }
            a
        };
        // A whole pretoken that merging does not make is given up as soon as anything follows.
        let is_lone = |bytes: &[u8]| {
            let whole = self.table().id(bytes).filter(|_| self.bpe().ignore_merges());
            whole.is_some_and(|id| !self.bpe().is_reachable(id))
        };
        if is_lone(piece) || is_lone(&piece[..open]) {
            return 0;
        }
        let mut at = straddled.into_iter().fold(common(piece.len(), open), common);
        let mut n_tokens = 0;
        while at > 0 {
            at = parents[at] as usize;
            n_tokens += 1;
        }
        n_tokens
    }

    /// For each prefix of `piece` where its last token starts, and the positions from which a token may lie across the
    /// end of the piece.
    fn prefix_encodings(&self, piece: &[u8]) -> (Vec<u32>, Vec<usize>) {
        let (bpe, trie) = (self.bpe(), self.byte_trie());
        let mut parents = vec![0u32; piece.len() + 1];
        let mut last: Vec<Option<TokenId>> = vec![None; piece.len() + 1];
        let mut straddled = Vec::new();
        for start in 0..piece.len() {
            let follows = |id: TokenId| match last[start] {
                Some(before) => bpe.is_valid_pair(before, id),
                None => start == 0 && bpe.is_reachable(id),
            };
            let (mut node, mut found) = (trie.root(), Vec::new());
            let mut reaches_end = true;
            for (end, &byte) in piece.iter().enumerate().skip(start) {
                let Some(next) = trie.child(node, byte) else {
                    reaches_end = false;
                    break;
                };
                node = next;
                let ids = &trie.ids()[trie.exact(node)];
                found.extend(ids.iter().filter(|&&id| follows(id)).map(|&id| (end + 1, id)));
            }
            if reaches_end {
                let longer = trie.exact(node).end..node.range().end;
                let whole = start == 0 && bpe.ignore_merges();
                if trie.ids()[longer].iter().any(|&id| whole || follows(id)) {
                    straddled.push(start);
                }
            }
            for (end, id) in found {
                (parents[end], last[end]) = (start as u32, Some(id));
            }
        }
        (parents, straddled)
    }
}
