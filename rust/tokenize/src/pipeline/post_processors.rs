//! How is an encoding finished?
//!
//! Special tokens are put around the sequences, and white space is trimmed off the offsets. Processors take a list of
//! encodings and give one: in a sequence each takes the list of the one before, and the last list is joined. What a
//! processor does to overflowing parts, type ids and sequence ranges differs from kind to kind, as in the peer.
//! O(n) time in the ids, overflowing parts included.

use super::definition::{NamedToken, PostProcessor, TemplatePiece, TemplateToken};
use super::encoding::Encoding;

/// A list of encodings that a processor has no rule for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ProcessError {
    kind: ProcessErrorKind,
}

/// The reasons behind a [`ProcessError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessErrorKind {
    /// A template takes one sequence or two.
    #[error("expected 1 or 2 sequences for the template, found {found}")]
    SequenceCount {
        /// How many there are.
        found: usize,
    },
    /// The template asks for the second sequence, and there is none.
    #[error("the template for one sequence names the second one")]
    NoSecondSequence,
    /// The template names a special token that it does not define.
    #[error("the template names {name:?}, which is none of its special tokens")]
    UnknownToken {
        /// The name.
        name: String,
    },
}

impl ProcessError {
    /// What went wrong.
    pub fn kind(&self) -> &ProcessErrorKind {
        &self.kind
    }
}

impl From<ProcessErrorKind> for ProcessError {
    fn from(kind: ProcessErrorKind) -> Self {
        Self { kind }
    }
}

/// Finishes one sequence or two. Plain encodings give a plain one.
///
/// # Errors
/// Every [`ProcessErrorKind`].
pub fn process(
    processor: Option<&PostProcessor>,
    first: Encoding,
    second: Option<Encoding>,
    add_special_tokens: bool,
    is_plain: bool,
) -> Result<Encoding, ProcessError> {
    let Some(processor) = processor else { return Ok(join(first, second)) };
    let mut sequences: Vec<Encoding> = std::iter::once(first).chain(second).collect();
    for (place, sequence) in sequences.iter_mut().enumerate() {
        sequence.set_sequence(place);
        sequence.overflowing.iter_mut().for_each(|part| part.set_sequence(place));
        sequence.set_type(place as u32);
    }
    let mut finished = processor.apply(sequences, add_special_tokens, is_plain)?;
    // Joining one encoding to nothing changes nothing.
    if finished.len() == 1
        && let Some(only) = finished.pop()
    {
        return Ok(only);
    }
    Ok(Encoding::merge(finished, false))
}

/// Without a processor a pair is joined and a single sequence stays as it is.
fn join(mut first: Encoding, second: Option<Encoding>) -> Encoding {
    let Some(mut second) = second else { return first };
    first.set_sequence(0);
    second.set_sequence(1);
    Encoding::merge([first, second], false)
}

impl PostProcessor {
    /// How many special tokens are put around a single sequence or a pair.
    pub fn n_added_tokens(&self, is_pair: bool) -> usize {
        match self {
            Self::Roberta { .. } => 2 + 2 * usize::from(is_pair),
            Self::Bert { .. } => 2 + usize::from(is_pair),
            Self::ByteLevel { .. } => 0,
            Self::Template { single, pair, special_tokens } => {
                let ids = |piece: &TemplatePiece| match piece {
                    TemplatePiece::Sequence { .. } => 0,
                    TemplatePiece::SpecialToken { id, .. } => {
                        find(special_tokens, id).map_or(0, |token| token.ids.len())
                    }
                };
                if is_pair { pair } else { single }.iter().map(ids).sum()
            }
            Self::Sequence(processors) => {
                processors.iter().map(|processor| processor.n_added_tokens(is_pair)).sum()
            }
        }
    }

    fn apply(
        &self,
        mut sequences: Vec<Encoding>,
        add: bool,
        is_plain: bool,
    ) -> Result<Vec<Encoding>, ProcessError> {
        match self {
            Self::Roberta { sep, cls, trim_offsets, add_prefix_space } => {
                for sequence in &mut sequences {
                    if *trim_offsets {
                        trim_with_parts(sequence, *add_prefix_space);
                    }
                    sequence.set_type(0);
                    if add {
                        sequence.overflowing.iter_mut().for_each(|part| part.set_type(0));
                    }
                }
                if add {
                    let before = |place| Some(if place == 0 { cls } else { sep });
                    wrap_each(&mut sequences, is_plain, |place| (before(place), sep, 0));
                }
                Ok(sequences)
            }
            Self::Bert { sep, cls } => {
                if add {
                    let before = |place| (place == 0).then_some(cls);
                    wrap_each(&mut sequences, is_plain, |place| (before(place), sep, u32::from(place > 0)));
                }
                Ok(sequences)
            }
            Self::ByteLevel { add_prefix_space, trim_offsets, .. } => {
                for (place, sequence) in sequences.iter_mut().enumerate() {
                    if *trim_offsets {
                        trim_with_parts(sequence, *add_prefix_space);
                    }
                    sequence.set_sequence(place);
                }
                Ok(sequences)
            }
            Self::Template { single, pair, special_tokens } => {
                let template = match sequences.len() {
                    1 => single,
                    2 => pair,
                    found => return Err(ProcessErrorKind::SequenceCount { found }.into()),
                };
                fill_template(template, special_tokens, &mut sequences, add, is_plain)
            }
            Self::Sequence(processors) => processors
                .iter()
                .try_fold(sequences, |sequences, processor| processor.apply(sequences, add, is_plain)),
        }
    }
}

