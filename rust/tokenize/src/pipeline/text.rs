//! Which part of the source does each byte of a changed text stand for?
//!
//! An [`AlignedText`] is a piece of text and, for every byte of it, the span of the source that the byte stands for.
//! Text that nobody changed is the source itself and needs no alignment; a change makes a new buffer that all pieces
//! cut from it share. Changes are told character by character: a character replaces the next old one, or is new, or
//! replaces one and takes some behind it away.
//!
//! The rules, odd ones included, are those of `NormalizedString` in Hugging Face `tokenizers` 0.23: what is inserted
//! belongs to what stands before it, at the start to an empty span; and a change of a text whose first bytes stand for
//! nothing touches only what stands for something ([`AlignedText::transform`]).
//!
//! A change costs O(text); 8 B a byte are kept. Cutting costs O(1).

use std::ops::Range;
use std::rc::Rc;

/// A character of a changed text and what it means for the old one: 0, it replaces the next character; 1, it is new;
/// `-n`, it replaces the next character and the `n` behind it go.
pub type Change = (char, isize);

/// The longest text, in bytes: alignments are 32 bits.
pub const MAX_BYTES: usize = u32::MAX as usize;

/// A change replaces more characters than a text has that stand for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misaligned {
    /// Where the piece of text starts in the source.
    pub byte_offset: usize,
}

/// A text and where it comes from.
#[derive(Clone, Debug)]
pub struct AlignedText<'a> {
    content: Content<'a>,
    /// Where the text is in `content`.
    span: Range<usize>,
    /// What it stands for as a whole.
    source: Range<usize>,
}

#[derive(Clone, Debug)]
enum Content<'a> {
    Source(&'a str),
    Changed(Rc<Changed>),
}

#[derive(Debug)]
struct Changed {
    text: String,
    /// By byte of `text`: a span of the source. Starts and ends never fall.
    alignment: Vec<(u32, u32)>,
}

