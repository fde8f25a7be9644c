"""What exactly do tokens and bytes have to do with each other?

Every way to spell bytes in tokens, whether given ids are the tokenizer's own, which of them further text can change,
which byte belongs to which token, which tokens of two tokenizers cover the same text, and every token as bytes. Methods
of :class:`tokenloom.Tokenizer` lead here. See ``docs/concepts/exactness.md``.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import exactness as core
from tokenloom.errors import ArrayError

if TYPE_CHECKING:
    from collections.abc import Collection

    from tokenloom._core import tokenizer as compiled
    from tokenloom.tokenizer import Tokenizer

__all__ = [
    "ByteMap",
    "CanonicalStream",
    "Segmentation",
    "Segmentations",
    "Settled",
    "TokenKind",
    "Unstable",
    "Vocabulary",
    "align",
    "byte_map",
    "encode_with_unstable",
    "settled",
    "vocabulary",
]


class Segmentation(NamedTuple):
    """One way to spell bytes. ``ids``: uint32 ``[n]``; ``score``: the sum of the scores of the tokens."""

    ids: NDArray[np.uint32]
    score: float


class Segmentations:
    """Every sequence of tokens whose bytes joined are those of a text. Made by :meth:`Tokenizer.segmentations`.

    Added tokens (special or not) are left out: they are matched as text, not spelled. Where pretokens end does not
    matter: a model can write any of these.

    Args:
        tokenizer: Whose tokens.
        text: What is spelled, ``str`` or ``bytes``, at most 64 MiB. It is not normalized.

    Raises:
        LimitError: The text is longer.
        UnsupportedFeatureError: The tokenizer is not a compiled one.

    >>> from tokenloom import Tokenizer
    >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256, b"bc": 257}
    >>> tok = Tokenizer.from_tiktoken("tiny", pat_str=".+", mergeable_ranks=ranks, special_tokens={})
    >>> ways = tok.segmentations("abc")
    >>> ways.count(), ways.fewest().tolist()
    (3, [256, 99])
    """

    __slots__ = ("_core", "_n_ids")

    def __init__(self, tokenizer: Tokenizer, text: str | bytes) -> None:
        self._core = core.Segmentations(_compiled(tokenizer), text)
        self._n_ids = tokenizer.vocab_size

    def __repr__(self) -> str:
        return f"Segmentations({self._core.n_bytes} bytes)"

    def count(self) -> int:
        """How many there are, exactly.

        Raises:
            LimitError: The text has more than 64 KiB, for which :meth:`log_count` is there.
        """
        return self._core.count()

    def log_count(self) -> float:
        """The natural logarithm of their number; negative infinity where there is none."""
        return self._core.log_count()

    def fewest(self) -> NDArray[np.uint32]:
        """The one of the fewest tokens; among several, the one whose first token is longest, and so on.

        Raises:
            VocabError: There is none.
        """
        return self._core.fewest()

    def sample(self, n_samples: int, seed: int) -> list[NDArray[np.uint32]]:
        """So many of them, each drawn with equal probability (up to rounding of f64), with replacement.

        Args:
            n_samples: How many.
            seed: The same seed gives the same ones; the first ones do not depend on ``n_samples``.

        Raises:
            VocabError: There is none.
        """
        return self._core.sample(n_samples, seed)

    def best(self, k: int, scores: ArrayLike | None = None) -> list[Segmentation]:
        """The ``k`` with the largest sums of scores, best first.

        Args:
            k: How many at most.
            scores: A score for each id, float64 ``[vocab_size]``, such as a log-probability; negative infinity forbids
                a token. ``None`` scores every token -1: the fewest tokens first.

        Raises:
            ArrayError: There is not one score for each id, or one is NaN or positive infinity.
            LimitError: ``k`` times the length of the text is above 2**26.
        """
        if scores is None:
            return [Segmentation(*found) for found in self._core.best(k, None)]
        array = np.ascontiguousarray(scores, dtype=np.float64)
        if array.shape != (self._n_ids,):
            raise ArrayError(f"expected scores of shape ({self._n_ids},), found {array.shape}", argument="scores")
        return [Segmentation(*found) for found in self._core.best(k, array)]


class CanonicalStream:
    """Whether ids that arrive one at a time are canonical. Made by :meth:`Tokenizer.canonical_stream`.

    Raises:
        UnsupportedFeatureError: It is not known how far back text changes this tokenizer's tokens, see :func:`settled`.
    """

    __slots__ = ("_core",)

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._core = core.CanonicalStream(_compiled(tokenizer))

    def push(self, id: int) -> bool:
        """Whether all ids so far, this one included, are what encoding their bytes gives.

        A later id can make them canonical again: two line breaks are one token until a word follows.

        Raises:
            UnknownTokenError: ``id`` is no token; the stream is as before.
        """
        return self._core.push(id)

    @property
    def is_broken(self) -> bool:
        """Whether no further id makes them canonical again."""
        return self._core.is_broken


class Settled(NamedTuple):
    """The first tokens of a text that stay whatever is appended.

    Attributes:
        n_tokens: How many.
        n_bytes: Their bytes.
        exact: No more of them stay, if any bytes may follow; otherwise more may.
    """

    n_tokens: int
    n_bytes: int
    exact: bool


class Unstable(NamedTuple):
    """Settled ids, and the sequences of ids that the rest of the text may turn into, sorted."""

    stable: list[int]
    completions: list[list[int]]


class ByteMap(NamedTuple):
    """Which bytes belong to which token.

    Attributes:
        ids: uint32 ``[n]``.
        token_bytes: int64 ``[n, 2]``, start and end of each token in the UTF-8 bytes of the text.
        byte_token: int64 ``[n_bytes]``, the token of each byte; -1 where the tokenizer drops it.
    """

    ids: NDArray[np.uint32]
    token_bytes: NDArray[np.int64]
    byte_token: NDArray[np.int64]


class TokenKind(enum.IntEnum):
    """What an id is."""

    ABSENT = 0
    """No token."""
    NORMAL = 1
    """A token of the model that encoding can write."""
    SPECIAL = 2
    """A special token."""
    ADDED = 3
    """An added token that is not special."""
    BYTE = 4
    """A token of one byte."""
    UNREACHABLE = 5
    """A token of the model that encoding never writes: merges do not lead to it, or another id has its bytes."""


class Vocabulary(Mapping[int, bytes]):
    """Every token as bytes, by id. Made by :meth:`Tokenizer.vocabulary`.

    Attributes:
        bytes: uint8, all tokens joined.
        offsets: int64 ``[vocab_size + 1]``; token ``id`` is ``bytes[offsets[id]:offsets[id + 1]]``.
        kinds: uint8 ``[vocab_size]`` of :class:`TokenKind`.
    """

    __slots__ = ("bytes", "kinds", "offsets")

    bytes: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    kinds: NDArray[np.uint8]

    def __init__(self, bytes: NDArray[np.uint8], offsets: NDArray[np.int64], kinds: NDArray[np.uint8]) -> None:
        self.bytes, self.offsets, self.kinds = bytes, offsets, kinds

    def __getitem__(self, id: int) -> Any:
        """The bytes of one token.

        Raises:
            KeyError: ``id`` is no token.
        """
        if not 0 <= id < len(self.kinds) or self.kinds[id] == TokenKind.ABSENT:
            raise KeyError(id)
        return self.bytes[self.offsets[id] : self.offsets[id + 1]].tobytes()

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self.kinds).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.kinds))


def settled(tokenizer: Tokenizer, text: str, allowed_special: Literal["all"] | Collection[str] = "all") -> Settled:
    """How many of the first tokens of ``text`` stay, whatever text follows.

    Exact where nothing cuts a text into pretokens. Where published patterns cut it, tokens of pretokens that end before
    the last five runs of characters of a kind count as settled (five for each split step, two more with NFC), so the
    answer is a lower bound. The beginning of an added token at the end of the text is not settled.

    Raises:
        UnsupportedFeatureError: A part of the tokenizer has no such bound: a pattern of its own, superwords, a space
            put before texts, symbols that are not bytes; the message names it.

    >>> from tokenloom import Tokenizer, patterns
    >>> ranks = {bytes([b]): b for b in range(256)} | {b" the": 256}
    >>> tok = Tokenizer.from_tiktoken("tiny", pat_str=patterns.CL100K, mergeable_ranks=ranks, special_tokens={})
    >>> settled(tok, "to be or not to be").n_bytes
    8
    """
    return Settled(*core.settled(_compiled(tokenizer), _without_surrogates(text), allowed_special))


def encode_with_unstable(
    tokenizer: Tokenizer, text: str, allowed_special: Literal["all"] | Collection[str] = "all"
) -> Unstable:
    """The ids before the last pretoken and its completions, by tiktoken's rules, for any compiled tokenizer.

    The rules are heuristics: boundaries of pretokens count as settled unless white space is about. For what is certain
    see :func:`settled`.
    """
    return Unstable(*core.encode_with_unstable(_compiled(tokenizer), _without_surrogates(text), allowed_special))


def byte_map(tokenizer: Tokenizer, text: str | bytes) -> ByteMap:
    """Which bytes of ``text`` belong to which token, both ways.

    >>> from tokenloom import Tokenizer
    >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
    >>> tok = Tokenizer.from_tiktoken("tiny", pat_str=".+", mergeable_ranks=ranks, special_tokens={})
    >>> byte_map(tok, "abc").byte_token.tolist()
    [0, 0, 1]
    """
    ids, spans, _ = tokenizer.encode_with_offsets(text)
    n_bytes = len(text if isinstance(text, bytes) else _without_surrogates(text).encode())
    owner = np.full(n_bytes, -1, dtype=np.int64)
    lengths = spans[:, 1] - spans[:, 0]
    token = np.repeat(np.arange(len(ids)), lengths)
    # Within each token its bytes count up from its start.
    before = np.cumsum(lengths) - lengths
    owner[np.arange(len(token)) + np.repeat(spans[:, 0] - before, lengths)] = token
    return ByteMap(ids, spans, owner)


def align(a: Tokenizer, b: Tokenizer, text: str | bytes) -> NDArray[np.int64]:
    """Which tokens of ``a`` cover the same bytes as which tokens of ``b``: the finest common grouping.

    Returns:
        int64 ``[m, 4]``, rows ``i0, i1, j0, j1``: tokens ``i0:i1`` of ``a.encode(text)`` and ``j0:j1`` of
        ``b.encode(text)`` are the same bytes. The rows cover both.

    >>> from tokenloom import Tokenizer
    >>> ranks = {bytes([b]): b for b in range(256)}
    >>> a = Tokenizer.from_tiktoken("a", pat_str=".+", mergeable_ranks=ranks | {b"ab": 256}, special_tokens={})
    >>> b = Tokenizer.from_tiktoken("b", pat_str=".+", mergeable_ranks=ranks | {b"bc": 256}, special_tokens={})
    >>> align(a, b, "abcd").tolist()
    [[0, 2, 0, 2], [2, 3, 2, 3]]
    """
    for side in (a, b):
        if not hasattr(side, "encode_with_offsets"):
            raise TypeError(f"expected a Tokenizer, found {type(side).__name__}")
    ends = (np.ascontiguousarray(side.encode_with_offsets(text).byte_offsets[:, 1]) for side in (a, b))
    return core.align(*ends)


def vocabulary(tokenizer: Tokenizer) -> Vocabulary:
    """Every token of ``tokenizer`` as bytes, by id, with its kind."""
    return Vocabulary(*core.vocabulary(_compiled(tokenizer)))


def _compiled(tokenizer: Tokenizer) -> compiled.Tokenizer:
    # The property says why, where a file runs in the other machine.
    return tokenizer._core


def _without_surrogates(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(f"expected text as str, found {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