fn find<'a>(tokens: &'a [TemplateToken], name: &str) -> Option<&'a TemplateToken> {
    tokens.iter().find(|token| token.id == name)
}

/// Puts special tokens around each sequence and its overflowing parts. `around` gives, for a place in the list, what
/// comes before, what comes behind, and the type id of both.
fn wrap_each<'a>(
    sequences: &mut [Encoding],
    is_plain: bool,
    around: impl Fn(usize) -> (Option<&'a NamedToken>, &'a NamedToken, u32),
) {
    for (place, sequence) in sequences.iter_mut().enumerate() {
        let (before, behind, type_id) = around(place);
        let wrap = |part: &Encoding| {
            let mut whole = Encoding::default();
            if let Some(before) = before {
                push_special(&mut whole, before, type_id, is_plain);
            }
            let n_before = whole.len();
            whole.append(&Encoding { overflowing: Vec::new(), ..part.clone() }, false);
            whole.sequence_ranges = vec![(usize::from(place > 0), n_before..whole.len())];
            whole.special_tokens_mask[n_before..].fill(false);
            push_special(&mut whole, behind, type_id, is_plain);
            whole.attention_mask.fill(true);
            whole
        };
        let overflowing = sequence.overflowing.iter().map(wrap).collect();
        *sequence = Encoding { overflowing, ..wrap(sequence) };
    }
}

fn push_special(encoding: &mut Encoding, token: &NamedToken, type_id: u32, is_plain: bool) {
    let piece = special(&[token.1], std::slice::from_ref(&token.0), type_id, is_plain);
    encoding.append(&piece, false);
}

fn special(ids: &[u32], tokens: &[String], type_id: u32, is_plain: bool) -> Encoding {
    let n_ids = ids.len();
    let mut encoding = Encoding::plain(ids.to_vec(), type_id);
    encoding.special_tokens_mask.fill(true);
    if !is_plain {
        encoding.tokens = tokens.to_vec();
        encoding.words = vec![None; n_ids];
        encoding.offsets = vec![(0, 0); n_ids];
    }
    encoding
}

/// The pieces of a template, each an encoding of its own.
fn fill_template(
    template: &[TemplatePiece],
    special_tokens: &[TemplateToken],
    sequences: &mut [Encoding],
    add: bool,
    is_plain: bool,
) -> Result<Vec<Encoding>, ProcessError> {
    let mut pieces = Vec::with_capacity(template.len());
    for piece in template {
        match piece {
            TemplatePiece::Sequence { is_second, type_id } => {
                let place = usize::from(*is_second);
                let sequence = sequences.get_mut(place).ok_or(ProcessErrorKind::NoSecondSequence)?;
                sequence.set_type(*type_id);
                sequence.set_sequence(place);
                pieces.push(sequence.clone());
            }
            TemplatePiece::SpecialToken { id, type_id } if add => {
                let token = find(special_tokens, id)
                    .ok_or_else(|| ProcessErrorKind::UnknownToken { name: id.clone() })?;
                pieces.push(special(&token.ids, &token.tokens, *type_id, is_plain));
            }
            TemplatePiece::SpecialToken { .. } => {}
        }
    }
    Ok(pieces)
}

fn trim_with_parts(encoding: &mut Encoding, add_prefix_space: bool) {
    trim(encoding, add_prefix_space);
    encoding.overflowing.iter_mut().for_each(|part| trim(part, add_prefix_space));
}

/// Leaves the white space at the ends of each token out of its offsets. A single leading space of a token that starts
/// the text is taken for the one that was put there, and stays.
fn trim(encoding: &mut Encoding, add_prefix_space: bool) {
    let is_space = |c: &char| *c == 'Ġ' || c.is_whitespace();
    for (place, (token, (start, end))) in encoding.tokens.iter().zip(&mut encoding.offsets).enumerate() {
        let n_leading = token.chars().take_while(is_space).count();
        let n_trailing = token.chars().rev().take_while(is_space).count();
        let was_put = add_prefix_space && n_leading == 1 && (place == 0 || *start == 0);
        if n_leading > 0 && !was_put {
            *start = (*start + n_leading).min(*end);
        }
        if n_trailing > 0 && *end >= n_trailing {
            *end = (*end - n_trailing).max(*start);
        }
    }
}
