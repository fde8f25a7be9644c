//! Which texts hold all of these phrases, none of those, and end with one of a third kind?
//!
//! One scan for all phrases together (Aho and Corasick, 1975): after every byte the scanner stands at the longest suffix
//! of the text that begins a phrase, whichever way tokens cut the text. A text state is that place and the set of
//! required phrases seen so far. A banned phrase is never completed; after a stop phrase nothing follows. Required
//! phrases must be there when the text ends, and a stop phrase ends it, so a stop phrase that comes too early is banned.
//!
//! Cost: one table look-up a byte; the scanner has a state for each prefix of a phrase.

use super::automaton::ByteAutomaton;
use super::{ControlError, ControlErrorKind};

const NONE: u32 = u32::MAX;

/// A text of any kind around phrases.
#[derive(Clone, Debug)]
pub struct Phrases {
    /// `next[256 * place + byte]`.
    next: Vec<u32>,
    /// Required phrases that end at a place, as bits.
    found: Vec<u64>,
    is_banned: Vec<bool>,
    is_stop: Vec<bool>,
    all_required: u64,
    must_stop: bool,
}

/// The scanner's place, the required phrases seen, and whether the text has been stopped.
#[derive(Clone, Copy, Debug)]
pub struct PhrasesState {
    place: u32,
    seen: u64,
    stopped: bool,
}

impl Phrases {
    /// More required phrases are refused.
    pub const MAX_REQUIRED: usize = 64;
    /// More bytes in all phrases are refused.
    pub const MAX_BYTES: usize = 1 << 18;

    /// `required` must all occur, `banned` must not; if there are `stops`, the text ends with the first that occurs.
    ///
    /// # Errors
    /// [`ControlErrorKind::Phrases`]: an empty phrase, too many, or a required one that holds a banned one.
    pub fn new<B: AsRef<[u8]>>(required: &[B], banned: &[B], stops: &[B]) -> Result<Self, ControlError> {
        let refuse = |reason: String| Err(ControlErrorKind::Phrases { reason: reason.into() }.into());
        if required.len() > Self::MAX_REQUIRED {
            return refuse(format!(
                "expected at most {} required phrases, found {}",
                Self::MAX_REQUIRED,
                required.len()
            ));
        }
        let lists = [required, banned, stops];
        if lists.iter().any(|list| list.iter().any(|phrase| phrase.as_ref().is_empty())) {
            return refuse("expected phrases of at least one byte, found an empty one".into());
        }
        let n_bytes: usize =
            lists.iter().flat_map(|list| list.iter()).map(|phrase| phrase.as_ref().len()).sum();
        if n_bytes > Self::MAX_BYTES {
            return refuse(format!(
                "expected phrases of at most {} bytes together, found {n_bytes}",
                Self::MAX_BYTES
            ));
        }
        let all_required = if required.is_empty() { 0 } else { u64::MAX >> (64 - required.len()) };
        let mut this = Self {
            next: vec![NONE; 256],
            found: vec![0],
            is_banned: vec![false],
            is_stop: vec![false],
            all_required,
            must_stop: !stops.is_empty(),
        };
        for (n, phrase) in required.iter().enumerate() {
            let place = this.insert(phrase.as_ref());
            this.found[place] |= 1 << n;
        }
        for phrase in banned {
            let place = this.insert(phrase.as_ref());
            this.is_banned[place] = true;
        }
        for phrase in stops {
            let place = this.insert(phrase.as_ref());
            this.is_stop[place] = true;
        }
        this.link();
        // A phrase that cannot be spelled makes every text a dead end: say so now.
        for phrase in required {
            let mut state = this.start();
            for &byte in phrase.as_ref() {
                state.place = this.next[256 * state.place as usize + usize::from(byte)];
                if this.is_banned[state.place as usize] {
                    let text = String::from_utf8_lossy(phrase.as_ref());
                    return refuse(format!("the required phrase {text:?} holds a banned one"));
                }
            }
        }
        Ok(this)
    }

