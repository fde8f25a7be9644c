//! How is text split by a published pattern, without a regular expression engine?
//!
//! Each pattern has a scanner: from a position it finds the next match by the class of a few characters. Scanners step
//! forward only and look at each character a bounded number of times, where a backtracking engine may not. A scanner is
//! chosen by the pattern's text and must agree with it on every string; tests compare both on all code points in context.

use super::blocks::{Ends, VectorUnit, Window};
use super::class::{
    CLASS_TABLE, ClassTable, DECIMAL, HAN_OR_KANA, LETTER, MARK, NEWLINE, NUMBER, Properties, SPACE,
};
use super::deepseek::{Deepseek, DeepseekText};
use super::from_right;
use super::o200k::O200k;
use super::superword::Superword;
use super::words::{Contractions, TrailingSpace, Words};

/// The scanner of a published pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scanner {
    /// GPT-2, cl100k and its kin.
    Words(Words),
    /// o200k and its kin, which look at the case of letters.
    O200k(O200k),
    /// The third step of DeepSeek V3.
    Deepseek,
    /// `[一-龥぀-ゟ゠-ヿ]+`, the second step of DeepSeek V3.
    HanOrKana,
    /// The three steps of DeepSeek V3 at once.
    DeepseekText,
    /// `\p{N}{1,n}`.
    Numbers(usize),
    /// Digits of this kind in threes from the right.
    FromRight(Properties),
    /// The second stage of SuperBPE.
    Superword,
}

const GPT2: Words = Words {
    contractions: Contractions::Lower,
    space_prefix: true,
    letters: LETTER,
    max_numbers: usize::MAX,
    newlines: false,
    trailing_space: TrailingSpace::AllButLast,
};
const CL100K: Words = Words {
    contractions: Contractions::AnyCase,
    space_prefix: false,
    letters: LETTER,
    max_numbers: 3,
    newlines: true,
    trailing_space: TrailingSpace::AllButLast,
};

/// The patterns as they are published, line breaks in them written as escapes.
const PUBLISHED: [(&str, Scanner); 19] = [
    (r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Words(GPT2)),
    (r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", Scanner::Words(GPT2)),
    (
        r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        Scanner::Words(GPT2),
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Words(CL100K),
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        Scanner::Words(Words { trailing_space: TrailingSpace::WholeAtEnd, ..CL100K }),
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::Words(CL100K),
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Words(Words { max_numbers: 1, ..CL100K }),
    ),
    (
        r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        Scanner::Words(Words { max_numbers: 1, ..CL100K }),
    ),
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::Words(Words { max_numbers: 1, letters: LETTER | MARK, ..CL100K }),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::O200k(O200k { contractions: true, max_numbers: 3 }),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::O200k(O200k { contractions: false, max_numbers: 3 }),
    ),
    (
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        Scanner::O200k(O200k { contractions: false, max_numbers: 1 }),
    ),
    (
        r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        Scanner::Deepseek,
    ),
    ("[一-龥\u{3040}-ゟ゠-ヿ]+", Scanner::HanOrKana),
    (r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)", Scanner::Superword),
    (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?:\P{N}|$))", Scanner::FromRight(NUMBER)),
    (r"\p{Nd}{1,3}(?=(?:\p{Nd}{3})*(?:\P{Nd}|$))", Scanner::FromRight(DECIMAL)),
    // As the patterns of tokenizer.json are said: the end of a line is no digit either.
    (r"[\p{N}]{1,3}(?=(?:[\p{N}]{3})*(?:[^\p{N}]|(?m:$)))", Scanner::FromRight(NUMBER)),
    (r"[\p{Nd}]{1,3}(?=(?:[\p{Nd}]{3})*(?:[^\p{Nd}]|(?m:$)))", Scanner::FromRight(DECIMAL)),
];

