//! Which part of the input does each id stand for?
//!
//! Byte offsets tile the input: each span starts where the one before ended, also where a token cuts a character in
//! two or the text was composed. Character offsets are those of Hugging Face `tokenizers`, peculiarities included: a
//! token covers every character it touches, composed characters stand for the first of their parts, and with
//! `trim_offsets` the white space at the ends of a token is left out. In bytes that are not UTF-8 every such byte
//! counts as one character. O(n) time.

use std::borrow::Cow;
use std::ops::{ControlFlow, Range};

use tokenloom_vocab::TokenId;

use crate::byte_chars::char_of_byte;
use crate::encode::{Part, Stretch};
use crate::scratch::Scratch;
use crate::spec::Symbols;
use crate::{EncodeError, EncodeOptions, Text, Tokenizer};

/// Ids and what they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// The ids.
    pub ids: Vec<TokenId>,
    /// By id: start and end in bytes of the input.
    pub byte_offsets: Vec<[i64; 2]>,
    /// By id: start and end in characters of the input.
    pub char_offsets: Vec<[i64; 2]>,
}

/// Ids, what they stand for, and the words that they are parts of. A word is an added token or a pretoken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WordEncoding {
    /// The ids with their offsets.
    pub encoding: Encoding,
    /// By id: the number of its word, from 0. Words without ids count too.
    pub words: Vec<u32>,
    /// Places of the ids of added tokens, and the text that each matched.
    pub added: Vec<(usize, String)>,
}

impl Tokenizer {
    /// The ids of a text with their offsets and words; the template is left out.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_with_words(
        &self,
        text: &str,
        options: &EncodeOptions,
    ) -> Result<WordEncoding, EncodeError> {
        let mut writer = Writer::new(self, text.as_bytes());
        self.scratches.with(|scratch| self.write_parts(text.into(), options, scratch, &mut writer))?;
        let Writer { encoding, words, added, .. } = writer;
        Ok(WordEncoding { encoding, words, added })
    }

    /// The ids of any text with their offsets. Template ids stand for nothing: `(0, 0)` in characters.
    ///
    /// # Errors
    /// [`crate::EncodeErrorKind::Pattern`] if a split pattern gives up.
    pub fn encode_with_offsets<'a>(
        &self,
        text: impl Into<Text<'a>>,
        options: &EncodeOptions,
    ) -> Result<Encoding, EncodeError> {
        let text = text.into();
        let mut writer = Writer::new(self, text.as_bytes());
        let template = &self.spec().template;
        if options.add_special_tokens {
            writer.push_template(&template.prefix, 0);
        }
        self.scratches.with(|scratch| self.write_parts(text, options, scratch, &mut writer))?;
        if options.add_special_tokens {
            writer.push_template(&template.suffix, text.as_bytes().len());
        }
        Ok(writer.encoding)
    }

    fn write_parts(
        &self,
        text: Text<'_>,
        options: &EncodeOptions,
        scratch: &mut Scratch,
        writer: &mut Writer<'_>,
    ) -> Result<(), EncodeError> {
        let (mut ids, mut prefixed) = (Vec::new(), String::new());
        let flow = self.walk::<true>(text, &options.allowed_special, |part| {
            match part {
                Part::Run { at, is_text } => writer.begin_run(at, is_text),
                Part::Added { id, text, span, stretch: None } => {
                    writer.begin_added(text);
                    writer.push(id, span.clone(), (span.start, span.end - 1), Edges::of_text(text));
                }
                Part::Added { id, text, span, stretch: Some(stretch) } => {
                    writer.begin_added(&self.with_marks(text));
                    writer.push(
                        id,
                        stretch.source_span(span.clone()),
                        stretch.source_ends(span),
                        Edges::of_text(text),
                    );
                }
                Part::Inside { text, start, at_start, stretch } => {
                    self.pretokenizers.for_each(text, at_start, |piece| {
                        let bytes = piece.bytes(text, &mut prefixed);
                        ids.clear();
                        self.encode_piece(bytes, scratch, &mut ids);
                        let span = start + piece.start..start + piece.end;
                        writer.n_words += 1;
                        writer.push_piece(&ids, span, usize::from(piece.prefix_space), stretch);
                    })?;
                }
                Part::Raw { bytes } => {
                    ids.clear();
                    self.encode_piece(bytes, scratch, &mut ids);
                    writer.push_raw(&ids);
                }
            }
            Ok(ControlFlow::Continue(()))
        });
        flow.map(|_| ())
    }
}

