//! What does a tiktoken rank file mean, and what has to be added to make it a tokenizer?
//!
//! A line is a token in base64, a space and its rank, which is also its id. There are no merges: tiktoken joins any two
//! adjacent parts whose bytes together are a token, lowest rank first and leftmost among equals. So every split of a
//! token into two tokens is a merge, at the rank of the joined token. The file holds neither the split pattern nor the
//! special tokens: both are arguments.
//!
//! Splitting costs the length of a token squared; [`limits::RANK_TOKEN_BYTES`] bounds it.

use std::hash::BuildHasher;

use base64::Engine;
use hashbrown::{HashMap, HashTable};
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::spec::{
    Merge, Pretokenizer, Ranks, SplitBehavior, SplitPattern, Symbols, TokenizerSpec,
};
use tokenloom_vocab::{AddedToken, TokenId};

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, limits};

/// Tokens with their ranks, in file order.
pub type RankedTokens = Vec<(Box<[u8]>, TokenId)>;

fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::Tiktoken, path, kind)
}

/// Reads the lines of a rank file. Empty lines are skipped.
///
/// # Errors
/// [`FormatError`] of [`Kind::Tiktoken`]: malformed lines, and the limits on file, tokens and ranks.
pub fn parse_ranks(data: &[u8]) -> Result<RankedTokens, FormatError> {
    let found = data.len() as u64;
    if found > limits::RANK_FILE_BYTES {
        let kind = FormatErrorKind::TooLarge { what: "bytes", found, limit: limits::RANK_FILE_BYTES };
        return Err(error("", kind));
    }
    let mut ranks = RankedTokens::new();
    let mut byte_offset = 0;
    for (index, line) in data.split(|&byte| byte == b'\n').enumerate() {
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        if !content.is_empty() {
            let entry = parse_line(content).ok_or_else(|| {
                error(format!("line {}", index + 1), FormatErrorKind::MalformedLine).at(byte_offset)
            })?;
            ranks.push(entry);
        }
        byte_offset += line.len() as u64 + 1;
    }
    Ok(ranks)
}

fn parse_line(line: &[u8]) -> Option<(Box<[u8]>, TokenId)> {
    let mut words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let (token, rank) = (words.next()?, words.next()?);
    if words.next().is_some() || !rank.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let token = base64::engine::general_purpose::STANDARD.decode(token).ok()?;
    let rank = std::str::from_utf8(rank).ok()?.parse().ok()?;
    Some((token.into_boxed_slice(), rank))
}

/// The tokenizer that tiktoken builds from ranks, a split pattern and special tokens.
///
/// # Errors
/// [`FormatError`] of [`Kind::Tiktoken`]: a token or an id given twice, an empty token, a byte that is no token, a
/// limit.
pub fn spec(
    ranks: RankedTokens,
    pattern: &str,
    special_tokens: Vec<(String, TokenId)>,
) -> Result<TokenizerSpec, FormatError> {
    let merges = splits(&ranks)?;
    let mut seen: HashTable<TokenId> = HashTable::with_capacity(ranks.len() + special_tokens.len());
    let mut claim = |id: TokenId| {
        if u64::from(id) >= limits::TOKEN_IDS {
            let (found, limit) = (u64::from(id), limits::TOKEN_IDS - 1);
            return Err(FormatErrorKind::TooLarge { what: "as token id", found, limit });
        }
        let hash = FxBuildHasher.hash_one(id);
        if seen.find(hash, |&other| other == id).is_some() {
            return Err(FormatErrorKind::DuplicateId { id });
        }
        seen.insert_unique(hash, id, |&other| FxBuildHasher.hash_one(other));
        Ok(())
    };
    for (_, id) in &ranks {
        claim(*id).map_err(|kind| error("ranks", kind))?;
    }
    let mut added_tokens = Vec::with_capacity(special_tokens.len());
    for (content, id) in special_tokens {
        let path = format!("special_tokens[{content:?}]");
        claim(id).map_err(|kind| error(path.as_str(), kind))?;
        let (found, limit) = (content.len() as u64, limits::TOKEN_BYTES);
        if found == 0 || found > limit {
            return Err(error(
                path,
                FormatErrorKind::TooLarge { what: "bytes in a special token", found, limit },
            ));
        }
        added_tokens.push(AddedToken {
            id,
            content,
            special: true,
            normalized: false,
            lstrip: false,
            rstrip: false,
            single_word: false,
        });
    }
    added_tokens.sort_by_key(|token| token.id);
    let mut tokens: Vec<(TokenId, Box<[u8]>)> = ranks.into_iter().map(|(token, id)| (id, token)).collect();
    tokens.sort_unstable_by_key(|(id, _)| *id);
    Ok(TokenizerSpec {
        tokens,
        merges,
        ranks: Ranks::ByResult,
        // A piece that is a token is looked up first, whether or not merges reach it.
        ignore_merges: true,
        added_tokens,
        pretokenizers: vec![
            // tiktoken encodes the matches and drops the text between them.
            Pretokenizer::Split {
                pattern: SplitPattern::Regex(pattern.to_owned()),
                behavior: SplitBehavior::Removed,
                invert: true,
            },
            Pretokenizer::ByteLevel { add_prefix_space: false, use_regex: false },
        ],
        ..TokenizerSpec::default()
    })
}

