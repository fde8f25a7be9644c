"""Which bytes are the words of a text, as arrays for models that read bytes and pool them?

:func:`segment` cuts texts into words that cover them, by one of several rules; the result packs into rows without
cutting a word. :class:`VocabularyPermutation` renames token ids anew for each sequence. See
``docs/concepts/segment.md``.
"""

from __future__ import annotations

import builtins
import itertools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import segment as core
from tokenloom.errors import ArrayError, ParamsError

if TYPE_CHECKING:
    from tokenloom.tokenizer import Tokenizer

__all__ = ["RULES", "Rows", "Rule", "Segments", "VocabularyPermutation", "segment"]

Rule: TypeAlias = Literal["whitespace", "uax29", "hat", "space-byte", "fixed", "pretokens", "tokens"]
RULES: tuple[Rule, ...] = ("whitespace", "uax29", "hat", "space-byte", "fixed", "pretokens", "tokens")
"""What a word can be, see :func:`segment`."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Whole words laid into rows of one width.

    Attributes:
        bytes: uint8 ``[n_rows, max_bytes]``, 0 behind the text.
        n_bytes: int32 ``[n_rows]``, how many bytes of a row are text.
        word_id: int32 ``[n_rows, max_bytes]``, the word of each byte, counted from 0 in each row; -1 behind the text.
            As indices of a scatter they pool bytes into words.
        n_words: int32 ``[n_rows]``.
        row_word: int64 ``[n_rows + 1]``; row ``r`` has the words ``row_word[r]:row_word[r + 1]`` of the batch.
    """

    bytes: NDArray[np.uint8]
    n_bytes: NDArray[np.int32]
    word_id: NDArray[np.int32]
    n_words: NDArray[np.int32]
    row_word: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segments:
    """The words of a batch of texts.

    Attributes:
        bytes: uint8 ``[N]``, all texts joined.
        word_id: int32 ``[N]``, the word of each byte, counted through the batch: indices that pool bytes into words.
        word_start: int64 ``[W + 1]``; word ``w`` is ``bytes[word_start[w]:word_start[w + 1]]``.
        doc_start: int64 ``[D + 1]``, the same of texts, in bytes.
        doc_word: int64 ``[D + 1]``, the same of texts, in words.
    """

    bytes: NDArray[np.uint8]
    word_id: NDArray[np.int32]
    word_start: NDArray[np.int64]
    doc_start: NDArray[np.int64]
    doc_word: NDArray[np.int64]

    def cu_seqlens(self, of: Literal["words", "docs", "doc_words"] = "words") -> NDArray[np.int32]:
        """Cumulative lengths as attention kernels for sequences of different lengths take them, int32.

        Args:
            of: ``"words"``: bytes of words; ``"docs"``: bytes of texts; ``"doc_words"``: words of texts.

        Raises:
            ArrayError: There are more than 2**31 - 1 bytes.
        """
        lengths = {"words": self.word_start, "docs": self.doc_start, "doc_words": self.doc_word}[of]
        if lengths[-1] >= 1 << 31:
            raise ArrayError(f"expected cumulative lengths below 2**31, found {lengths[-1]}", argument="bytes")
        return lengths.astype(np.int32)

    def words(self) -> list[builtins.bytes]:
        """Every word as bytes."""
        data, cuts = self.bytes.tobytes(), self.word_start.tolist()
        return [data[start:end] for start, end in itertools.pairwise(cuts)]

    def pack(self, max_bytes: int, across_docs: bool = False) -> Rows:
        """Lay the words into rows, in order, as many to a row as fit.

        Args:
            max_bytes: Width of a row.
            across_docs: Go on in the same row where a text ends; otherwise every text starts a row.

        Raises:
            ArrayError: A word is longer than a row; ``max_word_bytes`` of :func:`segment` cuts long words.
        """
        row_word = core.rows(self.word_start, self.doc_word, max_bytes, across_docs)
        starts = self.word_start[row_word]
        n_bytes = np.diff(starts)
        row = np.repeat(np.arange(len(n_bytes)), n_bytes)
        column = np.arange(len(self.bytes)) - starts[row]
        data = np.zeros((len(n_bytes), max_bytes), dtype=np.uint8)
        word_id = np.full(data.shape, -1, dtype=np.int32)
        data[row, column] = self.bytes
        word_id[row, column] = self.word_id - row_word[row]
        n_words = np.diff(row_word).astype(np.int32)
        return Rows(data, n_bytes.astype(np.int32), word_id, n_words, row_word)

    def pad(self, max_bytes: int | None = None) -> Rows:
        """Every word in a row of its own: the matrix of words by bytes.

        Args:
            max_bytes: Width of a row; that of the longest word where ``None``.

        Raises:
            ArrayError: A word is longer than a row.
        """
        words = np.arange(len(self.word_start), dtype=np.int64)
        lengths = np.diff(self.word_start)
        width = int(lengths.max(initial=0)) if max_bytes is None else max_bytes
        single = Segments(self.bytes, self.word_id, self.word_start, self.word_start, words)
        return single.pack(width)


