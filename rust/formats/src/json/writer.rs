//! How is a definition written, byte for byte as its format's own writer does?
//!
//! Fields come in the order of the format, the vocabulary and the added tokens by id, templates' tokens by name. The
//! layout is compact, or indented by two spaces. Components are made into small values first; the long lists are
//! written as they are walked. Linear in the definition.

use tokenloom_tokenize::pipeline::definition::{
    Decoder, Definition, Model, Normalizer, Padding, Pattern, PostProcessor, PreTokenizer, PrependScheme,
    Side, TemplatePiece, Truncation, TruncationStrategy,
};
use tokenloom_tokenize::spec::SplitBehavior;
use tokenloom_vocab::{AddedToken, TokenId};

use crate::base64;
use crate::json::value::Value;

/// Text of JSON in the making.
pub(crate) struct Writer {
    out: String,
    is_pretty: bool,
    depth: usize,
    /// The innermost object or array has an entry already.
    has_entry: bool,
}

impl Writer {
    pub(crate) fn new(is_pretty: bool, capacity: usize) -> Self {
        Self { out: String::with_capacity(capacity), is_pretty, depth: 0, has_entry: false }
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn open(&mut self, bracket: char) {
        self.out.push(bracket);
        self.depth += 1;
        self.has_entry = false;
    }

    fn close(&mut self, bracket: char) {
        self.depth -= 1;
        if self.has_entry {
            self.line();
        }
        self.out.push(bracket);
        self.has_entry = true;
    }

    fn line(&mut self) {
        if self.is_pretty {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", self.depth));
        }
    }

    fn entry(&mut self) {
        if self.has_entry {
            self.out.push(',');
        }
        self.line();
        self.has_entry = true;
    }

    fn key(&mut self, key: &str) {
        self.entry();
        self.text(key);
        self.out.push_str(if self.is_pretty { ": " } else { ":" });
    }

    /// Most strings need no escape, which this sees faster than the general writer.
    fn text(&mut self, text: &str) {
        if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
            self.out.push('"');
            self.out.push_str(text);
            self.out.push('"');
        } else {
            self.out.push_str(&serde_json::Value::from(text).to_string());
        }
    }

    fn integer(&mut self, number: impl Into<i128>) {
        self.out.push_str(&number.into().to_string());
    }

