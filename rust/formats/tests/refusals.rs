//! Every file that must be refused is refused at its place, and nothing else happens.

use tokenloom_formats::{FormatError, FormatErrorKind, Kind, Parsed, gguf, limits, tiktoken, tokenizer_json};
use tokenloom_testkit::{cases, data, text};
use tokenloom_vocab::TokenList;

fn parse_json(bytes: &[u8]) -> Result<(), FormatError> {
    tokenizer_json::parse(bytes, tokenizer_json::Options::default()).map(|_| ())
}

#[test]
fn listed_cases_are_refused_where_they_say() {
    let tiny = String::from_utf8(data("tiny.tokenizer.json")).unwrap();
    assert!(parse_json(tiny.as_bytes()).is_ok());
    for case in cases("formats", "refused") {
        let name = text(&case, "name");
        let file = match case.get("file").and_then(|file| file.as_str()) {
            Some(file) => file.to_owned(),
            None => {
                let changed = tiny.replacen(text(&case, "find"), text(&case, "put"), 1);
                assert!(changed != tiny, "{name}: nothing to replace");
                changed
            }
        };
        let error = parse_json(file.as_bytes()).expect_err(name);
        assert_eq!(error.is_unsupported(), text(&case, "error") != "malformed", "{name}: {error}");
        assert_eq!(error.path(), text(&case, "path"), "{name}: {error}");
        assert_eq!(error.format(), Some(Kind::TokenizerJson), "{name}");
    }
}

#[test]
fn every_truncation_and_every_byte_flip_ends_in_a_result() {
    let tiny = data("tiny.tokenizer.json");
    for n_bytes in 0..tiny.len() {
        // Inside a character the file is no longer UTF-8, elsewhere no longer whole: an error either way.
        assert!(
            parse_json(&tiny[..n_bytes]).is_err() || tiny[n_bytes..].trim_ascii().is_empty(),
            "{n_bytes}"
        );
    }
    let mut bytes = tiny.clone();
    for (index, &byte) in tiny.iter().enumerate() {
        for flip in [0x01, 0x20, 0x80] {
            bytes[index] = byte ^ flip;
            let _ = parse_json(&bytes);
        }
        bytes[index] = byte;
    }
}

#[test]
fn deep_nesting_is_an_error_everywhere() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let files = [
        deep.clone(),
        format!("{{\"normalizer\": {deep}}}"),
        format!("{{\"unknown\": {deep}}}"),
        format!("{{\"model\": {{\"vocab\": {deep}}}}}"),
        format!("{{\"model\": {{\"merges\": [{deep}]}}}}"),
        format!("{{\"added_tokens\": [{deep}]}}"),
    ];
    for file in files {
        let error = parse_json(file.as_bytes()).unwrap_err();
        let is_refused = matches!(
            error.kind(),
            // What is ignored is read over without recursion, however deep.
            FormatErrorKind::MissingField { field: "model" }
                | FormatErrorKind::Unsupported { .. }
                | FormatErrorKind::TooDeep { .. }
                | FormatErrorKind::Json { .. }
                | FormatErrorKind::TooLarge { .. }
                | FormatErrorKind::MalformedMerge { .. }
        );
        assert!(is_refused, "{error}");
    }
}

#[test]
fn places_are_byte_offsets() {
    let file = "{\n\"model\": {\"vocab\": {\"é\": 0,\n \"b\": x}}}";
    let error = parse_json(file.as_bytes()).unwrap_err();
    assert_eq!(error.byte_offset(), Some(file.find('x').unwrap() as u64), "{error}");
    let error = parse_json(b"{\"a\": \"\xff\"}").unwrap_err();
    assert_eq!((error.kind(), error.byte_offset()), (&FormatErrorKind::NotUtf8, Some(7)));
}

#[test]
fn rank_files_name_the_line() {
    let line = |bytes: &[u8]| tiktoken::parse_ranks(bytes).unwrap_err();
    let error = line(b"IQ== 0\nIg== x\n");
    assert_eq!((error.path(), error.byte_offset()), ("line 2", Some(7)));
    for bad in [&b"IQ==\n"[..], b"IQ== 1 2\n", b"?? 1\n", b"IQ== -1\n", b"IQ== 99999999999\n"] {
        assert_eq!(line(bad).kind(), &FormatErrorKind::MalformedLine);
    }
    assert_eq!(tiktoken::parse_ranks(b"\r\nIQ== 0\r\n\n").unwrap(), [(0, b"!")].into_iter().collect());
}

fn all_bytes() -> TokenList {
    (0..=255u8).map(|byte| (u32::from(byte), [byte])).collect()
}

