//! What is in a bracketed class, and what does a property mean?
//!
//! Classes are written again in the syntax of `regex-syntax`, with all that could be an operator there escaped: `--` and
//! `~~` are characters in Oniguruma. Negation and intersections are put in brackets of their own, so that they bind as
//! they do there: intersection last, negation over all of it.

use regex_syntax::hir::{Class, HirKind};

use super::Untranslatable;
use super::fold::stands_for_several;
use super::parser::{Parser, escaped};

/// Letters, marks, decimal digits, connectors: a word character in brackets.
pub(super) const WORD: &str = r"\p{Alphabetic}\p{M}\p{Nd}\p{Pc}";
/// Characters of Latin-1 that are word characters outside brackets only.
pub(super) const ALSO_WORD: &str = "²³¹¼½¾";
/// Hexadecimal digits.
pub(super) const HEX: &str = "0-9A-Fa-f";

const GRAPH: &str = r"[[^\s\p{Cc}]&&[^\p{Cn}]]";

/// Classes within classes, at most.
const MAX_DEPTH: usize = 100;

/// A property that has a name of its own in Oniguruma, as the items of a class. `is_posix`: written `[:name:]`.
fn named(name: &str, is_posix: bool) -> Option<String> {
    let items = match name {
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "alpha" => r"\p{Alphabetic}",
        "ascii" => r"\x00-\x7f",
        "blank" => r"\t\p{Zs}",
        "cntrl" => r"\p{Cc}",
        "digit" => r"\d",
        "graph" => GRAPH,
        "lower" => r"\p{Lowercase}",
        "print" => return Some(format!(r"{GRAPH}\p{{Zs}}")),
        "punct" if is_posix => r"\p{P}\p{S}",
        "punct" => r"\p{P}",
        "space" => r"\s",
        "upper" => r"\p{Uppercase}",
        "word" if is_posix => WORD,
        "word" => return Some(format!("{WORD}{ALSO_WORD}")),
        "xdigit" => HEX,
        _ => return None,
    };
    Some(items.to_owned())
}

/// The class of `\p{name}`, without brackets around it.
pub(super) fn property(name: &str, is_negated: bool) -> Result<String, Untranslatable> {
    let (name, is_negated) = match name.strip_prefix('^') {
        Some(name) => (name, !is_negated),
        None => (name, is_negated),
    };
    let plain: String =
        name.chars().filter(|c| !matches!(c, ' ' | '-' | '_')).map(|c| c.to_ascii_lowercase()).collect();
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || " -_".contains(c));
    let items = match named(&plain, false) {
        Some(items) => items,
        None => {
            let item = format!(r"\p{{{name}}}");
            if !is_name || regex_syntax::parse(&item).is_err() {
                return Err(Untranslatable("a property that is not known"));
            }
            item
        }
    };
    Ok(if is_negated { format!("[^{items}]") } else { format!("[{items}]") })
}

impl Parser<'_> {
    /// A class, behind its opening bracket.
    pub(super) fn class(&mut self, ignores_case: bool) -> Result<String, Untranslatable> {
        let class = self.class_at(0)?;
        if ignores_case && !class.starts_with("[^") {
            let hir =
                regex_syntax::parse(&class).map_err(|_| Untranslatable("a class that is not understood"))?;
            let folds = match hir.kind() {
                HirKind::Class(Class::Unicode(class)) => {
                    class.ranges().iter().any(|range| (range.start()..=range.end()).any(stands_for_several))
                }
                _ => !class.is_ascii(),
            };
            if folds {
                return Err(Untranslatable("a class without case with characters that stand for several"));
            }
        }
        Ok(class)
    }

    fn class_at(&mut self, depth: usize) -> Result<String, Untranslatable> {
        if depth > MAX_DEPTH {
            return Err(Untranslatable("classes that are nested too deep"));
        }
        let is_negated = self.take("^");
        let mut operands: Vec<String> = Vec::new();
        let mut items = String::new();
        let mut is_first = true;
        loop {
            if self.take("&&") {
                if items.is_empty() {
                    return Err(Untranslatable("an intersection with nothing"));
                }
                operands.push(std::mem::take(&mut items));
            } else if self.take("[:") {
                items.push_str(&self.posix_class()?);
            } else if self.take("[") {
                items.push_str(&self.class_at(depth + 1)?);
            } else if !is_first && self.take("]") {
                break;
            } else {
                self.class_item(&mut items)?;
            }
            is_first = false;
        }
        let inside = if operands.is_empty() {
            items
        } else if items.is_empty() {
            return Err(Untranslatable("an intersection with nothing"));
        } else {
            operands.push(items);
            let operands: Vec<_> = operands.iter().map(|items| format!("[{items}]")).collect();
            operands.join("&&")
        };
        let opening = if is_negated { "[^" } else { "[" };
        // Brackets of its own: a negation is of the whole intersection.
        Ok(if is_negated && inside.contains("&&") {
            format!("[^[{inside}]]")
        } else {
            format!("{opening}{inside}]")
        })
    }

    /// `alpha:]`, behind `[:`.
    fn posix_class(&mut self) -> Result<String, Untranslatable> {
        let unknown = Untranslatable("a POSIX class that is not known");
        let is_negated = self.take("^");
        let name = self.take_until(":]").ok_or(unknown)?;
        let items = named(name, true).ok_or(unknown)?;
        Ok(if is_negated { format!("[^{items}]") } else { format!("[{items}]") })
    }

    /// A character, a range, or an escape for a set.
    fn class_item(&mut self, items: &mut String) -> Result<(), Untranslatable> {
        let first = match self.class_char()? {
            Ok(c) => c,
            Err(set) => {
                items.push_str(&set);
                if self.peek_is("-") && !self.peek_is("-]") {
                    return Err(Untranslatable("a range that starts with a set"));
                }
                return Ok(());
            }
        };
        items.push_str(&escaped(first));
        if self.peek_is("-") && !self.peek_is("-]") && !self.peek_is("-&&") {
            self.take("-");
            if self.peek_is("[") {
                return Err(Untranslatable("a range that ends with a set"));
            }
            let Ok(last) = self.class_char()? else {
                return Err(Untranslatable("a range that ends with a set"));
            };
            if last < first {
                return Err(Untranslatable("a range that ends before it starts"));
            }
            items.push('-');
            items.push_str(&escaped(last));
            if self.peek_is("-") && !self.peek_is("-]") {
                return Err(Untranslatable("a hyphen behind a range"));
            }
        }
        Ok(())
    }

    /// A character, or a set in brackets.
    fn class_char(&mut self) -> Result<Result<char, String>, Untranslatable> {
        let c = self.next().ok_or(Untranslatable("a class that does not end"))?;
        if c != '\\' {
            return Ok(Ok(c));
        }
        let kind = self.next().ok_or(Untranslatable("a backslash at its end"))?;
        Ok(Err(match kind {
            'w' => format!("[{WORD}]"),
            'W' => format!("[^{WORD}]"),
            'd' | 'D' | 's' | 'S' => format!("\\{kind}"),
            'h' => HEX.to_owned(),
            'H' => format!("[^{HEX}]"),
            'p' | 'P' => self.property(kind == 'P')?,
            'b' => return Ok(Ok('\u{8}')),
            kind => return self.escaped_char(kind).map(Ok),
        }))
    }
}
