//! In which order do the suffixes of a text stand?
//!
//! Induced sorting: a suffix is small or large beside its right neighbour; the order of the leftmost small ones fixes the
//! order of all, and they are sorted by recursion on a text at most half as long. O(n) time on any text, 4 n bytes for
//! the answer and about 9 n beside it.
//!
//! Nong, Zhang and Chan, "Linear suffix array construction by almost pure induced-sorting", 2009.

/// A place that is not filled yet.
const EMPTY: u32 = u32::MAX;

/// The starts of all suffixes of `text` in ascending order; a suffix comes before those that it begins.
pub(super) fn suffix_array(text: &[u32]) -> Vec<u32> {
    let mut symbols: Vec<u32> = text.to_vec();
    symbols.sort_unstable();
    symbols.dedup();
    let rank = |symbol: &u32| symbols.partition_point(|other| other < symbol) as u32;
    sort(&text.iter().map(rank).collect::<Vec<_>>(), symbols.len())
}

/// As [`suffix_array`], of a text over the symbols `0..n_symbols`.
fn sort(text: &[u32], n_symbols: usize) -> Vec<u32> {
    let n = text.len();
    if n < 2 {
        return (0..n as u32).collect();
    }
    let mut is_small = vec![false; n];
    for i in (0..n - 1).rev() {
        is_small[i] = text[i] < text[i + 1] || (text[i] == text[i + 1] && is_small[i + 1]);
    }
    let buckets = Buckets::new(text, &is_small, n_symbols);
    let leftmost = |&i: &usize| is_small[i] && !is_small[i - 1];
    let starts: Vec<u32> = (1..n).filter(leftmost).map(|i| i as u32).collect();
    let mut order = vec![EMPTY; n];
    induce(text, &is_small, &buckets, &starts, &mut order);
    if starts.len() > 1 {
        let sorted = sort_leftmost(text, &is_small, &starts, &order);
        induce(text, &is_small, &buckets, &sorted, &mut order);
    }
    order
}

/// Where the large and the small suffixes of each symbol begin.
struct Buckets {
    large: Vec<u32>,
    small: Vec<u32>,
}

impl Buckets {
    fn new(text: &[u32], is_small: &[bool], n_symbols: usize) -> Self {
        // Counts first, each one place behind its symbol; the sums of the counts are the starts.
        let (mut large, mut small) = (vec![0; n_symbols + 1], vec![0; n_symbols]);
        for (&symbol, &is_small) in text.iter().zip(is_small) {
            match is_small {
                true => large[symbol as usize + 1] += 1,
                false => small[symbol as usize] += 1,
            }
        }
        for symbol in 0..n_symbols {
            small[symbol] += large[symbol];
            large[symbol + 1] += small[symbol];
        }
        Self { large, small }
    }
}

/// Orders all suffixes from the leftmost small ones in `starts`, as far as those are in order.
fn induce(text: &[u32], is_small: &[bool], buckets: &Buckets, starts: &[u32], order: &mut [u32]) {
    let n = text.len();
    order.fill(EMPTY);
    let mut next = buckets.small.clone();
    let put = |order: &mut [u32], next: &mut [u32], i: u32| {
        let slot = &mut next[text[i as usize] as usize];
        order[*slot as usize] = i;
        *slot += 1;
    };
    for &start in starts {
        put(order, &mut next, start);
    }
    next.copy_from_slice(&buckets.large[..buckets.small.len()]);
    put(order, &mut next, n as u32 - 1);
    for place in 0..n {
        let i = order[place];
        if i != EMPTY && i > 0 && !is_small[i as usize - 1] {
            put(order, &mut next, i - 1);
        }
    }
    // The small ones fill their buckets from the end; each end is the start of the next symbol's large ones.
    let mut ends = buckets.large[1..].to_vec();
    for place in (0..n).rev() {
        let i = order[place];
        if i != EMPTY && i > 0 && is_small[i as usize - 1] {
            let slot = &mut ends[text[i as usize - 1] as usize];
            *slot -= 1;
            order[*slot as usize] = i - 1;
        }
    }
}

/// The starts in ascending order of their suffixes, where `order` has them in the order of the pieces up to the next start.
fn sort_leftmost(text: &[u32], is_small: &[bool], starts: &[u32], order: &[u32]) -> Vec<u32> {
    let n = text.len();
    let mut index = vec![EMPTY; n];
    for (i, &start) in (0..).zip(starts) {
        index[start as usize] = i;
    }
    let piece = |start: u32| {
        let next = starts.get(index[start as usize] as usize + 1);
        &text[start as usize..next.map_or(n, |&next| next as usize + 1)]
    };
    let mut names = vec![0; starts.len()];
    let (mut name, mut before) = (0, None);
    for &start in order.iter().filter(|&&i| i > 0 && is_small[i as usize] && !is_small[i as usize - 1]) {
        if let Some(before) = before {
            // The last piece runs to the end of the text and equals no other.
            let is_last = index[start as usize] as usize + 1 == starts.len()
                || index[before as usize] as usize + 1 == starts.len();
            name += u32::from(is_last || piece(before) != piece(start));
        }
        names[index[start as usize] as usize] = name;
        before = Some(start);
    }
    let sorted = sort(&names, name as usize + 1);
    sorted.into_iter().map(|i| starts[i as usize]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::suffix_array;

    fn naive(text: &[u32]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..text.len() as u32).collect();
        order.sort_by_key(|&start| &text[start as usize..]);
        order
    }

    proptest! {
        #[test]
        fn is_the_sorted_order(text in (1u32..6).prop_flat_map(|n| prop::collection::vec(0..n, 0..200))) {
            prop_assert_eq!(suffix_array(&text), naive(&text));
        }
    }

    #[test]
    fn regular_texts() {
        let (mut a, mut fibonacci) = (vec![0], vec![0, u32::MAX]);
        while fibonacci.len() < 2000 {
            let longer = [fibonacci.clone(), a].concat();
            a = std::mem::replace(&mut fibonacci, longer);
        }
        let equal = vec![7; 1000];
        let period: Vec<u32> = (0..1000).map(|i| i % 10).collect();
        let blocks: Vec<u32> = (0..1000).map(|i| i / 100 % 2).collect();
        for text in [fibonacci, equal, period, blocks, vec![], vec![3], vec![2, 1], vec![1, 2]] {
            assert_eq!(suffix_array(&text), naive(&text));
        }
    }
}
