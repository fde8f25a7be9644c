//! Which integer is which? A token id names a row of the model; a rank says when a merge applies.

/// A row of the model's embedding table. Ids may have gaps.
pub type TokenId = u32;

/// The priority of a merge: the smaller rank is applied first. Never an id, even where a file makes them coincide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Rank(pub u32);