/// The bare number steps.
const NUMBERS: [(&str, usize); 3] = [(r"\p{N}{1,3}", 3), (r"\p{N}", 1), (r"\p{N}+", usize::MAX)];

/// The steps of DeepSeek V3.
const DEEPSEEK: [Scanner; 3] = [Scanner::Numbers(3), Scanner::HanOrKana, Scanner::Deepseek];

/// The patterns that have a scanner, in the dialect of a specification.
pub fn published_patterns() -> impl Iterator<Item = &'static str> {
    PUBLISHED.iter().map(|&(pattern, _)| pattern)
}

/// The patterns, by step, that one scanner covers text with.
#[cfg(test)]
pub(crate) fn covering_patterns() -> Vec<Vec<&'static str>> {
    let alone = PUBLISHED.iter().filter(|(_, scanner)| scanner.covers()).map(|&(pattern, _)| vec![pattern]);
    alone.chain([DEEPSEEK.map(tests::pattern_of).to_vec()]).collect()
}

impl Scanner {
    /// The scanner of a pattern, if it has one.
    pub(crate) fn of(pattern: &str) -> Option<Self> {
        let written = pattern.replace('\r', r"\r").replace('\n', r"\n");
        let published = PUBLISHED.iter().find(|(text, _)| *text == written).map(|&(_, scanner)| scanner);
        let numbers = || NUMBERS.iter().find(|(text, _)| *text == written).map(|&(_, n)| Self::Numbers(n));
        published.or_else(numbers)
    }

    /// The scanner that does the steps of three scanners, each cutting the pieces of the one before, if there is one.
    pub(crate) fn of_three(steps: [Self; 3]) -> Option<Self> {
        (steps == DEEPSEEK).then_some(Self::DeepseekText)
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Words(_) => "scanner words",
            Self::O200k(_) => "scanner words by case",
            Self::Deepseek => "scanner deepseek",
            Self::HanOrKana => "scanner han or kana",
            Self::DeepseekText => "scanner deepseek, three steps at once",
            Self::Numbers(_) => "scanner numbers",
            Self::FromRight(_) => "scanner digits from the right",
            Self::Superword => "scanner superwords",
        }
    }

    /// Whether every position starts a match, so that the matches cover the text.
    pub(crate) fn covers(self) -> bool {
        matches!(self, Self::Words(_) | Self::O200k(_) | Self::DeepseekText)
    }

    /// The ends of the matches from byte `at` on, for a scanner that covers: some, or all that are left.
    #[inline]
    pub(crate) fn ends(self, unit: VectorUnit, text: &[u8], at: usize, ends: &mut Ends) {
        match self {
            Self::Words(words) => unit.ends(words, text, at, ends),
            Self::O200k(o200k) => unit.ends(o200k, text, at, ends),
            Self::DeepseekText => unit.ends(DeepseekText, text, at, ends),
            _ => debug_assert!(!self.covers()),
        }
    }

    /// The first match at or behind byte `at`, never empty.
    #[inline]
    pub(crate) fn find(self, text: &[u8], at: usize) -> Option<(usize, usize)> {
        if at >= text.len() {
            return None;
        }
        let table = &*CLASS_TABLE;
        match self {
            Self::Words(words) => Some((at, words.end(table, text, at))),
            Self::O200k(o200k) => Some((at, o200k.end(table, text, at))),
            Self::Deepseek => Deepseek::find(table, text, at),
            Self::DeepseekText => Some((at, DeepseekText::end_in(table, text, at))),
            Self::Superword => Superword::find(table, text, at),
            Self::HanOrKana => {
                let start = table.run_without(text, at, HAN_OR_KANA);
                (start < text.len()).then(|| (start, table.run(text, start, HAN_OR_KANA)))
            }
            Self::FromRight(digit) => from_right::find(table, text, at, digit),
            Self::Numbers(n_max) => {
                let start = table.run_without(text, at, NUMBER);
                (start < text.len()).then(|| (start, table.numbers(text, start, n_max)))
            }
        }
    }
}

