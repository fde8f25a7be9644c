//! Which token is drawn from these logits?
