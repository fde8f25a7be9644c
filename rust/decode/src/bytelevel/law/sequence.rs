//! Which tokens may follow those that were said?
//!
//! A sequence holds the hypotheses about its pretokens; the law judges what may follow. Cost: that of a mask of the law.

use tokenloom_vocab::{TokenId, TokenMask, TrieNode};

use super::super::error::ByteLevelError;
use super::{CanonicalLaw, Hypothesis, Known, contains, set};

/// A token sequence from the start of a text or behind an added token, and what may follow it.
#[derive(Clone, Debug)]
pub struct Sequence {
    hypotheses: Vec<Hypothesis>,
    last: Option<TokenId>,
    text: Vec<u8>,
    /// What the first token starts with.
    inserted: &'static [u8],
}

impl Sequence {
    /// No token yet behind `context`, which is nothing or ends with an added token.
    pub fn new(law: &CanonicalLaw, context: &[TokenId]) -> Self {
        let inserted = law.inserted(context);
        Self { hypotheses: vec![CanonicalLaw::start()], last: None, text: Vec::new(), inserted }
    }

    /// No token yet, and nothing is put before the text.
    pub fn raw() -> Self {
        Self { hypotheses: vec![CanonicalLaw::start()], last: None, text: Vec::new(), inserted: b"" }
    }

    /// Whether the sequence is the encoding of its bytes.
    pub fn ends(&self, law: &CanonicalLaw) -> bool {
        law.with(|judge| judge.ends(self.known()))
    }

    fn known(&self) -> Known<'_> {
        Known { hypotheses: &self.hypotheses, last: self.last, text: &self.text }
    }

    /// Appends a token; whether an encoding still starts with the sequence. If not, the sequence is as before. Behind an added
    /// token everything starts anew.
    ///
    /// # Errors
    /// [`TooManyStates`](crate::bytelevel::ByteLevelErrorKind::TooManyStates).
    pub fn push(&mut self, law: &CanonicalLaw, id: TokenId) -> Result<bool, ByteLevelError> {
        if law.is_symbol(id) {
            let may_end = self.ends(law);
            if may_end {
                *self = Self::new(law, &[id]);
            }
            return Ok(may_end);
        }
        let Some(position) = law.position(id) else { return Ok(false) };
        if self.last.is_none() && !law.trie.bytes(position).starts_with(self.inserted) {
            return Ok(false);
        }
        let hypotheses = law.with(|judge| judge.append(self.known(), position))?;
        if hypotheses.is_empty() {
            return Ok(false);
        }
        self.hypotheses = hypotheses;
        self.last = Some(id);
        if law.watches() {
            let n_kept = self.hypotheses.iter().map(|hypothesis| hypothesis.n_open).max().unwrap_or(0);
            self.text.extend_from_slice(law.trie.bytes(position));
            self.text.drain(..self.text.len() - (n_kept as usize).min(self.text.len()));
        }
        Ok(true)
    }

    /// The tokens that may follow, added tokens included where a text may end: one bit an id.
    ///
    /// # Errors
    /// [`TooManyStates`](crate::bytelevel::ByteLevelErrorKind::TooManyStates).
    pub fn mask(&self, law: &CanonicalLaw) -> Result<TokenMask, ByteLevelError> {
        let (mut words, may_end) = law.with(|judge| {
            let words = judge.allowed(self.known())?;
            Ok::<_, ByteLevelError>((words, judge.ends(self.known())))
        })?;
        if self.last.is_none() && !self.inserted.is_empty() {
            let all = words.clone();
            words.fill(0);
            let positions = law.trie.find(self.inserted).map_or(0..0, TrieNode::range);
            let ids = positions.map(|position| law.trie.ids()[position]).filter(|&id| contains(&all, id));
            ids.for_each(|id| set(&mut words, id));
        }
        if may_end {
            law.symbols.iter().for_each(|&id| set(&mut words, id));
        }
        let halves = words.iter().flat_map(|&word| [word as u32, (word >> 32) as u32]).collect();
        Ok(TokenMask::from_words(halves, law.tokenizer.id_bound()))
    }
}
