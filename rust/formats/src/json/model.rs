//! Which tokens, merges and scores does the model of a `tokenizer.json` hold?
//!
//! The vocabulary (up to millions of keys) and the merges go straight from the JSON reader into flat buffers: one text
//! arena, spans into it, and a hash table of spans. A Unigram vocabulary is a list of strings with scores. Merges are
//! resolved by *string*, as the format defines them, after the whole model is read (the keys may come in any order): left
//! and right must be tokens, and so must their concatenation, which is looked for first where the one before it was found,
//! since merges nearly always make tokens in their order. Time is linear in the file; memory is about twice its size.

use std::fmt;
use std::hash::BuildHasher;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use tokenloom_tokenize::prefetch::prefetch;
use tokenloom_tokenize::spec::Merge;

use crate::error::FormatErrorKind;
use crate::json::value::{Slot, Value, ValueSeed};
use crate::limits;

/// The strings of the vocabulary and their ids.
#[derive(Debug, Default)]
pub(crate) struct Vocab {
    arena: String,
    /// `(start, length, id)` in file order.
    entries: Vec<(u32, u32, u32)>,
    by_text: Places,
    /// One bit per id that is taken.
    seen: Vec<u64>,
}

/// The places of tokens by string: open addressing, at most half full.
#[derive(Debug, Default)]
struct Places {
    /// As many as a power of two, or none.
    slots: Vec<Named>,
    n_taken: usize,
}

/// A token in the table of strings.
#[derive(Clone, Copy, Debug)]
struct Named {
    /// Of the string: most others are known by it, and a table that grows need not read strings.
    hash: u32,
    /// The place in the file's order, or [`Named::FREE`].
    index: u32,
}

impl Named {
    const FREE: u32 = u32::MAX;

    fn hash_of(text: &str) -> u32 {
        let hash = FxBuildHasher.hash_one(text);
        (hash ^ hash >> 32) as u32
    }
}

impl Places {
    fn start(&self, hash: u32) -> usize {
        let spread = u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        ((spread >> 32) * self.slots.len() as u64 >> 32) as usize
    }

    /// The places of tokens whose strings may have this hash.
    fn candidates(&self, hash: u32) -> impl Iterator<Item = usize> {
        let (before, from) = self.slots.split_at(self.start(hash));
        let taken = from.iter().chain(before).take_while(|named| named.index != Named::FREE);
        taken.filter(move |named| named.hash == hash).map(|named| named.index as usize)
    }

    /// Of a string that is not there.
    fn insert(&mut self, named: Named) {
        if self.slots.len() <= 2 * self.n_taken {
            let n_slots = (2 * self.slots.len()).max(16);
            let old =
                std::mem::replace(&mut self.slots, vec![Named { hash: 0, index: Named::FREE }; n_slots]);
            old.into_iter().filter(|named| named.index != Named::FREE).for_each(|named| self.put(named));
        }
        self.n_taken += 1;
        self.put(named);
    }

    fn put(&mut self, named: Named) {
        let mut at = self.start(named.hash);
        while self.slots[at].index != Named::FREE {
            at = (at + 1) % self.slots.len();
        }
        self.slots[at] = named;
    }
}

impl Vocab {
    /// With room for what a file of so many bytes may hold: room that is never written to costs nothing, to move what
    /// outgrew its own does.
    fn with_room(n_bytes: usize) -> Self {
        let mut vocab = Self::default();
        reserve(&mut vocab.entries, n_bytes / LEAST_TOKEN_BYTES);
        // Where that fails it grows, or fails, as it is filled.
        let _ = vocab.arena.try_reserve_exact(n_bytes / 2);
        vocab
    }

