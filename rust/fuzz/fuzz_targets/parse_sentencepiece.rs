//! Any bytes: an error, or a tokenizer that builds or says why not, encodes and decodes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::sentencepiece;
use tokenloom_tokenize::{EncodeOptions, Tokenizer};

const TEXT: &str = "  it's a <s> \u{2581}x\u{301}\r\n  12345 \u{1F600}";

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = sentencepiece::parse(data) else { return };
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    let ids = tokenizer.encode(TEXT, &EncodeOptions::default()).expect("no pattern gives up");
    tokenizer.decode_bytes(&ids).expect("ids that encode gave are tokens");
});
