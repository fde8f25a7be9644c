//! Is a JSON Schema too expensive to compile?
//!
//! The engine bounds its own work, with two gaps. `multipleOf m` becomes an automaton with a state for every remainder,
//! built at once, and parts that are joined (`allOf`, `$ref` with siblings) get the least common multiple, computed in 32
//! bits. So a few bytes of schema can cost hours, or wrap around and mean another number. And an object costs the square
//! of the number of its members. Both are bounded before a schema is compiled: the largest multiple, or the least common
//! one where parts may be joined; and the sum of the squares.
//!
//! The engine also recurses, into what a schema holds and into what its references name, each definition once. The levels
//! are bounded by those of the text for every reference that is different, and by the number of objects; so deep a stack
//! is then provided, up to a limit.
//!
//! Linear in the schema.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::ControlErrorKind;

/// A second of compiling.
const MAX_MULTIPLE: u128 = 100_000;
const MAX_DIGITS: u32 = 9;
/// Four thousand members in one object: three seconds of compiling.
const MAX_MEMBER_PAIRS: usize = 4_000 * 4_000;

/// Levels of recursion: with 16 KiB for each, half a gibibyte of addresses.
pub(super) const MAX_LEVELS: usize = 1 << 15;

/// Refuses schemas whose multiples or objects are too large; says how deep the engine may recurse into the others.
pub(super) fn check(schema: &Value) -> Result<usize, ControlErrorKind> {
    let mut found = Costs::default();
    found.collect(schema, 1);
    let n_levels = found.n_objects.min(found.depth * (found.references.len() + 1));
    if n_levels > MAX_LEVELS {
        return Err(ControlErrorKind::TooDeep {
            what: "the JSON Schema",
            depth: n_levels,
            limit: MAX_LEVELS,
        });
    }
    if found.n_member_pairs > MAX_MEMBER_PAIRS {
        let reason = "its objects have more members than 4000 in one, or as many pairs in several";
        return Err(ControlErrorKind::Grammar { what: "the JSON Schema", reason: reason.into() });
    }
    let multiple = if found.may_join { found.common() } else { found.largest() };
    match multiple {
        Some(multiple) if multiple <= MAX_MULTIPLE => Ok(n_levels),
        too_large => {
            let text = too_large.map_or("more than 38 digits".into(), |multiple| multiple.to_string());
            let reason = format!("a multipleOf needs {text} states, above the limit of {MAX_MULTIPLE}");
            Err(ControlErrorKind::Grammar { what: "the JSON Schema", reason: reason.into() })
        }
    }
}

/// What in a schema is expensive.
#[derive(Default)]
struct Costs<'a> {
    depth: usize,
    n_objects: usize,
    references: FxHashSet<&'a str>,
    /// Its `multipleOf` as integers over powers of ten.
    values: Vec<(u128, u32)>,
    may_join: bool,
    n_member_pairs: usize,
}

