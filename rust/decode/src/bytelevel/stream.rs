//! Where may a pretoken end, when the text to come is not known?
//!
//! Split patterns look ahead: whether `"\n"` before `"\n"` is a pretoken of its own depends on what follows both. So
//! boundaries are guessed here, and a guess carries what it owes. Each split step is a set of threads of its pattern:
//!
//! - the threads of the match in progress, in order of preference (a guess "no boundary here" drops the threads that
//!   the pattern would prefer less than ending here);
//! - *owed* threads, which must die: a guess "the match ends here" owes the death of every thread the pattern would
//!   have preferred, and a guess "no match starts here" owes the death of every thread started here. A guess whose
//!   owed thread matches is refuted.
//!
//! A hypothesis about a text is right exactly if it ends with nothing refuted and its last match complete. Several
//! steps nest: a boundary of an outer step ends the text of the inner ones. States are numbered as they are met;
//! transitions, the verdict at the end of the text and whether any text could still prove a state right are tabled.
//!
//! Cost: the first visit of a transition runs the threads, later ones look up a table.

use std::collections::hash_map::Entry;

use rustc_hash::{FxHashMap, FxHashSet};
use tokenloom_tokenize::spec::{Pretokenizer, SplitBehavior, SplitPattern};

use super::classes::Classes;
use super::error::{ByteLevelError, ByteLevelErrorKind};
use super::pattern::{Instruction, Program};

/// A numbered state of a [`Stream`].
pub(super) type StateId = u32;

const UNKNOWN: StateId = StateId::MAX;
const DEAD: StateId = StateId::MAX - 1;
const MAX_STATES: usize = 1 << 16;
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// What a split step is doing with the text since its last boundary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Piece {
    /// Nothing was read yet.
    Fresh,
    /// A match: its threads, preferred first.
    Match(Box<[u16]>),
    /// Text between matches.
    Gap,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Level {
    piece: Piece,
    /// Sorted.
    owed: Box<[u16]>,
}

type State = Box<[Level]>;

#[derive(Clone, Debug)]
struct Step {
    program: Program,
    /// Number of the program's first set among all sets.
    first_set: u16,
    keeps_gaps: bool,
}

/// The split steps of a tokenizer, followed character by character.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    steps: Vec<Step>,
    classes: Classes,
    states: Vec<State>,
    numbers: FxHashMap<State, StateId>,
    /// By state and class: the state without a boundary before the character.
    within: Vec<StateId>,
    /// The states with a boundary before the character.
    begin: FxHashMap<(StateId, u16), Box<[StateId]>>,
    ends: Vec<bool>,
    hopeful: Vec<Option<bool>>,
}

/// Before the first character.
pub(super) const START: StateId = 0;

impl Stream {
    /// Compiles the split steps.
    pub(super) fn new(pretokenizers: &[Pretokenizer]) -> Result<Self, ByteLevelError> {
        let mut programs = Vec::new();
        for pretokenizer in pretokenizers {
            programs.extend(program_of(pretokenizer)?);
        }
        let sets: Vec<_> = programs.iter().flat_map(|(program, _): &(Program, bool)| &program.sets).collect();
        let classes = Classes::new(&sets);
        let mut first_set = 0;
        let steps: Vec<Step> = programs
            .into_iter()
            .map(|(program, keeps_gaps)| {
                let n_sets = program.sets.len() as u16;
                first_set += n_sets;
                Step { program, first_set: first_set - n_sets, keeps_gaps }
            })
            .collect();
        let mut this = Self {
            classes,
            states: Vec::new(),
            numbers: FxHashMap::default(),
            within: Vec::new(),
            begin: FxHashMap::default(),
            ends: Vec::new(),
            hopeful: Vec::new(),
            steps,
        };
        // Without any split step the text is one pretoken; one level keeps that it has begun.
        let n_levels = this.steps.len().max(1);
        this.number(vec![Level { piece: Piece::Fresh, owed: Box::default() }; n_levels].into())?;
        Ok(this)
    }

