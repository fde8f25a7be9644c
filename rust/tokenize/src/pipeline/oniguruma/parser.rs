//! What is the structure of a pattern in Oniguruma's syntax?
//!
//! Recursive descent over alternatives, quantified atoms and groups, which writes the translation as it goes. Groups may
//! be nested [`MAX_DEPTH`] deep.

use super::Untranslatable;
use super::class::{ALSO_WORD, HEX, WORD, property};
use super::fold::{has_one_for_end_of, stands_for_several};

/// Groups within groups, at most.
const MAX_DEPTH: usize = 100;
/// The largest number in an interval.
const MAX_REPEATS: u32 = 100_000;

/// Reads a pattern.
pub(super) struct Parser<'p> {
    rest: &'p str,
    /// Groups with names are the only ones with numbers.
    has_names: bool,
    n_groups: usize,
    /// The characters just before, without case: a run that one character could stand for.
    run: Vec<char>,
}

/// What the groups around say.
#[derive(Clone, Copy, Default)]
struct Flags {
    ignores_case: bool,
    dot_matches_all: bool,
    is_extended: bool,
}

/// A character in the syntax of `regex-syntax`.
pub(super) fn escaped(c: char) -> String {
    if c.is_ascii_alphanumeric() || !c.is_ascii() && !c.is_whitespace() && !c.is_control() {
        c.to_string()
    } else {
        format!(r"\x{{{:x}}}", u32::from(c))
    }
}

impl<'p> Parser<'p> {
    pub(super) fn new(pattern: &'p str) -> Result<Self, Untranslatable> {
        let has_name =
            |(at, head): (usize, &str)| !matches!(pattern[at + head.len()..].chars().next(), Some('=' | '!'));
        let has_names =
            pattern.match_indices("(?<").any(has_name) || pattern.match_indices("(?'").next().is_some();
        Ok(Self { rest: pattern, has_names, n_groups: 0, run: Vec::new() })
    }

    /// The whole pattern.
    pub(super) fn whole(mut self) -> Result<String, Untranslatable> {
        let translated = self.alternatives(Flags::default(), 0)?;
        if self.rest.is_empty() { Ok(translated) } else { Err(Untranslatable("an unmatched parenthesis")) }
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    pub(super) fn take(&mut self, text: &str) -> bool {
        let behind = self.rest.strip_prefix(text);
        self.rest = behind.unwrap_or(self.rest);
        behind.is_some()
    }

    pub(super) fn take_until(&mut self, end: &str) -> Option<&'p str> {
        let (before, behind) = self.rest.split_once(end)?;
        self.rest = behind;
        Some(before)
    }

    pub(super) fn peek_is(&self, text: &str) -> bool {
        self.rest.starts_with(text)
    }

    /// Alternatives up to a closing parenthesis or the end.
    fn alternatives(&mut self, mut flags: Flags, depth: usize) -> Result<String, Untranslatable> {
        if depth > MAX_DEPTH {
            return Err(Untranslatable("groups that are nested too deep"));
        }
        let mut out = String::new();
        loop {
            self.skip_ignored(&mut flags);
            if self.rest.is_empty() || self.peek_is(")") {
                return Ok(out);
            }
            if self.take("|") {
                self.run.clear();
                out.push('|');
                continue;
            }
            if let Some(inner) = self.flags_alone(flags)? {
                // They hold up to the end of the group, alternatives included.
                let inside = self.alternatives(inner, depth + 1)?;
                out.push_str(&format!("(?:{inside})"));
                return Ok(out);
            }
            let atom = self.atom(flags, depth)?;
            let quantified = self.quantified(atom, &mut flags)?;
            out.push_str(&quantified);
        }
    }

    /// Comments, and white space in the extended syntax.
    fn skip_ignored(&mut self, flags: &mut Flags) {
        loop {
            if self.peek_is("(?#") {
                self.rest = self.rest.split_once(')').map_or("", |(_, behind)| behind);
            } else if flags.is_extended && self.peek_is("#") {
                self.rest = self.rest.split_once('\n').map_or("", |(_, behind)| behind);
            } else if flags.is_extended && self.rest.starts_with(['\t', '\n', '\u{b}', '\u{c}', '\r', ' ']) {
                self.next();
            } else {
                return;
            }
        }
    }

    /// The flags of `(?i)` or of `(?i:`, and whether it is the first.
    fn flags(&self, flags: Flags) -> Result<Option<(Flags, bool, usize)>, Untranslatable> {
        let Some(head) = self.rest.strip_prefix("(?") else { return Ok(None) };
        let n_bytes = head.find(|c: char| !(c.is_ascii_alphabetic() || c == '-')).unwrap_or(head.len());
        let is_alone = match head[n_bytes..].chars().next() {
            Some(')') => true,
            Some(':') => false,
            _ => return Ok(None),
        };
        let (mut flags, mut on) = (flags, true);
        for flag in head[..n_bytes].chars() {
            match flag {
                '-' => on = false,
                'i' => flags.ignores_case = on,
                'm' => flags.dot_matches_all = on,
                'x' => flags.is_extended = on,
                _ => return Err(Untranslatable("flags other than i, m and x")),
            }
        }
        Ok(Some((flags, is_alone, 2 + n_bytes + 1)))
    }

