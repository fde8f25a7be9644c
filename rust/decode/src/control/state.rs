//! What can every constraint be asked, wherever its text stands?
//!
//! A state belongs to one text. It answers for one token (`check`), for all (`fill_mask`), walks on (`advance`), back
//! (`rollback`) and aside (`fork`). Whatever the constraint is, the answers agree: a token is checked true exactly if
//! its bit of the mask is set, and a call that fails leaves the state as it was.

use tokenloom_vocab::{TokenId, TokenMask};

use super::ControlError;

/// How far one text has come under a constraint.
pub trait ConstraintState: Send {
    /// The tokens taken so far.
    fn ids(&self) -> &[TokenId];

    /// The bytes of the tokens taken so far, end tokens and other added tokens left out.
    fn prefix(&self) -> &[u8];

    /// Adds the addresses of the constraints that decide here. States with the same ones that took the same tokens give
    /// the same answers.
    fn deciders(&self, into: &mut Vec<usize>);

    /// How many tokens the masks speak of.
    fn n_tokens(&self) -> usize;

    /// The allowed tokens.
    ///
    /// # Errors
    /// [`DeadEnd`](super::ControlErrorKind::DeadEnd) where nothing is allowed and the text is not complete,
    /// [`Walk`](super::ControlErrorKind::Walk).
    fn mask(&mut self) -> Result<TokenMask, ControlError>;

    /// Whether `id` is allowed: its bit of the mask.
    ///
    /// # Errors
    /// [`Walk`](super::ControlErrorKind::Walk).
    fn check(&mut self, id: TokenId) -> Result<bool, ControlError>;

    /// Takes a token.
    ///
    /// # Errors
    /// [`NotAllowed`](super::ControlErrorKind::NotAllowed), [`Walk`](super::ControlErrorKind::Walk).
    fn advance(&mut self, id: TokenId) -> Result<(), ControlError>;

    /// Takes back the last `n` tokens.
    ///
    /// # Errors
    /// [`Rollback`](super::ControlErrorKind::Rollback) if fewer were taken, [`Walk`](super::ControlErrorKind::Walk).
    fn rollback(&mut self, n: usize) -> Result<(), ControlError>;

    /// Whether the text is complete.
    ///
    /// # Errors
    /// [`Walk`](super::ControlErrorKind::Walk).
    fn is_accepting(&mut self) -> Result<bool, ControlError>;

    /// The tokens that must come next: the encoder's choice for the bytes without alternative.
    ///
    /// # Errors
    /// [`Walk`](super::ControlErrorKind::Walk).
    fn forced(&mut self) -> Result<Vec<TokenId>, ControlError>;

    /// A state of its own at the same place.
    fn fork(&self) -> Box<dyn ConstraintState>;

    /// Writes the mask into words of the caller; those beyond it become 0, bits of tokens without a word are dropped.
    ///
    /// # Errors
    /// As [`mask`](Self::mask); the words are then as they were.
    fn fill_mask(&mut self, out: &mut [u32]) -> Result<(), ControlError> {
        let mask = self.mask()?;
        let n_words = out.len().min(mask.words().len());
        out[..n_words].copy_from_slice(&mask.words()[..n_words]);
        out[n_words..].fill(0);
        Ok(())
    }
}

/// A constraint, compiled and shared.
pub trait Constraint: Send + Sync {
    /// The state before the first token.
    fn start(&self) -> Box<dyn ConstraintState>;
}
