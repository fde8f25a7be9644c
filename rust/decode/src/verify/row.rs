//! Which rows of the batch belong to a tree, and what are their probabilities?
//!
//! A row is checked and summed once, when it is first needed, and is from then on read as `weight / sum`: rows that went
//! through f32, truncation or masks need not sum to one, and what is verified is always the distribution that the weights
//! stand for. Sums run in one order (`tiles`), so they do not depend on the machine.

use tokenloom_vocab::TokenId;

use super::error::{VerifyError, VerifyErrorKind};
use super::tiles::{BLOCK, LANES, Total};
use crate::dist::{DistErrorKind, checked_mass};
use crate::draft::DraftTree;
use crate::wide::wide;

/// Numbers that rows are made of: f32 and f64.
pub trait Number: Copy + Into<f64> + PartialOrd + Send + Sync {
    /// The sum, and the smallest number; NaN does not count as small, but spoils the sum.
    #[doc(hidden)]
    fn sum_and_min(row: &[Self]) -> (f64, f64);
    /// The largest number, and whether any is NaN.
    #[doc(hidden)]
    fn max_and_nan(row: &[Self]) -> (f64, bool);
    /// The sum of `(a p - b q)+`.
    #[doc(hidden)]
    fn excess(p: &[Self], a: f64, q: &[Self], b: f64) -> f64;
    /// Writes `(a p - b q)+`.
    #[doc(hidden)]
    fn fill_excess(p: &[Self], a: f64, q: &[Self], b: f64, excess: &mut [f64]);
}

macro_rules! number {
    ($number:ty) => {
        impl Number for $number {
            fn sum_and_min(row: &[Self]) -> (f64, f64) {
                wide! {
                    fn run(row: &[$number]) -> (f64, f64) {
                        let mut total = Total::ZERO;
                        let mut mins = [0f64; LANES];
                        for block in row.chunks(BLOCK) {
                            let mut sums = [0f64; LANES];
                            let (steps, tail) = block.as_chunks::<LANES>();
                            for step in steps {
                                for lane in 0..LANES {
                                    let value = f64::from(step[lane]);
                                    sums[lane] += value;
                                    mins[lane] = if value < mins[lane] { value } else { mins[lane] };
                                }
                            }
                            for (lane, &value) in tail.iter().enumerate() {
                                sums[lane] += f64::from(value);
                                mins[lane] = mins[lane].min(f64::from(value));
                            }
                            total.add(sums);
                        }
                        (total.sum(), mins.iter().fold(0.0, |least, &min| min.min(least)))
                    }
                }
                run(row)
            }

            fn max_and_nan(row: &[Self]) -> (f64, bool) {
                wide! {
                    fn run(row: &[$number]) -> (f64, bool) {
                        let mut maxima = [<$number>::NEG_INFINITY; LANES];
                        let mut has_nan = [false; LANES];
                        let (steps, tail) = row.as_chunks::<LANES>();
                        for step in steps {
                            for lane in 0..LANES {
                                let value = step[lane];
                                maxima[lane] = if value > maxima[lane] { value } else { maxima[lane] };
                                has_nan[lane] |= value.is_nan();
                            }
                        }
                        for (lane, &value) in tail.iter().enumerate() {
                            maxima[lane] = if value > maxima[lane] { value } else { maxima[lane] };
                            has_nan[lane] |= value.is_nan();
                        }
                        let max = maxima.iter().fold(<$number>::NEG_INFINITY, |max, &value| max.max(value));
                        (f64::from(max), has_nan.contains(&true))
                    }
                }
                run(row)
            }

            fn excess(p: &[Self], a: f64, q: &[Self], b: f64) -> f64 {
                wide! {
                    fn run(p: &[$number], a: f64, q: &[$number], b: f64) -> f64 {
                        let mut total = Total::ZERO;
                        for (p, q) in p.chunks(BLOCK).zip(q.chunks(BLOCK)) {
                            let mut sums = [0f64; LANES];
                            let (p_steps, p_tail) = p.as_chunks::<LANES>();
                            let (q_steps, q_tail) = q.as_chunks::<LANES>();
                            for (p, q) in p_steps.iter().zip(q_steps) {
                                for lane in 0..LANES {
                                    let excess = a * f64::from(p[lane]) - b * f64::from(q[lane]);
                                    sums[lane] += if excess > 0.0 { excess } else { 0.0 };
                                }
                            }
                            for (lane, (&p, &q)) in p_tail.iter().zip(q_tail).enumerate() {
                                sums[lane] += (a * f64::from(p) - b * f64::from(q)).max(0.0);
                            }
                            total.add(sums);
                        }
                        total.sum()
                    }
                }
                run(p, a, q, b)
            }

            fn fill_excess(p: &[Self], a: f64, q: &[Self], b: f64, excess: &mut [f64]) {
                wide! {
                    fn run(p: &[$number], a: f64, q: &[$number], b: f64, excess: &mut [f64]) {
                        for ((excess, &p), &q) in excess.iter_mut().zip(p).zip(q) {
                            let value = a * f64::from(p) - b * f64::from(q);
                            *excess = if value > 0.0 { value } else { 0.0 };
                        }
                    }
                }
                run(p, a, q, b, excess)
            }
        }
    };
}

number!(f32);
number!(f64);

/// A checked row, read as probabilities.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, T> {
    pub(super) weights: &'a [T],
    /// One over the sum of the weights.
    pub(super) scale: f64,
}

