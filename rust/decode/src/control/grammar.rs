//! Which tokens keep the text inside a JSON Schema, a regular expression or a grammar?
//!
//! Compiling and parsing are `llguidance`'s; what is decided here is what its answers mean for a decoding loop.
//!
//! - A token is allowed exactly if its bytes can be appended: the mask holds every such token, also where the encoder
//!   would cut the same text differently. `check` answers for one token without the mask.
//! - The end tokens belong to the constraint: they are allowed exactly where the text is complete, and after one of
//!   them nothing is allowed. Grammars need not spell them.
//! - `forced` gives what our encoder makes of the bytes that the grammar leaves no choice about, up to the last token
//!   that some allowed text could still change.
//! - An error leaves the state as it was.
//!
//! Cost: a mask walks the trie, usually 10 to 500 us at 128k tokens; a check walks the bytes of one token. Forks copy
//! the parse stack; texts inherit the lexer's tables from each other (`lexer_tables`).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use llguidance::earley::{BiasComputer, Parser};
use llguidance::toktrie::{Recognizer, TokTrie};
use tokenloom_vocab::{TokenId, TokenMask};

use super::endless::endless_part;
use super::lark_limits;
use super::lexer_tables::{Leased, LexerTables, Share};
use super::schema_limits;
use super::{Constraint, ConstraintState, ControlError, ControlErrorKind, GrammarVocabulary};

/// What a grammar is written in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GrammarSource<'a> {
    /// A JSON Schema as JSON text.
    JsonSchema(&'a str),
    /// A regular expression that the whole text matches (Rust syntax, Unicode).
    Regex(&'a str),
    /// A context-free grammar in `llguidance`'s Lark dialect.
    Lark(&'a str),
}

impl GrammarSource<'_> {
    fn what(&self) -> &'static str {
        match self {
            Self::JsonSchema(_) => "the JSON Schema",
            Self::Regex(_) => "the regular expression",
            Self::Lark(_) => "the grammar",
        }
    }

    /// The engine's grammar, and how deep it may recurse into it.
    fn to_grammar(&self) -> Result<(TopLevelGrammar, usize), ControlErrorKind> {
        let mut n_levels = 0;
        let grammar = match self {
            Self::JsonSchema(text) => {
                let schema = serde_json::from_str(text).map_err(|error| ControlErrorKind::Grammar {
                    what: self.what(),
                    reason: error.to_string().into(),
                })?;
                n_levels = schema_limits::check(&schema)?;
                TopLevelGrammar::from_json_schema(schema)
            }
            Self::Regex(pattern) => TopLevelGrammar::from_grammar(GrammarWithLexer::from_regex(pattern)),
            Self::Lark(text) => {
                n_levels = lark_limits::check(text)?;
                for (at, mark) in text.match_indices("%json") {
                    // What is no JSON is the engine's to refuse, or no schema.
                    let rest = serde_json::Deserializer::from_str(&text[at + mark.len()..]);
                    if let Some(Ok(schema)) = rest.into_iter().next() {
                        n_levels = n_levels.max(schema_limits::check(&schema)?);
                    }
                }
                TopLevelGrammar::from_lark((*text).to_string())
            }
        };
        Ok((grammar, n_levels))
    }
}

/// A grammar compiled for a vocabulary.
pub struct Grammar {
    vocabulary: Arc<GrammarVocabulary>,
    tables: LexerTables,
    computer: Arc<dyn BiasComputer>,
    eos: Vec<TokenId>,
}

impl std::fmt::Debug for Grammar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammar").field("eos", &self.eos).finish_non_exhaustive()
    }
}

impl Grammar {
    /// Compiles a grammar; `eos` are the tokens that end a text, none if the caller ends it.
    ///
    /// # Errors
    /// [`ControlErrorKind::Grammar`], [`ControlErrorKind::TooDeep`], [`ControlErrorKind::UnknownEos`].
    pub fn new(
        source: &GrammarSource<'_>,
        vocabulary: Arc<GrammarVocabulary>,
        eos: &[TokenId],
    ) -> Result<Self, ControlError> {
        vocabulary.check_eos(eos)?;
        let (grammar, n_levels) = source.to_grammar()?;
        let compiled = on_a_deep_stack(n_levels, || guarded(|| vocabulary.factory.create_parser(grammar)))
            .map_err(|reason| ControlErrorKind::Grammar { what: source.what(), reason })?;
        if let Some(part) = endless_part(compiled.parser.grammar()) {
            let part = match part {
                "start" => "it".into(),
                nameless if nameless.contains('#') => "a part of it".into(),
                name => format!("its rule {name}"),
            };
            let reason = format!("{part} can be begun but never ended, a recursion without a way out");
            return Err(ControlErrorKind::Grammar { what: source.what(), reason: reason.into() }.into());
        }
        let tables = LexerTables::new(compiled.parser);
        Ok(Self { tables, computer: compiled.bias_computer, vocabulary, eos: eos.to_vec() })
    }
}