/// The end of a contraction at the apostrophe at `at`: 's 't 're 've 'm 'll 'd. Case folding takes in U+017F, a long s.
#[inline]
pub(super) fn contraction(text: &[u8], at: usize, any_case: bool) -> Option<usize> {
    let fold = |byte: u8| if any_case { byte.to_ascii_lowercase() } else { byte };
    let rest = text.get(at + 1..)?;
    match (fold(*rest.first()?), rest.get(1).map(|&byte| fold(byte))) {
        (b's' | b't' | b'm' | b'd', _) => Some(at + 2),
        (b'r' | b'v', Some(b'e')) | (b'l', Some(b'l')) => Some(at + 3),
        (0xC5, Some(0xBF)) if any_case => Some(at + 3),
        _ => None,
    }
}

/// How many characters the contraction at the apostrophe at `at` has.
#[inline(always)]
pub(super) fn contraction_chars(text: &[u8], at: usize, any_case: bool) -> Option<usize> {
    let end = contraction(text, at, any_case)?;
    Some(text[at..end].iter().filter(|&&byte| byte as i8 >= -64).count())
}

/// Where numbers start, of which at most `n_max` are a piece; `first` leaves out those that what is before them takes.
#[inline(always)]
pub(super) fn number_starts(numbers: u64, first: u64, n_max: usize) -> u64 {
    let mut starts = first & !(numbers << 1);
    if n_max == 1 {
        return numbers;
    }
    if n_max < 64 {
        let run = (1..n_max).fold(numbers, |run, shift| run & numbers << shift);
        let mut next = starts;
        while next != 0 {
            next = next << n_max & run << 1 & numbers;
            starts |= next;
        }
    }
    starts
}

/// Where white space without newlines starts behind the last newline of a run of white space. `blanks` is white space
/// that is no newline, `free` the newlines that no sign took.
#[inline(always)]
pub(super) fn tail_starts(
    window: &Window<'_, impl Fn(usize) -> usize>,
    blanks: u64,
    newlines: u64,
    free: u64,
    whole_at_end: bool,
) -> u64 {
    let mut tails = blanks & free << 1;
    let (behind, goes_on) = blanks.overflowing_add(tails);
    let valid = window.masks.valid;
    if !goes_on && behind & !blanks & (newlines | !valid) == 0 {
        return tails;
    }
    // Some are followed by newlines after all, or end the window.
    let mut starts = 0;
    while tails != 0 {
        let index = tails.trailing_zeros();
        tails &= tails - 1;
        let end = index + (blanks >> index).trailing_ones();
        let is_last = if end < 64 && valid >> end & 1 == 1 {
            newlines >> end & 1 == 0
        } else {
            window.is_end && !whole_at_end
        };
        starts |= u64::from(is_last) << index;
    }
    starts
}

/// The end of `\s+(?!\S)|\s+` at white space whose run ends at `run_end`: all but the last character where text follows.
#[inline]
pub(super) fn spaces(text: &[u8], at: usize, run_end: usize) -> usize {
    if run_end == text.len() {
        return run_end;
    }
    let last = ClassTable::before(text, run_end);
    if last > at { last } else { run_end }
}

/// The end of `\s*[\r\n]+|\s+(?!\S)|\s+` at white space.
#[inline]
pub(super) fn lines_or_spaces(table: &ClassTable, text: &[u8], at: usize) -> usize {
    let (end, last_newline) = space_run(table, text, at);
    last_newline.unwrap_or_else(|| spaces(text, at, end))
}

/// The end of a run of white space, and the end of the last newline in it.
#[inline]
pub(super) fn space_run(table: &ClassTable, text: &[u8], mut at: usize) -> (usize, Option<usize>) {
    let mut last_newline = None;
    loop {
        let (found, length) = table.at(text, at);
        if found & SPACE == 0 {
            return (at, last_newline);
        }
        at += length;
        if found & NEWLINE != 0 {
            last_newline = Some(at);
        }
    }
}

