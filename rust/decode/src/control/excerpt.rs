//! Which texts are copied from a source?
//!
//! An excerpt is a run of the source's bytes. The suffix automaton (Blumer et al., 1985) accepts exactly these runs with
//! at most two states a byte: a state stands for all places where what was read so far ends, and a byte leads on where
//! one of these places goes on with it. The earliest of its places says how long an excerpt can still become, which is
//! what excerpts of a least length need to know.
//!
//! Cost: built in O(n s) for n bytes and s edges of a state (at most 256, few in text); a step is a search among the
//! edges of a state. Memory: about 80 B a byte of the source.

use super::automaton::ByteAutomaton;
use super::{ControlError, ControlErrorKind};

const NONE: u32 = u32::MAX;

/// The runs of a source.
#[derive(Clone, Debug)]
pub struct Excerpt {
    /// Edges of each state, in order of byte.
    edges: Vec<Vec<(u8, u32)>>,
    /// How many bytes of the source follow the earliest place of each state.
    n_ahead: Vec<u32>,
    n_least: u32,
}

/// A place in the automaton and how many bytes were read.
#[derive(Clone, Copy, Debug)]
pub struct ExcerptState {
    state: u32,
    n_bytes: u32,
}

impl Excerpt {
    /// Longer sources are refused.
    pub const MAX_BYTES: usize = 1 << 22;

    /// Excerpts of at least `n_least` bytes.
    ///
    /// # Errors
    /// [`ControlErrorKind::Excerpt`]: an empty or too long source, or one that is shorter than `n_least`.
    pub fn new(source: &[u8], n_least: usize) -> Result<Self, ControlError> {
        let refuse = |reason: String| Err(ControlErrorKind::Excerpt { reason: reason.into() }.into());
        if source.is_empty() || source.len() > Self::MAX_BYTES {
            return refuse(format!(
                "expected a source of 1 to {} bytes, found {}",
                Self::MAX_BYTES,
                source.len()
            ));
        }
        if n_least > source.len() {
            return refuse(format!("expected at least {n_least} bytes, the source has {}", source.len()));
        }
        let mut builder = Builder::new(source.len());
        source.iter().for_each(|&byte| builder.push(byte));
        Ok(Self { edges: builder.edges, n_ahead: builder.n_ahead, n_least: n_least as u32 })
    }
}

/// The suffix automaton of what was pushed.
struct Builder {
    edges: Vec<Vec<(u8, u32)>>,
    suffix: Vec<u32>,
    length: Vec<u32>,
    n_ahead: Vec<u32>,
    last: u32,
    n_left: u32,
}

impl Builder {
    fn new(n_bytes: usize) -> Self {
        Self {
            edges: vec![Vec::new()],
            suffix: vec![NONE],
            length: vec![0],
            n_ahead: vec![n_bytes as u32],
            last: 0,
            n_left: n_bytes as u32,
        }
    }

    fn edge(&self, state: u32, byte: u8) -> Option<u32> {
        let edges = &self.edges[state as usize];
        edges.binary_search_by_key(&byte, |edge| edge.0).ok().map(|at| edges[at].1)
    }

    fn set(&mut self, state: u32, byte: u8, to: u32) {
        let edges = &mut self.edges[state as usize];
        match edges.binary_search_by_key(&byte, |edge| edge.0) {
            Ok(at) => edges[at].1 = to,
            Err(at) => edges.insert(at, (byte, to)),
        }
    }

    fn add(&mut self, length: u32, n_ahead: u32, edges: Vec<(u8, u32)>, suffix: u32) -> u32 {
        self.edges.push(edges);
        self.suffix.push(suffix);
        self.length.push(length);
        self.n_ahead.push(n_ahead);
        self.edges.len() as u32 - 1
    }

    fn push(&mut self, byte: u8) {
        self.n_left -= 1;
        let added = self.add(self.length[self.last as usize] + 1, self.n_left, Vec::new(), 0);
        let mut at = std::mem::replace(&mut self.last, added);
        while at != NONE && self.edge(at, byte).is_none() {
            self.set(at, byte, added);
            at = self.suffix[at as usize];
        }
        let Some(to) = (at != NONE).then(|| self.edge(at, byte)).flatten() else { return };
        if self.length[to as usize] == self.length[at as usize] + 1 {
            self.suffix[added as usize] = to;
            return;
        }
        // The texts of `to` that also end here get a state of their own.
        let edges = self.edges[to as usize].clone();
        let (suffix, n_ahead) = (self.suffix[to as usize], self.n_ahead[to as usize]);
        let twin = self.add(self.length[at as usize] + 1, n_ahead, edges, suffix);
        while at != NONE && self.edge(at, byte) == Some(to) {
            self.set(at, byte, twin);
            at = self.suffix[at as usize];
        }
        self.suffix[to as usize] = twin;
        self.suffix[added as usize] = twin;
    }
}

impl ByteAutomaton for Excerpt {
    type State = ExcerptState;

    fn start(&self) -> ExcerptState {
        ExcerptState { state: 0, n_bytes: 0 }
    }

    #[inline]
    fn step(&self, state: &ExcerptState, byte: u8) -> Option<ExcerptState> {
        let edges = &self.edges[state.state as usize];
        let at = edges.binary_search_by_key(&byte, |edge| edge.0).ok()?;
        let next = ExcerptState { state: edges[at].1, n_bytes: state.n_bytes + 1 };
        (next.n_bytes + self.n_ahead[next.state as usize] >= self.n_least).then_some(next)
    }

    fn is_complete(&self, state: &ExcerptState) -> bool {
        state.n_bytes >= self.n_least
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_source_and_nothing_else() {
        let source = b"abcabdab cabx";
        for n_least in 0..6 {
            let excerpt = Excerpt::new(source, n_least).unwrap();
            let mut texts = vec![Vec::new()];
            for _ in 0..5 {
                let longer: Vec<Vec<u8>> = texts
                    .iter()
                    .flat_map(|text| b"abcdx ".iter().map(move |&b| [text.as_slice(), &[b]].concat()))
                    .collect();
                for text in &longer {
                    let end =
                        text.iter().try_fold(excerpt.start(), |state, &byte| excerpt.step(&state, byte));
                    let places = source.windows(text.len()).enumerate().filter(|(_, run)| run == text);
                    // Alive where some place leaves room for the least length.
                    let alive = places.into_iter().any(|(at, _)| source.len() - at >= n_least);
                    assert_eq!(end.is_some(), alive, "{text:?} {n_least}");
                    assert_eq!(
                        end.is_some_and(|end| excerpt.is_complete(&end)),
                        alive && text.len() >= n_least
                    );
                }
                texts = longer
                    .into_iter()
                    .filter(|text| source.windows(text.len()).any(|run| run == text))
                    .collect();
            }
        }
    }

    #[test]
    fn sources_that_cannot_be_copied_from_are_named() {
        let says = |result: Result<Excerpt, ControlError>| result.unwrap_err().to_string();
        assert!(says(Excerpt::new(b"", 0)).contains("found 0"));
        assert!(says(Excerpt::new(b"abc", 4)).contains("the source has 3"));
    }
}
