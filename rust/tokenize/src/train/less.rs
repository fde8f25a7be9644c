//! Which chunks does a reader remember that wants few chunks and few to remember?
//!
//! Less is Better (Yang, Frank, van den Bosch 2020): a lexicon in an order, read against one document after the other. A
//! text is cut by the longest chunk that matches. *Remembering*: two neighbours, or a short run that no chunk matches, are
//! proposed now and then, and what is proposed twice in a document goes to the end of the lexicon. *Forgetting*: where a
//! shorter chunk would have matched, too, both ways are read on until they meet; the longer chunk falls behind if the
//! shorter way was better, and moves forward if not. The end of the lexicon is on probation and goes if it is not used.
//!
//! A sentence of n characters is read in O(n m) for chunks of at most m, a move in the lexicon costs the places it
//! passes. All chance comes from `uniform`.

use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Progress, Stage, TrainError, TrainErrorKind};

/// How a reader learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LessIsBetter {
    /// Documents that are read.
    pub n_epochs: u64,
    /// Documents that a chunk on probation lives without being used.
    pub life: u32,
    /// The most characters in a chunk.
    pub max_chars: usize,
    /// How often a chance to remember is taken.
    pub memory_in: f64,
    /// Which part of the lexicon, from its end, is put on probation after a document.
    pub memory_out: f64,
    /// By which part of its place a chunk moves.
    pub update_rate: f64,
    /// The most characters of an unknown run that is remembered.
    pub max_gap: usize,
}

/// Chunks in order, and the place of each.
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    order: Vec<u32>,
    texts: Vec<Box<str>>,
    ids: FxHashMap<Box<str>, u32>,
    /// By id; `GONE` for what is not in the lexicon now.
    places: Vec<u32>,
    max_chars: usize,
}

const GONE: u32 = u32::MAX;

/// A chunk and its characters.
type Match = (u32, usize);

/// A sentence and where its characters begin.
struct Sentence<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

/// A chunk whose way is compared with that of the next shorter one.
struct Test {
    chunk: u32,
    end: usize,
    n_unknown: usize,
    n_chunks: usize,
    /// What was read since, both ways; `GONE` for a character that is unknown.
    read: Vec<u32>,
    other: Vec<u32>,
}

impl<'a> Sentence<'a> {
    fn new(text: &'a str) -> Self {
        let mut starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        starts.push(text.len());
        Self { text, starts }
    }

    fn n_chars(&self) -> usize {
        self.starts.len() - 1
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        &self.text[self.starts[start]..self.starts[end]]
    }
}

impl Lexicon {
    /// A lexicon of `chunks` in this order.
    pub fn new(chunks: &[String], max_chars: usize) -> Self {
        let mut this = Self { max_chars, ..Self::default() };
        chunks.iter().filter(|chunk| !chunk.is_empty()).for_each(|chunk| this.append(chunk));
        this
    }

    /// The chunks in order.
    pub fn chunks(&self) -> Vec<String> {
        self.order.iter().map(|&id| self.texts[id as usize].to_string()).collect()
    }

    /// Where the longest chunks that match end, in bytes; a character that none matches stands for itself.
    pub fn ends(&self, text: &str) -> Vec<i64> {
        let sentence = Sentence::new(text);
        let (mut at, mut ends) = (0, Vec::new());
        while at < sentence.n_chars() {
            at += self.matches(&sentence, at)[0].map_or(1, |(_, n_chars)| n_chars);
            ends.push(sentence.starts[at] as i64);
        }
        ends
    }

    fn contains(&self, text: &str) -> bool {
        self.ids.get(text).is_some_and(|&id| self.places[id as usize] != GONE)
    }

    fn append(&mut self, text: &str) {
        if self.contains(text) {
            return;
        }
        let id = match self.ids.get(text) {
            Some(&id) => id,
            None => {
                self.texts.push(text.into());
                self.places.push(GONE);
                self.ids.insert(text.into(), self.texts.len() as u32 - 1);
                self.texts.len() as u32 - 1
            }
        };
        self.places[id as usize] = self.order.len() as u32;
        self.order.push(id);
    }

