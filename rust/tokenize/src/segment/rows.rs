//! How are words laid into rows of bytes, and how is a vocabulary shuffled for one sequence?

/// A word that fits no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("word {word} has {found} bytes, above the {limit} of a row")]
pub struct LongWord {
    /// The number of the word.
    pub word: usize,
    /// Its bytes.
    pub found: usize,
    /// Bytes of a row.
    pub limit: usize,
}

/// Fills rows of at most `max_bytes` bytes with whole words, in order: row `r` has the words `rows[r]..rows[r + 1]`. A document
/// starts a new row unless `across`.
///
/// # Errors
/// [`LongWord`].
pub fn rows(
    word_start: &[i64],
    doc_word: &[i64],
    max_bytes: usize,
    across: bool,
) -> Result<Vec<i64>, LongWord> {
    let mut rows = vec![0];
    let mut row_start = 0;
    let mut next_doc = 1;
    for word in 0..word_start.len().saturating_sub(1) {
        let (start, end) = (word_start[word], word_start[word + 1]);
        let found = (end - start) as usize;
        if found > max_bytes {
            return Err(LongWord { word, found, limit: max_bytes });
        }
        let mut starts_doc = false;
        while doc_word.get(next_doc).is_some_and(|&first| first <= word as i64) {
            starts_doc = true;
            next_doc += 1;
        }
        let is_full = (end - row_start) as usize > max_bytes;
        if word > 0 && (is_full || (starts_doc && !across)) {
            rows.push(word as i64);
            row_start = start;
        }
    }
    if word_start.len() > 1 {
        rows.push(word_start.len() as i64 - 1);
    }
    Ok(rows)
}

/// A permutation of `0..n_ids` that leaves the ids of `kept` where they are: Fisher and Yates, with `uniform(n)` the n-th number
/// of [0, 1).
pub fn permutation(n_ids: u32, kept: &[u32], uniform: impl Fn(u32) -> f64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n_ids).collect();
    let mut is_kept = vec![false; n_ids as usize];
    kept.iter().filter(|&&id| id < n_ids).for_each(|&id| is_kept[id as usize] = true);
    let moved: Vec<u32> = (0..n_ids).filter(|&id| !is_kept[id as usize]).collect();
    for last in (1..moved.len()).rev() {
        let other = ((uniform(last as u32) * (last + 1) as f64) as usize).min(last);
        order.swap(moved[last] as usize, moved[other] as usize);
    }
    order
}
