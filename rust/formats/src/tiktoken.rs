//! What does a tiktoken rank file mean, and what has to be added to make it a tokenizer?
//!
//! A line is a token in base64, a space and its rank, which is also its id. There are no merges: tiktoken joins any two
//! adjacent parts whose bytes together are a token, lowest rank first and leftmost among equals. So every split of a
//! token into two tokens is a merge, at the rank of the joined token. The file holds neither the split pattern nor the
//! special tokens: both are arguments.
//!
//! Splitting costs the length of a token squared; [`limits::RANK_TOKEN_BYTES`] bounds it.

use std::hash::BuildHasher;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use rustc_hash::FxBuildHasher;
use tokenloom_tokenize::spec::{
    Merge, Pretokenizer, Ranks, SplitBehavior, SplitPattern, Symbols, TokenizerSpec,
};
use tokenloom_vocab::{AddedToken, TokenId, TokenList};

use crate::error::{FormatError, FormatErrorKind};
use crate::{Kind, base64, limits};

pub(crate) fn error(path: impl Into<Box<str>>, kind: FormatErrorKind) -> FormatError {
    FormatError::new(Kind::Tiktoken, path, kind)
}

/// Reads the lines of a rank file: tokens by their ranks, in file order. Empty lines are skipped.
///
/// # Errors
/// [`FormatError`] of [`Kind::Tiktoken`]: malformed lines, and the limits on file, tokens and ranks.
pub fn parse_ranks(data: &[u8]) -> Result<TokenList, FormatError> {
    let found = data.len() as u64;
    if found > limits::RANK_FILE_BYTES {
        let kind = FormatErrorKind::TooLarge { what: "bytes", found, limit: limits::RANK_FILE_BYTES };
        return Err(error("", kind));
    }
    let mut ranks = TokenList::new();
    let (mut start, mut n_lines) = (0, 0);
    for end in memchr::memchr_iter(b'\n', data).chain([data.len()]) {
        let line = &data[start..end];
        let content = line.strip_suffix(b"\r").unwrap_or(line);
        n_lines += 1;
        if !content.is_empty() {
            parse_line(content, &mut ranks).ok_or_else(|| {
                error(format!("line {n_lines}"), FormatErrorKind::MalformedLine).at(start as u64)
            })?;
        }
        start = end + 1;
    }
    ranks.shrink_to_fit();
    Ok(ranks)
}

fn parse_line(line: &[u8], ranks: &mut TokenList) -> Option<()> {
    let line = line.trim_ascii();
    let (token, rank) = line.split_at(line.iter().rposition(u8::is_ascii_whitespace)? + 1);
    ranks.push_with(number(rank)?, |bytes| base64::decode_onto(token.trim_ascii_end(), bytes))
}

/// What decimal digits say, at least one of them.
fn number(digits: &[u8]) -> Option<u32> {
    let add = |number: u64, digit: &u8| {
        let number = 10 * number + u64::from(digit.wrapping_sub(b'0'));
        (digit.is_ascii_digit() && number <= u64::from(u32::MAX)).then_some(number)
    };
    digits.split_first()?;
    digits.iter().try_fold(0, add).map(|number| number as u32)
}

/// The tokenizer that tiktoken builds from ranks, a split pattern and special tokens.
///
/// # Errors
/// [`FormatError`] of [`Kind::Tiktoken`]: a token or an id given twice, an empty token, a byte that is no token, a
/// limit.
pub fn spec(
    tokens: TokenList,
    pattern: &str,
    special_tokens: Vec<(String, TokenId)>,
) -> Result<TokenizerSpec, FormatError> {
    let tokens = tokens.sorted();
    check_tokens(&tokens)?;
    // Bit by id.
    let mut seen: Vec<u64> = Vec::new();
    let mut claim = |id: TokenId| {
        if u64::from(id) >= limits::TOKEN_IDS {
            let (found, limit) = (u64::from(id), limits::TOKEN_IDS - 1);
            return Err(FormatErrorKind::TooLarge { what: "as token id", found, limit });
        }
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        if seen.len() <= word {
            seen.resize(word + 1, 0);
        }
        if seen[word] & bit != 0 {
            return Err(FormatErrorKind::DuplicateId { id });
        }
        seen[word] |= bit;
        Ok(())
    };
    for (id, _) in tokens.iter() {
        claim(id).map_err(|kind| error("ranks", kind))?;
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
    Ok(TokenizerSpec {
        tokens,
        ranks: Ranks::Splits,
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

/// Whether the tokens are a vocabulary: every byte, and nothing twice.
fn check_tokens(tokens: &TokenList) -> Result<(), FormatError> {
    let (found, limit) = (tokens.len() as u64, limits::TOKENS);
    if found > limit {
        return Err(error("ranks", FormatErrorKind::TooLarge { what: "tokens", found, limit }));
    }
    // By their places in the list, as all that is written to here costs time.
    let mut seen: HashTable<u32> = HashTable::with_capacity(tokens.len());
    let hash = |token: &[u8]| FxBuildHasher.hash_one(token);
    let of = |&index: &u32| tokens.get(index as usize).1;
    let mut n_places = 0;
    for (index, (id, token)) in tokens.iter().enumerate() {
        let at = |kind| error(format!("rank {id}"), kind);
        let (found, limit) = (token.len() as u64, limits::RANK_TOKEN_BYTES);
        if found > limit {
            return Err(at(FormatErrorKind::TooLarge { what: "bytes in one token", found, limit }));
        }
        if token.is_empty() {
            return Err(at(FormatErrorKind::MalformedLine));
        }
        let Entry::Vacant(place) =
            seen.entry(hash(token), |other| of(other) == token, |other| hash(of(other)))
        else {
            let token = String::from_utf8_lossy(token).into();
            return Err(at(FormatErrorKind::DuplicateToken { token }));
        };
        place.insert(index as u32);
        n_places += found - 1;
    }
    // A token has no more splits than places to cut it.
    if n_places > limits::MERGES {
        let (found, limit) = (n_places, limits::MERGES);
        return Err(error(
            "ranks",
            FormatErrorKind::TooLarge { what: "places to split tokens", found, limit },
        ));
    }
    match (0..=255u8).find(|byte| seen.find(hash(&[*byte]), |other| of(other) == [*byte]).is_none()) {
        Some(byte) => Err(error("ranks", FormatErrorKind::MissingByte { byte })),
        None => Ok(()),
    }
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
    let ranks = spec.tokens.clone().sorted();
    if spec.ranks != Ranks::Splits {
        let mut said: Vec<Merge> = spec.merges.clone();
        said.sort_unstable_by_key(|merge| (merge.result, merge.left, merge.right));
        check_tokens(&ranks)?;
        let implied =
            TokenizerSpec { tokens: ranks.clone(), ranks: Ranks::Splits, ..TokenizerSpec::default() };
        if *implied.all_merges() != said {
            return unsupported("a list of merges that is not every split of every token".to_owned());
        }
        if let Some(pair) = spec.merges.windows(2).find(|pair| pair[0].result > pair[1].result) {
            return unsupported(format!("token id {}, which is merged behind a larger one,", pair[1].result));
        }
    }
    let mut out = Vec::with_capacity(ranks.len() * 16);
    for (id, token) in ranks.iter() {
        base64::encode_onto(token, &mut out);
        out.extend_from_slice(format!(" {id}\n").as_bytes());
    }
    Ok(out)
}
