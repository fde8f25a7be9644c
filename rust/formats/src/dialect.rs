//! How is one regular expression said in two dialects?
//!
//! `tokenizer.json` is read by Oniguruma (Ruby syntax), tiktoken by the `fancy-regex` crate, which is also what a
//! specification means. They agree on everything the published split patterns use but three things:
//!
//! | written | Oniguruma reads | fancy-regex reads |
//! |---|---|---|
//! | `x{1,3}+` | a repeated interval, `(?:x{1,3})+` | a possessive interval, `(?>x{1,3})` |
//! | `^`, `$` | start and end of a line | start and end of the text |
//! | `(?m)`, `(?s)`, `[[:alpha:]]` | another meaning or an error | |
//!
//! The first two are rewritten so that the other side reads the same, the third is refused. One pass over the pattern.
//! A pattern with anything else that the two read differently, such as `\w`, is parsed and written anew by
//! [`oniguruma`]; the others keep their text, by which the scanners of published patterns are found.

use std::borrow::Cow;

use tokenloom_tokenize::pipeline::oniguruma;
use tokenloom_tokenize::pretokenize::published_patterns;

/// A construct that cannot be said in the other dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Untranslatable(pub(crate) &'static str);

/// Where a pattern goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    FromOniguruma,
    ToOniguruma,
}

/// The pattern of a `tokenizer.json` as fancy-regex must be given it.
pub(crate) fn from_oniguruma(pattern: &str) -> Result<Cow<'_, str>, Untranslatable> {
    // What `to_oniguruma` makes of a published pattern reads back as that pattern, by which its scanner is found. Files write
    // line breaks as escapes or as they are.
    let escaped = pattern.replace('\r', r"\r").replace('\n', r"\n");
    let is_written = |published: &&str| to_oniguruma(published).is_ok_and(|text| text == escaped);
    if let Some(published) = published_patterns().find(is_written) {
        return Ok(Cow::Borrowed(published));
    }
    let anew = oniguruma::translate(pattern).map_err(|what| Untranslatable(what.0))?;
    if is_read_alike(pattern) { translate(pattern, Direction::FromOniguruma) } else { Ok(Cow::Owned(anew)) }
}

/// Whether the rewriting of this module is enough.
fn is_read_alike(pattern: &str) -> bool {
    let differs =
        [r"\w", r"\W", r"\b", r"\B", r"\h", r"\H", r"\Z", "[:", "(?x", "(?m", "(?s", "(?#", r"\p{^", "{,"];
    // Case is ignored in plain text only, up to the end of its group.
    let is_plain = |group: &str| !group[..group.find(')').unwrap_or(group.len())].contains(['\\', '[', '(']);
    let anchors = pattern.replace("[^", "[");
    !differs.iter().any(|construct| pattern.contains(construct))
        && !pattern.match_indices('{').any(|(at, _)| is_stacked(pattern, at))
        && !anchors.contains(['^', '$'])
        && pattern
            .match_indices("(?i")
            .all(|(at, _)| pattern[at..].starts_with("(?i:") && is_plain(&pattern[at + 4..]))
}

/// Whether the interval at `at`, if it is one, has a quantifier before it, or one behind it other than a single plus.
fn is_stacked(pattern: &str, at: usize) -> bool {
    let Some(n_bytes) = interval_length(&pattern[at..]) else { return false };
    let (before, behind) = (&pattern[..at], &pattern[at + n_bytes..]);
    let is_behind_interval = before.ends_with('}')
        && before.rfind('{').is_some_and(|open| interval_length(&before[open..]).is_some());
    before.ends_with(['*', '+', '?'])
        || is_behind_interval
        || behind.starts_with(['*', '?', '{'])
        || behind.strip_prefix('+').is_some_and(|more| more.starts_with(['*', '+', '?', '{']))
}

/// A pattern as fancy-regex reads it, for a `tokenizer.json`.
pub(crate) fn to_oniguruma(pattern: &str) -> Result<Cow<'_, str>, Untranslatable> {
    translate(pattern, Direction::ToOniguruma)
}

