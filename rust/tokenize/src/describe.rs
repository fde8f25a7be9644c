//! Which way does text take through this tokenizer, and what does each part of the work?
//!
//! For people: the wording may change. What ids a text becomes is decided by the [`crate::spec::TokenizerSpec`], how fast
//! by what is named here.

use crate::Tokenizer;
use crate::bpe::Engine;
use crate::pretokenize::scan::Scanner;
use crate::pretokenize::{joint_scanner, scanner_name};
use crate::spec::{
    Decoder, InvalidRun, Normalizer, PrependScheme, Pretokenizer, SplitBehavior, SplitPattern, Symbols,
};

/// One step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its part: `added tokens`, `normalizer`, `pretokenizer`, `model`, `template`, `decoder`.
    pub part: &'static str,
    /// What it does to the text.
    pub action: String,
    /// What does it: a scanner, a regular expression engine, a merge engine.
    pub engine: String,
}

impl Tokenizer {
    /// The steps in the order of encoding, the decoder last.
    pub fn stages(&self) -> Vec<Stage> {
        let spec = self.spec();
        let mut stages = Vec::new();
        let mut add = |part, action: String, engine: &str| {
            stages.push(Stage { part, action, engine: engine.to_owned() });
        };
        let n_special = self.special_tokens().count();
        let n_added = spec.added_tokens.len();
        if n_added > 0 {
            add(
                "added tokens",
                format!("{n_added} strings, {n_special} of them special"),
                "Aho-Corasick automaton",
            );
        }
        for normalizer in &spec.normalizers {
            add("normalizer", name_of_normalizer(*normalizer).to_owned(), "");
        }
        for (index, step) in spec.pretokenizers.iter().enumerate() {
            let (action, engine) = of_pretokenizer(step);
            let mut first_steps = index.saturating_sub(2)..=index;
            let joint = first_steps.find_map(|first| joint_scanner(&spec.pretokenizers[first..]));
            add("pretokenizer", action, joint.map_or(engine, Scanner::name));
        }
        add(
            "model",
            of_model(self),
            match self.bpe().engine() {
                Engine::Linear => "linear: backtracking over longest matches",
                Engine::Heap => "heap of merges",
                Engine::Scan => "scan",
            },
        );
        let template = &spec.template;
        if !(template.prefix.is_empty() && template.suffix.is_empty()) {
            add("template", format!("{:?} text {:?}", template.prefix, template.suffix), "");
        }
        add("decoder", of_decoder(spec.decoder), "");
        stages
    }
}

fn name_of_normalizer(normalizer: Normalizer) -> &'static str {
    match normalizer {
        Normalizer::Nfc => "NFC",
        Normalizer::PrependSpace => "a space before the text",
        Normalizer::PrependFirst => "a space before the whole input",
        Normalizer::SpaceMark => "U+2581 is a space",
    }
}

fn of_pretokenizer(step: &Pretokenizer) -> (String, &'static str) {
    let engine_of = |pattern: &str| scanner_name(pattern).unwrap_or("regular expression engine");
    match step {
        Pretokenizer::Split { pattern, behavior, invert } => {
            let (text, engine) = match pattern {
                SplitPattern::Regex(pattern) => (pattern.as_str(), engine_of(pattern)),
                SplitPattern::Literal(text) => (text.as_str(), "substring search"),
            };
            let behavior = match behavior {
                SplitBehavior::Isolated => "isolated",
                SplitBehavior::Removed => "removed",
                SplitBehavior::MergedWithPrevious => "merged with previous",
                SplitBehavior::MergedWithNext => "merged with next",
                SplitBehavior::Contiguous => "contiguous",
            };
            let inverted = if *invert { ", inverted" } else { "" };
            let text = text.replace('\n', r"\n").replace('\r', r"\r");
            (format!("split, {behavior}{inverted}: {text}"), engine)
        }
        Pretokenizer::Digits { individual: true } => ("digits, each by itself".to_owned(), "scanner"),
        Pretokenizer::Digits { individual: false } => ("runs of digits".to_owned(), "scanner"),
        Pretokenizer::ByteLevel { add_prefix_space, use_regex } => {
            let space = if *add_prefix_space { ", a space before the text" } else { "" };
            let (split, engine) = if *use_regex { (", GPT-2 pattern", "scanner words") } else { ("", "") };
            (format!("byte level{split}{space}"), engine)
        }
        Pretokenizer::Metaspace { prepend, split } => {
            let space = match prepend {
                PrependScheme::First => ", a space before the text",
                PrependScheme::Never => "",
                PrependScheme::Always => ", a space before every piece",
            };
            let split = if *split { ", split before spaces" } else { "" };
            (format!("metaspace{space}{split}"), "scanner")
        }
    }
}