    fn insert(&mut self, phrase: &[u8]) -> usize {
        let mut place = 0;
        for &byte in phrase {
            let edge = 256 * place + usize::from(byte);
            if self.next[edge] == NONE {
                self.next[edge] = self.found.len() as u32;
                self.next.resize(self.next.len() + 256, NONE);
                self.found.push(0);
                self.is_banned.push(false);
                self.is_stop.push(false);
            }
            place = self.next[edge] as usize;
        }
        place
    }

    /// Completes the trie: breadth first, a missing edge is that of the longest proper suffix.
    fn link(&mut self) {
        let mut suffix = vec![0_u32; self.found.len()];
        let mut queue = std::collections::VecDeque::new();
        for byte in 0..256 {
            match self.next[byte] {
                NONE => self.next[byte] = 0,
                place => queue.push_back(place),
            }
        }
        while let Some(place) = queue.pop_front() {
            let (at, shorter) = (place as usize, suffix[place as usize] as usize);
            self.found[at] |= self.found[shorter];
            self.is_banned[at] |= self.is_banned[shorter];
            self.is_stop[at] |= self.is_stop[shorter];
            for byte in 0..256 {
                let fallback = self.next[256 * shorter + byte];
                match self.next[256 * at + byte] {
                    NONE => self.next[256 * at + byte] = fallback,
                    child => {
                        suffix[child as usize] = fallback;
                        queue.push_back(child);
                    }
                }
            }
        }
    }
}

impl ByteAutomaton for Phrases {
    type State = PhrasesState;

    fn start(&self) -> PhrasesState {
        PhrasesState { place: 0, seen: 0, stopped: false }
    }

    #[inline(always)]
    fn step(&self, state: &PhrasesState, byte: u8) -> Option<PhrasesState> {
        if state.stopped {
            return None;
        }
        let place = self.next[256 * state.place as usize + usize::from(byte)];
        let at = place as usize;
        let seen = state.seen | self.found[at];
        let stopped = self.is_stop[at];
        let is_wrong = self.is_banned[at] || (stopped && seen != self.all_required);
        (!is_wrong).then_some(PhrasesState { place, seen, stopped })
    }

    fn is_complete(&self, state: &PhrasesState) -> bool {
        state.seen == self.all_required && (state.stopped || !self.must_stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_complete(phrases: &Phrases, text: &str) -> Option<bool> {
        let end = text.bytes().try_fold(phrases.start(), |state, byte| phrases.step(&state, byte));
        end.map(|state| phrases.is_complete(&state))
    }

    #[test]
    fn texts_are_judged_as_by_searching_them() {
        let (required, banned, stops) = (["ab", "ba"], ["aa", "bbb"], ["cab", "cc"]);
        let phrases = Phrases::new(&required, &banned, &stops).unwrap();
        let letters = ['a', 'b', 'c'];
        for n in 0..3_usize.pow(8) {
            let text: String = (0..8).map(|place| letters[n / 3_usize.pow(place) % 3]).collect();
            let bad = (1..=8).find(|&end| {
                let head = &text[..end];
                let is_stop = stops.iter().any(|stop| head.ends_with(stop));
                let is_full = required.iter().all(|phrase| head.contains(phrase));
                let stopped_before = (1..end).any(|end| stops.iter().any(|stop| text[..end].ends_with(stop)));
                banned.iter().any(|phrase| head.ends_with(phrase)) || (is_stop && !is_full) || stopped_before
            });
            let ends = stops.iter().any(|stop| text.ends_with(stop));
            let expected = bad.is_none().then(|| ends && required.iter().all(|phrase| text.contains(phrase)));
            assert_eq!(is_complete(&phrases, &text), expected, "{text}");
        }
    }

    #[test]
    fn phrases_that_contradict_are_named() {
        let empty: [&str; 0] = [];
        let says = |result: Result<Phrases, ControlError>| result.unwrap_err().to_string();
        assert!(says(Phrases::new(&["xaay"], &["aa"], &empty)).contains("\"xaay\" holds a banned one"));
        assert!(says(Phrases::new(&[""], &empty, &empty)).contains("empty"));
        assert!(says(Phrases::new(&["a"; 65], &empty, &empty)).contains("at most 64"));
    }
}
