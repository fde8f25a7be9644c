//! In which order are the rules applied?
//!
//! Hosts disagree: vLLM applies min-p before top-k, llama.cpp sets the temperature last, so that its cuts see the
//! distribution at temperature 1. An order is a list of operations; each sees what the one before it has left,
//! renormalised. What changes single logits (bias, penalties, bans: `adjust`) comes before all of them in every host.
//!
//! A tie at the last place of top-k or typical is kept whole by some hosts and left open by others; so each of the two
//! comes in two kinds. Where a host leaves it open, the cut is exact: (value falling, id rising).
//!
//! The word of an order is the contract with the kernels: operation `i` is the `i`-th group of four bits, zero ends it.

/// One operation on what may be drawn. The numbers are part of the kernels' interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// Divide logits by the temperature; a temperature of zero keeps the best token of what is left here.
    Temperature = 1,
    /// Keep the k best tokens.
    TopK = 2,
    /// Keep the k best tokens and all that tie with the last of them.
    TopKWithTies = 3,
    /// Keep the shortest prefix, best first, with at least this mass.
    TopP = 4,
    /// Keep tokens with at least this share of the best one's probability.
    MinP = 5,
    /// Keep tokens whose surprise is nearest to the entropy, up to this mass.
    Typical = 6,
    /// [`Op::Typical`] and all tokens that are exactly as near as the last of them.
    TypicalWithTies = 7,
    /// Keep tokens with at least this probability.
    Epsilon = 8,
    /// Keep tokens above a threshold that falls with the entropy.
    Eta = 9,
    /// Keep logits within some standard deviations of the best.
    TopNSigma = 10,
    /// Keep tokens at least as likely as two draws are to agree.
    PLess = 11,
    /// Sometimes remove the obvious choices.
    Xtc = 12,
    /// Keep as many tokens as hold the surprise near a target.
    Mirostat = 13,
}

impl Op {
    const ALL: [Self; 13] = [
        Self::Temperature,
        Self::TopK,
        Self::TopKWithTies,
        Self::TopP,
        Self::MinP,
        Self::Typical,
        Self::TypicalWithTies,
        Self::Epsilon,
        Self::Eta,
        Self::TopNSigma,
        Self::PLess,
        Self::Xtc,
        Self::Mirostat,
    ];

    /// The operation with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// How people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Temperature => "temperature",
            Self::TopK => "top_k",
            Self::TopKWithTies => "top_k_with_ties",
            Self::TopP => "top_p",
            Self::MinP => "min_p",
            Self::Typical => "typical_p",
            Self::TypicalWithTies => "typical_p_with_ties",
            Self::Epsilon => "epsilon_cutoff",
            Self::Eta => "eta_cutoff",
            Self::TopNSigma => "top_n_sigma",
            Self::PLess => "p_less",
            Self::Xtc => "xtc",
            Self::Mirostat => "mirostat",
        }
    }
}

/// A list of operations, each at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Order(u64);

impl Order {
    /// Hugging Face transformers: `_get_logits_processor`, which ends with eta; rules it does not have follow.
    pub const HF: Self = Self::of(&[
        Op::Temperature,
        Op::TopKWithTies,
        Op::TopP,
        Op::MinP,
        Op::TypicalWithTies,
        Op::Epsilon,
        Op::Eta,
        Op::TopNSigma,
        Op::PLess,
        Op::Xtc,
        Op::Mirostat,
    ]);
    /// vLLM's PyTorch sampler: temperature, min-p, top-k, top-p; rules it does not have follow.
    pub const VLLM: Self = Self::of(&[
        Op::Temperature,
        Op::MinP,
        Op::TopKWithTies,
        Op::TopP,
        Op::TypicalWithTies,
        Op::Epsilon,
        Op::Eta,
        Op::TopNSigma,
        Op::PLess,
        Op::Xtc,
        Op::Mirostat,
    ]);
    /// llama.cpp's default chain, temperature last; epsilon, eta and p-less, which it does not have, stand before XTC.
    pub const LLAMACPP: Self = Self::of(&[
        Op::TopNSigma,
        Op::TopK,
        Op::Typical,
        Op::TopP,
        Op::MinP,
        Op::Epsilon,
        Op::Eta,
        Op::PLess,
        Op::Xtc,
        Op::Temperature,
    ]);
    /// What llama.cpp does in place of its chain where mirostat is asked for.
    pub const LLAMACPP_MIROSTAT: Self = Self::of(&[Op::Temperature, Op::Mirostat]);
    /// Top-p of the whole distribution, then top-k: both sets are prefixes of one order, so it is their intersection.
    pub const JOINT: Self = Self::of(&[
        Op::Temperature,
        Op::TopP,
        Op::TopK,
        Op::MinP,
        Op::Typical,
        Op::Epsilon,
        Op::Eta,
        Op::TopNSigma,
        Op::PLess,
        Op::Xtc,
        Op::Mirostat,
    ]);

    const fn of(ops: &[Op]) -> Self {
        let mut word = 0;
        let mut n_op = 0;
        while n_op < ops.len() {
            word |= (ops[n_op] as u64) << (4 * n_op);
            n_op += 1;
        }
        Self(word)
    }

    /// The order with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "hf" => Some(Self::HF),
            "vllm" => Some(Self::VLLM),
            "llamacpp" => Some(Self::LLAMACPP),
            "joint" => Some(Self::JOINT),
            _ => None,
        }
    }

    /// These operations in this order; `None` where one of them comes twice, in either kind.
    pub fn from_ops(ops: &[Op]) -> Option<Self> {
        let kind = |op: Op| match op {
            Op::TopKWithTies => Op::TopK,
            Op::TypicalWithTies => Op::Typical,
            other => other,
        };
        let is_twice = |(n_op, &op): (usize, &Op)| ops[..n_op].iter().any(|&before| kind(before) == kind(op));
        if ops.iter().enumerate().any(is_twice) { None } else { Some(Self::of(ops)) }
    }

    /// The operations, first to last.
    pub fn ops(self) -> impl Iterator<Item = Op> {
        (0..16).map_while(move |n_op| {
            let code = self.0 >> (4 * n_op) & 15;
            Op::ALL.into_iter().find(|op| *op as u64 == code)
        })
    }

    /// The operations that `keep` wants.
    #[must_use]
    pub fn filtered(self, keep: impl Fn(Op) -> bool) -> Self {
        let mut word = 0;
        for (n_op, op) in self.ops().filter(|&op| keep(op)).enumerate() {
            word |= (op as u64) << (4 * n_op);
        }
        Self(word)
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// Four bits an operation, the first lowest.
    pub fn word(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_lists() {
        for order in [Order::HF, Order::VLLM, Order::LLAMACPP, Order::JOINT, Order::LLAMACPP_MIROSTAT] {
            let ops: Vec<Op> = order.ops().collect();
            assert_eq!(Order::from_ops(&ops), Some(order));
            assert!(ops.iter().all(|op| Op::from_name(op.name()) == Some(*op)));
        }
        assert_eq!(Order::from_ops(&[Op::TopK, Op::TopP, Op::TopKWithTies]), None);
        assert_eq!(Order::HF.filtered(|op| op == Op::MinP).word(), 5);
        assert_eq!(Order::from_ops(&[]).unwrap().word(), 0);
        assert_eq!(Op::from_name("heat"), None);
    }
}
