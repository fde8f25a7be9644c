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
    /// Inside a look-behind, where the two engines go different ways to try what has no fixed length.
    is_behind: bool,
}

/// A part of the translation.
#[derive(Default)]
struct Atom {
    text: String,
    can_be_empty: bool,
    has_lazy: bool,
    /// Something that is lazy is repeated in it.
    repeats_lazy: bool,
    /// What it repeats, greedily and maybe not at all: once at most, or without end.
    repeated: Option<Repeated>,
}

/// `x*` or `x?`, where `x` is never empty and has no group with a number.
struct Repeated {
    text: String,
    is_endless: bool,
}

/// How often something is repeated.
struct Quantifier {
    text: String,
    low: u32,
    high: u32,
}

impl Repeated {
    /// The same up to `n_times` times: the first time takes what all together could.
    fn again(self, n_times: u32) -> Atom {
        let is_endless = self.is_endless || n_times == u32::MAX;
        let x = if is_one_atom(&self.text) { self.text.clone() } else { format!("(?:{})", self.text) };
        let text = if is_endless { format!("{x}*") } else { format!("{x}{{0,{n_times}}}") };
        let repeated = is_endless.then_some(Self { is_endless, ..self });
        Atom { repeated, ..Atom::empty(text) }
    }
}

impl Atom {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn empty(text: impl Into<String>) -> Self {
        Self { text: text.into(), can_be_empty: true, ..Self::default() }
    }

