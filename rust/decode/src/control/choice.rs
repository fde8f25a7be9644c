//! Which texts list items of a catalogue, in any order, none of them twice?
//!
//! A text is items with a separator between them. Inside an item the state is a node of the catalogue's trie, between
//! items a place in the separator; beside it goes the set of items used, as bits. A node is alive while an unused item
//! lies below it, which the sorted catalogue answers with a range: node = (first item, last item, bytes matched). Where
//! one item starts another ("a", "ab"), both readings are the same prefix, and it is the separator or the end that
//! decides; so a separator must not start with a byte that can go on inside an item.
//!
//! Cost: a step is a binary search in the catalogue, and counting the unused items of a range where it shrank to used
//! ones: O(n / 64). Worst input: thousands of items below one node.

use std::sync::Arc;

use super::automaton::ByteAutomaton;
use super::{ControlError, ControlErrorKind};

/// Texts that list items.
#[derive(Clone, Debug)]
pub struct Choice {
    /// Sorted, distinct.
    items: Vec<Vec<u8>>,
    separator: Vec<u8>,
    least: usize,
    most: usize,
    repeats: bool,
}

/// Where a list stands.
#[derive(Clone, Debug)]
pub struct ChoiceState {
    used: Arc<[u64]>,
    n_taken: u32,
    /// The items that start with the bytes of the current one.
    lo: u32,
    hi: u32,
    depth: u32,
    /// Bytes of the separator that were read; 0 inside an item.
    n_separator: u32,
}

impl Choice {
    /// More items are refused.
    pub const MAX_ITEMS: usize = 1 << 16;

    /// Lists of `least` to `most` of the items; each once, unless `repeats`.
    ///
    /// # Errors
    /// [`ControlErrorKind::Choice`]: no items, an empty item or separator, a separator that an item may go on with, or
    /// bounds that no list can keep.
    pub fn new(
        items: impl IntoIterator<Item = Vec<u8>>,
        separator: &[u8],
        least: usize,
        most: Option<usize>,
        repeats: bool,
    ) -> Result<Self, ControlError> {
        let refuse = |reason: String| Err(ControlErrorKind::Choice { reason: reason.into() }.into());
        let mut items: Vec<Vec<u8>> = items.into_iter().collect();
        items.sort_unstable();
        items.dedup();
        if items.first().is_none_or(Vec::is_empty) {
            return refuse("expected items of at least one byte".into());
        }
        if items.len() > Self::MAX_ITEMS {
            return refuse(format!("expected at most {} items, found {}", Self::MAX_ITEMS, items.len()));
        }
        let most = most.unwrap_or(if repeats { u32::MAX as usize } else { items.len() });
        let most = if repeats { most.min(u32::MAX as usize) } else { most.min(items.len()) };
        if least > most {
            return refuse(format!("expected at least {least} items, at most {most} are possible"));
        }
        if most > 1 {
            let Some(&first) = separator.first() else {
                return refuse("expected a separator of at least one byte".into());
            };
            for item in &items {
                let longer = [item.as_slice(), &[first]].concat();
                let at = items.partition_point(|other| *other < longer);
                if let Some(other) = items.get(at).filter(|other| other.starts_with(&longer)) {
                    let (short, long) = (String::from_utf8_lossy(item), String::from_utf8_lossy(other));
                    return refuse(format!(
                        "the separator starts with the byte with which {short:?} goes on to {long:?}"
                    ));
                }
            }
        }
        Ok(Self { items, separator: separator.to_vec(), least, most, repeats })
    }

    fn root(&self, used: Arc<[u64]>, n_taken: u32) -> ChoiceState {
        ChoiceState { used, n_taken, lo: 0, hi: self.items.len() as u32, depth: 0, n_separator: 0 }
    }

    fn is_free(&self, state: &ChoiceState, item: usize) -> bool {
        self.repeats || state.used[item / 64] >> (item % 64) & 1 == 0
    }

    /// The item that is complete here and may be taken.
    fn finished(&self, state: &ChoiceState) -> Option<usize> {
        let item = state.lo as usize;
        let is_there =
            state.depth > 0 && state.n_separator == 0 && self.items[item].len() == state.depth as usize;
        (is_there && self.is_free(state, item)).then_some(item)
    }

    /// The state behind the separator, or inside it, after a finished item.
    fn separated(&self, state: &ChoiceState, byte: u8) -> Option<ChoiceState> {
        let item = self.finished(state)?;
        if state.n_taken as usize + 1 >= self.most || self.separator.first() != Some(&byte) {
            return None;
        }
        let mut used = Arc::clone(&state.used);
        if !self.repeats {
            let mut words = used.to_vec();
            words[item / 64] |= 1 << (item % 64);
            used = words.into();
        }
        let next = ChoiceState { n_separator: 1, ..self.root(used, state.n_taken + 1) };
        Some(self.behind_separator(next))
    }

