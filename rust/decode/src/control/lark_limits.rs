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
    let (mut depth, mut deepest, mut n_levels) = (0_usize, 0, 0_usize);
    for line in text.lines() {
        let mut groups = depth;
        for byte in line.bytes() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            groups = groups.max(if matches!(byte, b'(' | b'[') { depth } else { 0 });
            deepest = deepest.max(depth);
        }
        n_levels += groups + usize::from(line.contains(':'));
    }
    for (depth, limit) in [(deepest, MAX_DEPTH), (n_levels, MAX_LEVELS)] {
        if depth > limit {
            return Err(ControlErrorKind::TooDeep { what: WHAT, depth, limit });
        }
    }
    Ok(n_levels)
}