    /// The longest chunk from character `at` on and the next shorter one, with their lengths.
    fn matches(&self, sentence: &Sentence<'_>, at: usize) -> [Option<Match>; 2] {
        let longest = self.max_chars.min(sentence.n_chars() - at);
        let mut found = (1..=longest).rev().filter_map(|n_chars| {
            let id = *self.ids.get(sentence.slice(at, at + n_chars))?;
            (self.places[id as usize] != GONE).then_some((id, n_chars))
        });
        [found.next(), found.next()]
    }

    fn place(&self, id: u32) -> u64 {
        match self.places.get(id as usize) {
            Some(&place) if place != GONE => u64::from(place),
            _ => 0,
        }
    }

    fn remove_all(&mut self, gone: &FxHashSet<u32>) {
        if gone.is_empty() {
            return;
        }
        self.order.retain(|id| !gone.contains(id));
        gone.iter().for_each(|&id| self.places[id as usize] = GONE);
        for (place, &id) in (0..).zip(&self.order) {
            self.places[id as usize] = place;
        }
    }

    /// Moves a chunk back by a part of its place, or forward; what falls off the end is gone.
    fn shift(&mut self, id: u32, is_back: bool, rate: f64) {
        let from = self.places[id as usize];
        if from == GONE || from == 0 {
            return;
        }
        let step = (f64::from(from) * rate) as usize + 1;
        let from = from as usize;
        let to = if is_back { from + step } else { from.saturating_sub(step) };
        if to >= self.order.len() {
            self.order.remove(from);
            self.places[id as usize] = GONE;
            self.renumber(from, self.order.len());
        } else if is_back {
            self.order[from..=to].rotate_left(1);
            self.renumber(from, to + 1);
        } else {
            self.order[to..=from].rotate_right(1);
            self.renumber(to, from + 1);
        }
    }

    fn renumber(&mut self, start: usize, end: usize) {
        for place in start..end {
            self.places[self.order[place] as usize] = place as u32;
        }
    }
}

/// What a document changes in the end.
#[derive(Default)]
struct Reading {
    /// Chunks that fall back or move forward, in the order in which they were judged.
    judged: Vec<(u32, bool)>,
    proposed: FxHashSet<Box<str>>,
    n_drawn: u32,
}

/// Reads documents, each a list of sentences, drawn by chance; `uniform` gives number `draw` of an epoch, in (0, 1).
///
/// # Errors
/// [`TrainErrorKind::Interrupted`].
pub fn train_less_is_better(
    documents: &[Vec<&str>],
    options: &LessIsBetter,
    uniform: impl Fn(u64, u32) -> f64,
    progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
) -> Result<Lexicon, TrainError> {
    let mut characters: Vec<char> = documents
        .iter()
        .flatten()
        .flat_map(|sentence| sentence.chars())
        .collect::<FxHashSet<_>>()
        .into_iter()
        .collect();
    characters.sort_unstable();
    let characters: Vec<String> = characters.into_iter().map(String::from).collect();
    let mut lexicon = Lexicon::new(&characters, options.max_chars);
    // In the order in which they were put there.
    let mut probation: FxHashMap<u32, u32> = lexicon.order.iter().map(|&id| (id, options.life)).collect();
    for epoch in 0..if documents.is_empty() { 0 } else { options.n_epochs } {
        let (n_done, n_total, n_pairs) = (epoch, options.n_epochs, lexicon.order.len() as u64);
        let now =
            Progress { kind: Stage::Merge, stage: 0, n_done, n_total, n_pairs, merges: &[], counts: &[] };
        if epoch % 16 == 0 && progress(now).is_break() {
            return Err(TrainErrorKind::Interrupted.into());
        }
        let drawn = (uniform(epoch, 0) * documents.len() as f64) as usize;
        let mut reading = Reading { n_drawn: 1, ..Reading::default() };
        for sentence in &documents[drawn.min(documents.len() - 1)] {
            let chance = |draw| uniform(epoch, draw) < options.memory_in;
            read(&mut lexicon, &Sentence::new(sentence), options, &mut probation, &mut reading, chance);
        }
        let mut gone = FxHashSet::default();
        probation.retain(|&id, life| {
            *life -= 1;
            if *life == 0 {
                gone.insert(id);
            }
            *life > 0
        });
        gone.retain(|&id| lexicon.places[id as usize] != GONE);
        lexicon.remove_all(&gone);
        for (id, is_back) in reading.judged {
            lexicon.shift(id, is_back, options.update_rate);
        }
        let first = ((1.0 - options.memory_out) * lexicon.order.len() as f64) as usize;
        for &id in lexicon.order.get(first..).unwrap_or_default() {
            probation.entry(id).or_insert(options.life);
        }
    }
    Ok(lexicon)
}