impl Constraint for Arc<Grammar> {
    fn start(&self) -> Box<dyn ConstraintState> {
        Box::new(GrammarState::new(self))
    }
}

/// How far a text has come in a [`Grammar`].
#[derive(Clone)]
struct GrammarState {
    grammar: Arc<Grammar>,
    parser: Parser,
    share: Share,
    ids: Vec<TokenId>,
    prefix: Vec<u8>,
    ended: bool,
    /// The token that was last found allowed here, so that taking it needs no second look.
    known: Option<TokenId>,
}

impl std::fmt::Debug for GrammarState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrammarState")
            .field("ids", &self.ids)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl GrammarState {
    fn new(grammar: &Arc<Grammar>) -> Self {
        let Leased { parser, share } = grammar.tables.lease();
        let grammar = Arc::clone(grammar);
        Self { parser, share, grammar, ids: Vec::new(), prefix: Vec::new(), ended: false, known: None }
    }

    /// The bytes that the parser reads for a token, and whether they are text.
    fn bytes_of(&self, id: TokenId) -> (Vec<u8>, bool) {
        match self.grammar.vocabulary.spelling(id) {
            Some(bytes) => (bytes.to_vec(), true),
            None => (self.grammar.vocabulary.trie().decode_raw(&[id]), false),
        }
    }

    /// Runs `work` on the parser. Where the engine fails with tables that others use too, it runs again with own ones;
    /// if that fails, the parser is restored.
    fn walk<T>(&mut self, mut work: impl FnMut(&mut Parser) -> T) -> Result<T, ControlError> {
        loop {
            let reason = match self.attempt(&mut work) {
                Ok(value) => return Ok(value),
                Err(reason) => reason,
            };
            let was_shared = self.share.is_shared();
            // A failure here would repeat at the next call, which reports it.
            let is_restored = self.replay(self.grammar.tables.own()).is_ok();
            if !(was_shared && is_restored) {
                return Err(ControlErrorKind::Walk { step: self.ids.len(), reason }.into());
            }
        }
    }

    fn attempt<T>(&mut self, work: impl FnOnce(&mut Parser) -> T) -> Result<T, Box<str>> {
        let parser = &mut self.parser;
        guarded(|| {
            let value = work(parser);
            match parser.get_error() {
                None => Ok(value),
                Some(error) => Err(error.message()),
            }
        })
    }

    /// Walks the tokens again.
    fn replay(&mut self, tables: Leased) -> Result<(), ControlError> {
        let grammar = Arc::clone(&self.grammar);
        let ids: Vec<TokenId> = self.ids.iter().copied().filter(|id| !grammar.eos.contains(id)).collect();
        let step = ids.len();
        let Leased { mut parser, share } = tables;
        self.parser = guarded(|| {
            for &id in &ids {
                let spelled = grammar.vocabulary.spelling(id).map(<[u8]>::to_vec);
                let bytes = spelled.unwrap_or_else(|| grammar.vocabulary.trie().decode_raw(&[id]));
                parser.apply_token(&bytes, id).map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(parser)
        })
        .map_err(|reason| ControlErrorKind::Walk { step, reason })?;
        self.share = share;
        Ok(())
    }
}

impl ConstraintState for GrammarState {
    fn ids(&self) -> &[TokenId] {
        &self.ids
    }

    fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    fn deciders(&self, into: &mut Vec<usize>) {
        into.push(Arc::as_ptr(&self.grammar).addr());
    }

    fn n_tokens(&self) -> usize {
        self.grammar.vocabulary.n_tokens()
    }

    fn mask(&mut self) -> Result<TokenMask, ControlError> {
        let n_tokens = self.n_tokens();
        if self.ended {
            return Ok(TokenMask::empty(n_tokens));
        }
        let computer = Arc::clone(&self.grammar.computer);
        let (words, accepting) = self.walk(|parser| {
            let start = parser.currently_forced_bytes().to_vec();
            let words: Vec<u32> = parser.compute_bias(&*computer, &start).into();
            (words, parser.is_accepting())
        })?;
        let mut mask = TokenMask::from_words(words, n_tokens);
        let grammar = Arc::clone(&self.grammar);
        for (id, bytes) in grammar.vocabulary.outside() {
            mask.set(id, self.walk(|parser| can_follow(parser, bytes))?);
        }
        for &id in &grammar.eos {
            mask.set(id, accepting);
        }
        if mask.is_empty() && !accepting {
            return Err(ControlErrorKind::DeadEnd { step: self.ids.len() }.into());
        }
        Ok(mask)
    }

    fn check(&mut self, id: TokenId) -> Result<bool, ControlError> {
        if self.ended {
            Ok(false)
        } else if self.grammar.eos.contains(&id) {
            self.is_accepting()
        } else if self.grammar.vocabulary.in_trie.contains(id) {
            let is_allowed = self.walk(|parser| parser.validate_tokens(&[id]) == 1)?;
            if is_allowed {
                self.known = Some(id);
            }
            Ok(is_allowed)
        } else {
            let vocabulary = Arc::clone(&self.grammar.vocabulary);
            match vocabulary.spelling(id) {
                Some(bytes) => self.walk(|parser| can_follow(parser, bytes)),
                None => Ok(false),
            }
        }
    }

    fn advance(&mut self, id: TokenId) -> Result<(), ControlError> {
        if self.known.take() != Some(id) && !self.check(id)? {
            return Err(ControlErrorKind::NotAllowed { id, step: self.ids.len() }.into());
        }
        self.known = None;
        if self.grammar.eos.contains(&id) {
            self.ended = true;
        } else {
            let (bytes, is_text) = self.bytes_of(id);
            let n_undone = self.walk(|parser| parser.apply_token(&bytes, id))?;
            let reason = match n_undone {
                Ok(0) => None,
                Ok(_) => Some("the grammar hides text that was already produced".into()),
                Err(error) => Some(head(&error.to_string())),
            };
            if let Some(reason) = reason {
                self.replay(self.grammar.tables.own())?;
                return Err(ControlErrorKind::Walk { step: self.ids.len(), reason }.into());
            }
            if is_text {
                self.prefix.extend_from_slice(&bytes);
            }
        }
        self.ids.push(id);
        Ok(())
    }

    fn rollback(&mut self, n: usize) -> Result<(), ControlError> {
        let step = self.ids.len();
        let Some(kept) = step.checked_sub(n) else {
            return Err(ControlErrorKind::Rollback { n, step }.into());
        };
        let (mut n_walked, mut n_spelled) = (0, 0);
        for &id in self.ids[kept..].iter().filter(|id| !self.grammar.eos.contains(id)) {
            let (bytes, is_text) = self.bytes_of(id);
            n_walked += bytes.len();
            n_spelled += if is_text { bytes.len() } else { 0 };
        }
        self.known = None;
        self.ids.truncate(kept);
        self.prefix.truncate(self.prefix.len() - n_spelled);
        self.ended &= n == 0;
        // Some grammars cannot go back; walking them again is always right.
        match self.attempt(|parser| parser.rollback(n_walked)) {
            Ok(Ok(())) => Ok(()),
            _ => self.replay(self.grammar.tables.lease()).or_else(|_| self.replay(self.grammar.tables.own())),
        }
    }

    fn is_accepting(&mut self) -> Result<bool, ControlError> {
        if self.ended {
            return Ok(true);
        }
        self.walk(|parser| parser.currently_forced_bytes().is_empty() && parser.is_accepting())
    }

    fn forced(&mut self) -> Result<Vec<TokenId>, ControlError> {
        if self.ended {
            return Ok(Vec::new());
        }
        let vocabulary = Arc::clone(&self.grammar.vocabulary);
        let last = self.ids.last().copied();
        let mut ahead = self.clone();
        ahead.walk(|parser| {
            let forced = parser.force_bytes().to_vec();
            let mut ids = vocabulary.canonical(last, &forced, |trie, ids| {
                parser.with_recognizer(|recognizer| trie.chop_tokens(recognizer, ids)).0
            });
            let n_allowed = parser.validate_tokens(&ids);
            ids.truncate(n_allowed);
            ids
        })
    }

    /// Copies the parse stack; a fork takes turns with its origin at the tables of the lexer.
    fn fork(&self) -> Box<dyn ConstraintState> {
        Box::new(self.clone())
    }
}

/// Whether the parser could read these bytes; it forgets them again. The marker of added tokens is no text.
fn can_follow(parser: &mut Parser, bytes: &[u8]) -> bool {
    if !parser.currently_forced_bytes().is_empty() {
        return false;
    }
    parser.with_recognizer(|recognizer| {
        recognizer.trie_started("can_follow");
        let is_marker = |byte| byte == TokTrie::SPECIAL_TOKEN_MARKER;
        let can = bytes.iter().all(|&byte| !is_marker(byte) && recognizer.try_push_byte(byte));
        recognizer.trie_finished();
        can
    })
}

/// Runs work that may recurse so deep where the stack is deep enough.
fn on_a_deep_stack<T: Send>(
    n_levels: usize,
    work: impl FnOnce() -> Result<T, Box<str>> + Send,
) -> Result<T, Box<str>> {
    const FEW_LEVELS: usize = 96;
    const BYTES_PER_LEVEL: usize = 16 << 10;
    if n_levels <= FEW_LEVELS {
        return work();
    }
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size((FEW_LEVELS + n_levels) * BYTES_PER_LEVEL);
        let running = thread.spawn_scoped(scope, work).map_err(|error| Box::from(error.to_string()))?;
        running.join().unwrap_or_else(|_| Err("the engine gave no answer".into()))
    })
}

