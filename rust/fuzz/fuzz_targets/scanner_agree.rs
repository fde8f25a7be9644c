//! Any text: the scanners of the published patterns cut it as the patterns say, in windows on the widest vector unit of
//! this machine, and a text in parts as in one.
#![no_main]

use std::sync::LazyLock;

use fancy_regex::Regex;
use libfuzzer_sys::fuzz_target;
use tokenloom_tokenize::Tokenizer;
use tokenloom_tokenize::spec::{Pretokenizer, SplitBehavior, SplitPattern, TokenizerSpec};

const PATTERNS: [&str; 4] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

static PAIRS: LazyLock<Vec<(Regex, Tokenizer)>> = LazyLock::new(|| PATTERNS.map(pair).into());

fn pair(pattern: &str) -> (Regex, Tokenizer) {
    let split = Pretokenizer::Split {
        pattern: SplitPattern::Regex(pattern.into()),
        behavior: SplitBehavior::Isolated,
        invert: false,
    };
    let spec = TokenizerSpec {
        tokens: (0..=255u8).map(|byte| (u32::from(byte), [byte])).collect(),
        pretokenizers: vec![split],
        ..TokenizerSpec::default()
    };
    (Regex::new(pattern).expect("published"), Tokenizer::new(spec).expect("every byte is a token"))
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for (regex, tokenizer) in PAIRS.iter() {
        let expected: Result<Vec<_>, _> = regex.find_iter(&*text).map(|found| found.map(|found| found.range())).collect();
        // A search that steps back too far is the engine's affair.
        let Ok(expected) = expected else { continue };
        assert_eq!(tokenizer.pretokenize(&text).expect("a scanner never gives up"), expected, "{regex:?}");
    }
});
