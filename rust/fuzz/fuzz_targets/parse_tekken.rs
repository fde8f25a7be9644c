//! Any bytes: an error or a specification; what builds also encodes and decodes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::tekken::parse;
use tokenloom_tokenize::{EncodeOptions, Tokenizer};

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = parse(data) else { return };
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    if let Ok(ids) = tokenizer.encode("it's [INST] a\r\n  12345 \u{1F600}", &EncodeOptions::default()) {
        tokenizer.decode_bytes(&ids).expect("ids that encode gave are tokens");
    }
});
