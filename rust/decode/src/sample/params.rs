//! Which rules does a request ask for?

use std::sync::Arc;

use super::order::Order;

/// A sequence of tokens and what is added to the logit of its last one where the text ends with the others.
#[derive(Debug, Clone, PartialEq)]
pub struct Phrase {
    /// At least one token.
    pub tokens: Vec<u32>,
    /// Added to the logit; `-inf` forbids.
    pub bias: f32,
}

/// The lists of a request, which most do not have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lists {
    /// Biases of tokens and of sequences.
    pub phrases: Vec<Phrase>,
    /// Sequences that may not appear.
    pub bad_words: Vec<Vec<u32>>,
    /// Tokens that may be drawn; empty allows all.
    pub allowed: Vec<u32>,
    /// Tokens that end the text, forbidden while it is shorter than `min_tokens`.
    pub stop_tokens: Vec<u32>,
    /// Sequences that DRY does not look across.
    pub dry_breakers: Vec<Vec<u32>>,
}

/// The sampling rules of one row. The neutral value of each field switches its rule off.
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Logits are divided by it; 0 takes the best token of what is left.
    pub temperature: f64,
    /// Half the width of the range of a temperature that grows with the entropy; 0 leaves it fixed.
    pub dynatemp_range: f64,
    /// Exponent of the entropy's share of its maximum.
    pub dynatemp_exponent: f64,
    /// Keep this many of the best tokens; 0 keeps all.
    pub top_k: i64,
    /// Keep the shortest prefix, best first, with at least this mass; 1 keeps all.
    pub top_p: f64,
    /// Keep tokens with at least this share of the best token's probability; 0 keeps all.
    pub min_p: f64,
    /// Keep the tokens whose surprise is closest to the entropy, up to this mass; 1 keeps all.
    pub typical_p: f64,
    /// Keep tokens with at least this probability; 0 keeps all.
    pub epsilon_cutoff: f64,
    /// Keep tokens with probability `min(eta, sqrt(eta) e^-H)`; 0 keeps all.
    pub eta_cutoff: f64,
    /// Keep logits within this many standard deviations of the best; 0 keeps all.
    pub top_n_sigma: f64,
    /// 1: keep tokens with probability of at least `sum p^2`; 2: the same less what a flat row would have.
    pub p_less: u8,
    /// With this probability, XTC removes the obvious choices but the last.
    pub xtc_probability: f64,
    /// A choice is obvious from this probability on; above 1/2 switches XTC off.
    pub xtc_threshold: f64,
    /// 1 or 2: hold the surprise near `mirostat_tau` bits; 0 does not.
    pub mirostat: u8,
    /// The surprise aimed at, in bits.
    pub mirostat_tau: f64,
    /// How fast the cut follows the surprise.
    pub mirostat_eta: f64,
    /// Positive logits of tokens seen are divided by it, others multiplied; 1 changes nothing.
    pub repetition_penalty: f64,
    /// Taken from a logit for each time the token was seen.
    pub frequency_penalty: f64,
    /// Taken from the logit of a token that was seen.
    pub presence_penalty: f64,
    /// The three penalties look at this many of the last tokens; negative at all.
    pub penalty_last_n: i64,
    /// Frequency, presence and bad words look at the output alone, not at the prompt, as in vLLM.
    pub output_only: bool,
    /// Factor of DRY; 0 switches it off.
    pub dry_multiplier: f64,
    /// Base of DRY.
    pub dry_base: f64,
    /// Repetitions shorter than this are free.
    pub dry_allowed_length: i64,
    /// DRY looks at this many of the last tokens; negative at all.
    pub dry_last_n: i64,
    /// No sequence of this many tokens may come twice; 0 allows it.
    pub no_repeat_ngram: i64,
    /// Stop tokens are forbidden until the output has this many tokens.
    pub min_tokens: i64,
    /// The order of the operations.
    pub order: Order,
    /// Lists of tokens.
    pub lists: Arc<Lists>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            dynatemp_range: 0.0,
            dynatemp_exponent: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            top_n_sigma: 0.0,
            p_less: 0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            mirostat: 0,
            mirostat_tau: 5.0,
            mirostat_eta: 0.1,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            penalty_last_n: -1,
            output_only: false,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2,
            dry_last_n: -1,
            no_repeat_ngram: 0,
            min_tokens: 0,
            order: Order::HF,
            lists: Arc::default(),
        }
    }
}

/// A rule with a value outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("expected {field} {range}, found {value}")]
pub struct ParamsError {
    field: &'static str,
    range: &'static str,
    value: f64,
}