/// Runs the engine's code; its errors and panics become the head of their text.
pub(super) fn guarded<T, E: std::fmt::Display>(work: impl FnOnce() -> Result<T, E>) -> Result<T, Box<str>> {
    let mut outcome = None;
    let caught = llguidance::panic_utils::catch_unwind(AssertUnwindSafe(|| {
        outcome = Some(work());
        Ok(())
    }));
    match (outcome, caught) {
        (Some(Ok(value)), _) => Ok(value),
        (Some(Err(error)), _) => Err(head(&error.to_string())),
        (None, Err(panic)) => Err(head(&panic.to_string())),
        (None, Ok(())) => Err("the engine gave no answer".into()),
    }
}

/// What the engine says, without its dumps of state and of the whole grammar.
fn head(text: &str) -> Box<str> {
    const MAX_CHARS: usize = 300;
    let text = text.split("\n<").next().unwrap_or(text).trim();
    match text.char_indices().nth(MAX_CHARS) {
        None => text.into(),
        Some((end, _)) => format!("{} ...", &text[..end]).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::EncodeBytes;
    use super::*;

    const EOS: TokenId = 300;

    /// All bytes, some pieces of JSON, an end token behind a gap in the ids, and tokens of 1,100 and 700 bytes.
    fn vocabulary() -> Arc<GrammarVocabulary> {
        let mut tokens: Vec<(TokenId, Vec<u8>)> =
            (0..=255u8).map(|byte| (u32::from(byte), vec![byte])).collect();
        for piece in ["ab", "{\"", "\":", "true", "tru", "}\n", "12", "\u{e9}", "aab"] {
            tokens.push((tokens.len() as u32, piece.into()));
        }
        tokens.push((tokens.len() as u32, b"ab".to_vec()));
        tokens.push((tokens.len() as u32, vec![b'a'; 1_100]));
        tokens.push((tokens.len() as u32, vec![b'a'; 700]));
        let greedy = tokens.clone();
        let encode: EncodeBytes = Arc::new(move |bytes| {
            let mut rest = bytes;
            let mut ids = Vec::new();
            while !rest.is_empty() {
                let longest = greedy.iter().filter(|(_, token)| rest.starts_with(token));
                let (id, token) = longest.max_by_key(|(id, token)| (token.len(), u32::MAX - id)).unwrap();
                ids.push(*id);
                rest = &rest[token.len()..];
            }
            ids
        });
        let added: [(TokenId, &[u8]); 1] = [(EOS, b"<end>")];
        Arc::new(
            GrammarVocabulary::new(tokens.iter().map(|(id, b)| (*id, b.as_slice())), added, encode).unwrap(),
        )
    }

    fn start(source: &GrammarSource<'_>) -> Box<dyn ConstraintState> {
        Arc::new(Grammar::new(source, vocabulary(), &[EOS]).unwrap()).start()
    }

    #[test]
    fn what_can_be_begun_can_be_ended() {
        let says = |source: &GrammarSource<'_>| match Grammar::new(source, vocabulary(), &[]) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        for (grammar, part) in [
            ("start: \"a\" start", "it can"),
            ("start: x\nx: y\ny: x", "it can"),
            ("start: \"a\" x?\nx: \"b\" x", "its rule x can"),
            ("start: (x | \"c\")+\nx: \"(\" x \")\"", "its rule x can"),
            ("start: \"a\" start |", ""),
            ("start: e\ne: e \"+\" e | \"a\"", ""),
            ("start: x\nx: \"(\" x \")\" | y\ny: \"a\" x | \"b\"", ""),
        ] {
            let found = says(&GrammarSource::Lark(grammar));
            assert!(found.contains(part) && found.is_empty() == part.is_empty(), "{grammar}: {found}");
        }
        let list = r##""type":"object","properties":{"next":{"$ref":"#/$defs/list"}}"##;
        for (schema, part) in [
            (format!(r##"{{"$ref":"#/$defs/list","$defs":{{"list":{{{list}}}}}}}"##), ""),
            (
                format!(r##"{{"$ref":"#/$defs/list","$defs":{{"list":{{{list},"required":["next"]}}}}}}"##),
                "it can",
            ),
            (
                format!(
                    r##"{{"items":{{"$ref":"#/$defs/list"}},"$defs":{{"list":{{{list},"required":["next"]}}}}}}"##
                ),
                "a part of it can",
            ),
        ] {
            let found = says(&GrammarSource::JsonSchema(&schema));
            assert!(found.contains(part) && found.is_empty() == part.is_empty(), "{schema}: {found}");
        }
    }

    #[test]
    fn the_mask_says_what_checks_say_and_undoing_leaves_no_trace() {
        let sources = [
            GrammarSource::Regex("(a|aab)*b?"),
            GrammarSource::JsonSchema(
                r#"{"type":"object","properties":{"a":{"type":"boolean"}},"required":["a"]}"#,
            ),
            GrammarSource::Lark("start: \"a\" start \"b\" | \"ab\""),
        ];
        for source in &sources {
            let mut state = start(source);
            let mut seed = 7_u64;
            for _ in 0..40 {
                let mask = state.mask().unwrap();
                let by_check: Vec<TokenId> =
                    (0..state.n_tokens() as TokenId + 3).filter(|&id| state.check(id).unwrap()).collect();
                assert_eq!(mask.iter().collect::<Vec<_>>(), by_check);
                assert_eq!(mask.contains(EOS), state.is_accepting().unwrap());
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let Some(&id) = by_check.get((seed >> 33) as usize % by_check.len().max(1)) else { break };
                let mut fork = state.fork();
                fork.advance(id).unwrap();
                let forced = fork.forced().unwrap();
                for &id in &forced {
                    fork.advance(id).unwrap();
                }
                fork.rollback(1 + forced.len()).unwrap();
                assert_eq!(fork.mask().unwrap(), mask);
                assert_eq!((fork.ids(), fork.prefix()), (state.ids(), state.prefix()));
                assert_eq!(state.mask().unwrap(), mask);
                if id == EOS {
                    break;
                }
                state.advance(id).unwrap();
            }
        }
    }

    /// 266 is a token of 1,100 bytes, which the engine's trie cannot hold; 267 has 700, more than some of its stacks.
    #[test]
    fn long_tokens_are_judged_by_their_bytes() {
        let mut state = start(&GrammarSource::Regex("b?a{0,1799}"));
        assert!(state.check(266).unwrap() && state.check(267).unwrap());
        let mask = state.mask().unwrap();
        assert!(mask.contains(266) && mask.contains(267));
        state.advance(266).unwrap();
        assert_eq!(state.prefix().len(), 1_100);
        let mask = state.mask().unwrap();
        assert!(!mask.contains(266) && !mask.contains(267) && mask.contains(u32::from(b'a')));
        let mut fork = state.fork();
        state.rollback(1).unwrap();
        state.advance(u32::from(b'b')).unwrap();
        assert!(state.mask().unwrap().contains(266));
        fork.rollback(1).unwrap();
        assert!(fork.check(267).unwrap() && fork.prefix().is_empty());
    }

    #[test]
    fn forced_bytes_become_the_encoders_tokens() {
        let mut state = start(&GrammarSource::Regex("12true12"));
        let ids = state.forced().unwrap();
        assert_eq!(ids, [262, 259, 262]);
        ids.iter().for_each(|&id| state.advance(id).unwrap());
        assert_eq!(state.mask().unwrap().iter().collect::<Vec<_>>(), [EOS]);
        state.advance(EOS).unwrap();
        assert!(state.mask().unwrap().is_empty() && state.is_accepting().unwrap());
        assert_eq!(state.prefix(), b"12true12");
        state.rollback(2).unwrap();
        assert_eq!(state.forced().unwrap(), [262]);
    }

    #[test]
    fn faults_are_errors_and_leave_the_state_alone() {
        let mut state = start(&GrammarSource::Regex("a+"));
        for (id, step) in [(u32::from(b'b'), 0), (EOS, 0), (280, 0), (1_000_000, 0)] {
            assert_eq!(state.advance(id).unwrap_err().kind(), &ControlErrorKind::NotAllowed { id, step });
        }
        assert_eq!(state.rollback(1).unwrap_err().kind(), &ControlErrorKind::Rollback { n: 1, step: 0 });
        state.advance(u32::from(b'a')).unwrap();
        let deep = "(".repeat(100_000);
        for source in [
            GrammarSource::JsonSchema("{"),
            GrammarSource::JsonSchema(r#"{"type":"nonsense"}"#),
            GrammarSource::JsonSchema(&"[".repeat(100_000)),
            GrammarSource::Regex("(a"),
            GrammarSource::Regex(r"(a)\1"),
            GrammarSource::Regex(&deep),
            GrammarSource::Regex("a(?!b)"),
            GrammarSource::Lark("start: nothing"),
            GrammarSource::Lark(&deep),
        ] {
            let error = Grammar::new(&source, vocabulary(), &[]).unwrap_err().to_string();
            assert!(error.contains("cannot be compiled") || error.contains("nested"), "{error}");
            assert!(error.len() < 500, "{error}");
        }
        assert!(Grammar::new(&GrammarSource::Regex("a"), vocabulary(), &[9_999]).is_err());
    }

    #[test]
    fn a_text_that_breaks_the_lexer_stops_no_other() {
        let source = GrammarSource::JsonSchema(r#"{"type":"array","items":{"enum":["ab","aab"]}}"#);
        let grammar = Arc::new(Grammar::new(&source, vocabulary(), &[EOS]).unwrap());
        let mut one = GrammarState::new(&grammar);
        let mut two = GrammarState::new(&grammar);
        assert!(one.share.is_shared() && two.share.is_shared());
        for (n, byte) in b"[\"aab\", ".iter().enumerate() {
            one.advance(u32::from(*byte)).unwrap();
            if n < 4 {
                two.advance(u32::from(*byte)).unwrap();
            }
        }
        let expected = [one.mask().unwrap(), two.mask().unwrap()];
        let broken = guarded(|| one.parser.test_trigger_lexer_error());
        assert!(broken.is_err());
        assert_eq!([one.mask().unwrap(), two.mask().unwrap()], expected);
        assert!(!one.share.is_shared() && !two.share.is_shared());
        one.rollback(2).unwrap();
        two.advance(u32::from(b'b')).unwrap();
        assert_eq!((one.prefix(), two.prefix()), (&b"[\"aab\""[..], &b"[\"aab"[..]));
        let mut three = GrammarState::new(&grammar);
        assert!(three.mask().is_ok() && three.share.is_shared());
    }

    #[test]
    fn a_vocabulary_that_cannot_go_on_is_a_dead_end() {
        let tokens: [(TokenId, &[u8]); 2] = [(0, b"a"), (1, b"ab")];
        let vocabulary = GrammarVocabulary::new(tokens, [], Arc::new(|_| Vec::new())).unwrap();
        let grammar =
            Arc::new(Grammar::new(&GrammarSource::Regex("ab?c|aa"), Arc::new(vocabulary), &[]).unwrap());
        let mut state = grammar.start();
        state.advance(1).unwrap();
        assert_eq!(state.mask().unwrap_err().kind(), &ControlErrorKind::DeadEnd { step: 1 });
        state.rollback(1).unwrap();
        state.advance(0).unwrap();
        assert_eq!(state.mask().unwrap().iter().collect::<Vec<_>>(), [0]);
        state.advance(0).unwrap();
        assert!(state.mask().unwrap().is_empty() && state.is_accepting().unwrap());
    }
}
