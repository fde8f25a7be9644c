//! Which tokens do all hypotheses start with?
//!
//! A list that grows at its end and shares its beginning: appending and copying are O(1), whatever came before.

use std::sync::Arc;

use tokenloom_vocab::TokenId;

/// A sequence of tokens.
#[derive(Clone, Debug, Default)]
pub(super) struct Trunk {
    end: Option<Arc<Link>>,
    n: usize,
}

#[derive(Debug)]
struct Link {
    id: TokenId,
    before: Option<Arc<Link>>,
}

impl Trunk {
    pub(super) fn len(&self) -> usize {
        self.n
    }

    pub(super) fn last(&self) -> Option<TokenId> {
        self.end.as_ref().map(|link| link.id)
    }

    /// The sequence with one more token.
    pub(super) fn with(&self, id: TokenId) -> Self {
        Self { end: Some(Arc::new(Link { id, before: self.end.clone() })), n: self.n + 1 }
    }

    /// The tokens from number `first` on.
    pub(super) fn from(&self, first: usize) -> Vec<TokenId> {
        let mut ids = Vec::with_capacity(self.n.saturating_sub(first));
        let mut link = &self.end;
        while ids.len() < self.n.saturating_sub(first) {
            let Some(here) = link else { break };
            ids.push(here.id);
            link = &here.before;
        }
        ids.reverse();
        ids
    }
}

impl Drop for Link {
    /// Link by link: a long list would overflow the stack.
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(link) = before {
            match Arc::try_unwrap(link) {
                Ok(mut alone) => before = alone.before.take(),
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_share_their_start_and_end_as_they_like() {
        let start = (0..300_000).fold(Trunk::default(), |trunk, id| trunk.with(id));
        let (one, two) = (start.with(7), start.with(8));
        assert_eq!((one.last(), two.last(), one.len()), (Some(7), Some(8), 300_001));
        assert_eq!(two.from(299_998), [299_998, 299_999, 8]);
        assert!(Trunk::default().from(0).is_empty());
        drop((start, one));
        assert_eq!(two.from(0).len(), 300_001);
    }
}
