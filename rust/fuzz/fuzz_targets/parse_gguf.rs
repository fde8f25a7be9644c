//! Any bytes: an error or a specification that can be built and written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::{gguf, write};
use tokenloom_tokenize::{EncodeOptions, Tokenizer};

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = gguf::parse(data) else { return };
    let _ = write::tokenizer_json(&spec);
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    let _ = tokenizer.encode("it's a text\r\n  12345 \u{1F600}", &EncodeOptions::default());
});
