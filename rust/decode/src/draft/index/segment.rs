//! Where did the latest tokens occur in a text that no longer grows?
//!
//! The ends of all tokens of the text, sorted by what lies *before* them, read backwards: the places whose left context
//! agrees longest with a given one stand next to each other. One binary search finds them, the most similar first, and
//! what followed each is read from the text itself.
//!
//! Memory: 8 B a token, the text and the order, both flat and without pointers, so a segment can be written to a file and
//! used from there as it is. Building is O(n) on any text ([`suffix_array`]). A search compares at most `max_depth` tokens at
//! each of O(log n) places.
//!
//! Manber and Myers, "Suffix arrays: a new method for on-line string searches", 1990.

use std::fmt::Debug;
use std::sync::Arc;

use tokenloom_vocab::TokenId;

use super::automaton::END_OF_DOCUMENT;
use super::suffix_array::suffix_array;

/// Words that lie somewhere: in memory of ours, or in a mapped file.
pub trait Words: AsRef<[u32]> + Debug + Send + Sync {}

impl<T: AsRef<[u32]> + Debug + Send + Sync> Words for T {}

/// Finished documents, each followed by [`END_OF_DOCUMENT`], and the order of their places. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Segment {
    words: Arc<dyn Words>,
    /// Where the text begins in `words`; the order follows it.
    start: usize,
    n_tokens: usize,
    /// Held by `words` in memory of ours?
    is_owned: bool,
}

/// A place whose left context agrees with the one that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The last token of the context lies here.
    pub position: u32,
    /// How many tokens agree, at most `max_depth`.
    pub n_tokens: u32,
}

impl Segment {
    /// The longest text: positions have 32 bits.
    pub const MAX_TOKENS: usize = 1 << 31;

    /// Sorts the places of a text of whole documents.
    pub(crate) fn build(text: Vec<TokenId>) -> Self {
        let n = text.len();
        let mut words = text;
        words.reverse();
        let order = suffix_array(&words);
        words.reverse();
        words.reserve_exact(n);
        words.extend(order.into_iter().map(|start| (n - 1) as u32 - start));
        Self { words: Arc::new(words), start: 0, n_tokens: n, is_owned: true }
    }

    /// A segment that lies in `words` from `start` on; `None` where the words are too few or no such segment.
    pub(crate) fn view(words: Arc<dyn Words>, start: usize, n_tokens: usize) -> Option<Self> {
        let end = n_tokens.checked_mul(2)?.checked_add(start)?;
        let all = (*words).as_ref().get(start..end)?;
        let (text, order) = all.split_at(n_tokens);
        let is_text = text.last().is_none_or(|&token| token == END_OF_DOCUMENT)
            && text.iter().all(|&token| token <= END_OF_DOCUMENT);
        let is_order = order.iter().all(|&position| (position as usize) < n_tokens);
        (is_text && is_order && n_tokens <= Self::MAX_TOKENS).then_some(Self {
            words,
            start,
            n_tokens,
            is_owned: false,
        })
    }

    /// The same in memory of its own.
    pub(crate) fn to_owned(&self) -> Self {
        let words = (*self.words).as_ref()[self.start..self.start + 2 * self.n_tokens].to_vec();
        Self { words: Arc::new(words), start: 0, n_tokens: self.n_tokens, is_owned: true }
    }

    /// The documents in a row, each with its end.
    pub fn text(&self) -> &[TokenId] {
        &(*self.words).as_ref()[self.start..self.start + self.n_tokens]
    }

    /// The places in ascending order of their contexts, read backwards.
    pub(crate) fn order(&self) -> &[u32] {
        &(*self.words).as_ref()[self.start + self.n_tokens..self.start + 2 * self.n_tokens]
    }

    /// How many tokens there are, ends included.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Bytes of memory held; a mapped file holds none.
    pub fn n_bytes(&self) -> usize {
        if self.is_owned { 8 * self.n_tokens } else { 0 }
    }

    /// The documents without their ends.
    pub fn documents(&self) -> impl Iterator<Item = &[TokenId]> {
        let text = self.text();
        // The text ends with a mark, behind which `split` would see one more document.
        let n_documents = text.iter().filter(|&&token| token == END_OF_DOCUMENT).count();
        text.split(|&token| token == END_OF_DOCUMENT).take(n_documents)
    }

