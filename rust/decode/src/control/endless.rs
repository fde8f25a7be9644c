//! Does a grammar have a part that no text can finish?
//!
//! A rule whose every branch needs the rule itself can be begun and never ended: a schema that requires itself, `x: "a" x`.
//! The engine follows such rules, so its masks would lead into texts that go on for ever. They are found before the first
//! mask: a symbol ends if it is read by the lexer, may be empty, or has a rule of symbols that end. What is in reach of the
//! start and is not among these is such a part.
//!
//! Linear in the grammar. Conditions of rules are taken to hold, and lexemes to match some text, so a part that is named
//! here never ends; there may be others.

use llguidance::earley::{CGrammar, CSymIdx};

/// The name of a part in reach that no text can finish; the start itself where it is one.
pub(super) fn endless_part(grammar: &CGrammar) -> Option<&str> {
    let mut in_reach = vec![grammar.start()];
    let mut place: Vec<Option<usize>> = Vec::new();
    let place_of = |place: &mut Vec<Option<usize>>, symbol: CSymIdx| {
        let at = symbol.as_index();
        place.resize(place.len().max(at + 1), None);
        place[at]
    };
    place_of(&mut place, grammar.start());
    place[grammar.start().as_index()] = Some(0);
    // By rule: whose it is, and how many of its symbols are not known to end. By symbol: the rules that need it.
    let mut rules: Vec<(usize, usize)> = Vec::new();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new()];
    let mut at = 0;
    while at < in_reach.len() {
        for &rule in grammar.rules_of(in_reach[at]) {
            let (symbols, _, _) = grammar.rule_rhs(rule);
            for &symbol in symbols {
                let known = place_of(&mut place, symbol).unwrap_or_else(|| {
                    place[symbol.as_index()] = Some(in_reach.len());
                    in_reach.push(symbol);
                    needed_by.push(Vec::new());
                    in_reach.len() - 1
                });
                needed_by[known].push(rules.len());
            }
            rules.push((at, symbols.len()));
        }
        at += 1;
    }
    let mut ends: Vec<bool> = in_reach
        .iter()
        .map(|&symbol| {
            let data = grammar.sym_data(symbol);
            let may_be_empty = data.is_nullable || !data.cond_nullable.is_empty();
            data.is_terminal || may_be_empty || data.gen_grammar.is_some()
        })
        .collect();
    let mut fresh: Vec<usize> = (0..ends.len()).filter(|&at| ends[at]).collect();
    while let Some(at) = fresh.pop() {
        for &rule in &needed_by[at] {
            let (owner, n_open) = &mut rules[rule];
            *n_open -= 1;
            if *n_open == 0 && !ends[*owner] {
                ends[*owner] = true;
                fresh.push(*owner);
            }
        }
    }
    let first = ends.iter().position(|ends| !ends)?;
    Some(&grammar.sym_data(in_reach[first]).name)
}
