//! In which order is a row added up?
//!
//! A row is cut into blocks of [`BLOCK`] tokens. Inside a block, token `i` goes to lane `i % LANES`, and the lanes are folded
//! in halves; block `b` goes to group `b % GROUPS`, and the groups are folded in halves. So a vector unit, a thread and the
//! warps of a kernel (`cuda/verify.cu`) can all add in parallel and get the same bits.

/// Tokens of a block.
pub(super) const BLOCK: usize = 512;
/// Sums of a block that grow side by side: a warp.
pub(super) const LANES: usize = 32;
const GROUPS: usize = 64;

/// The sum of the lanes; `N` is a power of two.
#[inline(always)]
pub(super) fn folded<const N: usize>(mut lanes: [f64; N]) -> f64 {
    let mut half = N / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The sum of blocks, which come in order.
pub(super) struct Total {
    groups: [f64; GROUPS],
    n_blocks: usize,
}

impl Total {
    pub(super) const ZERO: Self = Self { groups: [0.0; GROUPS], n_blocks: 0 };

    #[inline(always)]
    pub(super) fn add(&mut self, lanes: [f64; LANES]) {
        self.add_sum(folded(lanes));
    }

    #[inline(always)]
    pub(super) fn add_sum(&mut self, block: f64) {
        self.groups[self.n_blocks % GROUPS] += block;
        self.n_blocks += 1;
    }

    #[inline(always)]
    pub(super) fn sum(self) -> f64 {
        folded(self.groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_counts_once() {
        assert_eq!(folded([1.0, 2.0, 4.0, 8.0]), 15.0);
        let mut total = Total::ZERO;
        for block in 0..1000 {
            total.add(std::array::from_fn(|lane| f64::from(block) + lane as f64 / 32.0));
        }
        assert_eq!(total.sum(), 32.0 * 499_500.0 + 1000.0 * 15.5);
    }
}
