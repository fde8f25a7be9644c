"""How does text become token ids, and ids text?

A :class:`Tokenizer` is immutable: share it between threads, fork, pickle and copy it freely. Ids, character offsets and
decoding equal those of Hugging Face ``tokenizers`` and of ``tiktoken`` for the same file; every input takes time
linear in its length. See ``docs/concepts/tokenizer.md``.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom import exactness, formats, patterns
from tokenloom._core import tokenizer as compiled
from tokenloom.errors import ArrayError, UnsupportedFeatureError

__all__ = ["DecodeStream", "Encoding", "Ragged", "Stage", "Tokenizer"]

Text: TypeAlias = str | bytes
Ids: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]
AllowedSpecial: TypeAlias = Literal["all"] | Collection[str]


class Encoding(NamedTuple):
    """The ids of a text and what each stands for.

    Attributes:
        ids: uint32 ``[n]``.
        byte_offsets: int64 ``[n, 2]``, start and end in the UTF-8 bytes of the text. They tile it unless a pretokenizer
            removes text; an id of the template (BOS and the like) has an empty span.
        char_offsets: int64 ``[n, 2]``, start and end in characters: ``Encoding.offsets`` of Hugging Face
            ``tokenizers``. Ids that share a character share its span, a composed character (NFC) stands for the first
            of its parts, and white space is left out where the file says ``trim_offsets``.
    """

    ids: NDArray[np.uint32]
    byte_offsets: NDArray[np.int64]
    char_offsets: NDArray[np.int64]


class Stage(NamedTuple):
    """One step of the way from text to ids, for people: the wording may change.

    Attributes:
        part: ``added tokens``, ``normalizer``, ``pretokenizer``, ``model``, ``template`` or ``decoder``.
        action: What it does.
        engine: What does it: a scanner, a regular expression engine, a merge engine; may be empty.
    """

    part: str
    action: str
    engine: str


class Ragged(Sequence[NDArray[np.uint32]]):
    """Sequences of ids of different lengths in one array; indexing gives views, not copies.

    Args:
        values: All ids, uint32 ``[sum of lengths]``.
        offsets: int64 ``[n + 1]``, rising from 0; sequence ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    Raises:
        ArrayError: The offsets do not cut ``values``.

    >>> rows = Ragged([5, 6, 7], [0, 2, 2, 3])
    >>> len(rows), [row.tolist() for row in rows]
    (3, [[5, 6], [], [7]])
    """

    __slots__ = ("offsets", "values")

    values: NDArray[np.uint32]
    offsets: NDArray[np.int64]

    def __init__(self, values: ArrayLike, offsets: ArrayLike) -> None:
        object.__setattr__(self, "values", np.asarray(values, dtype=np.uint32))
        object.__setattr__(self, "offsets", np.asarray(offsets, dtype=np.int64))
        if self.values.ndim != 1 or self.offsets.ndim != 1:
            raise ArrayError("expected values and offsets of one dimension", argument="values")
        cuts = self.offsets
        if not len(cuts) or cuts[0] != 0 or cuts[-1] != len(self.values) or (np.diff(cuts) < 0).any():
            raise ArrayError("expected offsets that rise from 0 to the number of values", argument="offsets")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Ragged is immutable, cannot set {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (Ragged, (self.values, self.offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> NDArray[np.uint32]: ...
    @overload
    def __getitem__(self, index: slice) -> Ragged: ...
    def __getitem__(self, index: int | slice) -> NDArray[np.uint32] | Ragged:
        """The ids of one sequence, or a :class:`Ragged` of some."""
        if isinstance(index, slice):
            rows = [self[i] for i in range(*index.indices(len(self)))]
            lengths = [0, *(len(row) for row in rows)]
            return Ragged(np.concatenate(rows) if rows else [], np.cumsum(lengths))
        at = range(len(self))[index]
        return self.values[self.offsets[at] : self.offsets[at + 1]]

    def __iter__(self) -> Iterator[NDArray[np.uint32]]:
        cuts = self.offsets.tolist()
        return (self.values[start:end] for start, end in itertools.pairwise(cuts))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ragged):
            return NotImplemented
        return np.array_equal(self.values, other.values) and np.array_equal(self.offsets, other.offsets)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Ragged({len(self)} sequences, {len(self.values)} ids)"

    def to_lists(self) -> list[list[int]]:
        """The sequences as lists of ints."""
        return [row.tolist() for row in self]


class DecodeStream:
    """Text from ids that arrive one at a time. Made by :meth:`Tokenizer.decode_stream`.

    The parts joined equal ``decode`` of all ids at once. At most three bytes wait, the start of a character.
    """

    __slots__ = ("_core",)

    def __init__(self, tokenizer: Tokenizer, skip_special_tokens: bool = False) -> None:
        machine = tokenizer._machine
        self._core: compiled.DecodeStream | compiled.InterpretedStream = (
            compiled.DecodeStream(machine, skip_special_tokens)
            if isinstance(machine, compiled.Tokenizer)
            else compiled.InterpretedStream(machine, skip_special_tokens)
        )

    def push(self, id: int) -> str:
        """The text that is certain once ``id`` has arrived, often empty.

        Raises:
            UnknownTokenError: ``id`` is no token; the stream is as before.
        """
        return self._core.push(id)

    def flush(self) -> str:
        """What is left, U+FFFD if a character was never finished. The stream starts anew."""
        return self._core.flush()

    @property
    def pending(self) -> bytes:
        """The bytes that wait for the rest of their character.

        Raises:
            UnsupportedFeatureError: The tokenizer is interpreted: its decoder may hold text back for other reasons.
        """
        if isinstance(self._core, compiled.InterpretedStream):
            raise UnsupportedFeatureError(_NEEDS_BYTES)
        return self._core.pending


def _n_threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if threads < 1:
        raise ValueError(f"expected at least 1 thread, found {threads}")
    return threads


class Tokenizer(compiled.DirectCalls):
    """A tokenizer of any kind of file that is read; see ``docs/concepts/formats.md``.

    Keywords that several methods share:

    * ``add_special_tokens``: put the ids of the file's template (BOS, EOS) around the text.
    * ``allowed_special``: ``"all"`` matches every special token in the text, as Hugging Face does. A set of names
      matches those only; the others are ordinary text. ``()`` therefore makes untrusted text safe. Added tokens that
      are not special are always matched.

    Text is ``str`` or ``bytes``. Bytes need not be UTF-8: each run of bytes that belong to no character is encoded by
    itself. A lone surrogate in a ``str`` becomes U+FFFD, as in tiktoken. A byte that the vocabulary lacks is left out,
    as in Hugging Face ``tokenizers``; the published byte-level vocabularies lack none that UTF-8 uses.
    """

    __slots__ = ("_machine", "_special")

    _machine: compiled.Tokenizer | compiled.Interpreted
    _special: dict[str, int]

    def __init__(self) -> None:
        raise TypeError("a Tokenizer is made by its from_* methods")

    @classmethod
    def _wrap(cls, machine: compiled.Tokenizer | compiled.Interpreted) -> Tokenizer:
        self = super().__new__(cls, machine)
        self._machine = machine
        self._special = machine.special_tokens()
        return self

    @classmethod
    def _of(cls, found: formats.Spec | formats.Definition) -> Tokenizer:
        if isinstance(found, formats.Spec):
            return cls._wrap(compiled.Tokenizer(found))
        return cls._wrap(compiled.Interpreted(found))

    @property
    def _core(self) -> compiled.Tokenizer:
        """The compiled machine, for the rooms that work on bytes."""
        if isinstance(self._machine, compiled.Tokenizer):
            return self._machine
        reason = self._machine.definition.reason
        raise UnsupportedFeatureError(_NEEDS_BYTES + (f"\nhint: {reason}" if reason else ""))

    @property
    def is_compiled(self) -> bool:
        """Whether the fast machine over bytes runs this tokenizer; otherwise its steps are interpreted one by one.

        Ids, offsets and text are those of the file either way. What needs the bytes of tokens (``token_bytes``,
        ``is_canonical``, ``canonicalize`` and the byte-level, control and draft rooms) needs a compiled tokenizer.
        """
        return isinstance(self._machine, compiled.Tokenizer)

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        kind: str | None = None,
        *,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
        ignore_truncation_and_padding: bool = False,
    ) -> Tokenizer:
        """The tokenizer of a file; arguments and errors as :func:`tokenloom.formats.read_file`.

        Raises:
            OSError: The file cannot be read.
            FormatError: The file is not what it claims to be.
            UnsupportedFeatureError: It is valid but uses something that is not supported; the message names it.
            PatternError: Its split pattern does not compile.
        """
        spec = formats.read_file(
            path,
            kind,
            pattern=pattern,
            special_tokens=special_tokens,
            ignore_truncation_and_padding=ignore_truncation_and_padding,
        )
        return cls._of(spec)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        kind: str | None = None,
        *,
        pattern: str | None = None,
        special_tokens: Mapping[str, int] | None = None,
        ignore_truncation_and_padding: bool = False,
    ) -> Tokenizer:
        """The tokenizer of the bytes of a file; arguments and errors as :func:`tokenloom.formats.read_bytes`."""
        spec = formats.read_bytes(
            data,
            kind,
            pattern=pattern,
            special_tokens=special_tokens,
            ignore_truncation_and_padding=ignore_truncation_and_padding,
        )
        return cls._of(spec)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        ignore_truncation_and_padding: bool = False,
    ) -> Tokenizer:
        """The tokenizer of a model folder or hub id; see :func:`tokenloom.formats.read_pretrained`."""
        spec = formats.read_pretrained(
            name, revision=revision, ignore_truncation_and_padding=ignore_truncation_and_padding
        )
        return cls._of(spec)

    @classmethod
    def from_tiktoken(
        cls,
        name: str,
        *,
        pat_str: str,
        mergeable_ranks: Mapping[bytes, int],
        special_tokens: Mapping[str, int],
    ) -> Tokenizer:
        r"""The tokenizer of the arguments of ``tiktoken.Encoding``; see :func:`tokenloom.formats.read_tiktoken`.

        >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
        >>> tok = Tokenizer.from_tiktoken(
        ...     "tiny", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<s>": 257}
        ... )
        >>> tok.encode("abba <s>").tolist()
        [256, 98, 97, 32, 257]
        """
        spec = formats.read_tiktoken(
            name, pat_str=pat_str, mergeable_ranks=mergeable_ranks, special_tokens=special_tokens
        )
        return cls._of(spec)

    def save(self, path: str | os.PathLike[str], kind: str | None = None) -> None:
        """Write a file that its own library reads with the same ids.

        Args:
            path: Where to; never seen half written.
            kind: ``"tokenizer.json"`` (Hugging Face ``tokenizers``), ``"tiktoken"`` (lines of token and rank, without
                pattern and special tokens) or ``"sentencepiece"`` (a model that was read as one and is interpreted).
                ``None`` tells it from the suffix, ``.tiktoken``, ``.model`` or any other.

        Raises:
            UnsupportedFeatureError: That format cannot say something; the message names it.
        """
        machine = self._machine
        formats.write_file(machine.spec if isinstance(machine, compiled.Tokenizer) else machine.definition, path, kind)

    def encode_with_dropout(
        self,
        text: Text,
        probability: float,
        *,
        seed: int,
        superwords_only: bool = False,
        add_special_tokens: bool = False,
        allowed_special: AllowedSpecial = "all",
    ) -> NDArray[np.uint32]:
        """One of the other ways to cut ``text``: BPE dropout as Hugging Face ``tokenizers`` does it.

        A merge that is about to be applied is put aside with ``probability`` and waits again once another one was
        applied; ``ignore_merges`` does not count. 0 gives what merging gives, 1 the first symbols. Draws depend on
        ``seed`` alone, so equal arguments give equal ids.

        Args:
            text: The text.
            probability: From 0 to 1.
            seed: From 0 to 2^64 - 1.
            superwords_only: Put aside only merges whose result has white space behind something else.
            add_special_tokens: See the class.
            allowed_special: See the class.

        Raises:
            ValueError: ``probability`` is not from 0 to 1.
            SpecialTokenError: ``allowed_special`` names no special token.
            PatternError: A split pattern without a scanner gives up on this text.
            UnsupportedFeatureError: The file is interpreted; its own ``dropout`` field counts there.

        >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256, b"abc": 257}
        >>> tok = Tokenizer.from_tiktoken("tiny", pat_str="[a-z]+", mergeable_ranks=ranks, special_tokens={})
        >>> [tok.encode_with_dropout("abc", p, seed=1).tolist() for p in (0, 1)]
        [[257], [97, 98, 99]]
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"expected a probability from 0 to 1, found {probability}")
        return self._core.encode_with_dropout(
            text, probability, seed, superwords_only, add_special_tokens, allowed_special
        )

    def encode_batch(
        self,
        texts: Iterable[Text],
        threads: int | None = None,
        add_special_tokens: bool = False,
        allowed_special: AllowedSpecial = "all",
    ) -> Ragged:
        """The ids of every text.

        Args:
            texts: Texts, read once.
            threads: At most this many threads, which live for this call only; every usable core where ``None``. The
                result does not depend on it.
            add_special_tokens: See the class.
            allowed_special: See the class.

        Raises:
            ValueError: ``threads`` is below 1.
            SpecialTokenError: ``allowed_special`` names no special token.
            PatternError: A split pattern without a scanner gives up on a text.
        """
        return Ragged(*self._machine.encode_batch(texts, _n_threads(threads), add_special_tokens, allowed_special))

    def encode_batch_list(
        self,
        texts: Iterable[Text],
        threads: int | None = None,
        add_special_tokens: bool = False,
        allowed_special: AllowedSpecial = "all",
    ) -> list[list[int]]:
        """The ids of every text as lists of ints; arguments and errors as :meth:`encode_batch`."""
        return self._machine.encode_batch_list(texts, _n_threads(threads), add_special_tokens, allowed_special)

    def encode_with_offsets(
        self, text: Text, add_special_tokens: bool = False, allowed_special: AllowedSpecial = "all"
    ) -> Encoding:
        """The ids of ``text`` with their byte and character offsets; raises what :meth:`encode` raises."""
        return Encoding(*self._machine.encode_with_offsets(text, add_special_tokens, allowed_special))

    def count(self, text: Text, add_special_tokens: bool = False, allowed_special: AllowedSpecial = "all") -> int:
        """How many ids :meth:`encode` gives, without making them."""
        n_ids = self._machine.count_until(text, _NO_LIMIT, add_special_tokens, allowed_special)
        assert n_ids is not None
        return n_ids

    def count_until(
        self, text: Text, limit: int, add_special_tokens: bool = False, allowed_special: AllowedSpecial = "all"
    ) -> int | None:
        """How many ids :meth:`encode` gives if that is at most ``limit``, else ``None``; stops soon after the limit."""
        return self._machine.count_until(text, limit, add_special_tokens, allowed_special) if limit >= 0 else None

    def decode_bytes(self, ids: Ids) -> bytes:
        """The bytes of ``ids``, joined. ``decode_bytes(encode(b)) == b`` unless text is normalized or removed.

        Raises:
            UnknownTokenError: An id is no token.
            ArrayError: ``ids`` is no integer array of one dimension, list or tuple.
        """
        return self._machine.decode_bytes(ids)

    def decode_batch(
        self, batch: Ragged | Iterable[Ids], skip_special_tokens: bool = False, errors: str = "replace"
    ) -> list[str]:
        """The text of every sequence of ids; raises what :meth:`decode` raises."""
        machine = self._machine
        if isinstance(machine, compiled.Tokenizer):
            return machine.decode_batch(batch, skip_special_tokens, errors)
        return [machine.decode(ids, skip_special_tokens, errors) for ids in batch]

    def decode_stream(self, skip_special_tokens: bool = False) -> DecodeStream:
        """A stream that turns ids into text as they arrive."""
        return DecodeStream(self, skip_special_tokens)

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one id.

        Raises:
            UnknownTokenError: ``id`` is no token.
        """
        return self._core.token_bytes(id)

    def token_id(self, token: bytes | str) -> int:
        """The id of the token with exactly these bytes, added tokens first.

        Raises:
            UnknownTokenError: There is none.
        """
        return self._machine.token_id(token.encode() if isinstance(token, str) else token)

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, added tokens included: the width of an array by id. Ids may have gaps."""
        return self._machine.vocab_size

    @property
    def special_tokens(self) -> dict[str, int]:
        """The special tokens and their ids (a copy)."""
        return dict(self._special)

    def stages(self) -> list[Stage]:
        """The steps from text to ids, the decoder last, and the engine that was chosen for each."""
        return [Stage(*stage) for stage in self._machine.stages()]

    def is_canonical(self, ids: Ids) -> bool:
        """Whether ``ids`` are what encoding the bytes they stand for gives.

        Raises:
            UnknownTokenError: An id is no token.
        """
        return self._core.is_canonical(ids)

    def canonicalize(self, ids: Ids) -> NDArray[np.uint32]:
        """The ids that encoding the bytes of ``ids`` gives; raises what :meth:`is_canonical` raises."""
        return self._core.canonicalize(ids)

    def with_digits_from_right(self, pattern: str = patterns.DIGITS_FROM_RIGHT) -> Tokenizer:
        """This tokenizer with digits cut in threes from the right, 1|234|567, before anything else is cut.

        The step is an ordinary ``Split`` by a regular expression: :meth:`save` and Hugging Face ``tokenizers`` keep it.
        Ids of numbers change, so a model has to be trained with it. In a stream digits regroup as they arrive.

        Args:
            pattern: ``patterns.DIGITS_FROM_RIGHT``, ``patterns.NUMBERS_FROM_RIGHT`` or one of your own.

        Raises:
            UnsupportedFeatureError: The tokenizer cannot be written as a ``tokenizer.json``.
        """
        machine = self._machine
        if isinstance(machine, compiled.Tokenizer):
            data = formats.write_tokenizer_json(machine.spec)
        else:
            data = machine.definition.to_json(False).encode()
        return Tokenizer.from_bytes(formats.with_split_first(data, pattern))

    def canonical_stream(self) -> exactness.CanonicalStream:
        """Whether ids that arrive one at a time are canonical; see :class:`tokenloom.exactness.CanonicalStream`."""
        return exactness.CanonicalStream(self)

    def segmentations(self, text: Text) -> exactness.Segmentations:
        """Every way to spell ``text`` in tokens; see :class:`tokenloom.exactness.Segmentations`."""
        return exactness.Segmentations(self, text)

    def settled(self, text: str, allowed_special: AllowedSpecial = "all") -> exactness.Settled:
        """The first tokens of ``text`` that stay whatever is appended; see :func:`tokenloom.exactness.settled`."""
        return exactness.settled(self, text, allowed_special)

    def encode_with_unstable(self, text: str, allowed_special: AllowedSpecial = "all") -> exactness.Unstable:
        """Settled ids and completions by tiktoken's rules; see :func:`tokenloom.exactness.encode_with_unstable`."""
        return exactness.encode_with_unstable(self, text, allowed_special)

    def byte_map(self, text: Text) -> exactness.ByteMap:
        """Which bytes of ``text`` belong to which token, both ways; see :func:`tokenloom.exactness.byte_map`."""
        return exactness.byte_map(self, text)

    def align(self, other: Tokenizer, text: Text) -> NDArray[np.int64]:
        """Which tokens of both tokenizers cover the same bytes; see :func:`tokenloom.exactness.align`."""
        return exactness.align(self, other, text)

    def vocabulary(self) -> exactness.Vocabulary:
        """Every token as bytes, by id; see :class:`tokenloom.exactness.Vocabulary`."""
        return exactness.vocabulary(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_from_state, (self._machine.to_state(), self.is_compiled))

    def __copy__(self) -> Tokenizer:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tokenizer:
        return self

    def __repr__(self) -> str:
        return f"Tokenizer({self._machine.n_tokens} tokens, {len(self._special)} special)"


_NO_LIMIT = (1 << 63) - 1


_NEEDS_BYTES = (
    "this needs a tokenizer whose tokens are bytes: byte-level BPE, "
    "or SentencePiece-style BPE with a token for each of the 256 bytes"
)


def _from_state(state: bytes, is_compiled: bool = True) -> Tokenizer:
    return Tokenizer._wrap((compiled.Tokenizer if is_compiled else compiled.Interpreted).from_state(state))
