//! How are forbidden tokens taken out of logits that somebody else will read?
//!
//! Everything here reads masks where they are; a decoder of the caller's wants `-inf` in the logits. Only forbidden tokens
//! are written, and whatever their width, `-inf` is one bit pattern. Linear in the words of the mask.

/// `-inf` as it lies in memory.
pub trait Word: Copy {}

impl Word for u16 {}
impl Word for u32 {}

/// Writes `forbidden` where bit `t % 32` of `mask[t / 32]` is not set.
pub fn forbid<W: Word>(logits: &mut [W], forbidden: W, mask: &[u32]) {
    for (chunk, &word) in logits.chunks_mut(32).zip(mask).filter(|(_, word)| **word != u32::MAX) {
        for (bit, logit) in chunk.iter_mut().enumerate() {
            *logit = if word >> bit & 1 == 1 { *logit } else { forbidden };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_forbidden_tokens_are_written() {
        let mut logits = [7u16; 70];
        forbid(&mut logits, 0xFC00, &[u32::MAX, 0b101, 0]);
        for (token, &logit) in logits.iter().enumerate() {
            assert_eq!(logit == 7, token < 33 || token == 34, "{token}");
        }
    }
}