    /// The bytes of all tokens.
    pub(crate) fn n_bytes(&self) -> usize {
        self.arena.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.entries.iter().map(|&entry| (self.text(entry), entry.2))
    }

    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.index(Named::hash_of(text), text).map(|index| self.entries[index].2)
    }

    /// The place of a token in the file's order.
    fn index(&self, hash: u32, text: &str) -> Option<usize> {
        self.by_text.candidates(hash).find(|&index| self.is_at(index, text))
    }

    /// The same, looked for first at a place and the next one.
    fn index_near(&self, near: usize, text: &str) -> Option<usize> {
        let found = (near..near + 2).find(|&index| self.is_at(index, text));
        found.or_else(|| self.index(Named::hash_of(text), text))
    }

    /// Whether a place is that of the token.
    fn is_at(&self, index: usize, text: &str) -> bool {
        self.entries
            .get(index)
            .is_some_and(|&entry| entry.1 as usize == text.len() && self.text(entry) == text)
    }

    pub(crate) fn is_taken(&self, id: u32) -> bool {
        self.seen.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// The vocabulary of tokens that are in memory.
    pub(crate) fn of<'a>(tokens: impl Iterator<Item = (&'a str, u32)>) -> Result<Self, FormatErrorKind> {
        let mut vocab = Self::default();
        tokens.into_iter().try_for_each(|(text, id)| vocab.insert(text, u64::from(id)))?;
        Ok(vocab)
    }

    /// Merges given by the ids of their parts, with what they make.
    pub(crate) fn merges(
        &self,
        parts: &[(u32, u32)],
        n_prefix: usize,
    ) -> Result<Vec<Merge>, FormatErrorKind> {
        let text_of: HashMap<u32, &str, FxBuildHasher> = self.iter().map(|(text, id)| (id, text)).collect();
        let mut both = String::new();
        let merge = |&(left, right): &(u32, u32)| {
            both.clear();
            both.push_str(text_of.get(&left)?);
            both.push_str(text_of.get(&right)?.get(n_prefix..)?);
            Some(Merge { left, right, result: self.id(&both)? })
        };
        let n_merges = parts.len();
        let merges: Option<Vec<Merge>> = parts.iter().map(merge).collect();
        let expected = "merges of tokens into a token";
        merges.ok_or_else(|| FormatErrorKind::WrongType {
            expected,
            found: format!("{n_merges} merges").into(),
        })
    }

    fn text(&self, (start, length, _): (u32, u32, u32)) -> &str {
        &self.arena[start as usize..(start + length) as usize]
    }

    fn insert(&mut self, text: &str, id: u64) -> Result<(), FormatErrorKind> {
        check_length("bytes in one token", text.len() as u64, limits::TOKEN_BYTES * 2)?;
        check_length("tokens", self.entries.len() as u64 + 1, limits::TOKENS)?;
        if id >= limits::TOKEN_IDS {
            return Err(FormatErrorKind::TooLarge {
                what: "as token id",
                found: id,
                limit: limits::TOKEN_IDS - 1,
            });
        }
        let id = id as u32;
        if self.is_taken(id) {
            return Err(FormatErrorKind::DuplicateId { id });
        }
        let hash = Named::hash_of(text);
        if self.index(hash, text).is_some() {
            return Err(FormatErrorKind::DuplicateToken { token: text.into() });
        }
        if self.seen.len() <= id as usize / 64 {
            self.seen.resize(id as usize / 64 + 1, 0);
        }
        self.seen[id as usize / 64] |= 1 << (id % 64);
        let index = self.entries.len() as u32;
        self.entries.push((self.arena.len() as u32, text.len() as u32, id));
        self.arena.push_str(text);
        self.by_text.insert(Named { hash, index });
        Ok(())
    }
}

/// Fewer bytes of a file rarely make a token, or a merge.
const LEAST_TOKEN_BYTES: usize = 12;

/// Makes room that is likely needed. Where that fails the vector grows, or fails, as it is filled.
fn reserve<T>(vector: &mut Vec<T>, n: usize) {
    let _ = vector.try_reserve_exact(n);
}

