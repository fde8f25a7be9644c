//! Which numbers do the operations of a row need?
//!
//! The part of a row's parameters that both engines read: plain numbers, resolved once, without the operations that
//! change nothing. A kernel gets one [`Shape`] a row; the Rust code of `keep` is its reference. `repr(C)`, so that the
//! bytes of an array of them are what the device sees (88 bytes, no padding between fields).
//!
//! What a kernel must do to return the same bits, for a row whose logits were adjusted (`adjust`) and masked:
//!
//! 1. `max` is the best logit; `temperature` is 1; a token's log-weight is `(logit - max) / temperature` and its weight
//!    `exp_negative` of that (`math`), both f32. Masses are integers (`math::mass`), sums are exact.
//! 2. Go through `ops`, four bits each, lowest first, as `keep` does. Each sees what is left. Operations 6, 7, 12 and 13
//!    may remove the best token: `max` is then the best logit of what they left.
//! 3. The race (`race`) among what is left, with weights at the last `temperature`.

use super::order::{Op, Order};
use super::params::Params;

/// The numbers of one row's operations.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Shape {
    /// [`Order::word`] of the operations that change something.
    pub ops: u64,
    /// Mass of top-p.
    pub top_p: f64,
    /// Mass of typical.
    pub typical_p: f64,
    /// XTC is applied where the word of token 0 at `Purpose::XTC` is below this; 2^32 is always.
    pub xtc_cells: u64,
    /// Tokens of top-k.
    pub top_k: u32,
    /// 1 for mirostat as published, 2 for the form that cuts by surprise.
    pub mirostat: u32,
    /// Logits are divided by it; 0 keeps the best token.
    pub temperature: f32,
    /// Half the width of the range of a dynamic temperature; 0 leaves it fixed.
    pub temperature_range: f32,
    /// Exponent of a dynamic temperature.
    pub temperature_exponent: f32,
    /// Share of the best token's probability.
    pub min_p: f32,
    /// Least probability of epsilon.
    pub epsilon: f32,
    /// Least probability of eta where the entropy is low.
    pub eta: f32,
    /// Its square root.
    pub sqrt_eta: f32,
    /// Standard deviations of top-n-sigma.
    pub n_sigma: f32,
    /// 0 for p-less; 1 for its normalised form.
    pub p_less_is_normed: u32,
    /// Least probability of an obvious choice.
    pub xtc_threshold: f32,
    /// Surprise in bits that mirostat aims at.
    pub mirostat_tau: f32,
    /// Learning rate of mirostat.
    pub mirostat_eta: f32,
}

impl Shape {
    /// The numbers of these parameters for rows of `n_vocab` tokens.
    pub fn new(params: &Params, n_vocab: usize) -> Self {
        let chosen = if params.mirostat > 0 && params.order == Order::LLAMACPP {
            Order::LLAMACPP_MIROSTAT
        } else {
            params.order
        };
        let temperature = params.temperature as f32;
        let is_greedy = temperature < f32::MIN_POSITIVE;
        let changes = |op: Op| match op {
            Op::Temperature => params.temperature != 1.0 || params.dynatemp_range > 0.0,
            Op::TopK | Op::TopKWithTies => params.top_k > 0 && params.top_k < n_vocab as i64,
            Op::TopP => params.top_p < 1.0,
            Op::MinP => params.min_p > 0.0,
            Op::Typical | Op::TypicalWithTies => params.typical_p < 1.0,
            Op::Epsilon => params.epsilon_cutoff > 0.0,
            Op::Eta => params.eta_cutoff > 0.0,
            Op::TopNSigma => params.top_n_sigma > 0.0,
            Op::PLess => params.p_less > 0,
            Op::Xtc => params.xtc_probability > 0.0 && params.xtc_threshold <= 0.5,
            Op::Mirostat => params.mirostat > 0,
        };
        Self {
            ops: chosen.filtered(changes).word(),
            top_p: params.top_p,
            typical_p: params.typical_p,
            xtc_cells: (params.xtc_probability * 4_294_967_296.0) as u64,
            top_k: u32::try_from(params.top_k).unwrap_or(u32::MAX),
            mirostat: u32::from(params.mirostat),
            temperature: if is_greedy { 0.0 } else { temperature },
            temperature_range: params.dynatemp_range as f32,
            temperature_exponent: params.dynatemp_exponent as f32,
            min_p: params.min_p as f32,
            epsilon: params.epsilon_cutoff as f32,
            eta: params.eta_cutoff as f32,
            sqrt_eta: params.eta_cutoff.sqrt() as f32,
            n_sigma: params.top_n_sigma as f32,
            p_less_is_normed: u32::from(params.p_less == 2),
            xtc_threshold: params.xtc_threshold as f32,
            mirostat_tau: params.mirostat_tau as f32,
            mirostat_eta: params.mirostat_eta as f32,
        }
    }

    /// The words that a kernel reads, low halves first: the fields in order.
    pub fn words(&self) -> [u32; 22] {
        let halves = |wide: u64| [wide as u32, (wide >> 32) as u32];
        let [a, b, c, d] =
            [self.ops, self.top_p.to_bits(), self.typical_p.to_bits(), self.xtc_cells].map(halves);
        [
            a[0],
            a[1],
            b[0],
            b[1],
            c[0],
            c[1],
            d[0],
            d[1],
            self.top_k,
            self.mirostat,
            self.temperature.to_bits(),
            self.temperature_range.to_bits(),
            self.temperature_exponent.to_bits(),
            self.min_p.to_bits(),
            self.epsilon.to_bits(),
            self.eta.to_bits(),
            self.sqrt_eta.to_bits(),
            self.n_sigma.to_bits(),
            self.p_less_is_normed,
            self.xtc_threshold.to_bits(),
            self.mirostat_tau.to_bits(),
            self.mirostat_eta.to_bits(),
        ]
    }

    /// The operations, first to last.
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        Order::from_word(self.ops).ops()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_operations_that_change_something_remain() {
        let params = Params { top_k: 50, top_p: 0.9, ..Params::default() };
        let ops = |params: &Params, n_vocab| Shape::new(params, n_vocab).ops().collect::<Vec<_>>();
        assert_eq!(ops(&params, 100), [Op::TopKWithTies, Op::TopP]);
        assert_eq!(ops(&params, 50), [Op::TopP]);
        let llama = Params { order: Order::LLAMACPP, temperature: 0.5, ..params };
        assert_eq!(ops(&llama, 100), [Op::TopK, Op::TopP, Op::Temperature]);
        assert_eq!(ops(&Params { mirostat: 2, ..llama }, 100), [Op::Temperature, Op::Mirostat]);
        assert_eq!(ops(&Params::default(), 100), []);
        assert_eq!(size_of::<Shape>(), 88);
    }
}