fn translate(pattern: &str, direction: Direction) -> Result<Cow<'_, str>, Untranslatable> {
    let mut out = String::with_capacity(pattern.len());
    // Where, in `out`, the last complete atom starts; one entry for each open group.
    let mut atom_starts: Vec<Option<usize>> = vec![None];
    let mut group_starts: Vec<usize> = Vec::new();
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        // What the other direction made of an anchor.
        if direction == Direction::ToOniguruma
            && let Some((anchor, behind)) = line_anchor(rest)
        {
            set(&mut atom_starts, None);
            out.push(anchor);
            rest = behind;
            continue;
        }
        let n_bytes = match c {
            '\\' => escape_length(rest),
            '[' => class_length(rest)?,
            '(' => group_head_length(rest)?,
            '{' => interval_length(rest).unwrap_or(1),
            _ => c.len_utf8(),
        };
        let (piece, behind) = rest.split_at(n_bytes);
        let atom = atom_starts.last().copied().flatten();
        match c {
            '(' => {
                group_starts.push(out.len());
                atom_starts.push(None);
                out.push_str(piece);
            }
            ')' => {
                out.push(')');
                if let Some(start) = group_starts.pop() {
                    atom_starts.pop();
                    set(&mut atom_starts, Some(start));
                }
            }
            '{' if n_bytes > 1 => {
                if let (Some(start), Some(behind_plus)) = (atom, behind.strip_prefix('+')) {
                    let (open, close) = match direction {
                        Direction::FromOniguruma => ("(?:", ")+"),
                        Direction::ToOniguruma => ("(?>", ")"),
                    };
                    out.insert_str(start, open);
                    out.push_str(piece);
                    out.push_str(close);
                    rest = behind_plus;
                    continue;
                }
                out.push_str(piece);
            }
            '^' | '$' => {
                set(&mut atom_starts, None);
                out.push_str(match (direction, c) {
                    (Direction::FromOniguruma, '^') => "(?m:^)",
                    (Direction::FromOniguruma, _) => "(?m:$)",
                    (Direction::ToOniguruma, '^') => r"\A",
                    (Direction::ToOniguruma, _) => r"\z",
                });
            }
            '|' | '*' | '+' | '?' => {
                if c == '|' {
                    set(&mut atom_starts, None);
                }
                out.push(c);
            }
            _ => {
                set(&mut atom_starts, Some(out.len()));
                out.push_str(piece);
            }
        }
        rest = behind;
    }
    Ok(if out == pattern { Cow::Borrowed(pattern) } else { Cow::Owned(out) })
}

fn line_anchor(rest: &str) -> Option<(char, &str)> {
    let anchor = |text, anchor| rest.strip_prefix(text).map(|behind| (anchor, behind));
    anchor("(?m:^)", '^').or_else(|| anchor("(?m:$)", '$'))
}

fn set(atom_starts: &mut [Option<usize>], start: Option<usize>) {
    if let Some(last) = atom_starts.last_mut() {
        *last = start;
    }
}

/// `\d`, `\p{L}`, `\x{1F600}`, `\u00e9`: for two-character escapes what follows is literal text anyway.
fn escape_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    let Some((at, kind)) = chars.next() else { return rest.len() };
    let plain = at + kind.len_utf8();
    if matches!(kind, 'p' | 'P' | 'x' | 'k' | 'g')
        && rest[plain..].starts_with('{')
        && let Some(end) = rest[plain..].find('}')
    {
        return plain + end + 1;
    }
    plain
}

/// A character class with the classes inside it.
fn class_length(rest: &str) -> Result<usize, Untranslatable> {
    if rest.contains("[:") {
        return Err(Untranslatable("a POSIX class"));
    }
    let (mut depth, mut at) = (0usize, 0);
    while let Some(c) = rest[at..].chars().next() {
        let n_bytes = if c == '\\' { escape_length(&rest[at..]) } else { c.len_utf8() };
        match c {
            '[' => {
                depth += 1;
                // A bracket right behind the opening one is a member.
                let body = &rest[at + 1..];
                let negation = usize::from(body.starts_with('^'));
                if body[negation..].starts_with(']') {
                    at += negation + 1;
                }
            }
            ']' => depth -= 1,
            _ => {}
        }
        at += n_bytes;
        if depth == 0 {
            return Ok(at);
        }
    }
    // Not closed: the compiler of the pattern will say so.
    Ok(rest.len())
}