#[test]
fn rank_tables_must_be_a_vocabulary() {
    let kind = |ranks| tiktoken::spec(ranks, "a", Vec::new()).unwrap_err().kind().clone();
    let with = |token: &[u8], id| {
        let mut ranks = all_bytes();
        ranks.push(id, token);
        ranks
    };
    assert!(matches!(kind(with(b"a", 256)), FormatErrorKind::DuplicateToken { .. }));
    assert_eq!(kind(with(b"ab", 97)), FormatErrorKind::DuplicateId { id: 97 });
    assert!(matches!(kind(with(b"ab", u32::MAX)), FormatErrorKind::TooLarge { .. }));
    assert!(matches!(kind(with(&[b'a'; 2000], 256)), FormatErrorKind::TooLarge { .. }));
    assert_eq!(kind(all_bytes().iter().skip(1).collect()), FormatErrorKind::MissingByte { byte: 0 });
    let special = tiktoken::spec(all_bytes(), "a", vec![("<x>".into(), 5)]).unwrap_err();
    assert_eq!(special.kind(), &FormatErrorKind::DuplicateId { id: 5 });
}

#[test]
fn every_split_of_a_rank_is_a_merge() {
    let mut ranks = all_bytes();
    ranks.extend([(256, "bc"), (257, "ab"), (258, "abc")]);
    let spec = tiktoken::spec(ranks, "a", Vec::new()).unwrap();
    let pairs: Vec<_> =
        spec.all_merges().iter().map(|merge| (merge.left, merge.right, merge.result)).collect();
    assert_eq!(pairs, [(98, 99, 256), (97, 98, 257), (97, 256, 258), (257, 99, 258)]);
    assert!(spec.ranks == tokenloom_tokenize::spec::Ranks::Splits && spec.ignore_merges);
}

/// A GGUF file of the given pairs, each already typed.
fn gguf_file(pairs: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend(0u64.to_le_bytes());
    file.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        file.extend((key.len() as u64).to_le_bytes());
        file.extend(key.as_bytes());
        file.extend(value);
    }
    file
}

fn gguf_text(text: &str) -> Vec<u8> {
    let mut value = 8u32.to_le_bytes().to_vec();
    value.extend((text.len() as u64).to_le_bytes());
    value.extend(text.as_bytes());
    value
}

fn gguf_texts(texts: &[&str]) -> Vec<u8> {
    let mut value = [9u32.to_le_bytes(), 8u32.to_le_bytes()].concat();
    value.extend((texts.len() as u64).to_le_bytes());
    for text in texts {
        value.extend(&gguf_text(text)[4..]);
    }
    value
}

fn gguf_types(types: &[i32]) -> Vec<u8> {
    let mut value = [9u32.to_le_bytes(), 5u32.to_le_bytes()].concat();
    value.extend((types.len() as u64).to_le_bytes());
    types.iter().for_each(|kind| value.extend(kind.to_le_bytes()));
    value
}

fn small_gguf() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("general.name", gguf_text("a name")),
        ("other.list", gguf_texts(&["x", "y"])),
        ("tokenizer.ggml.model", gguf_text("gpt2")),
        ("tokenizer.ggml.pre", gguf_text("gpt-2")),
        ("tokenizer.ggml.tokens", gguf_texts(&["<s>", "Ġ", "a", "Ġa", "▁", "[PAD]"])),
        ("tokenizer.ggml.token_type", gguf_types(&[3, 1, 1, 1, 1, 5])),
        ("tokenizer.ggml.merges", gguf_texts(&["Ġ a"])),
        ("tokenizer.ggml.bos_token_id", [4u32.to_le_bytes(), 0u32.to_le_bytes()].concat()),
        ("tokenizer.ggml.add_bos_token", vec![7, 0, 0, 0, 1]),
    ]
}

#[test]
fn gguf_metadata_becomes_a_specification() {
    let mut file = gguf_file(&small_gguf());
    file.extend(b"tensors follow and are not read");
    let Parsed::Spec(spec) = gguf::parse(&file[..]).unwrap() else { panic!("byte-level BPE is compiled") };
    let tokens: Vec<(u32, &[u8])> = spec.tokens.iter().collect();
    assert_eq!(tokens, [(1, &b" "[..]), (2, b"a"), (3, b" a")]);
    assert_eq!(spec.decode_only, [(4, Box::from("▁".as_bytes())), (5, Box::from(&b"[PAD]"[..]))]);
    assert_eq!((spec.added_tokens[0].id, spec.added_tokens[0].special), (0, true));
    assert_eq!((spec.merges.len(), spec.template.prefix.as_slice()), (1, &[0][..]));
}