/// White space, letters and numbers: what `[^\s\p{L}\p{N}]` leaves out.
pub(super) const WORDLIKE: Properties = SPACE | LETTER | NUMBER;

#[cfg(test)]
mod tests {
    use fancy_regex::Regex;

    use super::*;

    fn by_scanner(scanner: Scanner, text: &str) -> Vec<(usize, usize)> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let found = scanner.find(text.as_bytes(), at)?;
            at = found.1;
            Some(found)
        })
        .collect()
    }

    fn by_regex(regex: &Regex, text: &str) -> Vec<(usize, usize)> {
        regex.find_iter(text).map(|found| found.map(|found| (found.start(), found.end())).unwrap()).collect()
    }

    pub(super) fn pattern_of(scanner: Scanner) -> &'static str {
        let numbers = NUMBERS.map(|(pattern, n)| (pattern, Scanner::Numbers(n)));
        let (pattern, _) = PUBLISHED.into_iter().chain(numbers).find(|&(_, other)| other == scanner).unwrap();
        pattern
    }

    /// The matches of one pattern; the pieces of several steps, in which each cuts those of the one before.
    fn by_steps(steps: &[Regex], text: &str) -> Vec<(usize, usize)> {
        if let [regex] = steps {
            return by_regex(regex, text);
        }
        let mut pieces = vec![(0, text.len())];
        for regex in steps {
            let mut cut = Vec::new();
            for (start, end) in pieces {
                let mut done = start;
                for (from, to) in by_regex(regex, &text[start..end]) {
                    cut.extend([(done, start + from), (start + from, start + to)]);
                    done = start + to;
                }
                cut.push((done, end));
            }
            pieces = cut.into_iter().filter(|(start, end)| start < end).collect();
        }
        pieces
    }

    fn all() -> Vec<(&'static str, Vec<Regex>, Scanner)> {
        let numbers = NUMBERS.iter().map(|&(pattern, n)| (pattern, Scanner::Numbers(n)));
        let patterns = PUBLISHED.iter().copied().chain(numbers);
        let alone = patterns.map(|(pattern, scanner)| (pattern, vec![Regex::new(pattern).unwrap()], scanner));
        let deepseek = DEEPSEEK.map(|scanner| Regex::new(pattern_of(scanner)).unwrap()).to_vec();
        alone.chain([("DeepSeek V3", deepseek, Scanner::DeepseekText)]).collect()
    }

    #[track_caller]
    fn check(pattern: &str, steps: &[Regex], scanner: Scanner, text: &str) {
        if by_scanner(scanner, text) != by_steps(steps, text) {
            assert_eq!(by_scanner(scanner, text), by_steps(steps, text), "{pattern} on {text:?}");
        }
    }

    /// One character of every kind the patterns tell apart, and those they name.
    const KINDS: &str = "aAzZǅʰªßſſKélLrRvVeEsStTmMdD中あア가0٣½Ⅷ \u{a0}\u{3000}\t\n\r\u{85}\u{2028}'’!/.,-_$€+^`~\u{300}\u{93e}\u{20dd}\0\u{7f}\u{200d}\u{feff}\u{e000}\u{378}😀゠・ー゛\u{3099}\u{3040}\u{9fa5}\u{9fa6}";

    #[test]
    fn scanners_agree_with_their_patterns_on_short_strings() {
        let kinds: Vec<char> = KINDS.chars().collect();
        for (pattern, steps, scanner) in all() {
            let mut text = String::new();
            for &a in &kinds {
                for &b in &kinds {
                    text.clear();
                    text.extend([a, b]);
                    check(pattern, &steps, scanner, &text);
                    for &c in &kinds {
                        text.clear();
                        text.extend([a, b, c]);
                        check(pattern, &steps, scanner, &text);
                    }
                }
            }
        }
    }

    #[test]
    fn scanners_agree_with_their_patterns_on_random_strings() {
        let kinds: Vec<char> = KINDS.chars().collect();
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let all = all();
        for _ in 0..4000 {
            // Few kinds in a string make long runs.
            let pool: Vec<char> = (0..1 + random(6)).map(|_| kinds[random(kinds.len())]).collect();
            let text: String = (0..random(60)).map(|_| pool[random(pool.len())]).collect();
            for (pattern, steps, scanner) in &all {
                check(pattern, steps, *scanner, &text);
            }
        }
    }

    fn covering() -> Vec<Scanner> {
        let mut scanners = vec![Scanner::DeepseekText];
        for (_, scanner) in PUBLISHED {
            if scanner.covers() && !scanners.contains(&scanner) {
                scanners.push(scanner);
            }
        }
        scanners
    }

    /// The pieces of a scanner that covers, window by window on every vector unit, and what they must be.
    fn check_windows(scanner: Scanner, text: &str) {
        let expected: Vec<usize> = by_scanner(scanner, text).into_iter().map(|(_, end)| end).collect();
        for unit in VectorUnit::all() {
            let (mut found, mut ends, mut at) = (Vec::new(), Ends::default(), 0);
            while at < text.len() {
                ends.clear();
                scanner.ends(unit, text.as_bytes(), at, &mut ends);
                found.extend_from_slice(&ends);
                at = *ends.last().unwrap();
            }
            assert_eq!(found, expected, "{scanner:?} on {text:?} with {unit:?}");
        }
    }

    #[test]
    fn windows_agree_with_scanners_on_short_strings() {
        let kinds: Vec<char> = KINDS.chars().collect();
        // Long enough that what follows the string is another window, and not.
        let padding = ["", &"x".repeat(60), &"é ".repeat(32)];
        let mut text = String::new();
        for scanner in covering() {
            for (which, &a) in kinds.iter().enumerate() {
                for (at, &b) in kinds.iter().enumerate() {
                    for &c in &kinds {
                        text.clear();
                        text.extend([a, b, c]);
                        text.push_str(padding[(which + at) % padding.len()]);
                        check_windows(scanner, &text);
                    }
                }
            }
        }
    }

    #[test]
    fn windows_agree_with_scanners_on_random_strings() {
        let kinds: Vec<char> = KINDS.chars().collect();
        let ascii: Vec<char> = kinds.iter().copied().filter(char::is_ascii).collect();
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let covering = covering();
        for round in 0..6_000 {
            let from = if round % 2 == 0 { &ascii } else { &kinds };
            let pool: Vec<char> = (0..1 + random(7)).map(|_| from[random(from.len())]).collect();
            let n_chars = if round % 8 == 0 { 2000 } else { 200 };
            let text: String = (0..random(n_chars)).map(|_| pool[random(pool.len())]).collect();
            covering.iter().for_each(|scanner| check_windows(*scanner, &text));
        }
    }

    #[test]
    fn scanners_agree_with_their_patterns_on_every_character_in_context() {
        let contexts = [("a", "b"), (" ", "A "), ("'", "9"), ("\n", "\n"), ("!", "! ")];
        let every: Vec<char> = ('\0'..=char::MAX).collect();
        for (which, (pattern, steps, scanner)) in all().into_iter().enumerate() {
            // Each character meets each pattern in one context; classes are what they are in every context.
            for (at, chunk) in every.chunks(256).enumerate() {
                let (before, behind) = contexts[(which + at) % contexts.len()];
                let text: String =
                    chunk.iter().flat_map(|c| [before.into(), c.to_string(), behind.into()]).collect();
                check(pattern, &steps, scanner, &text);
                if scanner.covers() {
                    check_windows(scanner, &text);
                }
            }
        }
    }
}
