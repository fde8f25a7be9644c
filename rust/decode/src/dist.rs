//! Is this row a distribution?
