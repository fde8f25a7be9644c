//! How likely is each piece in a word, and what is the word cut into?
//!
//! The pieces that fit a word are arcs between places in it; a character that is no piece is an arc of the unknown one.
//! Forward and backward sums over the arcs give the probability of each (the E step), a maximum instead of a sum the best
//! cut (Viterbi). Sums are of logarithms, added in the order of the Hugging Face trainer, so that results are its own to
//! the last bits.
//!
//! O(n · L) for a word of n bytes and pieces of at most L; places are walked by a trie whose children lie side by side.

/// The piece of characters that are no piece.
pub(super) const UNKNOWN: u32 = 0;
/// How much lower than every piece it scores.
const UNKNOWN_PENALTY: f64 = 10.0;
/// Beyond this difference of logarithms a term changes no sum.
const NEGLIGIBLE: f64 = 50.0;
const NO_PIECE: u32 = u32::MAX;

/// A piece and its score: the logarithm of its probability.
pub(super) type Piece = (Box<str>, f64);

/// The pieces as a trie.
#[derive(Debug)]
pub(super) struct Pieces {
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    bytes: Vec<u8>,
    scores: Vec<f64>,
    unknown_score: f64,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    first_child: u32,
    n_children: u32,
    piece: u32,
}

/// A piece at a place in a word.
#[derive(Clone, Copy, Debug)]
struct Arc {
    start: u32,
    end: u32,
    piece: u32,
    score: f64,
}

/// What is kept between words.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    arcs: Vec<Arc>,
    forward: Vec<f64>,
    backward: Vec<f64>,
    /// By place: the arc of the best way to it.
    best: Vec<u32>,
    cut: Vec<u32>,
}

