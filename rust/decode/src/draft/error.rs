//! What can be wrong with a draft or with the use of a drafter?

/// A draft tree or a drafter that is used wrongly.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{kind}")]
pub struct DraftError {
    kind: DraftErrorKind,
}

/// The reasons behind a [`DraftError`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftErrorKind {
    /// The arrays of a tree differ in length.
    #[error("expected one {array} for each of the {n_tokens} nodes, found {found}")]
    Ragged {
        /// `parent` or `probability`.
        array: &'static str,
        /// Nodes of the tree.
        n_tokens: usize,
        /// Entries found.
        found: usize,
    },
    /// What the model said does not fit the draft or the prompt.
    #[error("expected one {what} for each {of}, {expected} in all, found {found}")]
    TopRows {
        /// What is counted.
        what: &'static str,
        /// For each of what.
        of: &'static str,
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A log-probability that is NaN or positive.
    #[error("expected log-probabilities of at most 0, found {log_prob} at index {index}")]
    LogProb {
        /// Where it was found.
        index: usize,
        /// The value found.
        log_prob: f32,
    },
    /// A parent that is not an earlier node.
    #[error(
        "expected the parent of node {node} to be -1 or an earlier node, found {parent}\n\
         hint: list every node behind its parent"
    )]
    Parent {
        /// The node.
        node: usize,
        /// Its parent.
        parent: i64,
    },
    /// An id that is no token.
    #[error("expected token ids from 0 to {limit}, found {token} at index {index}")]
    TokenOutOfRange {
        /// Where it was found.
        index: usize,
        /// The id found.
        token: i64,
        /// The largest id.
        limit: i64,
    },
    /// A probability outside 0 to 1.
    #[error("expected probabilities from 0 to 1, found {prob} for node {node}")]
    Probability {
        /// The node.
        node: usize,
        /// The value found.
        prob: f32,
    },
    /// A stream was used after its end.
    #[error("the stream has ended: no tokens can be proposed or committed")]
    StreamEnded,
    /// A stream is too long for 32-bit positions.
    #[error("expected at most {limit} tokens in a stream, found {n_tokens}")]
    StreamTooLong {
        /// Tokens found.
        n_tokens: usize,
        /// Tokens allowed.
        limit: usize,
    },
    /// A mask or positions of more than a host has room for.
    #[error("expected {what} of at most {limit}, found {found}")]
    TooLarge {
        /// What is asked for, and its unit.
        what: &'static str,
        /// The value found, or the largest number where it is beyond.
        found: usize,
        /// The largest value.
        limit: usize,
    },
    /// A budget below zero.
    #[error("expected a budget of at least 0 tokens, found {budget}")]
    Budget {
        /// The value found.
        budget: i64,
    },
    /// The floor of a chain is a probability.
    #[error("expected a min_prob from 0 to 1, found {min_prob}")]
    MinProb {
        /// The value found.
        min_prob: f64,
    },
    /// The shortest match lies above the longest.
    #[error("expected a min_match from 1 to {max_match}, found {min_match}")]
    MinMatch {
        /// The value found.
        min_match: usize,
        /// The longest match.
        max_match: usize,
    },
    /// A table without rows, or with too many.
    #[error("expected 1 to {limit} rows, found {n_rows}")]
    Rows {
        /// The value found.
        n_rows: usize,
        /// The largest value.
        limit: usize,
    },
    /// What another drafter learned does not fit.
    #[error(
        "expected {expected} counters that are finite and at least 0, found {found}, {n_wrong} of them others"
    )]
    Counters {
        /// How many there should be.
        expected: usize,
        /// How many there are.
        found: usize,
        /// How many of them are no counts.
        n_wrong: usize,
    },
    /// No curve of costs.
    #[error("expected rows ascending from 1 and a positive time for each")]
    Cost,
    /// The longest match must have at least one token.
    #[error("expected a max_depth from 1 to {limit}, found {max_depth}")]
    MaxDepth {
        /// The value found.
        max_depth: usize,
        /// The largest value.
        limit: usize,
    },
}

impl DraftError {
    /// What went wrong, with its numbers.
    pub fn kind(&self) -> &DraftErrorKind {
        &self.kind
    }
}

impl From<DraftErrorKind> for DraftError {
    fn from(kind: DraftErrorKind) -> Self {
        Self { kind }
    }
}