fn read(
    lexicon: &mut Lexicon,
    sentence: &Sentence<'_>,
    options: &LessIsBetter,
    probation: &mut FxHashMap<u32, u32>,
    reading: &mut Reading,
    chance: impl Fn(u32) -> bool,
) {
    let mut tests: Vec<Test> = Vec::new();
    let mut at = 0;
    // What was read last: its characters, and whether a chunk matched them.
    let (mut last, mut is_known) = (0..0, false);
    while at < sentence.n_chars() {
        tests.retain_mut(|test| !judge(lexicon, sentence, test, at, probation, reading));
        let [longest, shorter] = lexicon.matches(sentence, at);
        tests.iter_mut().for_each(|test| test.read.push(longest.map_or(GONE, |(id, _)| id)));
        let Some((id, n_chars)) = longest else {
            if is_known {
                (last, is_known) = (at..at, false);
            }
            last.end = at + 1;
            at += 1;
            continue;
        };
        if 2 + n_chars <= options.max_chars {
            reading.n_drawn += 1;
            if chance(reading.n_drawn - 1) {
                let end = if is_known { at + n_chars } else { last.end };
                let most = if is_known { options.max_chars } else { options.max_gap };
                if last.start < last.end && end - last.start <= most {
                    propose(lexicon, sentence.slice(last.start, end), reading);
                }
            }
        }
        match shorter.filter(|_| n_chars > 1) {
            Some((other, n_other)) => {
                let test = Test {
                    chunk: id,
                    end: at + n_other,
                    n_unknown: 0,
                    n_chunks: 1,
                    read: vec![id],
                    other: vec![other],
                };
                match tests.iter_mut().find(|test| test.chunk == id) {
                    Some(old) => *old = test,
                    None => tests.push(test),
                }
            }
            None => _ = probation.remove(&id),
        }
        (last, is_known) = (at..at + n_chars, true);
        at += n_chars;
    }
}

/// What is proposed for the second time in a document is remembered.
fn propose(lexicon: &mut Lexicon, text: &str, reading: &mut Reading) {
    if lexicon.contains(text) {
        return;
    }
    if reading.proposed.remove(text) {
        lexicon.append(text);
    } else {
        reading.proposed.insert(text.into());
    }
}

/// Reads the other way on to `at`; whether both met there, so that the chunk is judged.
fn judge(
    lexicon: &Lexicon,
    sentence: &Sentence<'_>,
    test: &mut Test,
    at: usize,
    probation: &mut FxHashMap<u32, u32>,
    reading: &mut Reading,
) -> bool {
    while test.end < at {
        let found = lexicon.matches(sentence, test.end)[0];
        test.other.push(found.map_or(GONE, |(id, _)| id));
        test.end += found.map_or(1, |(_, n_chars)| n_chars);
        test.n_unknown += usize::from(found.is_none());
        test.n_chunks += 1;
    }
    if test.end != at {
        return false;
    }
    let n_unknown = test.read.iter().filter(|&&id| id == GONE).count();
    let n_chunks = test.read.len() - n_unknown;
    let places = |ids: &[u32]| ids.iter().map(|&id| lexicon.place(id)).sum::<u64>();
    let is_redundant = n_unknown == test.n_unknown
        && (n_chunks > test.n_chunks
            || n_chunks == test.n_chunks && places(&test.read) > places(&test.other));
    if n_unknown > test.n_unknown || is_redundant {
        reading.judged.push((test.chunk, true));
        let text = &lexicon.texts[test.chunk as usize];
        let shorter = text.char_indices().next_back().map_or("", |(end, _)| &text[..end]);
        if let [Some((id, _)), _] = lexicon.matches(&Sentence::new(shorter), 0) {
            reading.judged.push((id, false));
        }
    } else {
        reading.judged.push((test.chunk, false));
        probation.remove(&test.chunk);
    }
    true
}
