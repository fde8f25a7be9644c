//! Which texts does a table of transitions accept?
//!
//! A table has 256 next states a state, [`DEAD`] where none follows, and says which states are complete. It is brought
//! to its smallest form once: states that cannot be reached, or from which nothing complete can be reached, are removed,
//! and states that no continuation can tell apart become one (Moore's partition refinement: each round splits classes
//! by the classes their bytes lead to). So the masks are exact, and a table that forgets where it came from as early as
//! it can walks the trie no further than it must.
//!
//! Cost: O(256 n) a round, at most n rounds, few in practice; 1 kB a state. Worst input: a chain of n states that differ
//! only at its end, which takes n rounds; hence the limit on states.

use rustc_hash::FxHashMap;

use super::automaton::ByteAutomaton;
use super::{ControlError, ControlErrorKind};

/// No state.
pub const DEAD: u32 = u32::MAX;

/// A minimal deterministic automaton over bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    next: Vec<u32>,
    complete: Vec<bool>,
    start: u32,
}

impl Table {
    /// More states are refused.
    pub const MAX_STATES: usize = 1 << 16;

    /// Takes `next[256 * state + byte]` and whether each state is complete.
    ///
    /// # Errors
    /// [`ControlErrorKind::Table`] where sizes or targets do not fit, or nothing complete can be reached from `start`.
    pub fn new(next: &[u32], complete: &[bool], start: u32) -> Result<Self, ControlError> {
        let n_states = complete.len();
        let refuse = |reason: String| Err(ControlErrorKind::Table { reason: reason.into() }.into());
        if n_states > Self::MAX_STATES {
            return refuse(format!("expected at most {} states, found {n_states}", Self::MAX_STATES));
        }
        if next.len() != 256 * n_states {
            return refuse(format!(
                "expected 256 transitions for each of {n_states} states, found {}",
                next.len()
            ));
        }
        if let Some(at) = next.iter().position(|&to| to != DEAD && to as usize >= n_states) {
            let (state, byte, to) = (at / 256, at % 256, next[at]);
            return refuse(format!(
                "expected states below {n_states}, found {to} after state {state} and byte {byte}"
            ));
        }
        if start as usize >= n_states {
            return refuse(format!("expected a start below {n_states}, found {start}"));
        }
        let alive = alive_states(next, complete, start);
        if !alive[start as usize] {
            return refuse("no complete text can be reached from the start".into());
        }
        Ok(minimal(next, complete, start, &alive))
    }

    /// How many states are left.
    pub fn n_states(&self) -> usize {
        self.complete.len()
    }
}

/// Which states can be reached and reach something complete.
fn alive_states(next: &[u32], complete: &[bool], start: u32) -> Vec<bool> {
    let n_states = complete.len();
    let mut reached = vec![false; n_states];
    reached[start as usize] = true;
    let mut order = vec![start];
    let mut sources: Vec<Vec<u32>> = vec![Vec::new(); n_states];
    let mut n_seen = 0;
    while let Some(&state) = order.get(n_seen) {
        n_seen += 1;
        let row = &next[256 * state as usize..][..256];
        let mut previous = DEAD;
        for &to in row.iter().filter(|&&to| to != DEAD) {
            if to != previous {
                sources[to as usize].push(state);
            }
            previous = to;
            if !reached[to as usize] {
                reached[to as usize] = true;
                order.push(to);
            }
        }
    }
    let mut alive = vec![false; n_states];
    let mut open: Vec<u32> = order.into_iter().filter(|&state| complete[state as usize]).collect();
    open.iter().for_each(|&state| alive[state as usize] = true);
    while let Some(state) = open.pop() {
        for &source in &sources[state as usize] {
            if !alive[source as usize] {
                alive[source as usize] = true;
                open.push(source);
            }
        }
    }
    alive
}

fn minimal(next: &[u32], complete: &[bool], start: u32, alive: &[bool]) -> Table {
    let states: Vec<usize> = (0..complete.len()).filter(|&state| alive[state]).collect();
    let mut class = vec![DEAD; complete.len()];
    states.iter().for_each(|&state| class[state] = u32::from(complete[state]));
    let mut n_classes = 0;
    loop {
        let mut found: FxHashMap<(u32, Vec<u32>), u32> = FxHashMap::default();
        let mut refined = vec![DEAD; complete.len()];
        for &state in &states {
            let row: Vec<u32> = next[256 * state..][..256]
                .iter()
                .map(|&to| if to == DEAD { DEAD } else { class[to as usize] })
                .collect();
            let fresh = found.len() as u32;
            refined[state] = *found.entry((class[state], row)).or_insert(fresh);
        }
        let is_stable = found.len() == n_classes;
        n_classes = found.len();
        class = refined;
        if is_stable {
            break;
        }
    }
    let mut table = Table {
        next: vec![DEAD; 256 * n_classes],
        complete: vec![false; n_classes],
        start: class[start as usize],
    };
    for &state in &states {
        let at = class[state] as usize;
        table.complete[at] = complete[state];
        for byte in 0..256 {
            let to = next[256 * state + byte];
            table.next[256 * at + byte] = if to == DEAD { DEAD } else { class[to as usize] };
        }
    }
    table
}

impl ByteAutomaton for Table {
    type State = u32;

    fn start(&self) -> u32 {
        self.start
    }

    #[inline(always)]
    fn step(&self, state: &u32, byte: u8) -> Option<u32> {
        let to = self.next[256 * *state as usize + usize::from(byte)];
        (to != DEAD).then_some(to)
    }

    fn is_complete(&self, state: &u32) -> bool {
        self.complete[*state as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(n_states: usize, edges: &[(usize, u8, u32)], complete: &[usize]) -> Result<Table, String> {
        let mut next = vec![DEAD; 256 * n_states];
        edges.iter().for_each(|&(from, byte, to)| next[256 * from + usize::from(byte)] = to);
        let flags: Vec<bool> = (0..n_states).map(|state| complete.contains(&state)).collect();
        Table::new(&next, &flags, 0).map_err(|error| error.to_string())
    }

    fn accepts(table: &Table, text: &[u8]) -> bool {
        let end = text.iter().try_fold(table.start(), |state, &byte| table.step(&state, byte));
        end.is_some_and(|state| table.is_complete(&state))
    }

    #[test]
    fn equal_states_become_one_and_dead_ones_go() {
        // (a|b)c with two middle states, a trap behind "d" and an island.
        let edges = [
            (0, b'a', 1),
            (0, b'b', 2),
            (1, b'c', 3),
            (2, b'c', 3),
            (0, b'd', 4),
            (4, b'd', 4),
            (5, b'a', 3),
        ];
        let table = table(6, &edges, &[3]).unwrap();
        assert_eq!(table.n_states(), 3);
        for (text, expected) in [("ac", true), ("bc", true), ("c", false), ("d", false), ("acc", false)] {
            assert_eq!(accepts(&table, text.as_bytes()), expected, "{text}");
        }
        assert_eq!(table.step(&table.start(), b'd'), None);
    }

    #[test]
    fn tables_that_do_not_fit_are_named() {
        assert!(table(1, &[], &[]).unwrap_err().contains("no complete text"));
        assert!(table(1, &[(0, 7, 3)], &[0]).unwrap_err().contains("found 3 after state 0 and byte 7"));
        assert!(Table::new(&[0; 3], &[true], 0).unwrap_err().to_string().contains("found 3"));
        assert!(Table::new(&[0; 256], &[true], 1).unwrap_err().to_string().contains("start below 1"));
    }
}
