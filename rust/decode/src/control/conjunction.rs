//! Which tokens do several constraints allow?
//!
//! Masks are joined word by word; a token is checked by one part after the other and refused by the first that says no.
//! Each part may have texts ahead of it and the conjunction none: that shows as a dead end where no token is left.

use tokenloom_vocab::{TokenId, TokenMask};

use super::{Constraint, ConstraintState, ControlError, ControlErrorKind};

/// Constraints that all must hold, for one vocabulary.
pub struct Conjunction(Vec<std::sync::Arc<dyn Constraint>>);

impl Conjunction {
    /// Joins the parts; without any there is nothing to start from.
    pub fn new(parts: Vec<std::sync::Arc<dyn Constraint>>) -> Option<Self> {
        (!parts.is_empty()).then_some(Self(parts))
    }
}

impl Constraint for Conjunction {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(ConjunctionState(self.0.iter().map(|part| part.start()).collect()))
    }
}

struct ConjunctionState(Vec<Box<dyn ConstraintState>>);

impl ConjunctionState {
    fn all(
        &mut self,
        mut holds: impl FnMut(&mut Box<dyn ConstraintState>) -> Result<bool, ControlError>,
    ) -> Result<bool, ControlError> {
        for part in &mut self.0 {
            if !holds(part)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl ConstraintState for ConjunctionState {
    fn ids(&self) -> &[TokenId] {
        self.0[0].ids()
    }

    fn prefix(&self) -> &[u8] {
        self.0[0].prefix()
    }

    fn deciders(&self, into: &mut Vec<usize>) {
        self.0.iter().for_each(|part| part.deciders(into));
    }

    fn n_tokens(&self) -> usize {
        self.0[0].n_tokens()
    }

    fn mask(&mut self) -> Result<TokenMask, ControlError> {
        let mut joined = self.0[0].mask()?.into_words();
        for part in &mut self.0[1..] {
            let words = part.mask()?.into_words();
            joined.iter_mut().zip(words).for_each(|(word, other)| *word &= other);
        }
        let mask = TokenMask::from_words(joined, self.n_tokens());
        if mask.is_empty() && !self.is_accepting()? {
            return Err(ControlErrorKind::DeadEnd { step: self.ids().len() }.into());
        }
        Ok(mask)
    }

    fn check(&mut self, id: TokenId) -> Result<bool, ControlError> {
        self.all(|part| part.check(id))
    }

    fn advance(&mut self, id: TokenId) -> Result<(), ControlError> {
        for n in 0..self.0.len() {
            if let Err(error) = self.0[n].advance(id) {
                for part in &mut self.0[..n] {
                    part.rollback(1)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn rollback(&mut self, n: usize) -> Result<(), ControlError> {
        let step = self.ids().len();
        if n > step {
            return Err(ControlErrorKind::Rollback { n, step }.into());
        }
        self.0.iter_mut().try_for_each(|part| part.rollback(n))
    }

    fn is_accepting(&mut self) -> Result<bool, ControlError> {
        self.all(|part| part.is_accepting())
    }

    /// What the first part that knows forces, as far as the others allow it.
    fn forced(&mut self) -> Result<Vec<TokenId>, ControlError> {
        for at in 0..self.0.len() {
            let mut ids = self.0[at].forced()?;
            if !ids.is_empty() {
                let mut n_taken = 0;
                while n_taken < ids.len() && self.check(ids[n_taken])? {
                    self.advance(ids[n_taken])?;
                    n_taken += 1;
                }
                self.rollback(n_taken)?;
                ids.truncate(n_taken);
                return Ok(ids);
            }
        }
        Ok(Vec::new())
    }

    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(Self(self.0.iter().map(|part| part.fork()).collect()))
    }
}