/// `(`, `(?:`, `(?i:`, `(?=`, `(?<name>`: up to where the inside starts.
fn group_head_length(rest: &str) -> Result<usize, Untranslatable> {
    let Some(head) = rest.strip_prefix("(?") else { return Ok(1) };
    let n_flags = head.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(head.len());
    let flags = &head[..n_flags];
    let is_flags = head[n_flags..].starts_with([':', ')']);
    if is_flags && flags.contains(['m', 's', 'x', 'u', 'a', 'd', 'w']) {
        return Err(Untranslatable("a group with flags other than i"));
    }
    if is_flags && head[n_flags..].starts_with(')') {
        // `(?i)` changes what follows it, up to a place on which the dialects differ.
        return Err(Untranslatable("flags without a group"));
    }
    Ok(2 + if is_flags { n_flags + 1 } else { head.chars().next().map_or(0, char::len_utf8) })
}

/// `{2}`, `{1,}`, `{1,3}`; anything else is literal text.
fn interval_length(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let inside = &rest[1..end];
    let is_interval = !inside.is_empty()
        && inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        && inside.matches(',').count() <= 1
        && inside != ",";
    is_interval.then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_patterns_come_back_as_they_were() {
        for pattern in published_patterns() {
            let written = to_oniguruma(pattern).unwrap();
            assert_eq!(from_oniguruma(&written).unwrap(), pattern);
            let with_line_breaks = written.replace(r"\r", "\r").replace(r"\n", "\n");
            assert_eq!(from_oniguruma(&with_line_breaks).unwrap(), pattern);
        }
    }

    #[test]
    fn intervals_and_anchors_are_rewritten_and_all_else_is_kept() {
        let both = [
            (r"\p{N}{1,3}+| ?x", r"(?:\p{N}{1,3})+| ?x", r"(?>\p{N}{1,3})| ?x"),
            (r"[a\]b]{2}+", r"(?:[a\]b]{2})+", r"(?>[a\]b]{2})"),
            (r"(?:a|b){1,2}+c", r"(?:(?:a|b){1,2})+c", r"(?>(?:a|b){1,2})c"),
            (r"\s++$|^a", r"\s++(?m:$)|(?m:^)a", r"\s++\z|\Aa"),
            (r"\$[$^]\^{2}", r"\$[$^]\^{2}", r"\$[$^]\^{2}"),
            (r"é{2}+", r"(?:é{2})+", r"(?>é{2})"),
            (r"[]a]{2}+x", r"(?:[]a]{2})+x", r"(?>[]a]{2})x"),
        ];
        for (pattern, from, to) in both {
            let translated = |pattern| translate(pattern, Direction::FromOniguruma).unwrap().into_owned();
            assert_eq!(translated(pattern), from);
            assert_eq!(to_oniguruma(pattern).unwrap(), to);
            assert_eq!(translated(&to_oniguruma(from).unwrap()), from);
        }
        let kept = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}|\s*[\r\n]+|\s+(?!\S)|{x}";
        assert_eq!(from_oniguruma(kept).unwrap(), kept);
        assert_eq!(to_oniguruma(kept).unwrap(), kept);
        for rewritten in [r"\w+", r"a\b", "^a", "[[:alpha:]]", r"(?i:\p{Lu})", "(?i)a", "a{2}?", "a{2}{2}"] {
            assert_ne!(from_oniguruma(rewritten).unwrap(), rewritten);
        }
        for refused in ["(?s:a)", "(?i:ss)", r"\X"] {
            assert!(from_oniguruma(refused).is_err(), "{refused}");
        }
    }
}
