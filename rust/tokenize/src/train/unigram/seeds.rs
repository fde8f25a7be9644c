//! Which substrings of words come more than once, and with different ends?
//!
//! The pieces that training starts from are the inner nodes of the suffix tree of all distinct words: strings of two
//! characters or more that stand before at least two different characters, where all ends of words are one character. A
//! suffix array by doubling (each round sorts the groups that are still equal by the group of what follows), the common
//! prefixes of neighbours in it, and a stack over those: O(n log n log r) for n characters and a longest repetition of r.
//! 16 B a character.
//!
//! Larsson and Sadakane, "Faster suffix sorting" (2007); Kasai et al., "Linear-time longest-common-prefix computation"
//! (2001).

/// What stands between words. A character of this kind in a word ends it, too.
const END: u32 = 0;

/// A repeated substring: where it stands, of how many characters it is and how often it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) start: u32,
    pub(super) len: u32,
    pub(super) count: u32,
}

/// The characters of words, one word after the other.
#[derive(Debug, Default)]
pub(super) struct Characters {
    codes: Vec<u32>,
}

impl Characters {
    pub(super) fn push(&mut self, word: &str) {
        self.codes.extend(word.chars().map(u32::from));
        self.codes.push(END);
    }

    pub(super) fn len(&self) -> usize {
        self.codes.len()
    }

    /// The codes of a substring.
    pub(super) fn codes(&self, repeat: &Repeat) -> &[u32] {
        &self.codes[repeat.start as usize..][..repeat.len as usize]
    }

    pub(super) fn text(&self, repeat: &Repeat) -> String {
        self.codes(repeat).iter().filter_map(|&code| char::from_u32(code)).collect()
    }

    /// All repeated substrings of 2 to `max_len` characters.
    pub(super) fn repeats(&self, max_len: usize) -> Vec<Repeat> {
        let suffixes = sorted_suffixes(&self.codes);
        let common = common_prefixes(&self.codes, &suffixes);
        let mut found = Vec::new();
        // Depth and first suffix of the nodes on the way to the root.
        let mut open: Vec<(u32, usize)> = Vec::new();
        for at in 1..=suffixes.len() {
            let depth = common.get(at).copied().unwrap_or(0);
            let mut first = at - 1;
            while let Some(&(len, start)) = open.last().filter(|(len, _)| *len > depth) {
                open.pop();
                first = start;
                // Ends come first: if the last suffix ends here, all do.
                let is_inner = self.codes[(suffixes[at - 1] + len) as usize] != END;
                if is_inner && (2..=max_len).contains(&(len as usize)) {
                    found.push(Repeat { start: suffixes[first], len, count: (at - first) as u32 });
                }
            }
            if open.last().is_none_or(|(len, _)| *len < depth) {
                open.push((depth, first));
            }
        }
        found
    }
}

/// Where the suffixes start, in their order, without those that are empty. Every end is a character of its own, and
/// smaller than all others.
fn sorted_suffixes(codes: &[u32]) -> Vec<u32> {
    let mut ranks = vec![0u32; codes.len()];
    let mut suffixes: Vec<u32> = Vec::with_capacity(codes.len());
    let mut n_ends = 0;
    for (at, &code) in codes.iter().enumerate() {
        if code == END {
            ranks[at] = n_ends;
            n_ends += 1;
        } else {
            suffixes.push(at as u32);
        }
    }
    suffixes.sort_unstable_by_key(|&at| (codes[at as usize], at));
    let mut groups = Vec::new();
    let mut start = 0;
    for group in suffixes.chunk_by(|&a, &b| codes[a as usize] == codes[b as usize]) {
        group.iter().for_each(|&at| ranks[at as usize] = n_ends + start);
        groups.push((start as usize, group.len()));
        start += group.len() as u32;
    }
    let (mut keyed, mut smaller) = (Vec::new(), Vec::new());
    let mut width = 1;
    while !groups.is_empty() {
        for &(start, len) in groups.iter().filter(|(_, len)| *len > 1) {
            let group = &mut suffixes[start..start + len];
            // Two suffixes of a group share `width` characters, so neither word ends before the next.
            keyed.clear();
            keyed.extend(group.iter().map(|&at| (ranks[at as usize + width], at)));
            keyed.sort_unstable();
            let mut place = start;
            for part in keyed.chunk_by(|a, b| a.0 == b.0) {
                part.iter().for_each(|&(_, at)| ranks[at as usize] = n_ends + place as u32);
                smaller.push((place, part.len()));
                place += part.len();
            }
            group.iter_mut().zip(&keyed).for_each(|(suffix, &(_, at))| *suffix = at);
        }
        groups.clear();
        groups.extend(smaller.drain(..).filter(|(_, len)| *len > 1));
        width *= 2;
    }
    suffixes
}

/// How many characters each suffix shares with the one before it.
fn common_prefixes(codes: &[u32], suffixes: &[u32]) -> Vec<u32> {
    let mut places = vec![0u32; codes.len()];
    for (place, &at) in suffixes.iter().enumerate() {
        places[at as usize] = place as u32;
    }
    let mut common = vec![0u32; suffixes.len()];
    let mut shared = 0usize;
    for (at, &code) in codes.iter().enumerate() {
        let place = places[at] as usize;
        if code == END || place == 0 {
            shared = 0;
            continue;
        }
        let before = suffixes[place - 1] as usize;
        while codes[at + shared] != END && codes[at + shared] == codes[before + shared] {
            shared += 1;
        }
        common[place] = shared as u32;
        shared = shared.saturating_sub(1);
    }
    common
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// By the definition: every substring with its places and what follows it.
    fn slow(words: &[String], max_len: usize) -> BTreeMap<String, u32> {
        let mut followers: BTreeMap<String, (u32, BTreeSet<Option<char>>)> = BTreeMap::new();
        for word in words.iter().flat_map(|word| word.split('\0')) {
            let chars: Vec<char> = word.chars().collect();
            for start in 0..chars.len() {
                for end in start + 2..=chars.len().min(start.saturating_add(max_len)) {
                    let (count, next) = followers.entry(chars[start..end].iter().collect()).or_default();
                    *count += 1;
                    next.insert(chars.get(end).copied());
                }
            }
        }
        followers
            .into_iter()
            .filter(|(_, (_, next))| next.len() > 1)
            .map(|(text, (n, _))| (text, n))
            .collect()
    }

    proptest! {
        #[test]
        fn repeats_are_the_inner_nodes(words in prop::collection::vec("[ab]{0,12}|[a-cé\\x00]{0,6}", 0..12), max_len in 2usize..14) {
            let mut characters = Characters::default();
            words.iter().for_each(|word| characters.push(word));
            let found = characters.repeats(max_len);
            let by_text: BTreeMap<String, u32> = found.iter().map(|r| (characters.text(r), r.count)).collect();
            prop_assert_eq!(by_text.len(), found.len());
            prop_assert_eq!(by_text, slow(&words, max_len));
        }
    }

    #[test]
    fn a_long_run_takes_no_longer_than_sorting() {
        let mut characters = Characters::default();
        characters.push(&"a".repeat(300_000));
        let found = characters.repeats(16);
        assert_eq!(found.len(), 15);
        assert_eq!(found.iter().map(|repeat| repeat.count).max(), Some(299_999));
    }
}