fn check_length(what: &'static str, found: u64, limit: u64) -> Result<(), FormatErrorKind> {
    if found > limit { Err(FormatErrorKind::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// The merges as text: both parts lie behind each other in the arena.
#[derive(Debug, Default)]
pub(crate) struct MergeTexts {
    arena: String,
    /// The lengths of the left part and of both.
    lengths: Vec<[u16; 2]>,
}

const _: () = assert!(limits::TOKEN_BYTES * 2 <= u16::MAX as u64);

impl MergeTexts {
    /// As [`Vocab::with_room`].
    fn with_room(n_bytes: usize) -> Self {
        let mut merges = Self::default();
        reserve(&mut merges.lengths, n_bytes / LEAST_TOKEN_BYTES);
        let _ = merges.arena.try_reserve_exact(n_bytes / 2);
        merges
    }

    fn push(&mut self, left: &str, right: &str) -> Result<(), FormatErrorKind> {
        check_length("merges", self.lengths.len() as u64 + 1, limits::MERGES)?;
        let both = (left.len() + right.len()) as u64;
        check_length("bytes in one merge", both, limits::TOKEN_BYTES * 2)?;
        self.lengths.push([left.len() as u16, both as u16]);
        self.arena.push_str(left);
        self.arena.push_str(right);
        Ok(())
    }

    /// Left part, right part, and both.
    fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let mut rest = self.arena.as_str();
        self.lengths.iter().map(move |&[n_left, n_both]| {
            let (both, others) = rest.split_at(usize::from(n_both));
            rest = others;
            let (left, right) = both.split_at(usize::from(n_left));
            (left, right, both)
        })
    }

    /// The merges by id; the result leaves out the first `n_prefix` bytes of the right part, which are the prefix of
    /// the inside of words. A merge given again counts at its last place. The error comes with the index of the merge.
    pub(crate) fn resolve(&self, vocab: &Vocab, n_prefix: usize) -> Result<Vec<Merge>, FormatErrorKind> {
        let mut joined = String::new();
        let mut merges: Vec<Merge> = Vec::with_capacity(self.lengths.len());
        let mut repeats = Repeats::with_room(vocab.len(), self.lengths.len());
        let mut made = 0;
        let mut hashes = Ahead::default();
        let mut parts = self.iter().flat_map(|(left, right, _)| [left, right]);
        for (index, (left, right, both)) in self.iter().enumerate() {
            let unknown = |text: &str| FormatErrorKind::UnknownMergeToken { index, token: text.into() };
            let mut id = |text: &str| {
                let found = vocab.index(hashes.next(vocab, &mut parts), text);
                found.map(|index| vocab.entries[index].2).ok_or_else(|| unknown(text))
            };
            let result = match right.get(n_prefix..) {
                _ if n_prefix == 0 => both,
                Some(rest) => {
                    joined.clear();
                    joined.push_str(left);
                    joined.push_str(rest);
                    &joined
                }
                None => return Err(unknown(right)),
            };
            let (left_id, right_id) = (id(left)?, id(right)?);
            made = vocab.index_near(made, result).ok_or_else(|| unknown(result))?;
            if left.is_empty() || right.is_empty() {
                return Err(FormatErrorKind::CyclicMerge { index });
            }
            merges.push(Merge { left: left_id, right: right_id, result: vocab.entries[made].2 });
            repeats.note_last(&merges, made);
        }
        repeats.remove_from(&mut merges);
        Ok(merges)
    }
}

/// The hashes of strings that are looked for one after the other. Where one may be found is asked of the memory while those
/// before it are looked for: first its slot, and once that is there its token.
#[derive(Default)]
struct Ahead {
    /// Those of the next strings, each at its place in a ring.
    hashes: [u32; Self::N_SLOTS],
    n_next: usize,
    n_asked: usize,
}

impl Ahead {
    const N_SLOTS: usize = 32;
    const N_TOKENS: usize = 16;

    /// The hash of the next string; `others` are those that come.
    fn next<'a>(&mut self, vocab: &Vocab, others: &mut impl Iterator<Item = &'a str>) -> u32 {
        while self.n_asked < self.n_next + Self::N_SLOTS {
            let hash = others.next().map(Named::hash_of).unwrap_or_default();
            self.hashes[self.n_asked % Self::N_SLOTS] = hash;
            self.n_asked += 1;
            prefetch(&vocab.by_text.slots, vocab.by_text.start(hash));
        }
        let later = self.hashes[(self.n_next + Self::N_TOKENS) % Self::N_SLOTS];
        if let Some(index) = vocab.by_text.candidates(later).next() {
            prefetch(&vocab.entries, index);
        }
        self.n_next += 1;
        self.hashes[(self.n_next - 1) % Self::N_SLOTS]
    }
}

/// Which merges are given again further on? Those that make one token hang together, the last one first: a token has fewer ways
/// to make it than bytes.
struct Repeats {
    /// By token: its last merge.
    last: Vec<u32>,
    /// By merge: the one of the same token before it.
    before: Vec<u32>,
    repeated: Vec<u32>,
}

impl Repeats {
    const NONE: u32 = u32::MAX;

    fn with_room(n_tokens: usize, n_merges: usize) -> Self {
        Self { last: vec![Self::NONE; n_tokens], before: Vec::with_capacity(n_merges), repeated: Vec::new() }
    }

    /// Looks for the last of the merges, which makes a token, among those before it.
    fn note_last(&mut self, merges: &[Merge], token: usize) {
        let place = merges.len() - 1;
        let is_same = |other: u32| {
            let other = &merges[other as usize];
            (other.left, other.right) == (merges[place].left, merges[place].right)
        };
        let first = std::mem::replace(&mut self.last[token], place as u32);
        self.before.push(first);
        let mut at = first;
        while at != Self::NONE {
            if is_same(at) {
                return self.repeated.push(at);
            }
            at = self.before[at as usize];
        }
    }

    fn remove_from(self, merges: &mut Vec<Merge>) {
        if self.repeated.is_empty() {
            return;
        }
        let mut is_last = vec![true; merges.len()];
        self.repeated.into_iter().for_each(|place| is_last[place as usize] = false);
        let mut is_last = is_last.into_iter();
        merges.retain(|_| is_last.next().unwrap_or(true));
    }
}

/// The `model` object: its lists, and every other field as a small value.
#[derive(Debug, Default)]
pub(crate) struct ModelParts {
    pub(crate) fields: Vec<(Box<str>, Value)>,
    pub(crate) vocab: Option<AnyVocab>,
    pub(crate) merges: Option<MergeTexts>,
}

/// What stands under `vocab`.
#[derive(Debug)]
pub(crate) enum AnyVocab {
    /// Strings with ids.
    Ids(Vocab),
    /// Strings with scores; the id is the place.
    Scores(Vec<(String, f64)>),
}

pub(crate) struct ModelSeed<'a> {
    pub(crate) slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for ModelSeed<'_> {
    type Value = ModelParts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ModelParts, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ModelSeed<'_> {
    type Value = ModelParts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object at model")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ModelParts, A::Error> {
        let mut parts = ModelParts::default();
        let mut n_left = limits::COMPONENT_VALUES;
        let mut seen: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if seen.contains(&key) {
                return Err(self.slot.fail(FormatErrorKind::DuplicateKey { key: key.into() }, "model"));
            }
            if n_left == 0 {
                let limit = limits::COMPONENT_VALUES;
                let kind = FormatErrorKind::TooLarge { what: "fields of the model", found: limit + 1, limit };
                return Err(self.slot.fail(kind, "model"));
            }
            match key.as_str() {
                "vocab" => parts.vocab = Some(map.next_value_seed(VocabSeed { slot: self.slot })?),
                "merges" => parts.merges = Some(map.next_value_seed(MergesSeed { slot: self.slot })?),
                "type"
                | "dropout"
                | "unk_token"
                | "unk_id"
                | "max_input_chars_per_word"
                | "continuing_subword_prefix"
                | "end_of_word_suffix"
                | "fuse_unk"
                | "byte_fallback"
                | "ignore_merges" => {
                    let path = format!("model.{key}");
                    let seed = ValueSeed { slot: self.slot, path: &path, n_left: &mut n_left };
                    parts.fields.push((key.as_str().into(), map.next_value_seed(seed)?));
                }
                // The format's own reader ignores other keys too.
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            }
            seen.push(key);
        }
        Ok(parts)
    }
}

