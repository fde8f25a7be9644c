//! Any bytes: an error, a specification that can be built and written, or a definition that can be built.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::{Parsed, gguf, write};
use tokenloom_tokenize::{EncodeOptions, Interpreted, Tokenizer};

fuzz_target!(|data: &[u8]| {
    let spec = match gguf::parse(data) {
        Ok(Parsed::Spec(spec)) => spec,
        Ok(Parsed::Definition(definition, _)) => {
            let Ok(tokenizer) = Interpreted::new(Arc::new(*definition)) else { return };
            let _ = tokenizer.encode("it's a text\r\n  12345 \u{1F600}", &EncodeOptions::default());
            return;
        }
        Err(_) => return,
    };
    let _ = write::tokenizer_json(&spec);
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    let _ = tokenizer.encode("it's a text\r\n  12345 \u{1F600}", &EncodeOptions::default());
});
