//! Which drafted tokens may stay without changing the distribution?