    /// The class of a character.
    #[inline]
    pub(super) fn class(&self, c: char) -> u16 {
        self.classes.of(c)
    }

    /// The classes of the characters between two code points.
    pub(super) fn classes_between(&self, first: u32, last: u32) -> Vec<u16> {
        self.classes.between(first, last)
    }

    /// Whether the hypothesis is right if the text ends here.
    #[inline]
    pub(super) fn ends(&self, state: StateId) -> bool {
        self.ends[state as usize]
    }

    /// The state after a character of `class` with no pretoken boundary before it.
    #[inline]
    pub(super) fn within(&mut self, state: StateId, class: u16) -> Result<Option<StateId>, ByteLevelError> {
        let cell = state as usize * self.classes.len() + usize::from(class);
        if self.within[cell] == UNKNOWN {
            let levels: Option<State> =
                (0..self.states[state as usize].len()).map(|level| self.go_on(state, level, class)).collect();
            self.within[cell] = match levels {
                Some(levels) => self.number(levels)?,
                None => DEAD,
            };
        }
        Ok(Some(self.within[cell]).filter(|&next| next != DEAD))
    }

    /// The states after a character of `class` with a pretoken boundary before it.
    pub(super) fn begin(&mut self, state: StateId, class: u16) -> Result<&[StateId], ByteLevelError> {
        if !self.begin.contains_key(&(state, class)) {
            let mut found = Vec::new();
            for levels in self.begin_levels(state, class) {
                let number = self.number(levels)?;
                if !found.contains(&number) {
                    found.push(number);
                }
            }
            self.begin.insert((state, class), found.into());
        }
        Ok(&self.begin[&(state, class)])
    }

    /// Whether some text, the empty one included, proves the hypothesis right.
    pub(super) fn is_hopeful(&mut self, state: StateId) -> Result<bool, ByteLevelError> {
        if let Some(known) = self.hopeful[state as usize] {
            return Ok(known);
        }
        let mut seen = FxHashSet::from_iter([state]);
        let mut queue = vec![state];
        let mut hope = false;
        while let Some(state) = queue.pop() {
            if self.ends(state) || self.hopeful[state as usize] == Some(true) {
                hope = true;
                break;
            }
            for class in 0..self.classes.len() as u16 {
                queue.extend(self.within(state, class)?.filter(|&next| seen.insert(next)));
                let next = self.begin(state, class)?.to_vec();
                queue.extend(next.into_iter().filter(|&next| seen.insert(next)));
            }
        }
        if hope {
            self.hopeful[state as usize] = Some(true);
        } else {
            seen.into_iter().for_each(|state| self.hopeful[state as usize] = Some(false));
        }
        Ok(hope)
    }

    fn number(&mut self, levels: State) -> Result<StateId, ByteLevelError> {
        let next = self.states.len();
        match self.numbers.entry(levels) {
            Entry::Occupied(known) => return Ok(*known.get()),
            Entry::Vacant(_) if next == MAX_STATES => {
                return Err(ByteLevelErrorKind::TooManyStates { limit: MAX_STATES }.into());
            }
            Entry::Vacant(new) => {
                self.states.push(new.key().clone());
                new.insert(next as StateId);
            }
        }
        let ends = (0..self.states[next].len()).all(|level| self.level_ends(next as StateId, level));
        self.ends.push(ends);
        self.hopeful.push(None);
        self.within.resize((next + 1) * self.classes.len(), UNKNOWN);
        Ok(next as StateId)
    }

