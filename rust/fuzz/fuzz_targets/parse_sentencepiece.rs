//! Any bytes: an error, or a tokenizer that builds or says why not, encodes and decodes.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::{Parsed, sentencepiece, write};
use tokenloom_tokenize::{EncodeOptions, Interpreted, Tokenizer};

const TEXT: &str = "  it's a <s> \u{2581}x\u{301}\r\n  12345 \u{1F600}";

fuzz_target!(|data: &[u8]| {
    match sentencepiece::parse(data) {
        Ok(Parsed::Spec(spec)) => {
            let Ok(tokenizer) = Tokenizer::new(spec) else { return };
            let ids = tokenizer.encode(TEXT, &EncodeOptions::default()).expect("no pattern gives up");
            tokenizer.decode_bytes(&ids).expect("ids that encode gave are tokens");
        }
        Ok(Parsed::Definition(definition, _)) => {
            write::write_definition(&definition, false);
            let Ok(tokenizer) = Interpreted::new(Arc::new(*definition)) else { return };
            if let Ok(ids) = tokenizer.encode(TEXT, &EncodeOptions::default()) {
                tokenizer.decode(&ids, false).expect("ids that encode gave are tokens");
            }
        }
        Err(_) => {}
    }
});