impl Tokenizer {
    /// Normalized text as the file's own terms have it: where space marks are stored as spaces, with the marks.
    fn with_marks<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.spec().symbols {
            Symbols::Characters { .. } => text.replace(' ', "\u{2581}").into(),
            Symbols::Bytes => text.into(),
        }
    }
}

impl Stretch<'_> {
    fn source_span(&self, span: Range<usize>) -> Range<usize> {
        let span = self.normalized.source_span(span);
        span.start + self.at..span.end + self.at
    }

    fn source_ends(&self, span: Range<usize>) -> (usize, usize) {
        let (first, last) = self.normalized.source_ends(span);
        (first + self.at, last + self.at)
    }
}

/// How many spaces stand at the ends of a token, in characters, as the post-processor counts them.
#[derive(Clone, Copy)]
struct Edges {
    leading: i64,
    trailing: i64,
}

impl Edges {
    /// Of a token of the model: space bytes only, since other white space has another face in its byte alphabet.
    fn of_token(bytes: &[u8]) -> Self {
        let space = |byte: &&u8| **byte == b' ';
        Self {
            leading: bytes.iter().take_while(space).count() as i64,
            trailing: bytes.iter().rev().take_while(space).count() as i64,
        }
    }

    /// Of an added token: any white space, and the face of the space byte.
    fn of_text(text: &str) -> Self {
        let space = |c: &char| c.is_whitespace() || *c == 'Ġ';
        Self {
            leading: text.chars().take_while(space).count() as i64,
            trailing: text.chars().rev().take_while(space).count() as i64,
        }
    }
}

/// A pretoken of which bytes are left out, because they are no tokens, as it is spelled in a `tokenizer.json` file: a byte
/// is a character of one byte or two. Hugging Face counts the spelled bytes of tokens from the start of the pretoken, so
/// that what stands behind a byte that is left out is a byte or two too far to the left, and may begin inside a character.
struct Spelled {
    /// By spelled byte: the byte of the pretoken.
    bytes: Vec<usize>,
}

impl Spelled {
    fn new(n_prefix: usize, piece: &[u8]) -> Self {
        let all = std::iter::repeat_n(&b' ', n_prefix).chain(piece);
        Self {
            bytes: all
                .enumerate()
                .flat_map(|(at, &byte)| std::iter::repeat_n(at, char_of_byte(byte).len_utf8()))
                .collect(),
        }
    }

    /// The bytes of the pretoken that a token is thought to be of, the spelled bytes `done` of which are behind it then.
    fn bytes(&self, done: &mut usize, token: &[u8]) -> Range<usize> {
        let start = *done;
        *done += token.iter().map(|&byte| char_of_byte(byte).len_utf8()).sum::<usize>();
        let at = |spelled: usize| self.bytes.get(spelled).copied().unwrap_or_default();
        at(start)..at(done.saturating_sub(1)) + 1
    }
}

struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    input: &'a [u8],
    encoding: Encoding,
    /// Start of the run in bytes and in characters, and whether it is text.
    run: (usize, i64, bool),
    /// A byte of the run and the characters of the run that start before it.
    cursor: (usize, i64),
    n_template: usize,
    n_words: u32,
    words: Vec<u32>,
    added: Vec<(usize, String)>,
}

impl<'a> Writer<'a> {
    fn new(tokenizer: &'a Tokenizer, input: &'a [u8]) -> Self {
        let encoding = Encoding::default();
        let (words, added) = Default::default();
        let run = (0, 0, true);
        Self { tokenizer, input, encoding, run, cursor: (0, 0), n_template: 0, n_words: 0, words, added }
    }

    fn begin_added(&mut self, text: &str) {
        self.n_words += 1;
        self.added.push((self.encoding.ids.len(), text.to_owned()));
    }