    /// `(?i)`: flags for all that follows.
    fn flags_alone(&mut self, flags: Flags) -> Result<Option<Flags>, Untranslatable> {
        Ok(match self.flags(flags)? {
            Some((flags, true, n_bytes)) => {
                self.rest = &self.rest[n_bytes..];
                Some(flags)
            }
            _ => None,
        })
    }

    fn atom(&mut self, flags: Flags, depth: usize) -> Result<String, Untranslatable> {
        if let Some((inner, _, n_bytes)) = self.flags(flags)? {
            self.rest = &self.rest[n_bytes..];
            return self.group("(?:", inner, depth);
        }
        let c = self.next().ok_or(Untranslatable("nothing where something is needed"))?;
        if !matches!(c, '(' | '\\') && !is_literal(c) {
            self.run.clear();
        }
        match c {
            '(' => self.group_by_head(flags, depth),
            '[' => {
                let class = self.class(flags.ignores_case)?;
                Ok(if flags.ignores_case { format!("(?i:{class})") } else { class })
            }
            '.' if flags.dot_matches_all => Ok("(?s:.)".to_owned()),
            '.' => Ok(".".to_owned()),
            '^' => Ok(r"(?:\A|(?m:^)(?!\z))".to_owned()),
            '$' => Ok("(?m:$)".to_owned()),
            '\\' => self.escape(flags),
            '*' | '+' | '?' => Err(Untranslatable("a quantifier of nothing")),
            c => self.literal(c, flags),
        }
    }

    fn literal(&mut self, c: char, flags: Flags) -> Result<String, Untranslatable> {
        if !flags.ignores_case {
            self.run.clear();
            return Ok(escaped(c));
        }
        self.run.push(c);
        if stands_for_several(c) || has_one_for_end_of(&self.run) {
            return Err(Untranslatable("text without case that another number of characters can stand for"));
        }
        Ok(format!("(?i:{})", escaped(c)))
    }

    /// A group behind its parenthesis.
    fn group_by_head(&mut self, flags: Flags, depth: usize) -> Result<String, Untranslatable> {
        if self.peek_is("*") {
            return Err(Untranslatable("a callout"));
        }
        if !self.take("?") {
            if self.has_names {
                return self.group("(?:", flags, depth);
            }
            self.n_groups += 1;
            return self.group("(", flags, depth);
        }
        for head in ["=", "!", ">", "<=", "<!"] {
            if self.take(head) {
                self.run.clear();
                return self.group(&format!("(?{head}"), flags, depth);
            }
        }
        let name = if self.take("<") {
            self.take_until(">")
        } else if self.take("'") {
            self.take_until("'")
        } else {
            None
        };
        let is_name = |name: &&str| is_group_name(name);
        let name = name.filter(is_name).ok_or(Untranslatable("a group of an unknown kind"))?;
        self.n_groups += 1;
        self.group(&format!("(?<{name}>"), flags, depth)
    }

    fn group(&mut self, head: &str, flags: Flags, depth: usize) -> Result<String, Untranslatable> {
        let inside = self.alternatives(flags, depth + 1)?;
        if !self.take(")") {
            return Err(Untranslatable("an unmatched parenthesis"));
        }
        Ok(format!("{head}{inside})"))
    }

    /// An escape outside brackets, behind its backslash.
    fn escape(&mut self, flags: Flags) -> Result<String, Untranslatable> {
        let kind = self.next().ok_or(Untranslatable("a backslash at its end"))?;
        let before = std::mem::take(&mut self.run);
        let word = format!("[{WORD}{ALSO_WORD}]");
        Ok(match kind {
            'w' => word,
            'W' => format!("[^{WORD}{ALSO_WORD}]"),
            'd' | 'D' | 's' | 'S' => format!("\\{kind}"),
            'h' => format!("[{HEX}]"),
            'H' => format!("[^{HEX}]"),
            'p' | 'P' => self.property(kind == 'P')?,
            'N' => r"[^\n]".to_owned(),
            'O' => "(?s:.)".to_owned(),
            'R' => r"(?>\r\n|[\n-\r\x{85}\x{2028}\x{2029}])".to_owned(),
            'A' => r"\A".to_owned(),
            'z' => r"\z".to_owned(),
            'Z' => r"(?=\n?\z)".to_owned(),
            'b' => format!("(?:(?<={word})(?!{word})|(?<!{word})(?={word}))"),
            'B' => format!("(?:(?<={word})(?={word})|(?<!{word})(?!{word}))"),
            'k' => {
                let name = if self.take("<") { self.take_until(">") } else { None };
                let is_name = |name: &&str| is_group_name(name);
                let name = name.filter(is_name).ok_or(Untranslatable("a reference that is no name"))?;
                self.case_matters(flags)?;
                format!(r"\k<{name}>")
            }
            '1'..='9' => {
                let number = kind as usize - '0' as usize;
                if self.has_names
                    || number > self.n_groups
                    || self.rest.starts_with(|c: char| c.is_ascii_digit())
                {
                    return Err(Untranslatable("a reference to no group before it"));
                }
                self.case_matters(flags)?;
                format!(r"(?:\{number})")
            }
            kind => {
                self.run = before;
                let c = self.escaped_char(kind)?;
                self.literal(c, flags)?
            }
        })
    }