struct VocabSeed<'a> {
    slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for VocabSeed<'_> {
    type Value = AnyVocab;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AnyVocab, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for VocabSeed<'_> {
    type Value = AnyVocab;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tokens and ids, or a list of tokens with scores, at model.vocab")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<AnyVocab, A::Error> {
        let mut scores: Vec<(String, f64)> = Vec::new();
        while let Some((text, score)) = seq.next_element::<(String, f64)>()? {
            check_length("bytes in one token", text.len() as u64, limits::TOKEN_BYTES * 2)
                .and_then(|()| check_length("tokens", scores.len() as u64 + 1, limits::TOKENS))
                .map_err(|kind| self.slot.fail(kind, format!("model.vocab[{}]", scores.len())))?;
            scores.push((text, score));
        }
        Ok(AnyVocab::Scores(scores))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyVocab, A::Error> {
        let mut vocab = Vocab::with_room(self.slot.n_bytes);
        while let Some((text, id)) = map.next_entry::<TextCow<'de>, u64>()? {
            vocab.insert(text.as_str(), id).map_err(|kind| self.slot.fail(kind, "model.vocab"))?;
        }
        Ok(AnyVocab::Ids(vocab))
    }
}

struct MergesSeed<'a> {
    slot: &'a mut Slot,
}