impl ParamsError {
    /// The field that is out of range.
    pub fn field(&self) -> &'static str {
        self.field
    }

    /// What was found.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl Params {
    /// These rules, once every field is known to be in its range.
    ///
    /// # Errors
    /// [`ParamsError`] names the first field that is not.
    pub fn checked(self) -> Result<Self, ParamsError> {
        const F32: &str = "between 0 and 3.4e38";
        const UNIT: &str = "between 0 and 1";
        const SHARE: &str = "above 0 and at most 1";
        const FINITE: &str = "between -3.4e38 and 3.4e38";
        const COUNT: &str = "of at least 0";
        let in_f32 = |value: f64| (0.0..=f64::from(f32::MAX)).contains(&value);
        let in_unit = |value: f64| (0.0..=1.0).contains(&value);
        let in_range = |value: f64| value.abs() <= f64::from(f32::MAX);
        let checks = [
            ("temperature", F32, self.temperature, in_f32(self.temperature)),
            ("dynatemp_range", F32, self.dynatemp_range, in_f32(self.dynatemp_range)),
            ("dynatemp_exponent", F32, self.dynatemp_exponent, in_f32(self.dynatemp_exponent)),
            ("top_k", COUNT, self.top_k as f64, self.top_k >= 0),
            ("top_p", UNIT, self.top_p, in_unit(self.top_p)),
            ("min_p", UNIT, self.min_p, in_unit(self.min_p)),
            ("typical_p", SHARE, self.typical_p, in_unit(self.typical_p) && self.typical_p > 0.0),
            ("epsilon_cutoff", UNIT, self.epsilon_cutoff, in_unit(self.epsilon_cutoff)),
            ("eta_cutoff", UNIT, self.eta_cutoff, in_unit(self.eta_cutoff)),
            ("top_n_sigma", F32, self.top_n_sigma, in_f32(self.top_n_sigma)),
            ("p_less", "0, 1 or 2", f64::from(self.p_less), self.p_less <= 2),
            ("xtc_probability", UNIT, self.xtc_probability, in_unit(self.xtc_probability)),
            ("xtc_threshold", UNIT, self.xtc_threshold, in_unit(self.xtc_threshold)),
            ("mirostat", "0, 1 or 2", f64::from(self.mirostat), self.mirostat <= 2),
            ("mirostat_tau", F32, self.mirostat_tau, in_f32(self.mirostat_tau)),
            ("mirostat_eta", F32, self.mirostat_eta, in_f32(self.mirostat_eta)),
            (
                "repetition_penalty",
                "above 0 and at most 3.4e38",
                self.repetition_penalty,
                in_f32(self.repetition_penalty) && self.repetition_penalty > 0.0,
            ),
            ("frequency_penalty", FINITE, self.frequency_penalty, in_range(self.frequency_penalty)),
            ("presence_penalty", FINITE, self.presence_penalty, in_range(self.presence_penalty)),
            ("dry_multiplier", F32, self.dry_multiplier, in_f32(self.dry_multiplier)),
            ("dry_base", "of at least 1", self.dry_base, in_f32(self.dry_base) && self.dry_base >= 1.0),
            ("dry_allowed_length", COUNT, self.dry_allowed_length as f64, self.dry_allowed_length >= 0),
            ("no_repeat_ngram_size", COUNT, self.no_repeat_ngram as f64, self.no_repeat_ngram >= 0),
            ("min_tokens", COUNT, self.min_tokens as f64, self.min_tokens >= 0),
        ];
        if let Some((field, range, value, _)) = checks.into_iter().find(|(_, _, _, holds)| !holds) {
            return Err(ParamsError { field, range, value });
        }
        let bias = self.lists.phrases.iter().map(|phrase| f64::from(phrase.bias));
        if let Some(value) = bias.into_iter().find(|bias| bias.is_nan() || *bias == f64::INFINITY) {
            return Err(ParamsError { field: "bias", range: "below +inf", value });
        }
        let lists = &self.lists;
        let sequences = lists.phrases.iter().map(|phrase| ("bias", phrase.tokens.len()));
        let sequences = sequences.chain(lists.bad_words.iter().map(|tokens| ("bad_words", tokens.len())));
        let mut sequences =
            sequences.chain(lists.dry_breakers.iter().map(|tokens| ("dry_breakers", tokens.len())));
        match sequences.find(|(_, n_tokens)| *n_tokens == 0) {
            Some((field, _)) => Err(ParamsError { field, range: "of at least one token each", value: 0.0 }),
            None => Ok(self),
        }
    }

    /// May single logits be changed before the operations?
    pub fn changes_logits(&self) -> bool {
        self.needs_history() || !self.lists.phrases.is_empty() || !self.lists.bad_words.is_empty()
    }

    /// Does a rule look at the text so far?
    pub fn needs_history(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.frequency_penalty != 0.0
            || self.presence_penalty != 0.0
            || self.dry_multiplier > 0.0
            || self.no_repeat_ngram > 0
            || self.min_tokens > 0
            || self.lists.bad_words.iter().any(|tokens| tokens.len() > 1)
            || self.lists.phrases.iter().any(|phrase| phrase.tokens.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_of_range_fields_are_named() {
        let neutral = Params::default();
        assert!(neutral.clone().checked().is_ok());
        for (params, message) in [
            (
                Params { temperature: f64::NAN, ..neutral.clone() },
                "expected temperature between 0 and 3.4e38, found NaN",
            ),
            (
                Params { temperature: -1.0, ..neutral.clone() },
                "expected temperature between 0 and 3.4e38, found -1",
            ),
            (Params { top_p: 1.5, ..neutral.clone() }, "expected top_p between 0 and 1, found 1.5"),
            (Params { top_k: -1, ..neutral.clone() }, "expected top_k of at least 0, found -1"),
            (Params { min_p: -0.5, ..neutral.clone() }, "expected min_p between 0 and 1, found -0.5"),
            (
                Params { typical_p: 0.0, ..neutral.clone() },
                "expected typical_p above 0 and at most 1, found 0",
            ),
            (Params { p_less: 3, ..neutral.clone() }, "expected p_less 0, 1 or 2, found 3"),
            (Params { dry_base: 0.5, ..neutral.clone() }, "expected dry_base of at least 1, found 0.5"),
        ] {
            assert_eq!(params.checked().unwrap_err().to_string(), message);
        }
        let phrases = vec![Phrase { tokens: vec![], bias: 0.0 }];
        let lists = Arc::new(Lists { phrases, ..Lists::default() });
        assert_eq!(Params { lists, ..neutral }.checked().unwrap_err().field(), "bias");
    }
}
