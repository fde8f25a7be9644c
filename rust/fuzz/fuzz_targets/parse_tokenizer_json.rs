//! Any bytes: an error or a specification; what builds also encodes, writes itself, and reads back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::tokenizer_json::{Options, parse};
use tokenloom_formats::write;
use tokenloom_tokenize::{EncodeOptions, Tokenizer};

fuzz_target!(|data: &[u8]| {
    let Ok(spec) = parse(data, Options { ignore_truncation_and_padding: true }) else { return };
    let Ok(tokenizer) = Tokenizer::new(spec.clone()) else { return };
    if let Ok(ids) =
        tokenizer.encode("it's a <tool> NASA\u{301}\r\n  12345 \u{1F600}", &EncodeOptions::default())
    {
        tokenizer.decode_bytes(&ids).expect("ids that encode gave are tokens");
    }
    if let Ok(written) = write::tokenizer_json(&spec) {
        let again = parse(&written, Options::default()).expect("what is written can be read");
        assert_eq!(again.merges, spec.merges);
        assert_eq!(again.pretokenizers, spec.pretokenizers);
        assert_eq!(again.template, spec.template);
    }
});