    fn push_template(&mut self, ids: &[TokenId], at: usize) {
        for &id in ids {
            self.encoding.ids.push(id);
            self.encoding.byte_offsets.push([at as i64; 2]);
            self.encoding.char_offsets.push([0, 0]);
        }
        self.n_template += ids.len();
    }

    fn begin_run(&mut self, at: usize, is_text: bool) {
        let first_char = self.run.1 + self.chars_before(at - self.run.0);
        self.run = (at, first_char, is_text);
        self.cursor = (0, 0);
    }

    /// How many characters of the run start before its byte `offset`. Moves a cursor, so that neighbours are cheap.
    fn chars_before(&mut self, offset: usize) -> i64 {
        if !self.run.2 {
            return offset as i64;
        }
        let starts = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte & 0xC0 != 0x80).count() as i64;
        let (at, n_chars) = self.cursor;
        let run = &self.input[self.run.0..];
        let n_chars = if at <= offset {
            n_chars + starts(&run[at..offset])
        } else {
            n_chars - starts(&run[offset..at])
        };
        self.cursor = (offset, n_chars);
        n_chars
    }

    /// Adds the ids of a pretoken before which `n_prefix` spaces were put.
    fn push_piece(&mut self, ids: &[TokenId], span: Range<usize>, n_prefix: usize, stretch: Stretch<'_>) {
        let tokenizer = self.tokenizer;
        let bytes_of = |id: TokenId| tokenizer.table().bytes(id).unwrap_or_default();
        let n_kept: usize = ids.iter().map(|&id| bytes_of(id).len()).sum();
        let spelled = (n_kept < n_prefix + span.len())
            .then(|| Spelled::new(n_prefix, &stretch.normalized.text.as_bytes()[span.clone()]));
        let (mut done, mut done_spelled) = (0, 0);
        for &id in ids {
            let token = bytes_of(id);
            let next = done + token.len();
            let at = |offset: usize| (span.start + offset.saturating_sub(n_prefix)).min(span.end);
            let bytes = at(done)..at(next);
            let seen = match &spelled {
                None => bytes.clone(),
                Some(spelled) => {
                    let part = spelled.bytes(&mut done_spelled, token);
                    at(part.start)..at(part.end)
                }
            };
            // A space put in front stands for the character behind it.
            let last = seen.end.max(seen.start + 1).min(stretch.normalized.text.len());
            let ends = stretch.source_ends(seen.start.min(last - 1)..last);
            self.push(id, stretch.source_span(bytes), ends, Edges::of_token(token));
            done = next;
        }
    }

    /// Adds the ids of a run of bytes that belong to no character.
    fn push_raw(&mut self, ids: &[TokenId]) {
        let mut done = 0;
        for &id in ids {
            let token = self.tokenizer.table().bytes(id).unwrap_or_default();
            let next = done + token.len();
            self.push(id, done..next, (done, next - 1), Edges::of_token(token));
            done = next;
        }
    }

    /// Adds an id whose bytes and outermost bytes are given within the run.
    fn push(&mut self, id: TokenId, bytes: Range<usize>, ends: (usize, usize), edges: Edges) {
        let base = self.run.1;
        // The character that holds a byte is the last one to start at or before it.
        let first = base + self.chars_before(ends.0 + 1) - 1;
        let last = base + self.chars_before(ends.1 + 1) - 1;
        let mut span = [first, last + 1];
        if self.tokenizer.spec().trim_offsets {
            let is_first = self.encoding.ids.len() == self.n_template || span[0] == 0;
            let keeps = is_first && self.tokenizer.spec().trim_keeps_first_space && edges.leading == 1;
            if !keeps {
                span[0] = (span[0] + edges.leading).min(span[1]);
            }
            if span[1] >= edges.trailing {
                span[1] = (span[1] - edges.trailing).max(span[0]);
            }
        }
        self.encoding.ids.push(id);
        self.encoding.byte_offsets.push([(self.run.0 + bytes.start) as i64, (self.run.0 + bytes.end) as i64]);
        self.encoding.char_offsets.push(span);
        self.words.push(self.n_words.saturating_sub(1));
    }
}
