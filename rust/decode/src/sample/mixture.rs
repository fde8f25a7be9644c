//! What is the embedding of "one of these tokens, with these weights"?
//!
//! Soft Thinking feeds a model the mean of the embeddings of its most likely tokens in place of one of them. Single
//! precision, one fused multiply-add a token, in the order given: the same bits as `cuda/mixture.cu`. Linear.
//!
//! Zhang et al., "Soft Thinking", 2025.

use super::row::Logits;

/// The sum of `weights[i]` times row `tokens[i]` of `table`, whose rows have as many numbers as `mixture`. Tokens that are
/// no row add nothing.
pub fn fill_mixture(table: Logits<'_>, tokens: &[i64], weights: &[f32], mixture: &mut [f32]) {
    mixture.fill(0.0);
    let n_rows = table.len() / mixture.len().max(1);
    for (&token, &weight) in tokens.iter().zip(weights) {
        let Some(row) = usize::try_from(token).ok().filter(|row| *row < n_rows) else { continue };
        let first = row * mixture.len();
        for (column, sum) in mixture.iter_mut().enumerate() {
            *sum = weight.mul_add(table.get(first + column), *sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_add_up() {
        let table = [1.0, 2.0, 10.0, 20.0, 100.0, 200.0];
        let mut mixture = [9.0; 2];
        fill_mixture(Logits::F32(&table), &[2, 0, -1, 3], &[0.5, 0.25, 1.0, 1.0], &mut mixture);
        assert_eq!(mixture, [50.25, 100.5]);
        fill_mixture(Logits::Bf16(&[0x3F80, 0xC000]), &[0], &[2.0], &mut mixture);
        assert_eq!(mixture, [2.0, -4.0]);
    }
}