fn of_model(tokenizer: &Tokenizer) -> String {
    let spec = tokenizer.spec();
    let symbols = match spec.symbols {
        Symbols::Bytes => "bytes",
        Symbols::Characters { .. } => "characters, bytes where one is no token",
    };
    let n_merges = tokenizer.bpe().merges().len();
    let n_tokens = spec.tokens.len();
    let whole = if spec.ignore_merges { ", a pretoken that is a token is left whole" } else { "" };
    format!("BPE from {symbols}: {n_tokens} tokens, {n_merges} merges{whole}")
}

fn of_decoder(decoder: Decoder) -> String {
    match decoder {
        Decoder::Bytes => "bytes joined".to_owned(),
        Decoder::ByteFallback { strip_space, invalid } => {
            let space = if strip_space { ", without the first space" } else { "" };
            let invalid = match invalid {
                InvalidRun::Whole => "whole run",
                InvalidRun::Bytes | InvalidRun::Pieces => "bytes alone",
            };
            format!("text and byte tokens; U+FFFD for each byte of an invalid run ({invalid}){space}")
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenloom_vocab::{AddedToken, TokenList};

    use crate::Tokenizer;
    use crate::spec::{Merge, Normalizer, Pretokenizer, SplitBehavior, SplitPattern, TokenizerSpec};

    #[test]
    fn every_step_is_named_with_its_engine() {
        let split = |pattern: &str| Pretokenizer::Split {
            pattern: SplitPattern::Regex(pattern.to_owned()),
            behavior: SplitBehavior::Isolated,
            invert: false,
        };
        let deepseek = crate::pretokenize::covering_patterns().pop().unwrap();
        let mut tokens: TokenList = (0..=255u8).map(|b| (u32::from(b), [b])).collect();
        tokens.push(256, b"ab");
        let tokenizer = Tokenizer::new(TokenizerSpec {
            tokens,
            merges: vec![Merge { left: 97, right: 98, result: 256 }],
            added_tokens: vec![AddedToken {
                id: 300,
                content: "<s>".to_owned(),
                special: true,
                normalized: false,
                lstrip: false,
                rstrip: false,
                single_word: false,
            }],
            normalizers: vec![Normalizer::Nfc],
            pretokenizers: [r"\p{N}{1,3}", "[aeiou]+"].into_iter().chain(deepseek).map(split).collect(),
            ..Default::default()
        })
        .unwrap();
        let found: Vec<_> = tokenizer.stages().into_iter().map(|stage| (stage.part, stage.engine)).collect();
        let expected = [
            ("added tokens", "Aho-Corasick automaton"),
            ("normalizer", ""),
            ("pretokenizer", "scanner numbers"),
            ("pretokenizer", "regular expression engine"),
            ("pretokenizer", "scanner deepseek, three steps at once"),
            ("pretokenizer", "scanner deepseek, three steps at once"),
            ("pretokenizer", "scanner deepseek, three steps at once"),
            ("model", "linear: backtracking over longest matches"),
            ("decoder", ""),
        ];
        assert_eq!(found, expected.map(|(part, engine)| (part, engine.to_owned())));
    }
}
