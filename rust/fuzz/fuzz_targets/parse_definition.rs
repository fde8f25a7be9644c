//! Any bytes: an error, or a definition that writes itself and reads back the same, builds or says why not, and encodes.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::tokenizer_json::parse_definition;
use tokenloom_formats::write::write_definition;
use tokenloom_tokenize::{EncodeOptions, Interpreted};

fuzz_target!(|data: &[u8]| {
    let Ok(definition) = parse_definition(data) else { return };
    for is_pretty in [false, true] {
        let written = write_definition(&definition, is_pretty).expect("what was read can be written");
        let again = parse_definition(written.as_bytes()).expect("what is written can be read");
        assert_eq!(again.normalizer, definition.normalizer);
        assert_eq!(again.pre_tokenizer, definition.pre_tokenizer);
        assert_eq!(again.post_processor, definition.post_processor);
        assert_eq!(again.decoder, definition.decoder);
    }
    let Ok(tokenizer) = Interpreted::new(Arc::new(definition)) else { return };
    if let Ok(ids) = tokenizer.encode("it's a <tool> NASA\u{301}\r\n  12345 \u{1F600}", &EncodeOptions::default()) {
        tokenizer.decode(&ids, false).expect("ids that encode gave are tokens");
    }
});