    fn behind_separator(&self, state: ChoiceState) -> ChoiceState {
        match state.n_separator as usize == self.separator.len() {
            true => ChoiceState { n_separator: 0, ..state },
            false => state,
        }
    }
}

impl ByteAutomaton for Choice {
    type State = ChoiceState;

    fn start(&self) -> ChoiceState {
        let n_words = if self.repeats { 0 } else { self.items.len().div_ceil(64) };
        self.root(vec![0; n_words].into(), 0)
    }

    fn step(&self, state: &ChoiceState, byte: u8) -> Option<ChoiceState> {
        if state.n_separator > 0 {
            let is_next = self.separator[state.n_separator as usize] == byte;
            let next = ChoiceState { n_separator: state.n_separator + 1, ..state.clone() };
            return is_next.then(|| self.behind_separator(next));
        }
        if state.n_taken as usize >= self.most {
            return None;
        }
        let (range, depth) = (state.lo as usize..state.hi as usize, state.depth as usize);
        let key = |item: &Vec<u8>| item.get(depth).map_or(0, |&byte| u32::from(byte) + 1);
        let below = &self.items[range];
        let lo = below.partition_point(|item| key(item) < u32::from(byte) + 1);
        let hi = below.partition_point(|item| key(item) <= u32::from(byte) + 1);
        let (lo, hi) = (state.lo as usize + lo, state.lo as usize + hi);
        if (lo..hi).any(|item| self.is_free(state, item)) {
            return Some(ChoiceState {
                lo: lo as u32,
                hi: hi as u32,
                depth: state.depth + 1,
                ..state.clone()
            });
        }
        self.separated(state, byte)
    }

    fn is_complete(&self, state: &ChoiceState) -> bool {
        let is_empty_list = state.n_taken == 0 && state.depth == 0 && self.least == 0;
        is_empty_list || (self.finished(state).is_some() && state.n_taken as usize + 1 >= self.least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(items: &[&str], least: usize, most: Option<usize>, repeats: bool) -> Choice {
        let items = items.iter().map(|item| item.as_bytes().to_vec());
        Choice::new(items, b", ", least, most, repeats).unwrap()
    }

    fn is_complete(choice: &Choice, text: &str) -> Option<bool> {
        let end = text.bytes().try_fold(choice.start(), |state, byte| choice.step(&state, byte));
        end.map(|state| choice.is_complete(&state))
    }

    #[test]
    fn lists_take_each_item_once() {
        let tags = choice(&["red", "re", "blue", "green"], 1, Some(3), false);
        for (text, expected) in [
            ("", Some(false)),
            ("red", Some(true)),
            ("re", Some(true)),
            ("re, red", Some(true)),
            ("red, re", Some(true)),
            ("red, red", None),
            ("red, r", Some(false)),
            ("re, re", Some(false)),
            ("re, re, ", None),
            ("blue, ", Some(false)),
            ("blue, b", None),
            ("blue,green", None),
            ("blue, green, re", Some(true)),
            ("blue, green, re, ", None),
            ("yellow", None),
        ] {
            assert_eq!(is_complete(&tags, text), expected, "{text:?}");
        }
        assert_eq!(is_complete(&choice(&["a"], 0, None, true), "a, a, a"), Some(true));
        assert_eq!(is_complete(&choice(&["a"], 0, None, true), ""), Some(true));
        assert_eq!(is_complete(&choice(&["a", "b"], 2, None, false), "b"), Some(false));
    }

    #[test]
    fn no_state_is_a_dead_end() {
        // Any path of allowed bytes can be brought to an end.
        fn can_end(choice: &Choice, state: &ChoiceState, n_left: usize) -> bool {
            choice.is_complete(state)
                || (n_left > 0
                    && b"ab, ".iter().any(|&byte| {
                        choice.step(state, byte).is_some_and(|next| can_end(choice, &next, n_left - 1))
                    }))
        }
        let list = choice(&["a", "ab", "b"], 2, Some(3), false);
        let mut open = vec![list.start()];
        for _ in 0..7 {
            open = open.iter().flat_map(|s| b"ab, ".iter().filter_map(|&b| list.step(s, b))).collect();
            assert!(!open.is_empty());
            assert!(open.iter().all(|state| can_end(&list, state, 6)));
        }
    }

    #[test]
    fn catalogues_that_cannot_be_read_are_named() {
        let bytes = |items: &[&str]| items.iter().map(|item| item.as_bytes().to_vec()).collect::<Vec<_>>();
        let says = |result: Result<Choice, ControlError>| result.unwrap_err().to_string();
        assert!(
            says(Choice::new(bytes(&["a", "a b", "a,b"]), b",", 0, None, false))
                .contains("goes on to \"a,b\"")
        );
        assert!(says(Choice::new(bytes(&["", "a"]), b",", 0, None, false)).contains("at least one byte"));
        assert!(says(Choice::new(bytes(&["a"]), b",", 2, None, false)).contains("at most 1 are possible"));
        assert!(says(Choice::new(bytes(&["a", "b"]), b"", 0, None, false)).contains("separator"));
    }
}