#[test]
fn gguf_files_are_refused_without_trust_in_their_lengths() {
    let file = gguf_file(&small_gguf());
    for n_bytes in 0..file.len() {
        let error = gguf::parse(&file[..n_bytes]).unwrap_err();
        assert!(matches!(error.kind(), FormatErrorKind::Truncated { .. }), "{n_bytes}: {error}");
    }
    let mut flipped = file.clone();
    for (index, &byte) in file.iter().enumerate() {
        for flip in [0x01, 0x40, 0xFF] {
            flipped[index] = byte ^ flip;
            let _ = gguf::parse(&flipped[..]);
        }
        flipped[index] = byte;
    }
    let changed = |key: &str, value: Vec<u8>| {
        let mut pairs = small_gguf();
        pairs.iter_mut().filter(|(name, _)| *name == key).for_each(|pair| pair.1.clone_from(&value));
        gguf::parse(&gguf_file(&pairs)[..]).unwrap_err()
    };
    assert!(changed("tokenizer.ggml.model", gguf_text("rwkv")).is_unsupported());
    assert!(changed("tokenizer.ggml.pre", gguf_text("nowhere")).is_unsupported());
    let absurd =
        [9u32.to_le_bytes().to_vec(), 8u32.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
    for key in ["tokenizer.ggml.tokens", "tokenizer.ggml.merges", "other.list"] {
        let error = changed(key, absurd.clone());
        let is_refused = matches!(
            error.kind(),
            FormatErrorKind::TooLarge { .. }
                | FormatErrorKind::Truncated { .. }
                | FormatErrorKind::WrongType { .. }
        );
        assert!(is_refused, "{key}: {error}");
    }
    let long = [8u32.to_le_bytes().to_vec(), (1u64 << 40).to_le_bytes().to_vec()].concat();
    let too_long = changed("general.name", long);
    let limit = limits::GGUF_METADATA_BYTES;
    assert!(
        matches!(too_long.kind(), FormatErrorKind::TooLarge { limit: found, .. } if *found == limit),
        "{too_long}"
    );
    let nested = {
        let mut value = 9u32.to_le_bytes().to_vec();
        for _ in 0..100_000 {
            value.extend(9u32.to_le_bytes());
            value.extend(1u64.to_le_bytes());
        }
        value
    };
    assert_eq!(changed("other.list", nested).kind(), &FormatErrorKind::TooDeep { limit: limits::GGUF_DEPTH });
    let merges = |texts: &[&str]| changed("tokenizer.ggml.merges", gguf_texts(texts)).kind().clone();
    assert_eq!(merges(&[" a"]), FormatErrorKind::CyclicMerge { index: 0 });
    assert_eq!(merges(&["Ġ a", "Ġ a"]), FormatErrorKind::DuplicateMerge { index: 1 });
    assert!(matches!(merges(&["a a"]), FormatErrorKind::UnknownMergeToken { .. }));
    assert!(matches!(merges(&["Ġ a a"]), FormatErrorKind::MalformedMerge { .. }));
    let twice = changed("tokenizer.ggml.tokens", gguf_texts(&["<s>", "Ġ", "a", "Ġa", "▁", "a"]));
    assert!(matches!(twice.kind(), FormatErrorKind::DuplicateToken { .. }));
    let short = changed("tokenizer.ggml.token_type", gguf_types(&[3, 1]));
    assert_eq!(short.kind(), &FormatErrorKind::LengthMismatch { expected: 6, found: 2 });
    let mut pairs = small_gguf();
    pairs.push(("tokenizer.ggml.model", gguf_text("gpt2")));
    let error = gguf::parse(&gguf_file(&pairs)[..]).unwrap_err();
    assert!(matches!(error.kind(), FormatErrorKind::DuplicateKey { .. }), "{error}");
    let not_text = [8u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec(), vec![0xFF]].concat();
    assert_eq!(changed("tokenizer.ggml.model", not_text).kind(), &FormatErrorKind::NotUtf8);
}

#[test]
fn kinds_are_told_from_content() {
    let kind = |bytes: &[u8]| Kind::detect(bytes).ok();
    assert_eq!(kind(b"GGUF\x03\0\0\0"), Some(Kind::Gguf));
    assert_eq!(kind(b"  {\"version\": \"1.0\"}"), Some(Kind::TokenizerJson));
    assert_eq!(kind(b"{\"config\": {\"pattern\": \"a\"}, \"vocab\": []}"), Some(Kind::Tekken));
    assert_eq!(kind(b"IQ== 0\nIg== 1\n"), Some(Kind::Tiktoken));
    assert_eq!(kind(b"\x0a\x0e\x0a\x05<unk>\x15"), Some(Kind::SentencePiece));
    for unknown in [&b""[..], b"hello", b"hello world", b"\0\0", b"IQ== 0 1\n"] {
        assert_eq!(kind(unknown), None, "{unknown:?}");
    }
}