impl Pieces {
    /// The piece at place 0 is the unknown one, which is no string.
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let mut sorted: Vec<(&[u8], u32)> =
            (1..).zip(&pieces[1..]).map(|(id, (text, _))| (text.as_bytes(), id)).collect();
        sorted.sort_unstable();
        let root = Node { first_child: 0, n_children: 0, piece: NO_PIECE };
        let (mut nodes, mut bytes) = (vec![root], vec![0]);
        // The pieces below each node whose children are to be made, and its depth.
        let mut ranges = vec![(0, sorted.len(), 0)];
        let mut at = 0;
        while let Some(&(lo, hi, depth)) = ranges.get(at) {
            let here = sorted[lo..hi].partition_point(|(text, _)| text.len() == depth);
            if here > 0 {
                nodes[at].piece = sorted[lo].1;
            }
            nodes[at].first_child = nodes.len() as u32;
            let mut start = lo + here;
            for below in sorted[lo + here..hi].chunk_by(|a, b| a.0[depth] == b.0[depth]) {
                nodes.push(root);
                bytes.push(below[0].0[depth]);
                ranges.push((start, start + below.len(), depth + 1));
                start += below.len();
            }
            nodes[at].n_children = nodes.len() as u32 - nodes[at].first_child;
            at += 1;
        }
        let lowest = pieces.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let scores = pieces.iter().map(|(_, score)| *score).collect();
        Self { nodes, bytes, scores, unknown_score: lowest - UNKNOWN_PENALTY }
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let Node { first_child, n_children, .. } = self.nodes[node as usize];
        let children = &self.bytes[first_child as usize..(first_child + n_children) as usize];
        let at = match children.len() {
            0..8 => children.iter().position(|&child| child == byte)?,
            _ => children.binary_search(&byte).ok()?,
        };
        Some(first_child + at as u32)
    }

    /// The arcs of a word, by start, then by end; the unknown one behind the others of its start.
    fn arcs(&self, word: &str, out: &mut Vec<Arc>) {
        out.clear();
        for (start, character) in word.char_indices() {
            let end_of_character = start + character.len_utf8();
            let (mut node, mut is_piece) = (0, false);
            for (end, &byte) in (start + 1..).zip(&word.as_bytes()[start..]) {
                let Some(child) = self.child(node, byte) else { break };
                node = child;
                let piece = self.nodes[node as usize].piece;
                if piece != NO_PIECE {
                    let score = self.scores[piece as usize];
                    out.push(Arc { start: start as u32, end: end as u32, piece, score });
                    is_piece |= end == end_of_character;
                }
            }
            if !is_piece {
                let (start, end, score) = (start as u32, end_of_character as u32, self.unknown_score);
                out.push(Arc { start, end, piece: UNKNOWN, score });
            }
        }
    }

    /// Adds to `expected` how often each piece is expected in a word of so many occurrences.
    pub(super) fn expect(&self, word: &str, count: f64, expected: &mut [f64], scratch: &mut Scratch) {
        let Scratch { arcs, forward, backward, .. } = scratch;
        self.arcs(word, arcs);
        for sums in [&mut *forward, &mut *backward] {
            sums.clear();
            sums.resize(word.len() + 1, f64::NAN);
        }
        forward[0] = 0.0;
        backward[word.len()] = 0.0;
        for arc in arcs.iter() {
            let way = arc.score + forward[arc.start as usize];
            add_exp(&mut forward[arc.end as usize], way);
        }
        for from in arcs.chunk_by(|a, b| a.start == b.start).rev() {
            for arc in from {
                let way = arc.score + backward[arc.end as usize];
                add_exp(&mut backward[arc.start as usize], way);
            }
        }
        let all = forward[word.len()];
        for arc in arcs.iter() {
            let way = forward[arc.start as usize] + arc.score + backward[arc.end as usize];
            expected[arc.piece as usize] += count * (way - all).exp();
        }
    }

    /// The pieces of the best cut of a word.
    pub(super) fn cut<'a>(&self, word: &str, scratch: &'a mut Scratch) -> &'a [u32] {
        self.arcs(word, &mut scratch.arcs);
        best_cut(word.len(), scratch);
        &scratch.cut
    }

    /// The pieces of the best cut of a piece that is not the piece itself, if that is worse; else none. Nothing where there
    /// is no other.
    pub(super) fn alternative<'a>(&self, piece: &str, scratch: &'a mut Scratch) -> Option<&'a [u32]> {
        self.arcs(piece, &mut scratch.arcs);
        let n_bytes = piece.len() as u32;
        let whole = scratch.arcs.iter().position(|arc| (arc.start, arc.end) == (0, n_bytes))?;
        let score = scratch.arcs.remove(whole).score;
        let other = best_cut(piece.len(), scratch)?;
        if other > score {
            scratch.cut.clear();
        }
        Some(&scratch.cut)
    }
}

/// Finds the best way along the arcs; its score, if there is one.
fn best_cut(n_bytes: usize, scratch: &mut Scratch) -> Option<f64> {
    let Scratch { arcs, forward: scores, best, cut, .. } = scratch;
    scores.clear();
    scores.resize(n_bytes + 1, f64::NEG_INFINITY);
    scores[0] = 0.0;
    best.clear();
    best.resize(n_bytes + 1, NO_PIECE);
    for (at, arc) in (0..).zip(arcs.iter()) {
        let score = scores[arc.start as usize] + arc.score;
        let end = arc.end as usize;
        if score > scores[end] {
            (scores[end], best[end]) = (score, at);
        }
    }
    cut.clear();
    let mut end = n_bytes;
    while end > 0 {
        let arc = arcs.get(best[end] as usize)?;
        cut.push(arc.piece);
        end = arc.start as usize;
    }
    cut.reverse();
    Some(scores[n_bytes])
}

/// `sum` becomes the logarithm of the sum of both exponentials, or the only one if there was none yet.
fn add_exp(sum: &mut f64, term: f64) {
    if sum.is_nan() {
        *sum = term;
        return;
    }
    let (low, high) = if *sum > term { (term, *sum) } else { (*sum, term) };
    *sum = if high > low + NEGLIGIBLE { high } else { high + ((low - high).exp() + 1.0).ln() };
}