/// The lines of a rank file: every token of the model in base64 with its id, in order of the ids.
///
/// # Errors
/// [`FormatErrorKind::Unsupported`] where tiktoken would give other ids: it merges whatever joins to a token, the lowest
/// id first.
pub fn write_ranks(spec: &TokenizerSpec) -> Result<Vec<u8>, FormatError> {
    let unsupported =
        |component: String| Err(error("ranks", FormatErrorKind::Unsupported { component: component.into() }));
    if spec.symbols != Symbols::Bytes {
        return unsupported("merging from characters".to_owned());
    }
    let mut ranks: RankedTokens = spec.tokens.iter().map(|(id, token)| (token.clone(), *id)).collect();
    ranks.sort_unstable_by_key(|(_, id)| *id);
    if spec.ranks != Ranks::ByResult {
        let mut said: Vec<Merge> = spec.merges.clone();
        said.sort_unstable_by_key(|merge| (merge.result, merge.left, merge.right));
        let implied = splits(&ranks)?;
        if implied != said {
            return unsupported("a list of merges that is not every split of every token".to_owned());
        }
        if let Some(pair) = spec.merges.windows(2).find(|pair| pair[0].result > pair[1].result) {
            return unsupported(format!("token id {}, which is merged behind a larger one,", pair[1].result));
        }
    }
    let mut out = Vec::with_capacity(ranks.len() * 16);
    for (token, id) in &ranks {
        out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(token).as_bytes());
        out.extend_from_slice(format!(" {id}\n").as_bytes());
    }
    Ok(out)
}

/// Every split of every token into two tokens, by the rank of the token; equal ranks by the ranks of the parts, which
/// is the order that published conversions to `tokenizer.json` list them in.
fn splits(ranks: &RankedTokens) -> Result<Vec<Merge>, FormatError> {
    if ranks.len() as u64 > limits::TOKENS {
        let kind =
            FormatErrorKind::TooLarge { what: "tokens", found: ranks.len() as u64, limit: limits::TOKENS };
        return Err(error("ranks", kind));
    }
    let mut ids = IdsByBytes::new(ranks.len());
    for (index, (token, id)) in ranks.iter().enumerate() {
        let at = |kind| error(format!("rank {id}"), kind);
        let (found, limit) = (token.len() as u64, limits::RANK_TOKEN_BYTES);
        if found > limit {
            return Err(at(FormatErrorKind::TooLarge { what: "bytes in one token", found, limit }));
        }
        if token.is_empty() {
            return Err(at(FormatErrorKind::MalformedLine));
        }
        if !ids.insert(ranks, index) {
            let token = String::from_utf8_lossy(token).into();
            return Err(at(FormatErrorKind::DuplicateToken { token }));
        }
    }
    let id_of = |bytes: &[u8]| ids.get(ranks, bytes);
    if let Some(byte) = (0..=255u8).find(|&byte| id_of(&[byte]).is_none()) {
        return Err(error("ranks", FormatErrorKind::MissingByte { byte }));
    }
    let mut by_id: Vec<u32> = (0..ranks.len() as u32).collect();
    by_id.sort_unstable_by_key(|&index| ranks[index as usize].1);
    let mut merges: Vec<Merge> = Vec::with_capacity(ranks.len() * 2);
    for index in by_id {
        let (token, result) = &ranks[index as usize];
        let n_before = merges.len();
        for at in 1..token.len() {
            if let Some(left) = id_of(&token[..at])
                && let Some(right) = id_of(&token[at..])
            {
                merges.push(Merge { left, right, result: *result });
            }
        }
        merges[n_before..].sort_unstable_by_key(|merge| (merge.left, merge.right));
        if merges.len() as u64 > limits::MERGES {
            let found = merges.len() as u64;
            return Err(error(
                "ranks",
                FormatErrorKind::TooLarge { what: "splits", found, limit: limits::MERGES },
            ));
        }
    }
    Ok(merges)
}

/// The ids of tokens by their bytes. Most parts of tokens are short: those are keys themselves, and looking one up does
/// not touch the token.
struct IdsByBytes {
    short: HashMap<u64, TokenId, FxBuildHasher>,
    /// Places in the list.
    long: HashTable<usize>,
}

impl IdsByBytes {
    fn new(n_tokens: usize) -> Self {
        Self { short: HashMap::with_capacity_and_hasher(n_tokens, FxBuildHasher), long: HashTable::new() }
    }

    /// Up to seven bytes and how many there are.
    fn key(bytes: &[u8]) -> Option<u64> {
        let push = |key, &byte: &u8| key << 8 | u64::from(byte);
        (bytes.len() <= 7).then(|| bytes.iter().fold(bytes.len() as u64, push))
    }

    /// Whether the token at `index` was not there yet.
    fn insert(&mut self, ranks: &RankedTokens, index: usize) -> bool {
        let (token, id) = &ranks[index];
        if let Some(key) = Self::key(token) {
            return self.short.insert(key, *id).is_none();
        }
        let hash_of = |bytes: &[u8]| FxBuildHasher.hash_one(bytes);
        let is_new = self.get(ranks, token).is_none();
        if is_new {
            self.long.insert_unique(hash_of(token), index, |&other| hash_of(&ranks[other].0));
        }
        is_new
    }

    fn get(&self, ranks: &RankedTokens, bytes: &[u8]) -> Option<TokenId> {
        match Self::key(bytes) {
            Some(key) => self.short.get(&key).copied(),
            None => {
                let hash = FxBuildHasher.hash_one(bytes);
                self.long.find(hash, |&index| *ranks[index].0 == *bytes).map(|&index| ranks[index].1)
            }
        }
    }
}
