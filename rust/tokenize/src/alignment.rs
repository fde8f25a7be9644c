//! Which tokens of one tokenizer cover the same text as which tokens of another?
//!
//! Both cut the same bytes. Wherever both have a boundary, the tokens between it and the boundary before belong together;
//! no finer grouping exists. One pass over both lists, O(n + m).

/// Tokens `a.0..a.1` of one side and `b.0..b.1` of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlignedSpan {
    /// Tokens of the first side.
    pub a: (usize, usize),
    /// Tokens of the second side.
    pub b: (usize, usize),
}

/// Groups tokens by their common boundaries. `a` and `b` hold where each token ends, in bytes of one text, rising. A token
/// of no bytes belongs to the span before it, at the start of the text to the first one.
pub fn align(a: &[i64], b: &[i64]) -> Vec<AlignedSpan> {
    let mut spans = Vec::new();
    let (mut i, mut j, mut from) = (0, 0, (0, 0));
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) | (None, Some(&x)) => x,
            (None, None) => break,
        };
        let ends = |ends: &[i64], at: usize| ends[at..].iter().take_while(|&&end| end <= next).count();
        let (n_a, n_b) = (ends(a, i), ends(b, j));
        i += n_a;
        j += n_b;
        // Both sides end here, and something was covered: a boundary of both.
        let meets = |ends: &[i64], at: usize| at > 0 && ends[at - 1] == next;
        if next > 0 && meets(a, i) && meets(b, j) {
            spans.push(AlignedSpan { a: (from.0, i), b: (from.1, j) });
            from = (i, j);
        }
    }
    if from != (a.len(), b.len()) {
        spans.push(AlignedSpan { a: (from.0, a.len()), b: (from.1, b.len()) });
    }
    spans
}
