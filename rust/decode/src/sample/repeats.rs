//! Where has the end of the text been before?
//!
//! For every place, how many tokens before it equal the last tokens of the text: the Z function (Gusfield 1997) of the
//! text read backwards. Both rules against repetition ask this: a token that came after such a place would make the
//! repetition longer by one. Linear in the text, whatever it is; one number a token of memory.

/// `matches[i]`: the length of the longest common suffix of `text` and `text[..=i]`; the last entry is the whole length.
pub(super) fn suffix_matches(text: &[u32]) -> Vec<u32> {
    let n_tokens = text.len();
    let backwards = |i: usize| text[n_tokens - 1 - i];
    let mut matches = vec![0u32; n_tokens];
    if let Some(last) = matches.last_mut() {
        *last = n_tokens as u32;
    }
    // In backward coordinates: the match that reaches furthest is `left..right`.
    let (mut left, mut right) = (0, 0);
    for i in 1..n_tokens {
        let known = if i < right { (matches[n_tokens - 1 - (i - left)] as usize).min(right - i) } else { 0 };
        let mut length = known;
        while i + length < n_tokens && backwards(length) == backwards(i + length) {
            length += 1;
        }
        if i + length > right {
            (left, right) = (i, i + length);
        }
        matches[n_tokens - 1 - i] = length as u32;
    }
    matches
}

/// The tokens that would make a repetition longer, each with the length it has reached; a token may come several times.
/// Only repetitions of at least `min_length` tokens.
pub(super) fn continuations(text: &[u32], min_length: usize) -> impl Iterator<Item = (u32, usize)> {
    let matches = suffix_matches(text);
    (0..text.len()).filter_map(move |i| {
        let length = if i == 0 { 0 } else { matches[i - 1] as usize };
        (length >= min_length).then_some((text[i], length))
    })
}

/// How many of the last tokens come after the last breaker in `text`, at most all of them.
pub(super) fn n_after_breaker(text: &[u32], breakers: &[Vec<u32>]) -> usize {
    for (n_after, (start, &head)) in text.iter().enumerate().rev().enumerate() {
        let longest = breakers
            .iter()
            .filter(|breaker| breaker.first() == Some(&head) && text[start..].starts_with(breaker))
            .map(Vec::len)
            .max();
        if let Some(n_tokens) = longest {
            return n_after + 1 - n_tokens;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_are_common_suffixes() {
        let mut state = 1u32;
        for n_tokens in 0..60usize {
            for n_kinds in [1, 2, 3] {
                let text: Vec<u32> = (0..n_tokens)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 16) % n_kinds
                    })
                    .collect();
                for (i, &found) in suffix_matches(&text).iter().enumerate() {
                    let common = text.iter().rev().zip(text[..=i].iter().rev()).take_while(|(a, b)| a == b);
                    assert_eq!(found as usize, common.count(), "{text:?} {i}");
                }
            }
        }
    }

    #[test]
    fn breakers_end_what_is_looked_at() {
        let text = [1, 2, 3, 4, 5, 6];
        assert_eq!(n_after_breaker(&text, &[vec![3]]), 3);
        assert_eq!(n_after_breaker(&text, &[vec![2, 3]]), 3);
        assert_eq!(n_after_breaker(&text, &[vec![3], vec![3, 4]]), 2);
        assert_eq!(n_after_breaker(&text, &[vec![9], vec![6, 7]]), 6);
        assert_eq!(n_after_breaker(&text, &[vec![6]]), 0);
        assert_eq!(continuations(&[7, 8, 7, 8, 7], 1).collect::<Vec<_>>(), [(8, 1), (8, 3)]);
        assert_eq!(continuations(&[7, 8], 0).collect::<Vec<_>>(), [(7, 0), (8, 0)]);
    }
}