    /// The shortest digits that read back as the same number, as the format's writer chooses them.
    fn float<F: serde::Serialize>(&mut self, number: F) {
        match serde_json::to_string(&number) {
            Ok(digits) => self.out.push_str(&digits),
            Err(_) => self.out.push_str("null"),
        }
    }

    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Integer(number) => self.integer(*number),
            Value::Float(number) => self.float(*number),
            Value::Text(text) => self.text(text),
            Value::Array(items) => {
                self.open('[');
                for item in items {
                    self.entry();
                    self.value(item);
                }
                self.close(']');
            }
            Value::Object(fields) => {
                self.open('{');
                for (key, value) in fields {
                    self.key(key);
                    self.value(value);
                }
                self.close('}');
            }
        }
    }

    fn field(&mut self, key: &str, value: &Value) {
        self.key(key);
        self.value(value);
    }
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(fields.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

fn tag(name: &str) -> Value {
    object([("type", text(name))])
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn character(c: char) -> Value {
    Value::Text(c.to_string().into())
}

fn number(number: impl TryInto<i128>) -> Value {
    // Every number of a definition fits.
    number.try_into().map_or(Value::Null, Value::Integer)
}

fn list<T>(items: &[T], write: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(write).collect())
}

/// `null` where there is no component.
pub(crate) fn optional<T>(component: Option<&T>, write: impl Fn(&T) -> Value) -> Value {
    component.map_or(Value::Null, write)
}

pub(crate) fn normalizer(step: &Normalizer) -> Value {
    match step {
        Normalizer::Bert { clean_text, handle_chinese_chars, strip_accents, lowercase } => object([
            ("type", text("BertNormalizer")),
            ("clean_text", Value::Bool(*clean_text)),
            ("handle_chinese_chars", Value::Bool(*handle_chinese_chars)),
            ("strip_accents", strip_accents.map_or(Value::Null, Value::Bool)),
            ("lowercase", Value::Bool(*lowercase)),
        ]),
        Normalizer::Strip { left, right } => object([
            ("type", text("Strip")),
            ("strip_left", Value::Bool(*left)),
            ("strip_right", Value::Bool(*right)),
        ]),
        Normalizer::StripAccents => tag("StripAccents"),
        Normalizer::Nfc => tag("NFC"),
        Normalizer::Nfd => tag("NFD"),
        Normalizer::Nfkc => tag("NFKC"),
        Normalizer::Nfkd => tag("NFKD"),
        Normalizer::Sequence(steps) => {
            object([("type", text("Sequence")), ("normalizers", list(steps, normalizer))])
        }
        Normalizer::Lowercase => tag("Lowercase"),
        Normalizer::Nmt => tag("Nmt"),
        Normalizer::Precompiled { charsmap } => {
            let map = base64::encode(charsmap);
            object([("type", text("Precompiled")), ("precompiled_charsmap", Value::Text(map.into()))])
        }
        Normalizer::Replace { pattern, content } => replace(pattern, content),
        Normalizer::Prepend { prepend } => object([("type", text("Prepend")), ("prepend", text(prepend))]),
        Normalizer::ByteLevel => tag("ByteLevel"),
        // The enumeration may grow; what is not listed here has no name in the format.
        _ => Value::Null,
    }
}

fn pattern_value(pattern: &Pattern) -> Value {
    match pattern {
        Pattern::Literal(literal) => object([("String", text(literal))]),
        Pattern::Regex(regex) => object([("Regex", text(regex))]),
    }
}

fn replace(pattern: &Pattern, content: &str) -> Value {
    object([("type", text("Replace")), ("pattern", pattern_value(pattern)), ("content", text(content))])
}

fn behavior(behavior: SplitBehavior) -> Value {
    text(match behavior {
        SplitBehavior::Removed => "Removed",
        SplitBehavior::Isolated => "Isolated",
        SplitBehavior::MergedWithPrevious => "MergedWithPrevious",
        SplitBehavior::MergedWithNext => "MergedWithNext",
        SplitBehavior::Contiguous => "Contiguous",
    })
}

fn byte_level(add_prefix_space: bool, trim_offsets: bool, use_regex: bool) -> Value {
    object([
        ("type", text("ByteLevel")),
        ("add_prefix_space", Value::Bool(add_prefix_space)),
        ("trim_offsets", Value::Bool(trim_offsets)),
        ("use_regex", Value::Bool(use_regex)),
    ])
}

fn metaspace(replacement: char, scheme: PrependScheme, split: bool) -> Value {
    let scheme = match scheme {
        PrependScheme::First => "first",
        PrependScheme::Never => "never",
        PrependScheme::Always => "always",
    };
    object([
        ("type", text("Metaspace")),
        ("replacement", character(replacement)),
        ("prepend_scheme", text(scheme)),
        ("split", Value::Bool(split)),
    ])
}

pub(crate) fn pre_tokenizer(step: &PreTokenizer) -> Value {
    match step {
        PreTokenizer::Bert => tag("BertPreTokenizer"),
        PreTokenizer::ByteLevel { add_prefix_space, trim_offsets, use_regex } => {
            byte_level(*add_prefix_space, *trim_offsets, *use_regex)
        }
        PreTokenizer::CharDelimiterSplit { delimiter } => {
            object([("type", text("CharDelimiterSplit")), ("delimiter", character(*delimiter))])
        }
        PreTokenizer::Metaspace { replacement, prepend_scheme, split } => {
            metaspace(*replacement, *prepend_scheme, *split)
        }
        PreTokenizer::Whitespace => tag("Whitespace"),
        PreTokenizer::Sequence(steps) => {
            object([("type", text("Sequence")), ("pretokenizers", list(steps, pre_tokenizer))])
        }
        PreTokenizer::Split { pattern, behavior: what, invert } => object([
            ("type", text("Split")),
            ("pattern", pattern_value(pattern)),
            ("behavior", behavior(*what)),
            ("invert", Value::Bool(*invert)),
        ]),
        PreTokenizer::Punctuation { behavior: what } => {
            object([("type", text("Punctuation")), ("behavior", behavior(*what))])
        }
        PreTokenizer::WhitespaceSplit => tag("WhitespaceSplit"),
        PreTokenizer::Digits { individual_digits } => {
            object([("type", text("Digits")), ("individual_digits", Value::Bool(*individual_digits))])
        }
        PreTokenizer::UnicodeScripts => tag("UnicodeScripts"),
        PreTokenizer::FixedLength { length } => {
            object([("type", text("FixedLength")), ("length", number(*length as u64))])
        }
        _ => Value::Null,
    }
}

pub(crate) fn decoder(step: &Decoder) -> Value {
    match step {
        Decoder::Bpe { suffix } => object([("type", text("BPEDecoder")), ("suffix", text(suffix))]),
        Decoder::ByteLevel { add_prefix_space, trim_offsets, use_regex } => {
            byte_level(*add_prefix_space, *trim_offsets, *use_regex)
        }
        Decoder::WordPiece { prefix, cleanup } => object([
            ("type", text("WordPiece")),
            ("prefix", text(prefix)),
            ("cleanup", Value::Bool(*cleanup)),
        ]),
        Decoder::Metaspace { replacement, prepend_scheme, split } => {
            metaspace(*replacement, *prepend_scheme, *split)
        }
        Decoder::Ctc { pad_token, word_delimiter_token, cleanup } => object([
            ("type", text("CTC")),
            ("pad_token", text(pad_token)),
            ("word_delimiter_token", text(word_delimiter_token)),
            ("cleanup", Value::Bool(*cleanup)),
        ]),
        Decoder::Sequence(steps) => object([("type", text("Sequence")), ("decoders", list(steps, decoder))]),
        Decoder::Replace { pattern, content } => replace(pattern, content),
        Decoder::Fuse => tag("Fuse"),
        Decoder::Strip { content, start, stop } => object([
            ("type", text("Strip")),
            ("content", character(*content)),
            ("start", number(*start as u64)),
            ("stop", number(*stop as u64)),
        ]),
        Decoder::ByteFallback => tag("ByteFallback"),
        _ => Value::Null,
    }
}

fn named((name, id): &(String, TokenId)) -> Value {
    Value::Array(vec![text(name), number(*id)])
}

pub(crate) fn post_processor(step: &PostProcessor) -> Value {
    match step {
        PostProcessor::Roberta { sep, cls, trim_offsets, add_prefix_space } => object([
            ("type", text("RobertaProcessing")),
            ("sep", named(sep)),
            ("cls", named(cls)),
            ("trim_offsets", Value::Bool(*trim_offsets)),
            ("add_prefix_space", Value::Bool(*add_prefix_space)),
        ]),
        PostProcessor::Bert { sep, cls } => {
            object([("type", text("BertProcessing")), ("sep", named(sep)), ("cls", named(cls))])
        }
        PostProcessor::ByteLevel { add_prefix_space, trim_offsets, use_regex } => {
            byte_level(*add_prefix_space, *trim_offsets, *use_regex)
        }
        PostProcessor::Template { single, pair, special_tokens } => {
            let mut tokens: Vec<_> = special_tokens.iter().collect();
            tokens.sort_by(|left, right| left.id.cmp(&right.id));
            let token = |token: &&_| -> (Box<str>, Value) {
                let tokenloom_tokenize::pipeline::definition::TemplateToken { id, ids, tokens } = token;
                let ids = ("ids", list(ids, |id| number(*id)));
                let tokens = ("tokens", list(tokens, |token| text(token)));
                (id.as_str().into(), object([("id", text(id)), ids, tokens]))
            };
            object([
                ("type", text("TemplateProcessing")),
                ("single", list(single, template_piece)),
                ("pair", list(pair, template_piece)),
                ("special_tokens", Value::Object(tokens.iter().map(token).collect())),
            ])
        }
        PostProcessor::Sequence(steps) => {
            object([("type", text("Sequence")), ("processors", list(steps, post_processor))])
        }
        _ => Value::Null,
    }
}

fn template_piece(piece: &TemplatePiece) -> Value {
    let (name, id, type_id) = match piece {
        TemplatePiece::Sequence { is_second: false, type_id } => ("Sequence", "A", type_id),
        TemplatePiece::Sequence { is_second: true, type_id } => ("Sequence", "B", type_id),
        TemplatePiece::SpecialToken { id, type_id } => ("SpecialToken", id.as_str(), type_id),
    };
    object([(name, object([("id", text(id)), ("type_id", number(*type_id))]))])
}

fn side(side: Side) -> Value {
    text(match side {
        Side::Left => "Left",
        Side::Right => "Right",
    })
}

pub(crate) fn truncation(truncation: &Truncation) -> Value {
    let strategy = match truncation.strategy {
        TruncationStrategy::LongestFirst => "LongestFirst",
        TruncationStrategy::OnlyFirst => "OnlyFirst",
        TruncationStrategy::OnlySecond => "OnlySecond",
    };
    object([
        ("direction", side(truncation.direction)),
        ("max_length", number(truncation.max_length as u64)),
        ("strategy", text(strategy)),
        ("stride", number(truncation.stride as u64)),
    ])
}

pub(crate) fn padding(padding: &Padding) -> Value {
    let strategy = match padding.length {
        None => text("BatchLongest"),
        Some(length) => object([("Fixed", number(length as u64))]),
    };
    object([
        ("strategy", strategy),
        ("direction", side(padding.direction)),
        ("pad_to_multiple_of", padding.pad_to_multiple_of.map_or(Value::Null, |n| number(n as u64))),
        ("pad_id", number(padding.pad_id)),
        ("pad_type_id", number(padding.pad_type_id)),
        ("pad_token", text(&padding.pad_token)),
    ])
}

fn added_token(token: &AddedToken) -> Value {
    object([
        ("id", number(token.id)),
        ("content", text(&token.content)),
        ("single_word", Value::Bool(token.single_word)),
        ("lstrip", Value::Bool(token.lstrip)),
        ("rstrip", Value::Bool(token.rstrip)),
        ("normalized", Value::Bool(token.normalized)),
        ("special", Value::Bool(token.special)),
    ])
}

impl Writer {
    pub(crate) fn definition(&mut self, definition: &Definition) {
        self.open('{');
        self.field("version", &text("1.0"));
        self.field("truncation", &optional(definition.truncation.as_ref(), truncation));
        self.field("padding", &optional(definition.padding.as_ref(), padding));
        let mut added: Vec<_> = definition.added_tokens.iter().collect();
        added.sort_by_key(|token| token.id);
        self.key("added_tokens");
        self.open('[');
        for token in added {
            self.entry();
            self.value(&added_token(token));
        }
        self.close(']');
        self.field("normalizer", &optional(definition.normalizer.as_ref(), normalizer));
        self.field("pre_tokenizer", &optional(definition.pre_tokenizer.as_ref(), pre_tokenizer));
        self.field("post_processor", &optional(definition.post_processor.as_ref(), post_processor));
        self.field("decoder", &optional(definition.decoder.as_ref(), decoder));
        self.key("model");
        self.model(&definition.model);
        self.close('}');
    }

    pub(crate) fn model(&mut self, model: &Model) {
        self.open('{');
        match model {
            Model::Bpe(model) => {
                let option = |value: &Option<String>| value.as_deref().map_or(Value::Null, text);
                self.field("type", &text("BPE"));
                self.key("dropout");
                self.float(model.dropout);
                self.field("unk_token", &option(&model.unk_token));
                self.field("continuing_subword_prefix", &option(&model.continuing_subword_prefix));
                self.field("end_of_word_suffix", &option(&model.end_of_word_suffix));
                self.field("fuse_unk", &Value::Bool(model.fuse_unk));
                self.field("byte_fallback", &Value::Bool(model.byte_fallback));
                self.field("ignore_merges", &Value::Bool(model.ignore_merges));
                let by_id = self.vocab(&model.vocab);
                self.merges(&by_id, &model.merges);
            }
            Model::WordPiece { vocab, unk_token, continuing_subword_prefix, max_input_chars_per_word } => {
                self.field("type", &text("WordPiece"));
                self.field("unk_token", &text(unk_token));
                self.field("continuing_subword_prefix", &text(continuing_subword_prefix));
                self.field("max_input_chars_per_word", &number(*max_input_chars_per_word as u64));
                self.vocab(vocab);
            }
            Model::WordLevel { vocab, unk_token } => {
                self.field("type", &text("WordLevel"));
                self.vocab(vocab);
                self.field("unk_token", &text(unk_token));
            }
            Model::Unigram { vocab, unk_id, byte_fallback } => {
                self.field("type", &text("Unigram"));
                self.field("unk_id", &unk_id.map_or(Value::Null, |id| number(id as u64)));
                self.scores(vocab);
                self.field("byte_fallback", &Value::Bool(*byte_fallback));
            }
            _ => {}
        }
        self.close('}');
    }

    /// Writes the vocabulary by id and returns it so.
    fn vocab<'a>(&mut self, vocab: &'a [(String, TokenId)]) -> Vec<(TokenId, &'a str)> {
        let mut by_id: Vec<(TokenId, &str)> = vocab.iter().map(|(text, id)| (*id, text.as_str())).collect();
        by_id.sort_unstable();
        self.key("vocab");
        self.open('{');
        for &(id, text) in &by_id {
            self.key(text);
            self.integer(id);
        }
        self.close('}');
        by_id
    }

    fn merges(&mut self, by_id: &[(TokenId, &str)], merges: &[(TokenId, TokenId)]) {
        // A merge of an id that is no token cannot be said and cannot apply.
        let text_of = |id: TokenId| by_id.binary_search_by_key(&id, |&(id, _)| id).map(|at| by_id[at].1);
        self.key("merges");
        self.open('[');
        for &(left, right) in merges {
            if let (Ok(left), Ok(right)) = (text_of(left), text_of(right)) {
                self.entry();
                self.open('[');
                for part in [left, right] {
                    self.entry();
                    self.text(part);
                }
                self.close(']');
            }
        }
        self.close(']');
    }

    fn scores(&mut self, vocab: &[(String, f64)]) {
        self.key("vocab");
        self.open('[');
        for (text, score) in vocab {
            self.entry();
            self.open('[');
            self.entry();
            self.text(text);
            self.entry();
            self.float(*score);
            self.close(']');
        }
        self.close(']');
    }
}
