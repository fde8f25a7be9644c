//! Which tables of the lexer does a new text start with?
//!
//! The engine builds the automaton of its lexer as texts need it, and a step into a state that was never seen costs tens
//! of known ones. So texts of one grammar inherit what others have built. But tables are behind a lock and texts that
//! share them take turns; so at most [`PER_TABLE`] texts that are alive share a set while there are fewer than
//! [`MAX_TABLES`], and the next one gets a copy of the oldest.
//!
//! What a text may do does not depend on the others: a set that has grown large or failed (the engine bounds the states
//! and the work of a lexer) goes to no new text, and a text that fails with shared tables tries again with its own. In a
//! child process the locks may be held by threads that do not exist there, so it starts anew.
//!
//! Memory: at most [`MAX_TABLES`] sets of about [`MAX_BYTES`], kept with the grammar.

use std::sync::{Arc, Mutex};

use llguidance::earley::Parser;

use super::grammar::guarded;

/// Texts that are alive with one set before another one is made.
const PER_TABLE: usize = 2;
const MAX_TABLES: usize = 32;
const MAX_BYTES: usize = 8 << 20;

/// A parser before the first byte, with the tables it will use.
pub(super) struct Leased {
    pub(super) parser: Parser,
    pub(super) share: Share,
}

/// Held by every text that uses a set of tables.
#[derive(Clone)]
pub(super) struct Share(Arc<()>);

impl Share {
    /// Whether another text could have used the same tables.
    pub(super) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    fn n_texts(&self) -> usize {
        Arc::strong_count(&self.0) - 1
    }
}

/// The tables of a grammar.
pub(super) struct LexerTables {
    /// As compiled; never walked.
    pristine: Parser,
    warm: Mutex<Warm>,
}

struct Warm {
    process: u32,
    sets: Vec<Leased>,
}

impl LexerTables {
    pub(super) fn new(pristine: Parser) -> Self {
        Self { pristine, warm: Mutex::new(Warm { process: std::process::id(), sets: Vec::new() }) }
    }

    /// Tables that no other text uses, as compiled.
    pub(super) fn own(&self) -> Leased {
        Leased { parser: self.pristine.deep_clone(), share: Share(Arc::new(())) }
    }

    /// The tables for one more text.
    pub(super) fn lease(&self) -> Leased {
        // Whoever holds the lock is starting a text too; in a child process perhaps for ever.
        let Ok(mut warm) = self.warm.try_lock() else { return self.own() };
        let process = std::process::id();
        if warm.process != process {
            std::mem::forget(std::mem::take(&mut warm.sets));
            warm.process = process;
        }
        while let Some(at) = (0..warm.sets.len()).min_by_key(|&at| warm.sets[at].share.n_texts()) {
            if !is_fit(&warm.sets[at].parser) {
                warm.sets.swap_remove(at);
                continue;
            }
            let (set, n_sets) = (&warm.sets[at], warm.sets.len());
            if set.share.n_texts() < PER_TABLE || n_sets >= MAX_TABLES {
                return Leased { parser: set.parser.clone(), share: set.share.clone() };
            }
            break;
        }
        let oldest = warm.sets.first().map(|set| &set.parser).filter(|parser| is_fit(parser));
        let parser = oldest.unwrap_or(&self.pristine).deep_clone();
        let share = Share(Arc::new(()));
        warm.sets.push(Leased { parser: parser.clone(), share: share.clone() });
        Leased { parser, share }
    }
}

fn is_fit(parser: &Parser) -> bool {
    // A panic while the tables were lent leaves their lock poisoned.
    let stats = guarded(|| Ok::<_, &str>(parser.lexer_stats()));
    stats.is_ok_and(|stats| !stats.error && stats.num_bytes < MAX_BYTES)
}
