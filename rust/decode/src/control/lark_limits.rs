//! Is a grammar nested too deeply to compile?
//!
//! The engine's reader recurses into brackets, and its compiler from each rule into those it names, each once, and into
//! their groups. So the levels are bounded by the number of rules and the groups inside each other in every line; so deep
//! a stack is then provided, up to a limit. Linear in the text; what stands in strings may count as well.

use super::ControlErrorKind;
use super::schema_limits::MAX_LEVELS;

const WHAT: &str = "the grammar";
const MAX_DEPTH: usize = 200;

/// Refuses grammars that are nested too deeply; says how deep the engine may recurse into the others.
pub(super) fn check(text: &str) -> Result<usize, ControlErrorKind> {
    let (mut depth, mut deepest, mut groups, mut n_levels) = (0_usize, 0, 0_usize, 0_usize);
    for line in text.lines() {
        let mut most = groups;
        for byte in line.bytes() {
            match byte {
                b'(' | b'[' => (depth, groups) = (depth + 1, groups + 1),
                b')' | b']' => (depth, groups) = (depth.saturating_sub(1), groups.saturating_sub(1)),
                b'{' => depth += 1,
                b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (most, deepest) = (most.max(groups), deepest.max(depth));
        }
        // A line that begins with a string names no rule: it is a member of a schema inside the grammar.
        let names_rule = line.contains(':') && !line.trim_start().starts_with('"');
        n_levels += most + usize::from(names_rule);
    }
    for (depth, limit) in [(deepest, MAX_DEPTH), (n_levels, MAX_LEVELS)] {
        if depth > limit {
            return Err(ControlErrorKind::TooDeep { what: WHAT, depth, limit });
        }
    }
    Ok(n_levels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_and_groups_are_levels_and_members_of_schemas_are_not() {
        assert_eq!(check("start: (a | (b))\na: \"x\"\nb: /y/").unwrap(), 5);
        let members = "  \"a\": {\n    \"type\": \"integer\"\n  },\n".repeat(20_000);
        assert_eq!(check(&format!("start: %json {{\n{members}}}")).unwrap(), 1);
        let deep = ControlErrorKind::TooDeep { what: WHAT, depth: 40_000, limit: MAX_LEVELS };
        assert_eq!(check(&"a: b\n".repeat(40_000)).unwrap_err(), deep);
    }
}
