//! Any bytes: an error or ranks; ranks with the missing bytes added: an error or a specification.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenloom_formats::tiktoken::{parse_ranks, spec};
use tokenloom_tokenize::{EncodeOptions, Tokenizer};

fuzz_target!(|data: &[u8]| {
    let Ok(mut ranks) = parse_ranks(data) else { return };
    for byte in 0..=255u8 {
        if !ranks.iter().any(|(_, token)| token == [byte]) {
            ranks.push(10_000 + u32::from(byte), [byte]);
        }
    }
    let Ok(spec) = spec(ranks, r"\s+|\S+", vec![("<x>".into(), 20_000)]) else { return };
    let Ok(tokenizer) = Tokenizer::new(spec) else { return };
    // The input itself is as good a text as any.
    let text = String::from_utf8_lossy(data);
    let ids = tokenizer.encode(&text, &EncodeOptions::default()).expect("this pattern never gives up");
    assert_eq!(tokenizer.decode_bytes(&ids).expect("ids that encode gave are tokens"), text.as_bytes());
});
