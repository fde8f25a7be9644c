//! How much mass lies between two places of the sorted vocabulary?
//!
//! Sorted by their bytes, the tokens below any node of the trie stand side by side: the mass of a node is the sum of a range.
//! Each range is added up for itself, in float64 and relative to the row's maximum, so nothing cancels; in 256 lanes, folded
//! in halves, so that a block of a kernel (`cuda/ranges.cu`) gets the same bits. Linear in the ranges' lengths.

use super::row::exponential;

const LANES: usize = 256;
/// Below this the exponential is no normal number.
const FLOOR: f64 = -700.0;

/// The maximum of a row of logits, NaN where one of them is NaN or `+inf`.
pub fn maximum(row: &[f32]) -> f32 {
    let is_bad = row.iter().any(|logit| logit.is_nan() || *logit == f32::INFINITY);
    if is_bad { f32::NAN } else { row.iter().copied().fold(f32::NEG_INFINITY, f32::max) }
}

/// The sums of `e^(logit - max)` over the tokens `order[from..to]`; NaN where there is no maximum.
pub fn fill_range_sums(row: &[f32], max: f32, order: &[u32], ranges: &[[u32; 2]], sums: &mut [f64]) {
    for (sum, &[from, to]) in sums.iter_mut().zip(ranges) {
        let mut lanes = [0.0; LANES];
        let tokens = order.get(from as usize..(to as usize).min(order.len())).unwrap_or_default();
        for (place, &token) in tokens.iter().enumerate() {
            let log_weight =
                f64::from(row.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY)) - f64::from(max);
            lanes[place % LANES] += if log_weight >= FLOOR { exponential(log_weight) } else { 0.0 };
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        *sum = if max > f32::NEG_INFINITY { lanes[0] } else { f64::NAN };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_add_up_to_the_row() {
        let row: Vec<f32> =
            (0..3000).map(|n| if n % 9 == 0 { f32::NEG_INFINITY } else { -(n % 83) as f32 }).collect();
        let order: Vec<u32> = (0..3000).map(|n| n * 7919 % 3000).collect();
        let ranges = [[0, 3000], [0, 1], [1, 700], [700, 700], [700, 3000]];
        let mut sums = [0.0; 5];
        fill_range_sums(&row, maximum(&row), &order, &ranges, &mut sums);
        let expected: f64 = row.iter().map(|&logit| f64::from(logit - maximum(&row)).exp()).sum();
        assert!((sums[0] / expected - 1.0).abs() < 1e-12, "{sums:?} {expected}");
        assert!((sums[1] + sums[2] + sums[4] - sums[0]).abs() < 1e-12 * sums[0]);
        assert_eq!(sums[3], 0.0);
        assert!(maximum(&[0.0, f32::NAN]).is_nan() && maximum(&[f32::INFINITY]).is_nan());
        fill_range_sums(&row, f32::NAN, &order, &ranges, &mut sums);
        assert!(sums[0].is_nan());
    }
}
