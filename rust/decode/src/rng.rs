//! Which random number belongs to this seed, position, token and purpose?
