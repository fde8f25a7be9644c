//! Is a stream of decoded text the text of all ids at once, and does no more wait than is said?

use std::sync::Arc;

use tokenloom_tokenize::pipeline::definition::{Decoder, Definition, Model, Pattern, PrependScheme};
use tokenloom_tokenize::pipeline::{OffsetUnit, Pipeline, PipelineStream, Sequence, SequenceOptions};

const TOKENS: [&str; 16] = [
    "▁a", "▁", "b", "##c", "<0xE4>", "<0xBD>", "<0xA0>", "<0x41>", "Ġ", "Ã", "©", "d</w>", "<pad>", "|",
    " .", "do not",
];

fn definition(decoder: Option<Decoder>) -> Arc<Definition> {
    let vocab = (0..).zip(TOKENS).map(|(id, token)| (token.to_owned(), id)).collect();
    Arc::new(Definition {
        truncation: None,
        padding: None,
        added_tokens: Vec::new(),
        normalizer: None,
        pre_tokenizer: None,
        post_processor: None,
        decoder,
        model: Model::WordLevel { vocab, unk_token: "b".to_owned() },
    })
}

fn llama(tail: Vec<Decoder>) -> Decoder {
    let spaces = Decoder::Replace { pattern: Pattern::Literal("▁".to_owned()), content: " ".to_owned() };
    Decoder::Sequence([vec![spaces, Decoder::ByteFallback, Decoder::Fuse], tail].concat())
}

/// The first `n_ids` of a fixed walk.
fn ids(seed: u32, n_ids: u32) -> Vec<u32> {
    (0..n_ids).map(|at| (seed + at).wrapping_mul(2_654_435_761) >> 28).collect()
}

#[test]
fn parts_joined_are_the_whole() {
    let byte_level = Decoder::ByteLevel { add_prefix_space: true, trim_offsets: true, use_regex: true };
    let strip = |start, stop| Decoder::Strip { content: ' ', start, stop };
    let ctc = |cleanup| Decoder::Ctc {
        pad_token: "<pad>".to_owned(),
        word_delimiter_token: "|".to_owned(),
        cleanup,
    };
    let word_piece = Decoder::WordPiece { prefix: "##".to_owned(), cleanup: true };
    let metaspace =
        Decoder::Metaspace { replacement: '▁', prepend_scheme: PrependScheme::Always, split: true };
    let decoders = [
        None,
        Some(llama(vec![])),
        Some(llama(vec![strip(1, 0)])),
        Some(llama(vec![strip(1, 2)])),
        Some(llama(vec![word_piece.clone()])),
        Some(byte_level.clone()),
        Some(Decoder::Sequence(vec![byte_level, strip(0, 1)])),
        Some(Decoder::Bpe { suffix: "</w>".to_owned() }),
        Some(word_piece),
        Some(metaspace),
        Some(ctc(true)),
        Some(ctc(false)),
        Some(Decoder::Sequence(vec![])),
    ];
    for decoder in decoders {
        let pipeline = Pipeline::new(definition(decoder.clone())).unwrap();
        let mut stream = PipelineStream::new(&pipeline, false);
        for seed in 0..200 {
            let ids = ids(seed * 31, seed % 23);
            let mut text = String::new();
            for &id in &ids {
                text += &stream.push(&pipeline, id).unwrap();
            }
            text += &stream.flush(&pipeline).unwrap();
            assert_eq!(text, pipeline.decode(&ids, false).unwrap(), "{decoder:?} {ids:?}");
        }
    }
}

#[test]
fn what_is_certain_does_not_wait() {
    let decoder = llama(vec![Decoder::Strip { content: ' ', start: 1, stop: 0 }]);
    let pipeline = Pipeline::new(definition(Some(decoder))).unwrap();
    let mut stream = PipelineStream::new(&pipeline, false);
    let parts: Vec<String> =
        [0, 0, 4, 5, 6, 2, 4, 2].into_iter().map(|id| stream.push(&pipeline, id).unwrap()).collect();
    // The run of bytes waits for the token behind it; a broken one is a replacement character a byte.
    assert_eq!(parts, ["a", " a", "", "", "", "你b", "", "\u{fffd}b"]);
    assert!(stream.push(&pipeline, 99).is_err());
    assert_eq!(pipeline.decode(&[99, 2], false).unwrap(), "b");
}

#[test]
fn a_million_characters_are_an_ordinary_word() {
    let pipeline = Pipeline::new(definition(None)).unwrap();
    let text = "b".repeat(1_000_000);
    let options = SequenceOptions { offsets: OffsetUnit::Bytes, ..SequenceOptions::default() };
    let encoding = pipeline.encode_sequence(Sequence::Text(&text), &options).unwrap();
    assert_eq!((encoding.ids, encoding.offsets), (vec![2], vec![(0, 1_000_000)]));
}
