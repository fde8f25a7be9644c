//! Which token has this string, and which string this token?
//!
//! All strings lie in one buffer; two hash tables of places lead from strings and from ids to it. A string or an id that
//! is given twice keeps what it was given last, as in a map.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use tokenloom_vocab::{TokenId, VocabError, VocabErrorKind};

/// The strings and ids of a model.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    buffer: String,
    /// By place: where its string ends.
    ends: Vec<u32>,
    /// By place: its id.
    ids: Vec<TokenId>,
    by_text: HashTable<u32>,
    by_id: HashMap<TokenId, u32>,
    hasher: DefaultHashBuilder,
}

impl Vocabulary {
    pub(super) fn new<'a>(tokens: impl Iterator<Item = (&'a str, TokenId)>) -> Result<Self, VocabError> {
        let mut made = Self::default();
        let n_tokens = tokens.size_hint().0;
        made.ends.reserve(n_tokens);
        made.ids.reserve(n_tokens);
        made.by_id.reserve(n_tokens);
        let hasher = made.hasher.clone();
        made.by_text.reserve(n_tokens, |_| 0);
        for (text, id) in tokens {
            let place = match made.place(text) {
                Some(place) => {
                    made.ids[place as usize] = id;
                    place
                }
                None => {
                    let place = made.ends.len() as u32;
                    made.buffer.push_str(text);
                    let n_bytes = made.buffer.len();
                    let limit = u64::from(u32::MAX);
                    made.ends.push(
                        u32::try_from(n_bytes)
                            .map_err(|_| VocabErrorKind::TooManyBytes { n_bytes: n_bytes as u64, limit })?,
                    );
                    made.ids.push(id);
                    let Self { by_text, buffer, ends, .. } = &mut made;
                    by_text.insert_unique(hasher.hash_one(text), place, |&place| {
                        hasher.hash_one(text_at(buffer, ends, place))
                    });
                    place
                }
            };
            made.by_id.insert(id, place);
        }
        Ok(made)
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The id of a string.
    pub fn id(&self, text: &str) -> Option<TokenId> {
        self.place(text).map(|place| self.ids[place as usize])
    }

    /// The string of an id.
    pub fn text(&self, id: TokenId) -> Option<&str> {
        self.by_id.get(&id).map(|&place| text_at(&self.buffer, &self.ends, place))
    }

    /// The strings and their ids, in the order in which they were first given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, TokenId)> {
        (0..).zip(&self.ids).map(|(place, &id)| (text_at(&self.buffer, &self.ends, place), id))
    }

    fn place(&self, text: &str) -> Option<u32> {
        let is_it = |&place: &u32| text_at(&self.buffer, &self.ends, place) == text;
        self.by_text.find(self.hasher.hash_one(text), is_it).copied()
    }
}

fn text_at<'a>(buffer: &'a str, ends: &[u32], place: u32) -> &'a str {
    let place = place as usize;
    let start = place.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &buffer[start..ends[place] as usize]
}
