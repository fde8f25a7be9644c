//! Where do the next bytes lead from here?
//!
//! The children of a node lie in one block of 256 places, each at the node's base with its byte's bits flipped in, and
//! say whose children they are. Up to seven bytes that all tokens below a node go on with lie in the node, so that a walk
//! passes only nodes where something is decided: half a cache line each. Blocks are shared by many nodes; a bitmap of the
//! free places of a block, permuted once for each child, shows every base at which all children fit. Building is
//! O(children) a node; one place in twenty stays free.

use tokenloom_vocab::TokenId;

/// The nodes of a trie. Node 0 is the root.
#[derive(Clone, Debug, Default)]
pub(crate) struct DoubleArray {
    places: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
struct Place {
    /// The children of the node here are at `base ^ byte`.
    base: u32,
    /// Whose child the node here is; `FREE` where there is none.
    parent: u32,
    skipped: Skipped,
    /// Bit `byte % 64` is set for the byte of every child, so that most walks end without a look at a stranger.
    children: u64,
    longest: TokenId,
}

/// At most seven bytes, and their number in the highest byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped(u64);

impl Skipped {
    /// The most bytes that a node skips.
    pub(crate) const MAX_BYTES: usize = 7;

    /// At most [`Skipped::MAX_BYTES`] bytes.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(low_word(bytes) | (bytes.len() as u64) << 56)
    }

    #[inline]
    fn n_bytes(self) -> usize {
        (self.0 >> 56) as usize
    }

    #[inline]
    fn starts(self, bytes: &[u8]) -> bool {
        let word = match bytes.first_chunk::<8>() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None if bytes.len() < self.n_bytes() => return false,
            None => low_word(bytes),
        };
        let unread = 64 - 8 * self.n_bytes() as u32;
        (word ^ self.0) << (unread % 64) == 0 || self.n_bytes() == 0
    }
}

fn low_word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

const FREE: u32 = u32::MAX;
const BLOCK: usize = 256;
const EMPTY: Place = Place { base: 0, parent: FREE, skipped: Skipped(0), children: 0, longest: TokenId::MAX };

impl DoubleArray {
    /// Walks on from `node` by `bytes` and gives the longest token on the way, `before` where there is none.
    #[inline]
    pub(crate) fn longest(&self, mut node: u32, bytes: &[u8], before: TokenId) -> TokenId {
        let mut longest = before;
        let mut place = &self.places[node as usize];
        let mut rest = bytes;
        loop {
            if !place.skipped.starts(rest) {
                return longest;
            }
            longest = place.longest;
            let Some((&byte, behind)) = rest[place.skipped.n_bytes()..].split_first() else { return longest };
            if place.children >> (byte % 64) & 1 == 0 {
                return longest;
            }
            let next = place.base ^ u32::from(byte);
            place = &self.places[next as usize];
            if place.parent != node {
                return longest;
            }
            (node, rest) = (next, behind);
        }
    }
}

/// Gives nodes their places.
pub(crate) struct Builder {
    array: DoubleArray,
    /// Free places of the blocks that are not given up: block number and bitmap.
    open: Vec<(usize, [u64; 4])>,
    /// The same, of blocks in which several children fit no more.
    nearly_full: Vec<(usize, [u64; 4])>,
}

impl Builder {
    const MAX_OPEN: usize = 6;

    pub(crate) fn new() -> Self {
        let mut this =
            Self { array: DoubleArray { places: Vec::new() }, open: Vec::new(), nearly_full: Vec::new() };
        this.add_block();
        this.open[0].1[0] &= !1;
        this
    }

    fn add_block(&mut self) {
        let block = self.array.places.len() / BLOCK;
        // A node without children points to bytes of a block that has no children of its own.
        self.array.places.extend([EMPTY; BLOCK]);
        self.open.push((block, [u64::MAX; 4]));
    }

    /// Gives `node` children by `bytes`, none of them twice and at least one; child `i` is `base ^ bytes[i]`.
    pub(crate) fn add_children(&mut self, node: u32, bytes: &[u8]) -> u32 {
        let base = self.find_base(bytes);
        let place = &mut self.array.places[node as usize];
        place.base = base;
        place.children = bytes.iter().fold(0, |children, byte| children | 1 << (byte % 64));
        for &byte in bytes {
            self.array.places[(base ^ u32::from(byte)) as usize].parent = node;
        }
        base
    }

    /// Says which bytes `node` goes on with, and the longest token down to where its children branch off.
    pub(crate) fn describe(&mut self, node: u32, skipped: Skipped, longest: TokenId) {
        let place = &mut self.array.places[node as usize];
        (place.skipped, place.longest) = (skipped, longest);
    }

    pub(crate) fn finish(mut self) -> DoubleArray {
        self.array.places.shrink_to_fit();
        self.array
    }