    /// The ways a boundary before a character of `class` can come about: one step cuts, the outer ones go on, the
    /// inner ones see their text end.
    fn begin_levels(&self, state: StateId, class: u16) -> Vec<State> {
        let n_levels = self.states[state as usize].len();
        let fresh = Level { piece: Piece::Fresh, owed: Box::default() };
        let mut found = Vec::new();
        for cutting in 0..n_levels {
            let mut ways: Vec<Vec<Level>> = vec![Vec::new()];
            for level in 0..n_levels {
                let next: Vec<Level> = if level < cutting {
                    self.go_on(state, level, class).into_iter().collect()
                } else if level == cutting {
                    self.cut(&self.states[state as usize][level], level, class)
                } else if self.level_ends(state, level) {
                    self.cut(&fresh, level, class)
                } else {
                    Vec::new()
                };
                ways = ways
                    .iter()
                    .flat_map(|way| {
                        next.iter().map(move |level| [way.as_slice(), std::slice::from_ref(level)].concat())
                    })
                    .collect();
            }
            found.extend(ways.into_iter().map(State::from));
        }
        found
    }

    /// A level without a boundary before the character.
    fn go_on(&self, state: StateId, level: usize, class: u16) -> Option<Level> {
        let here = &self.states[state as usize][level];
        let Some(step) = self.steps.get(level) else {
            return (here.piece == Piece::Gap).then(|| here.clone());
        };
        let mut owed = self.pay(step, &here.owed, class)?;
        let piece = match &here.piece {
            Piece::Fresh => return None,
            Piece::Gap => {
                owed.extend(self.advance(step, &self.closure(step, &[0], Some(class)), class));
                Piece::Gap
            }
            Piece::Match(threads) => {
                let closed = self.closure(step, threads, Some(class));
                let preferred = match matched(step, &closed) {
                    Some(end) => &closed[..end],
                    None => &closed[..],
                };
                let threads = self.advance(step, preferred, class);
                if threads.is_empty() {
                    return None;
                }
                Piece::Match(threads.into())
            }
        };
        Some(Level { piece, owed: sorted(owed) })
    }

    /// A level with a boundary of its own before the character.
    fn cut(&self, here: &Level, level: usize, class: u16) -> Vec<Level> {
        let Some(step) = self.steps.get(level) else {
            let gap = Level { piece: Piece::Gap, owed: Box::default() };
            return if here.piece == Piece::Fresh { vec![gap] } else { Vec::new() };
        };
        let Some(mut owed) = self.pay(step, &here.owed, class) else { return Vec::new() };
        if let Piece::Match(threads) = &here.piece {
            let closed = self.closure(step, threads, Some(class));
            let Some(end) = matched(step, &closed) else { return Vec::new() };
            owed.extend(self.advance(step, &closed[..end], class));
        }
        let started = self.advance(step, &self.closure(step, &[0], Some(class)), class);
        let mut ways = Vec::new();
        if here.piece != Piece::Gap && step.keeps_gaps {
            let owed = [owed.as_slice(), started.as_slice()].concat();
            ways.push(Level { piece: Piece::Gap, owed: sorted(owed) });
        }
        if !started.is_empty() {
            ways.push(Level { piece: Piece::Match(started.into()), owed: sorted(owed) });
        }
        ways
    }

    fn level_ends(&self, state: StateId, level: usize) -> bool {
        let here = &self.states[state as usize][level];
        let Some(step) = self.steps.get(level) else { return true };
        let complete = match &here.piece {
            Piece::Match(threads) => matched(step, &self.closure(step, threads, None)).is_some(),
            Piece::Fresh | Piece::Gap => true,
        };
        complete && matched(step, &self.closure(step, &here.owed, None)).is_none()
    }

    /// The owed threads after the character; `None` if one of them matches before it.
    fn pay(&self, step: &Step, owed: &[u16], class: u16) -> Option<Vec<u16>> {
        let closed = self.closure(step, owed, Some(class));
        matched(step, &closed).is_none().then(|| self.advance(step, &closed, class))
    }

