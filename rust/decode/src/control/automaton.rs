//! Which tokens may come next where a small machine reads the text byte by byte?
//!
//! A [`ByteAutomaton`] says for a state and a byte what the next state is, or that no text goes on that way. Everything
//! a decoding loop asks follows from that: a mask walks the trie of the vocabulary and leaves a subtree at the first
//! byte that cannot follow; a check walks one token; one state a byte is kept, so going back is dropping states.
//!
//! Invariant: a state has some complete text ahead of it, or [`ByteAutomaton::step`] must not lead there. Masks are then
//! exact for texts, up to what the vocabulary cannot spell.
//!
//! Cost: a check is one step a byte. A mask is at most one step a node of the trie (a million for 256k tokens), where
//! nothing is forbidden. Memory: one state a byte of the text.

use std::sync::Arc;

use llguidance::toktrie::{Recognizer, TokTrie};
use tokenloom_vocab::{TokenId, TokenMask};

use super::{Constraint, ConstraintState, ControlError, ControlErrorKind, GrammarVocabulary};

/// A deterministic machine over bytes.
pub trait ByteAutomaton: Send + Sync + 'static {
    /// What it remembers.
    type State: Clone + Send + 'static;

    /// Before the first byte.
    fn start(&self) -> Self::State;

    /// After one more byte; `None` where no complete text goes on so.
    fn step(&self, state: &Self::State, byte: u8) -> Option<Self::State>;

    /// Whether the text may end here.
    fn is_complete(&self, state: &Self::State) -> bool;
}

/// An automaton together with the tokens that text is made of.
pub struct Automaton<A> {
    automaton: A,
    vocabulary: Arc<GrammarVocabulary>,
    eos: Vec<TokenId>,
}

impl<A: ByteAutomaton> Automaton<A> {
    /// Joins the two; `eos` are the tokens that end a text, none if the caller ends it.
    ///
    /// # Errors
    /// [`ControlErrorKind::UnknownEos`].
    pub fn new(
        automaton: A,
        vocabulary: Arc<GrammarVocabulary>,
        eos: &[TokenId],
    ) -> Result<Arc<Self>, ControlError> {
        vocabulary.check_eos(eos)?;
        Ok(Arc::new(Self { automaton, vocabulary, eos: eos.to_vec() }))
    }
}

impl<A: ByteAutomaton> Constraint for Arc<Automaton<A>> {
    fn start(&self) -> Box<dyn ConstraintState> {
        let states = vec![self.automaton.start()];
        Box::new(AutomatonState {
            shared: Arc::clone(self),
            states,
            ids: Vec::new(),
            prefix: Vec::new(),
            ended: false,
        })
    }
}

/// A machine that keeps its own stack: somebody else's code.
pub trait ByteWalker {
    /// Reads a byte; whether some complete text goes on so. A byte that is refused is not read.
    fn push(&mut self, byte: u8) -> bool;

    /// Forgets the last `n` bytes.
    fn pop(&mut self, n: usize);
}

struct Walked<'a, W> {
    walker: &'a mut W,
    depth: usize,
}

impl<W: ByteWalker> Recognizer for Walked<'_, W> {
    fn pop_bytes(&mut self, num: usize) {
        if num > 0 {
            self.walker.pop(num);
            self.depth -= num;
        }
    }

    fn collapse(&mut self) {}

    fn trie_finished(&mut self) {
        self.pop_bytes(self.depth);
    }

    fn try_push_byte(&mut self, byte: u8) -> bool {
        let is_added = byte == TokTrie::SPECIAL_TOKEN_MARKER && self.depth == 0;
        let is_read = !is_added && self.walker.push(byte);
        self.depth += usize::from(is_read);
        is_read
    }
}

/// The tokens that a walker can read next; it ends where it started. End tokens are not among them.
pub fn walk_mask<W: ByteWalker>(vocabulary: &GrammarVocabulary, walker: &mut W) -> TokenMask {
    let trie = vocabulary.trie();
    let mut set = trie.alloc_token_set();
    trie.add_bias(&mut Walked { walker, depth: 0 }, &mut set, &[]);
    let mut mask = TokenMask::from_words(set.into(), vocabulary.n_tokens());
    for (id, bytes) in vocabulary.outside() {
        let n_read = bytes.iter().take_while(|&&byte| walker.push(byte)).count();
        walker.pop(n_read);
        mask.set(id, n_read == bytes.len());
    }
    mask
}

struct AutomatonState<A: ByteAutomaton> {
    shared: Arc<Automaton<A>>,
    /// Before the first byte, and after each.
    states: Vec<A::State>,
    ids: Vec<TokenId>,
    prefix: Vec<u8>,
    ended: bool,
}

/// Forced bytes are looked for at most this far ahead.
const MAX_FORCED_BYTES: usize = 1 << 12;

impl<A: ByteAutomaton> AutomatonState<A> {
    /// Pushes what it can of `bytes`; whether that is all of them.
    fn push(&mut self, bytes: &[u8]) -> bool {
        bytes.iter().all(|&byte| self.push_byte(byte))
    }

    #[inline(always)]
    fn push_byte(&mut self, byte: u8) -> bool {
        let next = self.states.last().and_then(|state| self.shared.automaton.step(state, byte));
        next.map(|state| self.states.push(state)).is_some()
    }

    fn is_complete(&self) -> bool {
        self.states.last().is_some_and(|state| self.shared.automaton.is_complete(state))
    }