impl<'a> AlignedText<'a> {
    /// The source itself, of at most [`MAX_BYTES`].
    pub fn new(source: &'a str) -> Self {
        Self { content: Content::Source(source), span: 0..source.len(), source: 0..source.len() }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match &self.content {
            Content::Source(text) => &text[self.span.clone()],
            Content::Changed(changed) => &changed.text[self.span.clone()],
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.span.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.span.is_empty()
    }

    /// The bytes of the source that the whole stands for.
    pub fn source(&self) -> Range<usize> {
        self.source.clone()
    }

    /// The bytes of the source that a part of the text stands for. A part without bytes is not moved from where it is
    /// in the text; there is none for bytes beyond the end.
    pub fn source_of(&self, part: Range<usize>) -> Option<(usize, usize)> {
        if part.is_empty() {
            return (part.start == part.end)
                .then_some((self.source.start + part.start, self.source.start + part.end));
        }
        (part.end <= self.len()).then(|| (self.span_at(part.start).0, self.span_at(part.end - 1).1))
    }

    /// What each character of the text stands for.
    pub fn char_sources(&self) -> impl Iterator<Item = (usize, usize)> {
        self.as_str().char_indices().map(|(at, _)| self.span_at(at))
    }

    /// The empty span at the start of what the byte at `at` stands for.
    pub(super) fn point_of(&self, at: usize) -> (usize, usize) {
        let start = if at < self.len() { self.span_at(at).0 } else { self.source.end };
        (start, start)
    }

    /// A part of the text.
    pub fn slice(&self, part: Range<usize>) -> Self {
        let (start, end) = if part.is_empty() {
            (self.source.start, self.source.start)
        } else {
            (self.span_at(part.start).0, self.span_at(part.end - 1).1)
        };
        Self {
            content: self.content.clone(),
            span: self.span.start + part.start..self.span.start + part.end,
            source: start..end,
        }
    }

    /// What the byte at `at` stands for.
    fn span_at(&self, at: usize) -> (usize, usize) {
        let at = self.span.start + at;
        match &self.content {
            Content::Source(text) => (text.floor_char_boundary(at), text.ceil_char_boundary(at + 1)),
            Content::Changed(changed) => {
                let (start, end) = changed.alignment[at];
                (start as usize, end as usize)
            }
        }
    }

    /// The part of the text that stands for the whole source: what a change of the text changes. Bytes at the start
    /// that stand for nothing are no part of it, and where nothing is left of the source or the text there is little.
    fn reach(&self) -> Option<Range<usize>> {
        if self.source.is_empty() {
            return Some(0..0);
        }
        if self.is_empty() {
            return None;
        }
        let stands = |at: usize| {
            let (start, end) = self.span_at(at);
            start < end
        };
        let inside = |at: usize| self.span_at(at).1 <= self.source.end;
        let end = if inside(self.len() - 1) {
            self.len()
        } else {
            (0..self.len()).take_while(|&at| inside(at)).count()
        };
        match ((0..end).find(|&at| stands(at)), end) {
            (None, 0) => None,
            (None, end) => Some(end..end),
            (Some(start), end) => Some(start..end),
        }
    }

    /// Whether a change reaches all of the text, so that one that changes no character changes nothing.
    fn is_reached(&self) -> bool {
        self.reach() == Some(0..self.len())
    }

    /// Replaces the text by what `changes` says, after taking `n_removed` characters from the start.
    ///
    /// # Errors
    /// [`Misaligned`] where the changes replace more characters than can be reached.
    pub fn transform(
        &mut self,
        changes: impl IntoIterator<Item = Change>,
        n_removed: usize,
    ) -> Result<(), Misaligned> {
        match self.reach() {
            None => Ok(()),
            Some(part) => self.transform_part(part, changes, n_removed),
        }
    }

    fn transform_part(
        &mut self,
        part: Range<usize>,
        changes: impl IntoIterator<Item = Change>,
        n_removed: usize,
    ) -> Result<(), Misaligned> {
        let mut made = Rewrite::with_capacity(self.len());
        made.keep(self, 0..part.start);
        let old = self.as_str();
        let mut replaced = old[part.clone()].chars().map(char::len_utf8);
        let mut at = part.start + replaced.by_ref().take(n_removed).sum::<usize>();
        for (c, change) in changes {
            let span = if change <= 0 && at < self.len() {
                self.span_at(at)
            } else if change <= 0 {
                return Err(Misaligned { byte_offset: self.source.start });
            } else if at == 0 {
                (self.source.start, self.source.start)
            } else {
                self.span_at(at - 1)
            };
            if change <= 0 {
                at += replaced.by_ref().take(1 + change.unsigned_abs()).sum::<usize>();
            }
            made.push(c, span);
        }
        made.keep(self, part.end..self.len());
        self.become_made(made);
        Ok(())
    }

    /// Whether the text is the end of a source that nobody changed.
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self.content, Content::Source(text) if text.len() == self.span.end)
    }

    /// Replaces the text; `alignment` gives for each byte of the new one a span of the old one. Starts and ends never
    /// fall and are character boundaries.
    pub(super) fn replace_all(&mut self, text: String, mut alignment: Vec<(u32, u32)>) {
        for (start, end) in &mut alignment {
            let (first, last) = (*start as usize, *end as usize);
            let place = |at: usize| if at < self.len() { self.span_at(at).0 } else { self.source.end };
            *start = place(first) as u32;
            *end = if last == 0 { self.source.start } else { self.span_at(last - 1).1 } as u32;
        }
        self.become_made(Rewrite { text, alignment });
    }

    fn become_made(&mut self, made: Rewrite) {
        self.span = 0..made.text.len();
        self.content = Content::Changed(Rc::new(Changed { text: made.text, alignment: made.alignment }));
    }

    /// Leaves out the characters that `keep` refuses.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn filter(&mut self, keep: impl Fn(char) -> bool) -> Result<(), Misaligned> {
        if self.is_reached() && self.as_str().chars().all(&keep) {
            return Ok(());
        }
        let old = self.clone();
        let mut chars = old.as_str().chars().peekable();
        let mut n_refused = 0;
        while chars.next_if(|&c| !keep(c)).is_some() {
            n_refused += 1;
        }
        let n_first = if chars.peek().is_some() { n_refused } else { 0 };
        let changes = std::iter::from_fn(|| {
            let c = chars.next()?;
            let mut n_refused = 0;
            while chars.next_if(|&c| !keep(c)).is_some() {
                n_refused += 1;
            }
            Some((c, -n_refused))
        });
        self.transform(changes, n_first)
    }

    /// Replaces each character by one.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn map(&mut self, map: impl Fn(char) -> char) -> Result<(), Misaligned> {
        if self.is_reached() && self.as_str().chars().all(|c| map(c) == c) {
            return Ok(());
        }
        let old = self.clone();
        self.transform(old.as_str().chars().map(|c| (map(c), 0)), 0)
    }

    /// Replaces each character by some, given by `expand`; nothing changes where `same` holds for every character.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn expand<I: IntoIterator<Item = char>>(
        &mut self,
        same: impl Fn(char) -> bool,
        expand: impl Fn(char) -> I,
    ) -> Result<(), Misaligned> {
        if self.is_reached() && self.as_str().chars().all(same) {
            return Ok(());
        }
        let old = self.clone();
        let changes = old
            .as_str()
            .chars()
            .flat_map(|c| expand(c).into_iter().enumerate().map(|(place, c)| (c, isize::from(place > 0))));
        self.transform(changes, 0)
    }

    /// Replaces the text by what `changes` says, unless `is_same` knows that they change nothing.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn rewrite(
        &mut self,
        is_same: impl FnOnce(&str) -> bool,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<(), Misaligned> {
        if self.is_reached() && is_same(self.as_str()) {
            return Ok(());
        }
        self.transform(changes, 0)
    }

    /// Puts `prefix` before a text that is not empty.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn prepend(&mut self, prefix: &str) -> Result<(), Misaligned> {
        let Some(first) = self.as_str().chars().next() else { return Ok(()) };
        let inserted = prefix.chars().enumerate().map(|(place, c)| (c, isize::from(place > 0)));
        self.transform_part(0..first.len_utf8(), inserted.chain([(first, 1)]), 0)
    }

    /// Removes white space at the ends.
    ///
    /// # Errors
    /// As [`transform`](Self::transform).
    pub fn strip(&mut self, left: bool, right: bool) -> Result<(), Misaligned> {
        let text = self.as_str();
        let start = if left { text.len() - text.trim_start().len() } else { 0 };
        let end = if right { text.trim_end().len() } else { text.len() };
        if start == 0 && end == text.len() {
            return Ok(());
        }
        if self.is_reached() {
            // The source stays the whole: what was stripped still belongs to the text.
            self.span = self.span.start + start..self.span.start + end.max(start);
            return Ok(());
        }
        let old = self.clone();
        let n_removed = text[..start].chars().count();
        self.transform(old.as_str()[start..end.max(start)].chars().map(|c| (c, 0)), n_removed)
    }

    /// Replaces each of the `matches`, in order, by `content`.
    pub fn replace(&mut self, matches: &[Range<usize>], content: &str) {
        if matches.is_empty() {
            return;
        }
        let mut made = Rewrite::with_capacity(self.len());
        let mut done = 0;
        for found in matches {
            made.keep(self, done..found.start);
            let span = match found.end {
                0 => (self.source.start, self.source.start),
                end => self.span_at(end - 1),
            };
            content.chars().for_each(|c| made.push(c, span));
            done = found.end;
        }
        made.keep(self, done..self.len());
        self.become_made(made);
    }
}

/// A changed text in the making.
struct Rewrite {
    text: String,
    alignment: Vec<(u32, u32)>,
}

impl Rewrite {
    fn with_capacity(n_bytes: usize) -> Self {
        Self { text: String::with_capacity(n_bytes), alignment: Vec::with_capacity(n_bytes) }
    }

    fn push(&mut self, c: char, (start, end): (usize, usize)) {
        self.text.push(c);
        self.alignment.resize(self.text.len(), (start as u32, end as u32));
    }

    fn keep(&mut self, old: &AlignedText<'_>, part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        match &old.content {
            Content::Changed(changed) => {
                let span = old.span.start + part.start..old.span.start + part.end;
                self.alignment.extend_from_slice(&changed.alignment[span]);
                self.text.push_str(&old.as_str()[part]);
            }
            Content::Source(_) => {
                for (at, c) in old.as_str()[part.clone()].char_indices() {
                    let start = old.span.start + part.start + at;
                    self.push(c, (start, start + c.len_utf8()));
                }
            }
        }
    }
}