impl<'a, T: Number> Row<'a, T> {
    /// Checks `weights`; `index` names the row in errors.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Row`]: NaN, infinite or negative numbers, no mass, or a sum that is not a normal number.
    pub fn new(weights: &'a [T], index: usize) -> Result<Self, VerifyError> {
        let (mass, least) = T::sum_and_min(weights);
        if least < 0.0 || !mass.is_normal() || !(1.0 / mass).is_normal() {
            let mass = checked_mass(weights, index)?;
            return Err(VerifyError::from(DistErrorKind::Mass { row: index, mass }));
        }
        Ok(Self { weights, scale: 1.0 / mass })
    }

    /// Takes it on trust that `weights` are probabilities that sum to 1.
    pub fn trusted(weights: &'a [T]) -> Self {
        Self { weights, scale: 1.0 }
    }

    /// The probability of a token of the row.
    #[inline]
    pub fn prob(&self, token: TokenId) -> f64 {
        self.weights[token as usize].into() * self.scale
    }

    /// The probability of everything but `removed`, which is sorted: summed without them rather than subtracted, so that
    /// a small rest keeps its digits.
    pub(super) fn prob_without(&self, removed: &[TokenId]) -> f64 {
        let mut left = removed;
        let mut total = Total::ZERO;
        for (n_block, block) in self.weights.chunks(BLOCK).enumerate() {
            let first = n_block * BLOCK;
            let n_here = left.partition_point(|&token| (token as usize) < first + block.len());
            if n_here == 0 {
                total.add_sum(T::sum_and_min(block).0);
                continue;
            }
            let mut kept = [0f64; BLOCK];
            kept.iter_mut().zip(block).for_each(|(kept, &weight)| *kept = weight.into());
            left[..n_here].iter().for_each(|&token| kept[token as usize - first] = 0.0);
            total.add_sum(f64::sum_and_min(&kept[..block.len()]).0);
            left = &left[n_here..];
        }
        total.sum() * self.scale
    }
}

/// The logits or probabilities of one tree or of a batch, each tree padded to `n_rows` rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    values: &'a [T],
    n_rows: usize,
    n_vocab: usize,
    is_trusted: bool,
}

impl<'a, T: Number> Rows<'a, T> {
    /// Reads `values` as `n_rows` rows of `n_vocab` numbers for each of the `trees`.
    ///
    /// # Errors
    /// [`VerifyErrorKind::Trees`] where the trees are not as many as the blocks of rows, [`VerifyErrorKind::Rows`]
    /// where a tree needs more rows than it has.
    pub fn new(values: &'a [T], shape: [usize; 3], trees: &[&DraftTree]) -> Result<Self, VerifyError> {
        Self::with_rows(values, shape, trees, 1)
    }

    /// Reads the laws that drafted tokens were drawn from: row `r` is the law of the children of row `r`. The last node
    /// has no children, so a tree of `n` nodes needs `n` rows.
    ///
    /// # Errors
    /// Those of [`Rows::new`].
    pub fn of_draft(values: &'a [T], shape: [usize; 3], trees: &[&DraftTree]) -> Result<Self, VerifyError> {
        Self::with_rows(values, shape, trees, 0)
    }

    fn with_rows(
        values: &'a [T],
        [n_trees, n_rows, n_vocab]: [usize; 3],
        trees: &[&DraftTree],
        n_more: usize,
    ) -> Result<Self, VerifyError> {
        if n_trees != trees.len() || n_trees * n_rows * n_vocab != values.len() {
            return Err(VerifyErrorKind::Trees { expected: n_trees, found: trees.len() }.into());
        }
        let n_needed = trees.iter().map(|tree| tree.n_nodes() + n_more).max().unwrap_or(0);
        if n_rows < n_needed {
            return Err(VerifyErrorKind::Rows { expected: n_needed, found: n_rows }.into());
        }
        Ok(Self { values, n_rows, n_vocab, is_trusted: false })
    }

    /// Takes it on trust that the rows are probabilities that sum to 1: they are neither checked nor summed, and where they
    /// are not the result is some result.
    pub fn trusted(self, is_trusted: bool) -> Self {
        Self { is_trusted, ..self }
    }

    /// Columns of each row.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// The rows of tree number `n_tree`.
    pub fn of_tree(&self, n_tree: usize) -> TreeRows<'a, T> {
        let first = n_tree * self.n_rows;
        let n_row_values = self.n_rows * self.n_vocab;
        let values = &self.values[n_tree * n_row_values..][..n_row_values];
        TreeRows { values, n_vocab: self.n_vocab, first, is_trusted: self.is_trusted }
    }
}

/// The rows of one tree.
#[derive(Clone, Copy, Debug)]
pub struct TreeRows<'a, T> {
    values: &'a [T],
    n_vocab: usize,
    /// The index of row 0 in the batch, for errors.
    first: usize,
    is_trusted: bool,
}

impl<'a, T: Number> TreeRows<'a, T> {
    /// Columns of each row.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// The numbers of a row, and its index in the batch.
    pub(super) fn raw(&self, row: usize) -> (&'a [T], usize) {
        (&self.values[row * self.n_vocab..][..self.n_vocab], self.first + row)
    }

    /// A row as a distribution.
    ///
    /// # Errors
    /// Those of [`Row::new`].
    pub fn row(&self, row: usize) -> Result<Row<'a, T>, VerifyError> {
        let (values, index) = self.raw(row);
        if self.is_trusted { Ok(Row::trusted(values)) } else { Row::new(values, index) }
    }

    /// The index of a row in the batch.
    pub(super) fn index(&self, row: usize) -> usize {
        self.first + row
    }
}