    /// The threads at instructions that take a character or match, preferred first, given the next character.
    fn closure(&self, step: &Step, threads: &[u16], next: Option<u16>) -> Vec<u16> {
        let code = &step.program.code;
        let mut seen = vec![false; code.len()];
        let mut closed = Vec::new();
        let mut stack: Vec<u16> = threads.iter().rev().copied().collect();
        while let Some(place) = stack.pop() {
            if std::mem::replace(&mut seen[usize::from(place)], true) {
                continue;
            }
            let in_set =
                |set: u16| next.is_some_and(|class| self.classes.in_set(class, step.first_set + set));
            match code[usize::from(place)] {
                Instruction::Split(a, b) => stack.extend([b, a]),
                Instruction::Jump(a) => stack.push(a),
                Instruction::Ahead(set, wanted) => stack.extend((in_set(set) == wanted).then_some(place + 1)),
                Instruction::AtEnd => stack.extend(next.is_none().then_some(place + 1)),
                Instruction::Take(_) | Instruction::Match => closed.push(place),
            }
        }
        closed
    }

    /// The threads behind a character of `class`.
    fn advance(&self, step: &Step, closed: &[u16], class: u16) -> Vec<u16> {
        let takes = |&&place: &&u16| match step.program.code[usize::from(place)] {
            Instruction::Take(set) => self.classes.in_set(class, step.first_set + set),
            _ => false,
        };
        closed.iter().filter(takes).map(|place| place + 1).collect()
    }
}

fn matched(step: &Step, closed: &[u16]) -> Option<usize> {
    closed.iter().position(|&place| step.program.code[usize::from(place)] == Instruction::Match)
}

fn sorted(mut threads: Vec<u16>) -> Box<[u16]> {
    threads.sort_unstable();
    threads.dedup();
    threads.into()
}