impl<'a> Costs<'a> {
    fn collect(&mut self, schema: &'a Value, depth: usize) {
        self.depth = self.depth.max(depth);
        match schema {
            Value::Array(items) => items.iter().for_each(|item| self.collect(item, depth + 1)),
            Value::Object(members) => {
                self.n_objects += 1;
                for (key, value) in members {
                    match (key.as_str(), value) {
                        // Data, not schemas.
                        ("const" | "enum" | "default" | "examples", _) => {}
                        ("multipleOf", Value::Number(number)) => {
                            self.values.extend(number.as_f64().and_then(as_decimal));
                        }
                        ("$ref", Value::String(name)) => {
                            self.may_join = true;
                            self.references.insert(name);
                        }
                        (key, value) => {
                            if let ("properties", Value::Object(members)) = (key, value) {
                                self.n_member_pairs += members.len() * members.len();
                            }
                            self.may_join |= matches!(key, "allOf" | "anyOf" | "oneOf");
                            self.collect(value, depth + 1);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn largest(&self) -> Option<u128> {
        Some(self.values.iter().map(|(numerator, _)| *numerator).max().unwrap_or(1))
    }

    /// The numerator of the least common multiple, `None` where it does not fit.
    fn common(&self) -> Option<u128> {
        let n_digits = self.values.iter().map(|(_, n_digits)| *n_digits).max().unwrap_or(0);
        let scaled = self.values.iter().map(|(numerator, own)| numerator * 10_u128.pow(n_digits - own));
        let mut common = scaled.into_iter().try_fold(1_u128, |a, b| (a / gcd(a, b)).checked_mul(b))?;
        for _ in 0..n_digits {
            common = if common.is_multiple_of(10) { common / 10 } else { common };
        }
        Some(common)
    }
}

/// A number as an integer over a power of ten; `None` for what the engine refuses by itself.
fn as_decimal(number: f64) -> Option<(u128, u32)> {
    (0..=MAX_DIGITS).find_map(|n_digits| {
        let scaled = number * 10_f64.powi(n_digits as i32);
        let is_whole = (1.0..1e18).contains(&scaled) && (scaled - scaled.round()).abs() < scaled * 1e-12;
        is_whole.then_some((scaled.round() as u128, n_digits))
    })
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_the_text_for_each_reference() {
        let levels = |text: &str| check(&serde_json::from_str(text).unwrap());
        assert_eq!(levels(r#"{"type":"array","items":{"items":{}}}"#).unwrap(), 3);
        assert_eq!(levels(r##"{"items":{"$ref":"#"},"contains":{"$ref":"#"}}"##).unwrap(), 3);
        let chain: Vec<String> =
            (0..20_000).map(|n| format!(r##""d{n}":{{"items":{{"$ref":"#/$defs/d{}"}}}}"##, n + 1)).collect();
        let text = format!(r##"{{"$defs":{{{}}},"$ref":"#/$defs/d0"}}"##, chain.join(","));
        let deep = ControlErrorKind::TooDeep { what: "the JSON Schema", depth: 40_002, limit: MAX_LEVELS };
        assert_eq!(levels(&text).unwrap_err(), deep);
    }

    #[test]
    fn multiples_are_bounded_where_they_may_meet() {
        let says =
            |text: &str| check(&serde_json::from_str(text).unwrap()).err().map(|kind| kind.to_string());
        for harmless in [
            r#"{"type":"integer"}"#,
            r#"{"multipleOf":100000}"#,
            r#"{"allOf":[{"multipleOf":0.01},{"multipleOf":0.5},{"multipleOf":250}]}"#,
            r#"{"properties":{"a":{"multipleOf":9973},"b":{"multipleOf":9967},"multipleOf":{"type":"string"}}}"#,
            r#"{"enum":[{"multipleOf":1000000}]}"#,
            r#"{"multipleOf":0}"#,
        ] {
            assert_eq!(says(harmless), None, "{harmless}");
        }
        for (hostile, number) in [
            (r#"{"multipleOf":999983}"#, "999983"),
            (r#"{"properties":{"a":{"multipleOf":1000.001}}}"#, "1000001"),
            (r#"{"allOf":[{"multipleOf":9973},{"multipleOf":9967}]}"#, "99400891"),
        ] {
            assert!(says(hostile).unwrap().contains(number), "{:?}", says(hostile));
        }
        let members: Vec<String> = (0..4_100).map(|n| format!("\"p{n}\":{{}}")).collect();
        assert!(says(&format!("{{\"properties\":{{{}}}}}", members.join(","))).unwrap().contains("4000"));
        let primes = "999983,999979,999961,999959,999953,999931,999917,999907";
        let many: Vec<String> = primes.split(',').map(|p| format!("{{\"multipleOf\":{p}}}")).collect();
        assert!(says(&format!("{{\"allOf\":[{}]}}", many.join(","))).unwrap().contains("38 digits"));
    }
}
