//! What does a split pattern do, one character at a time?
//!
//! The published patterns use a small part of regular expressions: alternatives, character classes, groups,
//! quantifiers, and looking one character ahead. That part is compiled here to a program of single-character
//! instructions with preferences (Thompson's construction, Pike's order of threads), which `stream` follows without
//! knowing the text to come. Everything else is refused by name.
//!
//! Possessive quantifiers are compiled as greedy ones where that changes nothing: what follows either may be empty or
//! starts with characters that the repeated class does not hold.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, HirKind};

use super::error::ByteLevelErrorKind;

/// A step of the program; operands are places in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instruction {
    /// Takes a character of the set.
    Take(u16),
    /// Goes on at both places, the first preferred.
    Split(u16, u16),
    /// Goes on elsewhere.
    Jump(u16),
    /// Goes on if the next character is in the set (`true`) or is not (`false`, also at the end of the text).
    Ahead(u16, bool),
    /// Goes on at the end of the text.
    AtEnd,
    /// The pattern has matched.
    Match,
}

/// A compiled pattern. It starts at instruction 0.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    pub(super) code: Vec<Instruction>,
    pub(super) sets: Vec<ClassUnicode>,
}

const MAX_INSTRUCTIONS: usize = 4096;
const MAX_DEPTH: usize = 64;

enum Node {
    Set(u16),
    Ahead(u16, bool),
    AtEnd,
    Sequence(Vec<Node>),
    Either(Vec<Node>),
    Repeat { node: Box<Node>, min: u32, max: Option<u32>, lazy: bool, possessive: bool, at: usize },
}

struct Reader<'a> {
    pattern: &'a str,
    at: usize,
    depth: usize,
    ignore_case: bool,
    sets: Vec<ClassUnicode>,
}

impl Program {
    /// Compiles `pattern` as the pretokenizer reads it.
    pub(super) fn new(pattern: &str) -> Result<Self, ByteLevelErrorKind> {
        let mut reader = Reader { pattern, at: 0, depth: 0, ignore_case: false, sets: Vec::new() };
        let tree = reader.alternatives()?;
        if reader.at < pattern.len() {
            return Err(reader.refuse("a closing parenthesis without its opening"));
        }
        let mut compiler = Compiler { reader: &reader, code: Vec::new(), possessive: Vec::new() };
        compiler.emit(&tree)?;
        compiler.push(Instruction::Match)?;
        let Compiler { code, possessive, .. } = compiler;
        for (after, set, at) in possessive {
            if !follows_apart(&code, &reader.sets, after, set) {
                reader.at = at;
                return Err(reader.refuse("a possessive quantifier before text that it could give back"));
            }
        }
        let program = Self { code, sets: reader.sets };
        if program.may_be_empty() {
            return Err(ByteLevelErrorKind::Pattern {
                construct: "a match of no characters",
                byte_offset: 0,
                pattern: pattern.into(),
            });
        }
        Ok(program)
    }

    fn may_be_empty(&self) -> bool {
        reachable(&self.code, 0).any(|place| self.code[place] == Instruction::Match)
    }
}

/// The places reached from `from` without taking a character, assertions taken as true.
fn reachable(code: &[Instruction], from: usize) -> impl Iterator<Item = usize> {
    let mut seen = vec![false; code.len()];
    let mut stack = vec![from];
    let mut order = Vec::new();
    while let Some(place) = stack.pop() {
        if std::mem::replace(&mut seen[place], true) {
            continue;
        }
        order.push(place);
        match code[place] {
            Instruction::Split(a, b) => stack.extend([usize::from(a), usize::from(b)]),
            Instruction::Jump(a) => stack.push(a.into()),
            Instruction::Ahead(..) | Instruction::AtEnd => stack.push(place + 1),
            Instruction::Take(_) | Instruction::Match => {}
        }
    }
    order.into_iter()
}

/// Whether giving back characters of `set` could never help what follows at `after`.
fn follows_apart(code: &[Instruction], sets: &[ClassUnicode], after: usize, set: u16) -> bool {
    let places: Vec<usize> = reachable(code, after).collect();
    let asserts = |place: &usize| matches!(code[*place], Instruction::Ahead(..));
    if places.iter().any(asserts) {
        return false;
    }
    let ends = places.iter().any(|&place| code[place] == Instruction::AtEnd);
    let nullable = !ends && places.iter().any(|&place| code[place] == Instruction::Match);
    nullable
        || places.iter().all(|&place| match code[place] {
            Instruction::Take(other) => {
                let mut shared = sets[usize::from(set)].clone();
                shared.intersect(&sets[usize::from(other)]);
                shared.ranges().is_empty()
            }
            _ => true,
        })
}