    /// At most `n_most` places whose left contexts agree longest with `context` in its last `max_depth` tokens, by
    /// falling agreement. All have at least one token in common.
    pub fn nearest(&self, context: &[TokenId], max_depth: usize, n_most: usize, found: &mut Vec<Neighbour>) {
        let (text, order) = (self.text(), self.order());
        let context = &context[context.len().saturating_sub(max_depth)..];
        if context.is_empty() || order.is_empty() {
            return;
        }
        let at = self.place(text, order, context);
        let common = |place: usize, from: usize| agreement(text, order[place] as usize, context, from);
        let (mut low, mut high) = (at, at);
        let mut below = if low > 0 { common(low - 1, 0) } else { 0 };
        let mut above = if high < order.len() { common(high, 0) } else { 0 };
        for _ in 0..n_most {
            if below.max(above) == 0 {
                return;
            }
            // The order is by context, so agreement only falls on the way outwards.
            if above >= below {
                found.push(Neighbour { position: order[high], n_tokens: above as u32 });
                high += 1;
                above =
                    if high < order.len() { shrink(text, order[high] as usize, context, above) } else { 0 };
            } else {
                low -= 1;
                found.push(Neighbour { position: order[low], n_tokens: below as u32 });
                below = if low > 0 { shrink(text, order[low - 1] as usize, context, below) } else { 0 };
            }
        }
    }

    /// The first place whose context is not before the given one.
    fn place(&self, text: &[TokenId], order: &[u32], context: &[TokenId]) -> usize {
        let (mut low, mut high) = (0, order.len());
        let (mut common_low, mut common_high) = (0, 0);
        while low < high {
            let middle = low + (high - low) / 2;
            let position = order[middle] as usize;
            // What both ends agree on, everything between does.
            let n = agreement(text, position, context, common_low.min(common_high));
            let is_before = match (n < context.len(), n <= position) {
                (false, _) => false,
                (true, false) => true,
                (true, true) => text[position - n] < context[context.len() - 1 - n],
            };
            if is_before {
                (low, common_low) = (middle + 1, n);
            } else {
                (high, common_high) = (middle, n);
            }
        }
        low
    }
}

/// How many tokens before and at `position` agree with the end of `context`, `from` of them known to.
#[inline]
fn agreement(text: &[TokenId], position: usize, context: &[TokenId], from: usize) -> usize {
    let most = context.len().min(position + 1);
    let mut n = from;
    while n < most && text[position - n] == context[context.len() - 1 - n] {
        n += 1;
    }
    n
}

/// As [`agreement`] where it is known to be `at_most` at most.
fn shrink(text: &[TokenId], position: usize, context: &[TokenId], at_most: usize) -> usize {
    agreement(text, position, &context[context.len() - at_most..], 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What [`Segment::nearest`] promises of the lengths: the longest ones there are.
    fn lengths(text: &[TokenId], context: &[TokenId], n_most: usize) -> Vec<u32> {
        let mut all: Vec<u32> =
            (0..text.len()).map(|position| agreement(text, position, context, 0) as u32).collect();
        all.sort_unstable_by_key(|&n| std::cmp::Reverse(n));
        all.truncate(n_most);
        all.retain(|&n| n > 0);
        all
    }

    proptest! {
        #[test]
        fn finds_the_places_that_agree_longest(
            text in (1u32..5).prop_flat_map(|n| prop::collection::vec(0..n, 0..60)),
            context in prop::collection::vec(0u32..5, 0..12),
            n_most in 0usize..20,
            max_depth in 1usize..10,
        ) {
            let mut words = text;
            words.push(END_OF_DOCUMENT);
            let segment = Segment::build(words.clone());
            let mut found = Vec::new();
            segment.nearest(&context, max_depth, n_most, &mut found);
            let end = &context[context.len().saturating_sub(max_depth)..];
            for place in &found {
                prop_assert_eq!(agreement(&words, place.position as usize, end, 0), place.n_tokens as usize);
            }
            let mut positions: Vec<u32> = found.iter().map(|place| place.position).collect();
            positions.sort_unstable();
            positions.dedup();
            prop_assert_eq!(positions.len(), found.len());
            let found: Vec<u32> = found.iter().map(|place| place.n_tokens).collect();
            prop_assert_eq!(found, lengths(&words, end, n_most));
        }
    }

    #[test]
    fn a_view_of_anything_else_is_refused() {
        let words = |words: Vec<u32>| Arc::new(words) as Arc<dyn Words>;
        assert!(Segment::view(words(vec![5, END_OF_DOCUMENT, 1, 0]), 0, 2).is_some());
        assert!(Segment::view(words(vec![5, 6, 1, 0]), 0, 2).is_none());
        assert!(Segment::view(words(vec![5, END_OF_DOCUMENT, 2, 0]), 0, 2).is_none());
        assert!(Segment::view(words(vec![u32::MAX, END_OF_DOCUMENT, 1, 0]), 0, 2).is_none());
        assert!(Segment::view(words(vec![5, END_OF_DOCUMENT, 1]), 0, 2).is_none());
        assert!(Segment::view(words(vec![5]), 0, usize::MAX).is_none());
    }
}