impl<'de> DeserializeSeed<'de> for MergesSeed<'_> {
    type Value = MergeTexts;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<MergeTexts, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for MergesSeed<'_> {
    type Value = MergeTexts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of merges at model.merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<MergeTexts, A::Error> {
        let mut merges = MergeTexts::with_room(self.slot.n_bytes);
        while seq.next_element_seed(OneMerge { slot: self.slot, merges: &mut merges })?.is_some() {}
        Ok(merges)
    }
}

/// `"left right"` or `["left", "right"]`.
struct OneMerge<'a> {
    slot: &'a mut Slot,
    merges: &'a mut MergeTexts,
}

impl OneMerge<'_> {
    fn fail<E: Error>(self, kind: FormatErrorKind) -> E {
        let path = format!("model.merges[{}]", self.merges.lengths.len());
        self.slot.fail(kind, path)
    }
}

impl<'de> DeserializeSeed<'de> for OneMerge<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneMerge<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a merge: a string or two strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        // Files made from a merges.txt may carry its header line.
        if text.starts_with("#version") {
            return Ok(());
        }
        match text.split_once(' ') {
            Some((left, right)) if !right.contains(' ') => match self.merges.push(left, right) {
                Ok(()) => Ok(()),
                Err(kind) => Err(self.fail(kind)),
            },
            _ => Err(self.fail(FormatErrorKind::MalformedMerge { merge: text.into() })),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let malformed = || FormatErrorKind::MalformedMerge { merge: "an array of another length".into() };
        let Some(left) = seq.next_element::<TextCow<'de>>()? else { return Err(self.fail(malformed())) };
        let Some(right) = seq.next_element::<TextCow<'de>>()? else { return Err(self.fail(malformed())) };
        if seq.next_element::<IgnoredAny>()?.is_some() {
            return Err(self.fail(malformed()));
        }
        match self.merges.push(left.as_str(), right.as_str()) {
            Ok(()) => Ok(()),
            Err(kind) => Err(self.fail(kind)),
        }
    }
}

/// A string that borrows from the input unless it holds escapes.
enum TextCow<'de> {
    Borrowed(&'de str),
    Owned(String),
}

impl TextCow<'_> {
    fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl<'de> serde::Deserialize<'de> for TextCow<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = TextCow<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<TextCow<'de>, E> {
                Ok(TextCow::Borrowed(text))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TextCow<'de>, E> {
                Ok(TextCow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}