impl Reader<'_> {
    fn refuse(&self, construct: &'static str) -> ByteLevelErrorKind {
        ByteLevelErrorKind::Pattern { construct, byte_offset: self.at, pattern: self.pattern.into() }
    }

    fn rest(&self) -> &str {
        &self.pattern[self.at..]
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn alternatives(&mut self) -> Result<Node, ByteLevelErrorKind> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.refuse("groups nested too deeply"));
        }
        let mut alternatives = vec![self.sequence()?];
        while self.eat("|") {
            alternatives.push(self.sequence()?);
        }
        self.depth -= 1;
        Ok(Node::Either(alternatives))
    }

    fn sequence(&mut self) -> Result<Node, ByteLevelErrorKind> {
        let mut nodes = Vec::new();
        while !self.rest().is_empty() && !self.rest().starts_with(['|', ')']) {
            let at = self.at;
            let node = self.atom()?;
            nodes.push(self.quantified(node, at)?);
        }
        Ok(Node::Sequence(nodes))
    }

    fn atom(&mut self) -> Result<Node, ByteLevelErrorKind> {
        if self.eat("(?!") || self.rest().starts_with("(?=") {
            let wanted = self.eat("(?=");
            let at = self.at;
            let Node::Either(mut alternatives) = self.alternatives()? else {
                return Err(self.refuse("a look-ahead"));
            };
            self.close()?;
            return match alternatives.pop() {
                Some(Node::Sequence(nodes)) if alternatives.is_empty() && nodes.len() == 1 => {
                    match nodes[0] {
                        Node::Set(set) => Ok(Node::Ahead(set, wanted)),
                        _ => Err(self.refuse("a look-ahead of more than one character")),
                    }
                }
                _ => {
                    self.at = at;
                    Err(self.refuse("a look-ahead of more than one character"))
                }
            };
        }
        if self.rest().starts_with('(') {
            return self.group();
        }
        if self.eat("$") || self.eat(r"\z") {
            return Ok(Node::AtEnd);
        }
        self.set()
    }

    fn group(&mut self) -> Result<Node, ByteLevelErrorKind> {
        let outer = self.ignore_case;
        if self.eat("(?i:") {
            self.ignore_case = true;
        } else if self.eat("(?") {
            if !self.eat(":") {
                return Err(self.refuse("a group with flags, a name or look-behind"));
            }
        } else {
            self.at += 1;
        }
        let node = self.alternatives()?;
        self.close()?;
        self.ignore_case = outer;
        Ok(node)
    }

    fn close(&mut self) -> Result<(), ByteLevelErrorKind> {
        if self.eat(")") { Ok(()) } else { Err(self.refuse("an opening parenthesis without its closing")) }
    }

    fn set(&mut self) -> Result<Node, ByteLevelErrorKind> {
        let start = self.at;
        let n_bytes = self.set_length();
        let source = &self.pattern[start..start + n_bytes];
        let parsed = regex_syntax::ParserBuilder::new()
            .case_insensitive(self.ignore_case)
            .build()
            .parse(source)
            .map_err(|_| self.refuse("an unknown escape or class"))?;
        let set = match parsed.into_kind() {
            HirKind::Class(Class::Unicode(set)) => set,
            HirKind::Literal(literal) => {
                let mut chars = std::str::from_utf8(&literal.0).unwrap_or_default().chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => ClassUnicode::new([ClassUnicodeRange::new(c, c)]),
                    _ => return Err(self.refuse("an unknown escape or class")),
                }
            }
            _ => return Err(self.refuse("an anchor or another assertion")),
        };
        self.at += n_bytes;
        self.sets.push(set);
        Ok(Node::Set(self.sets.len() as u16 - 1))
    }

    /// How many bytes of the pattern spell the next character or class.
    fn set_length(&self) -> usize {
        let rest = self.rest();
        let char_length = |at: usize| rest[at..].chars().next().map_or(0, char::len_utf8);
        if let Some(name) = rest.strip_prefix('\\') {
            let escaped = 1 + char_length(1);
            let braced = name.starts_with(['p', 'P', 'x', 'u']) && rest[escaped..].starts_with('{');
            return match rest[escaped..].find('}') {
                Some(end) if braced => escaped + end + 1,
                _ if name.starts_with(['p', 'P']) => escaped + char_length(escaped),
                _ => escaped,
            };
        }
        if rest.starts_with('[') {
            return bracket_length(rest);
        }
        char_length(0)
    }

    fn quantified(&mut self, node: Node, at: usize) -> Result<Node, ByteLevelErrorKind> {
        let (min, max) = if self.eat("?") {
            (0, Some(1))
        } else if self.eat("*") {
            (0, None)
        } else if self.eat("+") {
            (1, None)
        } else if let Some((bounds, n_bytes)) = self.bounds() {
            self.at += n_bytes;
            bounds
        } else {
            return Ok(node);
        };
        let lazy = self.eat("?");
        let possessive = !lazy && self.eat("+");
        let again = self.rest().starts_with(['?', '*', '+']) || self.bounds().is_some();
        if again || matches!(node, Node::Ahead(..) | Node::AtEnd) {
            return Err(self.refuse("a quantifier on a quantifier or an assertion"));
        }
        Ok(Node::Repeat { node: Box::new(node), min, max, lazy, possessive, at })
    }

    /// `{m}`, `{m,}` or `{m,n}`, and its length.
    #[allow(clippy::type_complexity)]
    fn bounds(&self) -> Option<((u32, Option<u32>), usize)> {
        let inner = self.rest().strip_prefix('{')?;
        let end = inner.find('}')?;
        let (min, max) = match inner[..end].split_once(',') {
            None => (inner[..end].parse().ok()?, Some(inner[..end].parse().ok()?)),
            Some((min, "")) => (min.parse().ok()?, None),
            Some((min, max)) => (min.parse().ok()?, Some(max.parse().ok()?)),
        };
        Some(((min, max), end + 2))
    }
}

