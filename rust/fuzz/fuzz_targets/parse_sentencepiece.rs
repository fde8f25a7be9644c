//! Any bytes: an error, or a tokenizer that builds or says why not, encodes and decodes; one that is interpreted is written
//! and read back the same.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::{Parsed, sentencepiece, write};
use tokenloom_tokenize::{EncodeOptions, Interpreted, Tokenizer};

const TEXT: &str = "  it's a <s> \u{2581}x\u{301}\r\n  12345 \u{1F600} ";

fuzz_target!(|data: &[u8]| {
    let options = EncodeOptions::default();
    if let Ok(definition) = sentencepiece::parse_definition(data) {
        let state = write::state(&definition).expect("a model can be written");
        let again = write::definition_of_state(&state).expect("what is written can be read");
        // Scores may be no numbers, which equal nothing.
        assert_eq!(again.added_tokens, definition.added_tokens);
        let Ok(tokenizer) = Interpreted::new(Arc::new(definition)) else { return };
        let ids = tokenizer.encode(TEXT, &options).expect("there is an unknown piece");
        tokenizer.decode(&ids, false).expect("ids that encode gave are tokens");
    }
    let Ok(Parsed::Spec(spec)) = sentencepiece::parse(data) else { return };
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    let ids = tokenizer.encode(TEXT, &options).expect("no pattern gives up");
    tokenizer.decode_bytes(&ids).expect("ids that encode gave are tokens");
});