    fn wrapped(self, head: &str) -> Self {
        Self { text: format!("{head}{})", self.text), ..self }
    }
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
        if self.rest.is_empty() {
            Ok(translated.text)
        } else {
            Err(Untranslatable("an unmatched parenthesis"))
        }
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
    fn alternatives(&mut self, mut flags: Flags, depth: usize) -> Result<Atom, Untranslatable> {
        if depth > MAX_DEPTH {
            return Err(Untranslatable("groups that are nested too deep"));
        }
        let mut out = Atom::new(String::new());
        // Parts and bars so far.
        let mut n_parts = 0;
        // Of the current alternative.
        let mut can_be_empty = true;
        loop {
            self.skip_ignored(&mut flags);
            if self.rest.is_empty() || self.peek_is(")") {
                out.can_be_empty |= can_be_empty;
                return Ok(out);
            }
            if self.take("|") {
                self.run.clear();
                out.text.push('|');
                out.repeated = None;
                n_parts += 1;
                out.can_be_empty |= std::mem::replace(&mut can_be_empty, true);
                continue;
            }
            let atom = match self.flags_alone(flags)? {
                // They hold up to the end of the group, alternatives included.
                Some(inner) => self.alternatives(inner, depth + 1)?.wrapped("(?:"),
                None => {
                    let atom = self.atom(flags, depth)?;
                    self.quantified(atom, &mut flags)?
                }
            };
            out.text.push_str(&atom.text);
            can_be_empty &= atom.can_be_empty;
            out.has_lazy |= atom.has_lazy;
            out.repeats_lazy |= atom.repeats_lazy;
            out.repeated = atom.repeated.filter(|_| n_parts == 0);
            n_parts += 1;
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

    fn atom(&mut self, flags: Flags, depth: usize) -> Result<Atom, Untranslatable> {
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
                Ok(Atom::new(if flags.ignores_case { format!("(?i:{class})") } else { class }))
            }
            '.' if flags.dot_matches_all => Ok(Atom::new("(?s:.)")),
            '.' => Ok(Atom::new(".")),
            '^' => Ok(Atom::empty(r"(?:\A|(?m:^)(?!\z))")),
            '$' => Ok(Atom::empty("(?m:$)")),
            '\\' => self.escape(flags),
            '*' | '+' | '?' => Err(Untranslatable("a quantifier of nothing")),
            c => self.literal(c, flags).map(Atom::new),
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
    fn group_by_head(&mut self, flags: Flags, depth: usize) -> Result<Atom, Untranslatable> {
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
                if head == ">" && flags.is_behind {
                    return Err(Untranslatable("an atomic group in a look-behind"));
                }
                if head.starts_with('<') && flags.is_behind {
                    return Err(Untranslatable("a look-behind in a look-behind"));
                }
                let flags = Flags { is_behind: flags.is_behind || head.starts_with('<'), ..flags };
                let group = self.group(&format!("(?{head}"), flags, depth)?;
                return Ok(Atom { can_be_empty: head != ">" || group.can_be_empty, ..group });
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

    fn group(&mut self, head: &str, flags: Flags, depth: usize) -> Result<Atom, Untranslatable> {
        let inside = self.alternatives(flags, depth + 1)?;
        if !self.take(")") {
            return Err(Untranslatable("an unmatched parenthesis"));
        }
        let group = inside.wrapped(head);
        Ok(if head == "(?:" { group } else { Atom { repeated: None, ..group } })
    }

    /// An escape outside brackets, behind its backslash.
    fn escape(&mut self, flags: Flags) -> Result<Atom, Untranslatable> {
        let kind = self.next().ok_or(Untranslatable("a backslash at its end"))?;
        let before = std::mem::take(&mut self.run);
        let word = format!("[{WORD}{ALSO_WORD}]");
        let can_be_empty = matches!(kind, 'A' | 'z' | 'Z' | 'b' | 'B' | 'k' | '1'..='9');
        let text = match kind {
            'w' => word,
            'W' => format!("[^{WORD}{ALSO_WORD}]"),
            'd' | 'D' | 's' | 'S' => format!("\\{kind}"),
            'h' => format!("[{HEX}]"),
            'H' => format!("[^{HEX}]"),
            'p' | 'P' => self.property(kind == 'P')?,
            'N' => r"[^\n]".to_owned(),
            'O' => "(?s:.)".to_owned(),
            'R' if flags.is_behind => return Err(Untranslatable("a line break in a look-behind")),
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
        };
        Ok(Atom { can_be_empty, ..Atom::new(text) })
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
    fn quantified(&mut self, mut atom: Atom, flags: &mut Flags) -> Result<Atom, Untranslatable> {
        let mut is_lazy = false;
        for n_quantifiers in 0.. {
            self.skip_ignored(flags);
            let Some(Quantifier { text, low, high }) = self.quantifier()? else { break };
            if is_lazy {
                return Err(Untranslatable("a quantifier of a lazy quantifier"));
            }
            if flags.is_behind && text.len() == 2 && text.ends_with('+') {
                return Err(Untranslatable("a possessive quantifier in a look-behind"));
            }
            if atom.has_lazy && text.len() == 2 && text.ends_with('+') {
                return Err(Untranslatable("a possessive quantifier of what is lazy"));
            }
            if atom.repeats_lazy && high > 1 {
                return Err(Untranslatable("a repetition of a repetition of what is lazy"));
            }
            if atom.can_be_empty && high > 1 {
                // When such a loop ends is a matter of the engine, unless it is one loop said twice.
                let is_greedy = !text.ends_with('?') && (text.len() == 1 || text.ends_with('}'));
                let repeated = atom.repeated.filter(|_| is_greedy);
                atom = repeated.ok_or(Untranslatable("a repetition of what can be empty"))?.again(high);
                continue;
            }
            let is_counted =
                atom.can_be_empty || atom.text.replace("(?i:", "").replace("(?:", "").contains('(');
            let repeated = (!is_counted && matches!(text.as_str(), "*" | "?"))
                .then(|| Repeated { text: atom.text.clone(), is_endless: text == "*" });
            if n_quantifiers > 0 || !is_one_atom(&atom.text) {
                atom = atom.wrapped("(?:");
            }
            is_lazy = text.ends_with("}?") || text.len() == 2 && text.ends_with('?');
            atom.can_be_empty |= low == 0 || is_lazy && low == high;
            atom.repeats_lazy |= atom.has_lazy && high > 1;
            atom.has_lazy |= is_lazy;
            atom.repeated = repeated;
            // An interval of one number is never lazy: it is optional.
            if let Some(interval) = text.strip_suffix("}?").filter(|interval| !interval.contains(',')) {
                is_lazy = false;
                atom.text = format!("(?:{}{interval}}})?", atom.text);
            } else {
                atom.text.push_str(&text);
            }
        }
        Ok(atom)
    }

    fn quantifier(&mut self) -> Result<Option<Quantifier>, Untranslatable> {
        if let Some(c) = self.rest.chars().next().filter(|c| "*+?".contains(*c)) {
            self.next();
            let mode = if self.take("?") {
                "?"
            } else if self.take("+") {
                "+"
            } else {
                ""
            };
            let (low, high) = (u32::from(c == '+'), if c == '?' { 1 } else { u32::MAX });
            return Ok(Some(Quantifier { text: format!("{c}{mode}"), low, high }));
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
        Ok(Some(Quantifier { text: interval + mode, low, high }))
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
