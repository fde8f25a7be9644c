//! Which tokens may come next, and what does a rejected draw weigh?