/// The length of a bracketed class, nested ones included.
fn bracket_length(text: &str) -> usize {
    let (mut depth, mut escaped, mut first) = (0, false, false);
    for (at, c) in text.char_indices() {
        let literal = escaped || first && c == ']';
        first = !literal && (c == '[' || first && c == '^');
        match c {
            _ if literal => {}
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
        if depth == 0 {
            return at + 1;
        }
    }
    text.len()
}

struct Compiler<'a> {
    reader: &'a Reader<'a>,
    code: Vec<Instruction>,
    /// What follows a possessive repetition, the set it repeats and where it stands in the pattern.
    possessive: Vec<(usize, u16, usize)>,
}

impl Compiler<'_> {
    fn push(&mut self, instruction: Instruction) -> Result<usize, ByteLevelErrorKind> {
        if self.code.len() == MAX_INSTRUCTIONS {
            return Err(self.reader.refuse("more repetitions than fit the program"));
        }
        self.code.push(instruction);
        Ok(self.code.len() - 1)
    }

    fn here(&self) -> u16 {
        self.code.len() as u16
    }

    fn emit(&mut self, node: &Node) -> Result<(), ByteLevelErrorKind> {
        match node {
            Node::Set(set) => drop(self.push(Instruction::Take(*set))?),
            Node::Ahead(set, wanted) => drop(self.push(Instruction::Ahead(*set, *wanted))?),
            Node::AtEnd => drop(self.push(Instruction::AtEnd)?),
            Node::Sequence(nodes) => nodes.iter().try_for_each(|node| self.emit(node))?,
            Node::Either(alternatives) => self.emit_either(alternatives)?,
            Node::Repeat { node, min, max, lazy, possessive, at } => {
                (0..*min).try_for_each(|_| self.emit(node))?;
                match max {
                    None => self.emit_star(node, *lazy)?,
                    Some(max) => self.emit_optional(node, max.saturating_sub(*min), *lazy)?,
                }
                if *possessive {
                    let Node::Set(set) = **node else {
                        return Err(self.reader.refuse("a possessive group"));
                    };
                    self.possessive.push((self.code.len(), set, *at));
                }
            }
        }
        Ok(())
    }

    fn emit_either(&mut self, alternatives: &[Node]) -> Result<(), ByteLevelErrorKind> {
        let mut jumps = Vec::new();
        for (index, node) in alternatives.iter().enumerate() {
            let split =
                if index + 1 < alternatives.len() { Some(self.push(Instruction::Jump(0))?) } else { None };
            self.emit(node)?;
            if let Some(split) = split {
                jumps.push(self.push(Instruction::Jump(0))?);
                self.code[split] = Instruction::Split(split as u16 + 1, self.here());
            }
        }
        for jump in jumps {
            self.code[jump] = Instruction::Jump(self.here());
        }
        Ok(())
    }

    fn emit_star(&mut self, node: &Node, lazy: bool) -> Result<(), ByteLevelErrorKind> {
        let split = self.push(Instruction::Jump(0))?;
        self.emit(node)?;
        self.push(Instruction::Jump(split as u16))?;
        self.code[split] = self.choice(split, lazy);
        Ok(())
    }

    fn emit_optional(&mut self, node: &Node, n: u32, lazy: bool) -> Result<(), ByteLevelErrorKind> {
        let mut splits = Vec::new();
        for _ in 0..n {
            splits.push(self.push(Instruction::Jump(0))?);
            self.emit(node)?;
        }
        for split in splits {
            self.code[split] = self.choice(split, lazy);
        }
        Ok(())
    }

    /// To the instruction behind `split` or to here.
    fn choice(&self, split: usize, lazy: bool) -> Instruction {
        let (inside, outside) = (split as u16 + 1, self.here());
        if lazy { Instruction::Split(outside, inside) } else { Instruction::Split(inside, outside) }
    }
}