/// The program of a pretokenizer, and whether it keeps the text between matches; `None` if it splits nothing.
fn program_of(pretokenizer: &Pretokenizer) -> Result<Option<(Program, bool)>, ByteLevelError> {
    let unsupported = |component| Err(ByteLevelErrorKind::Unsupported { component }.into());
    let keeps_gaps = match pretokenizer {
        Pretokenizer::Split { behavior: SplitBehavior::Isolated, .. } => true,
        Pretokenizer::Split { behavior: SplitBehavior::Removed, invert: true, .. } => false,
        Pretokenizer::Split { .. } => return unsupported("a split that removes or joins its matches"),
        _ => true,
    };
    let pattern = match pretokenizer {
        Pretokenizer::Split { pattern: SplitPattern::Regex(pattern), .. } => pattern.clone(),
        Pretokenizer::Split { pattern: SplitPattern::Literal(text), .. } if text.is_empty() => {
            return Ok(None);
        }
        Pretokenizer::Split { pattern: SplitPattern::Literal(text), .. } => regex_syntax::escape(text),
        Pretokenizer::Digits { individual: true } => r"\p{N}".into(),
        Pretokenizer::Digits { individual: false } => r"\p{N}+".into(),
        Pretokenizer::ByteLevel { add_prefix_space: true, .. } => {
            return unsupported("a space put before the text");
        }
        Pretokenizer::ByteLevel { use_regex: true, .. } => GPT2.into(),
        Pretokenizer::ByteLevel { .. } => return Ok(None),
        Pretokenizer::Metaspace { split: true, .. } => " [^ ]*|[^ ]+".into(),
        Pretokenizer::Metaspace { .. } => return Ok(None),
        _ => return unsupported("a pretokenizer that is not followed byte by byte"),
    };
    Ok(Some((Program::new(&pattern).map_err(ByteLevelError::from)?, keeps_gaps)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokenloom_tokenize::Tokenizer;
    use tokenloom_tokenize::spec::TokenizerSpec;

    use super::*;

    const CL100K: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s";
    const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    const SUPERBPE: &str = r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]{2,}[\r\n/]*| +(?!\S)";
    const DEEPSEEK: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

    fn regex(pattern: &str) -> Pretokenizer {
        let pattern = SplitPattern::Regex(pattern.into());
        Pretokenizer::Split { pattern, behavior: SplitBehavior::Isolated, invert: false }
    }

    fn suites() -> Vec<Vec<Pretokenizer>> {
        let gpt2 = Pretokenizer::ByteLevel { add_prefix_space: false, use_regex: true };
        vec![
            vec![],
            vec![gpt2.clone()],
            vec![Pretokenizer::Digits { individual: true }, gpt2.clone()],
            vec![Pretokenizer::Digits { individual: false }, gpt2],
            vec![regex(CL100K)],
            vec![regex(LLAMA3)],
            vec![regex(O200K)],
            vec![regex(SUPERBPE)],
            vec![regex(r"\p{N}{1,3}"), regex("[一-龥぀-ゟ゠-ヿ]+"), regex(DEEPSEEK)],
            vec![regex(r"a??l*?'|(?=s)s| +")],
        ]
    }

    /// The boundaries that some hypothesis about `text` has when the text ends after it.
    fn proven(stream: &mut Stream, text: &str) -> Vec<Vec<usize>> {
        let mut alive = BTreeMap::from([(Vec::new(), vec![START])]);
        for (at, c) in text.char_indices() {
            let class = stream.class(c);
            let mut next: BTreeMap<Vec<usize>, Vec<StateId>> = BTreeMap::new();
            for (boundaries, states) in alive {
                for state in states {
                    if let Some(within) = stream.within(state, class).unwrap() {
                        next.entry(boundaries.clone()).or_default().push(within);
                    }
                    let begun = [boundaries.as_slice(), &[at]].concat();
                    next.entry(begun).or_default().extend(stream.begin(state, class).unwrap());
                }
            }
            next.values_mut().for_each(|states| states.retain(|&state| stream.is_hopeful(state).unwrap()));
            next.retain(|_, states| !states.is_empty());
            assert!(next.len() <= 4, "{} guesses are open in {text:?}", next.len());
            alive = next;
        }
        alive.retain(|_, states| states.iter().any(|&state| stream.ends(state)));
        alive.into_keys().collect()
    }

    #[test]
    fn the_one_proven_guess_is_where_the_pretokenizer_cuts() {
        let alphabet = [
            " ", " ", "\n", "\r", "\t", "a", "B", "l", "'", "s", "1", "2", "!", "/", "\u{e9}", "\u{4e2d}",
            "\u{17f}", "\u{301}", "\u{a0}",
        ];
        let mut seed = 1_u64;
        for pretokenizers in suites() {
            let spec = TokenizerSpec {
                tokens: (0..=255u8).map(|byte| (u32::from(byte), Box::from([byte]))).collect(),
                pretokenizers: pretokenizers.clone(),
                ..TokenizerSpec::default()
            };
            let tokenizer = Tokenizer::new(spec).unwrap();
            let mut stream = Stream::new(&pretokenizers).unwrap();
            for _ in 0..4_000 {
                let mut random = || {
                    seed =
                        seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    (seed >> 33) as usize
                };
                let text: String = (0..random() % 11).map(|_| alphabet[random() % alphabet.len()]).collect();
                let expected: Vec<usize> =
                    tokenizer.pretokenize(&text).unwrap().iter().map(|span| span.start).collect();
                assert_eq!(proven(&mut stream, &text), [expected], "{text:?} with {pretokenizers:?}");
            }
        }
    }

    #[test]
    fn constructs_that_are_not_followed_are_named() {
        for (pattern, construct) in [
            (r"(?<=a)b", "look-behind"),
            (r"\bab", "assertion"),
            (r"a(?!bc)", "more than one character"),
            (r"a*", "no characters"),
            (r"\s++a|\s++ ", "possessive"),
            (r"(a", "parenthesis"),
            (r"a{2}{3}", "quantifier"),
            (r"a{5000}", "repetitions"),
        ] {
            let error = Stream::new(&[regex(pattern)]).unwrap_err().to_string();
            assert!(error.contains(construct), "{pattern}: {error}");
        }
        let removed = Pretokenizer::Split {
            pattern: SplitPattern::Literal(" ".into()),
            behavior: SplitBehavior::Removed,
            invert: false,
        };
        assert!(Stream::new(&[removed]).is_err());
        assert!(
            Stream::new(&[Pretokenizer::ByteLevel { add_prefix_space: true, use_regex: false }]).is_err()
        );
    }
}