    fn case_matters(&self, flags: Flags) -> Result<(), Untranslatable> {
        if flags.ignores_case { Err(Untranslatable("a reference without case")) } else { Ok(()) }
    }

    /// The class of `\p{..}`, behind the letter.
    pub(super) fn property(&mut self, is_negated: bool) -> Result<String, Untranslatable> {
        let name = if self.take("{") { self.take_until("}") } else { None };
        property(name.ok_or(Untranslatable("a property that is not in braces"))?, is_negated)
    }

    /// An escape for one character.
    pub(super) fn escaped_char(&mut self, kind: char) -> Result<char, Untranslatable> {
        let hex = |digits: &str| {
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_number.then(|| u32::from_str_radix(digits, 16).ok()).flatten().and_then(char::from_u32)
        };
        let no_char = Untranslatable("an escape that is no character");
        match kind {
            't' => Ok('\t'),
            'n' => Ok('\n'),
            'v' => Ok('\u{b}'),
            'f' => Ok('\u{c}'),
            'r' => Ok('\r'),
            'a' => Ok('\u{7}'),
            'e' => Ok('\u{1b}'),
            'x' if self.take("{") => self.take_until("}").and_then(hex).ok_or(no_char),
            'x' => {
                let is_digit = |c: &char| c.is_ascii_hexdigit();
                let n_digits = self.rest.chars().take(2).take_while(is_digit).count();
                let (digits, behind) = self.rest.split_at(n_digits);
                self.rest = behind;
                // A byte above 7F would be a part of a character.
                hex(digits).filter(char::is_ascii).ok_or(no_char)
            }
            'u' => {
                let (digits, behind) = self.rest.split_at_checked(4).ok_or(no_char)?;
                self.rest = behind;
                hex(digits).ok_or(no_char)
            }
            kind if kind.is_ascii_alphanumeric() => Err(Untranslatable("an escape that is not known")),
            kind => Ok(kind),
        }
    }

    /// An atom with the quantifiers behind it.
    fn quantified(&mut self, mut atom: String, flags: &mut Flags) -> Result<String, Untranslatable> {
        let mut is_lazy = false;
        for n_quantifiers in 0.. {
            self.skip_ignored(flags);
            let Some(quantifier) = self.quantifier()? else { break };
            if is_lazy {
                return Err(Untranslatable("a quantifier of a lazy quantifier"));
            }
            if n_quantifiers > 0 || !is_one_atom(&atom) {
                atom = format!("(?:{atom})");
            }
            is_lazy = quantifier.ends_with("}?") || quantifier.len() == 2 && quantifier.ends_with('?');
            // An interval of one number is never lazy: it is optional.
            if let Some(interval) = quantifier.strip_suffix("}?").filter(|interval| !interval.contains(',')) {
                is_lazy = false;
                atom = format!("(?:{atom}{interval}}})?");
            } else {
                atom.push_str(&quantifier);
            }
        }
        Ok(atom)
    }

    fn quantifier(&mut self) -> Result<Option<String>, Untranslatable> {
        if let Some(c) = self.rest.chars().next().filter(|c| "*+?".contains(*c)) {
            self.next();
            let mode = if self.take("?") {
                "?"
            } else if self.take("+") {
                "+"
            } else {
                ""
            };
            return Ok(Some(format!("{c}{mode}")));
        }
        let Some((inside, behind)) = self.rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            return Ok(None);
        };
        let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(low) || !is_number(high) || low.is_empty() && high.is_empty() {
            // Literal text.
            return Ok(None);
        }
        let number = |text: &str, otherwise| match text.is_empty() {
            true => Ok(otherwise),
            false => text
                .parse::<u32>()
                .ok()
                .filter(|&n| n <= MAX_REPEATS)
                .ok_or(Untranslatable("an interval above 100000")),
        };
        let (low, high) = (number(low, 0)?, number(high, u32::MAX)?);
        if low > high {
            return Err(Untranslatable("an interval that ends before it starts"));
        }
        self.rest = behind;
        let interval = match (inside.contains(','), high) {
            (false, _) => format!("{{{low}}}"),
            (true, u32::MAX) => format!("{{{low},}}"),
            (true, high) => format!("{{{low},{high}}}"),
        };
        let mode = if self.take("?") { "?" } else { "" };
        Ok(Some(interval + mode))
    }
}

fn is_literal(c: char) -> bool {
    !"([.^$\\*+?".contains(c)
}

fn is_group_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a quantifier behind `atom` is of all of it.
fn is_one_atom(atom: &str) -> bool {
    let mut chars = atom.chars();
    let is_char = chars.next().is_some() && chars.next().is_none();
    is_char || atom.starts_with(['(', '[']) || atom.starts_with('\\')
}