    /// The only byte that can follow, if there is one and the text cannot end.
    fn forced_byte(&self) -> Option<u8> {
        let state = self.states.last()?;
        if self.is_complete() {
            return None;
        }
        let mut possible = (0..=255u8).filter(|&byte| self.shared.automaton.step(state, byte).is_some());
        possible.next().filter(|_| possible.next().is_none())
    }

    /// Runs `work` and forgets the bytes it pushed.
    fn ahead<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        let n_states = self.states.len();
        let value = work(self);
        self.states.truncate(n_states);
        value
    }
}

/// An automaton on a walk through the trie.
struct Walk<'a, A: ByteAutomaton> {
    state: &'a mut AutomatonState<A>,
    n_base: usize,
}

impl<A: ByteAutomaton> Recognizer for Walk<'_, A> {
    fn pop_bytes(&mut self, num: usize) {
        let n_states = self.state.states.len();
        self.state.states.truncate(n_states - num);
    }

    fn collapse(&mut self) {}

    fn trie_finished(&mut self) {
        self.state.states.truncate(self.n_base);
    }

    #[inline(always)]
    fn try_push_byte(&mut self, byte: u8) -> bool {
        // In the trie, the first byte of an added token is one that no text starts with.
        let is_added = byte == TokTrie::SPECIAL_TOKEN_MARKER && self.state.states.len() == self.n_base;
        !is_added && self.state.push_byte(byte)
    }
}

impl<A: ByteAutomaton> ConstraintState for AutomatonState<A> {
    fn ids(&self) -> &[TokenId] {
        &self.ids
    }

    fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn deciders(&self, into: &mut Vec<usize>) {
        into.push(Arc::as_ptr(&self.shared).addr());
    }

    fn n_tokens(&self) -> usize {
        self.shared.vocabulary.n_tokens()
    }

    fn mask(&mut self) -> Result<TokenMask, ControlError> {
        let shared = Arc::clone(&self.shared);
        let n_tokens = self.n_tokens();
        if self.ended {
            return Ok(TokenMask::empty(n_tokens));
        }
        let trie = shared.vocabulary.trie();
        let mut set = trie.alloc_token_set();
        let n_base = self.states.len();
        trie.add_bias(&mut Walk { state: self, n_base }, &mut set, &[]);
        let mut mask = TokenMask::from_words(set.into(), n_tokens);
        for (id, bytes) in shared.vocabulary.outside() {
            mask.set(id, self.ahead(|state| state.push(bytes)));
        }
        let accepting = self.is_complete();
        shared.eos.iter().for_each(|&id| mask.set(id, accepting));
        if mask.is_empty() && !accepting {
            return Err(ControlErrorKind::DeadEnd { step: self.ids.len() }.into());
        }
        Ok(mask)
    }

    fn check(&mut self, id: TokenId) -> Result<bool, ControlError> {
        let shared = Arc::clone(&self.shared);
        Ok(if self.ended {
            false
        } else if shared.eos.contains(&id) {
            self.is_complete()
        } else {
            shared.vocabulary.spelling(id).is_some_and(|bytes| self.ahead(|state| state.push(bytes)))
        })
    }

    fn advance(&mut self, id: TokenId) -> Result<(), ControlError> {
        let shared = Arc::clone(&self.shared);
        let n_states = self.states.len();
        if !self.ended && shared.eos.contains(&id) && self.is_complete() {
            self.ended = true;
        } else {
            let bytes = shared.vocabulary.spelling(id).filter(|_| !self.ended && !shared.eos.contains(&id));
            if !bytes.is_some_and(|bytes| self.push(bytes)) {
                self.states.truncate(n_states);
                return Err(ControlErrorKind::NotAllowed { id, step: self.ids.len() }.into());
            }
            self.prefix.extend_from_slice(bytes.unwrap_or_default());
        }
        self.ids.push(id);
        Ok(())
    }

    fn rollback(&mut self, n: usize) -> Result<(), ControlError> {
        let step = self.ids.len();
        let Some(kept) = step.checked_sub(n) else {
            return Err(ControlErrorKind::Rollback { n, step }.into());
        };
        let spelled = |&id: &TokenId| match self.shared.eos.contains(&id) {
            true => 0,
            false => self.shared.vocabulary.spelling(id).map_or(0, <[u8]>::len),
        };
        let n_bytes: usize = self.ids[kept..].iter().map(spelled).sum();
        self.ids.truncate(kept);
        self.prefix.truncate(self.prefix.len() - n_bytes);
        self.states.truncate(self.states.len() - n_bytes);
        self.ended &= n == 0;
        Ok(())
    }

    fn is_accepting(&mut self) -> Result<bool, ControlError> {
        Ok(self.ended || self.is_complete())
    }

    fn forced(&mut self) -> Result<Vec<TokenId>, ControlError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.shared);
        let last = self.ids.last().copied();
        let mut bytes = Vec::new();
        let n_base = self.states.len();
        while bytes.len() < MAX_FORCED_BYTES
            && let Some(byte) = self.forced_byte()
        {
            self.push_byte(byte);
            bytes.push(byte);
        }
        let ids = shared.vocabulary.canonical(last, &bytes, |trie, ids| {
            trie.chop_tokens(&mut Walk { n_base: self.states.len(), state: self }, ids).0
        });
        self.states.truncate(n_base);
        Ok(ids)
    }

    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(Self {
            shared: Arc::clone(&self.shared),
            states: self.states.clone(),
            ids: self.ids.clone(),
            prefix: self.prefix.clone(),
            ended: self.ended,
        })
    }
}