def segment(
    texts: Iterable[str | bytes],
    rule: Rule = "whitespace",
    *,
    tokenizer: Tokenizer | None = None,
    size: int | None = None,
    max_word_bytes: int | None = None,
    threads: int | None = None,
) -> Segments:
    r"""Cut every text into words that cover it.

    Args:
        texts: ``str`` or ``bytes``; bytes that belong to no character are words of their own, lone surrogates U+FFFD.
        rule: ``"whitespace"``: other characters and the white space behind them. ``"uax29"``: between the word
            boundaries of Unicode. ``"hat"``: as hat-splitter 0.1 cuts (hierarchical autoregressive transformers).
            ``"space-byte"``: up to the first byte of a run that is no letter, digit or continuation byte. ``"fixed"``:
            ``size`` bytes. ``"pretokens"``, ``"tokens"``: those of ``tokenizer``.
        tokenizer: For the last two rules.
        size: Bytes of a word, for ``"fixed"``.
        max_word_bytes: Longer words are cut, between characters where one ends within reach.
        threads: At most this many threads, which live for this call; every usable core where ``None``.

    Raises:
        ParamsError: The rule is unknown, or lacks its argument.
        UnsupportedFeatureError: Pretokens of a tokenizer that normalizes, or words of one that is not compiled.

    >>> segment(["Hello, big world!"], "hat").words()
    [b'Hello,', b' big', b' world!']
    >>> segment(["a bc", "d"]).doc_word.tolist()
    [0, 2, 3]
    """
    if rule not in RULES:
        raise ParamsError(f"expected a rule of {', '.join(RULES)}, found {rule!r}")
    for name, value in (("size", size), ("max_word_bytes", max_word_bytes), ("threads", threads)):
        if value is not None and value < 1:
            raise ParamsError(f"expected {name} of at least 1, found {value}")
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    texts = list(texts)
    if rule in ("pretokens", "tokens"):
        if tokenizer is None:
            raise ParamsError(f"expected a tokenizer for the rule {rule!r}")
        is_pretokens = rule == "pretokens"
        return Segments(*core.segment_by_tokenizer(texts, tokenizer._core, is_pretokens, max_word_bytes, threads))
    if rule == "fixed" and size is None:
        raise ParamsError("expected a size for the rule 'fixed'")
    return Segments(*core.segment_by_rule(texts, rule, size or 1, max_word_bytes, threads))


class VocabularyPermutation:
    """Token ids renamed anew for each sequence: a seeded permutation that can be undone.

    Args:
        vocab_size: One more than the largest id.
        seed: The same seed and sequence give the same permutation.
        keep: Ids that stay what they are, such as the special tokens.

    >>> renamed = VocabularyPermutation(100, seed=1, keep=[99])
    >>> ids = renamed.apply([5, 6, 99], sequence=3)
    >>> int(ids[2]), renamed.invert(ids, sequence=3).tolist()
    (99, [5, 6, 99])
    """

    __slots__ = ("_keep", "_seed", "_vocab_size")

    def __init__(self, vocab_size: int, seed: int, keep: Iterable[int] = ()) -> None:
        self._vocab_size, self._seed = vocab_size, seed
        self._keep = np.array(sorted(set(keep)), dtype=np.uint32)
        if len(self._keep) and self._keep[-1] >= vocab_size:
            raise ArrayError(f"expected ids below {vocab_size}, found {self._keep[-1]}", argument="keep")

    def of(self, sequence: int) -> NDArray[np.uint32]:
        """The new id of each id, uint32 ``[vocab_size]``."""
        return core.permutation(self._vocab_size, self._keep, self._seed, sequence)

    def apply(self, ids: ArrayLike, sequence: int) -> NDArray[np.uint32]:
        """The new ids of one sequence.

        Raises:
            ArrayError: An id is not in the vocabulary.
        """
        return self.of(sequence)[self._checked(ids)]

    def invert(self, ids: ArrayLike, sequence: int) -> NDArray[np.uint32]:
        """The ids that :meth:`apply` gave these for.

        Raises:
            ArrayError: An id is not in the vocabulary.
        """
        return np.argsort(self.of(sequence)).astype(np.uint32)[self._checked(ids)]

    def _checked(self, ids: ArrayLike) -> NDArray[np.int64]:
        found = np.asarray(ids, dtype=np.int64)
        if found.size and not (0 <= found.min() and found.max() < self._vocab_size):
            raise ArrayError(f"expected ids from 0 to {self._vocab_size - 1}", argument="ids")
        return found