    fn find_base(&mut self, bytes: &[u8]) -> u32 {
        if bytes.len() == 1
            && let Some((block, free)) = self.nearly_full.last_mut()
        {
            let low = fitting(free, bytes).unwrap_or_default();
            let base = (*block * BLOCK) as u32 | u32::from(low);
            if take(free, low, bytes) {
                self.nearly_full.pop();
            }
            return base;
        }
        loop {
            for at in 0..self.open.len() {
                let (block, free) = &mut self.open[at];
                let Some(low) = fitting(free, bytes) else { continue };
                let base = (*block * BLOCK) as u32 | u32::from(low);
                if take(free, low, bytes) {
                    self.open.remove(at);
                }
                return base;
            }
            if self.open.len() == Self::MAX_OPEN {
                let oldest = self.open.remove(0);
                self.nearly_full.push(oldest);
            }
            self.add_block();
        }
    }
}

/// Marks the places of the children as taken; whether none is left.
fn take(free: &mut [u64; 4], base: u8, bytes: &[u8]) -> bool {
    for &byte in bytes {
        let at = base ^ byte;
        free[usize::from(at / 64)] &= !(1 << (at % 64));
    }
    *free == [0; 4]
}

fn first(free: &[u64; 4]) -> Option<u8> {
    let word = free.iter().position(|&word| word != 0)?;
    Some((64 * word as u32 + free[word].trailing_zeros()) as u8)
}

/// A base for which the places of all children are free.
fn fitting(free: &[u64; 4], bytes: &[u8]) -> Option<u8> {
    if let [byte] = bytes {
        return first(free).map(|place| place ^ byte);
    }
    let mut bases = [u64::MAX; 4];
    for &byte in bytes {
        let fits = flipped(free, byte);
        bases.iter_mut().zip(fits).for_each(|(base, fit)| *base &= fit);
        if bases == [0; 4] {
            return None;
        }
    }
    first(&bases)
}

/// Bit `i` of the result is bit `i ^ byte` of `bits`.
fn flipped(bits: &[u64; 4], byte: u8) -> [u64; 4] {
    const MASKS: [u64; 6] = [
        0x5555_5555_5555_5555,
        0x3333_3333_3333_3333,
        0x0F0F_0F0F_0F0F_0F0F,
        0x00FF_00FF_00FF_00FF,
        0x0000_FFFF_0000_FFFF,
        0x0000_0000_FFFF_FFFF,
    ];
    let high = usize::from(byte >> 6);
    let mut words = [bits[high], bits[1 ^ high], bits[2 ^ high], bits[3 ^ high]];
    for (bit, mask) in MASKS.into_iter().enumerate() {
        if byte >> bit & 1 == 1 {
            words = words.map(|word| (word & mask) << (1 << bit) | word >> (1 << bit) & mask);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipping_moves_every_bit() {
        let bits = [0x0123_4567_89AB_CDEF, 1, u64::MAX << 7, 0xFEDC_BA98];
        let get = |bits: &[u64; 4], at: u8| bits[usize::from(at / 64)] >> (at % 64) & 1;
        for byte in 0..=255 {
            let flipped = flipped(&bits, byte);
            assert!((0..=255).all(|at| get(&flipped, at) == get(&bits, at ^ byte)), "{byte}");
        }
    }

    #[test]
    fn skipped_bytes_are_compared_and_no_others() {
        let text = b"abcdefghij";
        for n_bytes in 0..=Skipped::MAX_BYTES {
            let skipped = Skipped::new(&text[..n_bytes]);
            for end in 0..text.len() {
                assert_eq!(skipped.starts(&text[..end]), end >= n_bytes, "{n_bytes} of {end}");
            }
            assert!(skipped.starts(b"abcdefgx"));
            assert_eq!(skipped.starts(b"abcxefghij"), n_bytes < 4);
        }
    }

    #[test]
    fn children_are_found_and_nothing_else() {
        let mut builder = Builder::new();
        let (mut nodes, mut expected) = (vec![0], Vec::new());
        for n in 0..2000_usize {
            let has = |byte: &u8| (usize::from(*byte) * 31 + n * 17) % (1 + n * n % 250) == 0;
            let bytes: Vec<u8> = (0..=255).filter(has).collect();
            builder.describe(nodes[n], Skipped::default(), n as TokenId);
            let base = builder.add_children(nodes[n], &bytes);
            for &byte in &bytes {
                nodes.push(base ^ u32::from(byte));
                builder.describe(base ^ u32::from(byte), Skipped::default(), 9999);
            }
            expected.push((nodes[n], bytes));
        }
        let array = builder.finish();
        for (n, (node, bytes)) in expected.into_iter().enumerate() {
            for byte in 0..=255 {
                let is_child = array.longest(node, &[byte], 0) != n as TokenId;
                assert_eq!(is_child, bytes.contains(&byte), "{node} {byte}");
            }
        }
    }
}
