"""Which byte comes next, when the model speaks tokens?

:class:`ByteModel` sums a token model over all canonical encodings that begin with the bytes so far. See
``docs/concepts/bytelevel.md`` for what is exact and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._core import bytelevel as _core
from tokenloom.errors import ArrayError, ParamsError
from tokenloom.tokenizer import Ragged, Tokenizer

__all__ = ["ByteModel", "ByteState", "Healed"]

LanguageModel: TypeAlias = Callable[[list[list[int]]], ArrayLike]

_MAX_BATCH = 64
"""Contexts a call of the model: a long text that is scored needs one for each of its tokens."""


class Healed(NamedTuple):
    """A prompt without its unstable end, and how the end may be spelled.

    Append one of ``tokens``, drawn with ``log_probs``, to ``ids`` and go on token by token: the text then starts with
    the prompt, and continues as the model would have continued all encodings of it.

    Attributes:
        ids: uint32 ``[n]``, the tokens that every encoding of the prompt starts with.
        tokens: the covers of what is left, a :class:`tokenloom.Ragged` of ``m`` id sequences. The last token may reach
            past the end of the prompt; a sequence is empty where ``ids`` already spell the prompt.
        log_probs: float64 ``[m]``, natural; they sum to one.
    """

    ids: NDArray[np.uint32]
    tokens: Ragged
    log_probs: NDArray[np.float64]


class ByteModel:
    r"""A token model read byte by byte.

    Args:
        lm: a Hugging Face causal language model, or a function that takes a list of contexts (lists of ids, possibly
            empty) and returns natural log-probabilities of the next token, an array ``[len(contexts), V]``; rows may
            be wider than the vocabulary. It is called in batches and its rows are taken as they are: tokens that no
            canonical encoding would have next count as leaked, they are not renormalised away.
        tokenizer: a byte-level BPE without normalizer, whose split patterns look at most one character ahead.
        target: ``"canonical"``: the mass of canonical encodings.

    Raises:
        UnsupportedFeatureError: the tokenizer changes the text or splits it in a way that is not followed exactly.
        ParamsError: an unknown target.

    Hayase et al., "Sampling from your language model one byte at a time" (2025), section 3; Phan et al., "Exact
    byte-level probabilities from tokenized language models" (2024), section 3.

    >>> import numpy as np, tokenloom as tl
    >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
    >>> tokenizer = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s+|\S+", mergeable_ranks=ranks, special_tokens={})
    >>> model = tl.bytelevel.ByteModel(lambda contexts: np.full((len(contexts), 257), -np.log(257)), tokenizer)
    >>> state = model.start(b"a")
    >>> p = np.exp(state.next_byte())
    >>> bool(p[ord("b")] > p[ord("c")]), round(float(p.sum()), 12)
    (True, 1.0)
    """

    __slots__ = ("_core", "lm", "tokenizer")

    def __init__(
        self, lm: LanguageModel | Any, tokenizer: Tokenizer, target: Literal["canonical"] = "canonical"
    ) -> None:
        if target != "canonical":
            raise ParamsError(f"expected target 'canonical', found {target!r}")
        if hasattr(lm, "config") and hasattr(lm, "forward"):
            from tokenloom.torch.language_model import LanguageModel as HuggingFaceModel

            lm = HuggingFaceModel(lm)
        self.lm, self.tokenizer = lm, tokenizer
        self._core = _core.CanonicalLaw(tokenizer._core)

    def start(self, prompt: bytes = b"") -> ByteState:
        """The state behind a prompt, conditioned on all encodings that begin with it.

        Args:
            prompt: any start of a UTF-8 text, also inside a character. Added tokens that it spells are read as such,
                as ``tokenizer.encode`` does; bytes that are pushed later are plain text.

        Raises:
            DistributionError: no canonical encoding begins with the prompt.
        """
        return ByteState(self, self._start(prompt))

    def score(self, text: bytes) -> float:
        """The natural log-probability that a text starts with ``text``: the log mass of its covers.

        Calls the model once for each token of ``text`` and few times more, in batches. Added tokens that are spelled
        count as given.

        Raises:
            DistributionError: no canonical encoding begins with ``text``.
        """
        return _filled(self, self._start(text), "mass").log_mass()

    def heal(self, prompt: bytes) -> Healed:
        r"""The prompt's stable tokens and the exact distribution of what covers the rest.

        Usually two to six contexts in one call of the model, after which generation goes on by tokens.

        Raises:
            DistributionError: no canonical encoding begins with the prompt, or the model gives all of them
                probability zero.

        >>> import numpy as np, tokenloom as tl
        >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
        >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s+|\S+", mergeable_ranks=ranks, special_tokens={})
        >>> model = tl.bytelevel.ByteModel(lambda contexts: np.full((len(contexts), 257), -np.log(257)), toy)
        >>> healed = model.heal(b"x a")
        >>> healed.ids.tolist(), sorted(healed.tokens.to_lists()), np.exp(healed.log_probs).round(6).tolist()
        ([120, 32], [[97], [256]], [0.5, 0.5])
        """
        ids, values, offsets, log_probs = _filled(self, self._start(prompt), "covers").covers()
        return Healed(ids, Ragged(values, offsets), log_probs)

    def _start(self, prompt: bytes) -> _core.ByteState:
        """Added tokens cut the text: what lies behind the last one is encoded by itself."""
        if not isinstance(prompt, bytes | bytearray | memoryview):
            raise TypeError(f"expected bytes, found {type(prompt).__name__}")
        prompt = bytes(prompt)
        encoding = self.tokenizer.encode_with_offsets(prompt)
        cuts = np.flatnonzero(np.isin(encoding.ids, self._core.symbols))
        n_context = int(cuts[-1]) + 1 if len(cuts) else 0
        n_bytes = int(encoding.byte_offsets[n_context - 1, 1]) if n_context else 0
        return self._core.start(encoding.ids[:n_context], prompt[n_bytes:])

    def __reduce__(self) -> tuple[Any, ...]:
        return (ByteModel, (self.lm, self.tokenizer))


class ByteState:
    """The bytes so far, with all encodings that begin with them. Made by :meth:`ByteModel.start`.

    Forks share what the model has answered. A state belongs to one thread at a time.
    """

    __slots__ = ("_core", "_model")

    def __init__(self, model: ByteModel, core: _core.ByteState) -> None:
        self._model, self._core = model, core

    def next_byte(self) -> NDArray[np.float64]:
        """The natural log-probabilities of the next byte, float64 ``[257]``; slot 256 is an added token or the end.

        Calls the model for the contexts it has not answered yet, usually one after each :meth:`push`.

        Raises:
            ArrayError: the model's answer has not the shape asked for.
            DistributionError: the model's answer holds NaN or +inf, or gives the bytes so far probability zero.
            Exception: whatever the model raises, as it is; the state is as before.
        """
        self._core = _filled(self._model, self._core, "next_byte")
        return self._core.next_byte()[0]

    @property
    def leaked(self) -> float:
        """The share of the mass of the bytes so far that the model gives to sequences no encoding has.

        At ``leaked`` = 0 the chain rule is exact: the log-probabilities of bytes add up to :meth:`ByteModel.score`.
        Otherwise each step adds ``log1p(-leaked)``. Calls the model like :meth:`next_byte`.
        """
        self._core = _filled(self._model, self._core, "next_byte")
        return self._core.next_byte()[1]

    def push(self, byte: int) -> None:
        """Go on with a byte.

        Raises:
            DistributionError: no canonical encoding begins with the bytes; the state is as before.
        """
        self._core = self._core.pushed(byte)

    def fork(self) -> ByteState:
        """A state of its own at the same place."""
        return ByteState(self._model, self._core)


def _filled(model: ByteModel, core: _core.ByteState, needed_for: str) -> _core.ByteState:
    while contexts := core.contexts(needed_for, _MAX_BATCH):
        rows = np.ascontiguousarray(model.lm(contexts), dtype=np.float64)
        if rows.ndim != 2 or len(rows) != len(contexts):
            expected = f"an array of {len(contexts)} rows"
            found = f"shape {rows.shape}"
            message = f"expected the model's answer to be {expected}, found {found}"
            raise ArrayError(message, argument="lm", expected=expected, found=found)
        core = core.filled(needed_for, _MAX_BATCH, rows)
    return core
