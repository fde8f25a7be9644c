"""Which byte comes next, when the model speaks tokens?

:class:`ByteModel` sums a token model over all canonical encodings that begin with the bytes so far. See
``docs/concepts/bytelevel.md`` for what is exact and why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._byte_laws import FIM_FORMATS, TokenLaw, fim_context, token_law
from tokenloom._byte_pools import Ensemble, EnsembleState, check_byte, check_count, sample
from tokenloom._core import bytelevel as _core
from tokenloom._core.tokenizer import Tokenizer as CompiledTokenizer
from tokenloom.errors import ArrayError, DistributionError, ParamsError, UnsupportedFeatureError
from tokenloom.sample import Params
from tokenloom.tokenizer import Ragged, Tokenizer

__all__ = [
    "FIM_FORMATS",
    "ByteModel",
    "ByteState",
    "Ensemble",
    "EnsembleState",
    "Healed",
    "TokenLaw",
    "fim_context",
    "sample",
    "token_law",
]

LanguageModel: TypeAlias = Callable[[list[list[int]]], ArrayLike]
_Core: TypeAlias = _core.ByteState | _core.MarginalState

_MAX_BATCH = 64
"""Contexts a call of the model: a long text that is scored needs one for each of its tokens."""
_N_AHEAD = 16
"""Bytes whose rows are asked for in one call where the text is known."""


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
        tokenizer: byte pair encoding over bytes or over characters with byte fallback; for the canonical target, split
            patterns look at most one character ahead.
        target: ``"canonical"``: the mass of canonical encodings, exact. ``"marginal"``: the mass of all token sequences
            that spell the bytes, as far as ``max_tv`` asks for.
        max_tv: with ``"marginal"``: how far an answer may be from the exact one, in total variation.
        min_share: with ``"marginal"``: token sequences that hold less of the mass than this when they end are not
            looked into, whatever ``max_tv`` says. Certainty costs one to three contexts a byte; a small share here
            leaves half a context and nearly the same answers, and :attr:`ByteState.certificate` is then larger.
        max_heads: with ``"marginal"``: token sequences kept; if more matter, the lightest are forgotten and
            :attr:`ByteState.certificate` says what that may cost.
        window: with ``"marginal"``: of a prompt, the tokens before about the last ``window`` bytes are taken as
            ``tokenizer.encode`` gives them; from there on all encodings count.

    Raises:
        UnsupportedFeatureError: the tokenizer changes the text or splits it in a way that is not followed exactly.
        ParamsError: an unknown target, options out of range, no tokenizer or no model.

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

    __slots__ = ("_core", "lm", "max_heads", "max_tv", "min_share", "target", "tokenizer", "window")

    def __init__(
        self,
        lm: LanguageModel | Any,
        tokenizer: Tokenizer,
        target: Literal["canonical", "marginal"] = "canonical",
        *,
        max_tv: float = 1e-3,
        min_share: float = 0.0,
        max_heads: int = 1024,
        window: int = 24,
    ) -> None:
        if target not in ("canonical", "marginal"):
            raise ParamsError(f"expected target 'canonical' or 'marginal', found {target!r}")
        if not 0 <= max_tv < 1 or not 0 <= min_share < 1:
            raise ParamsError(f"expected max_tv and min_share in [0, 1), found {max_tv} and {min_share}")
        if max_heads < 2 or window < 0:
            raise ParamsError(f"expected max_heads >= 2 and window >= 0, found {max_heads} and {window}")
        if not isinstance(tokenizer, Tokenizer):
            raise ParamsError(f"expected a tokenloom.Tokenizer, found {type(tokenizer).__name__}")
        if not isinstance(tokenizer._core, CompiledTokenizer):
            message = "byte probabilities need a tokenizer of byte pair encoding over bytes, this one is interpreted"
            raise UnsupportedFeatureError(message)
        if hasattr(lm, "config") and hasattr(lm, "forward"):
            from tokenloom.torch.language_model import LanguageModel as HuggingFaceModel

            lm = HuggingFaceModel(lm)
        elif not callable(lm):
            raise ParamsError(f"expected a model or a function of contexts, found {type(lm).__name__}")
        self.lm, self.tokenizer = lm, tokenizer
        self.target: Literal["canonical", "marginal"] = target
        self.max_tv, self.min_share, self.max_heads, self.window = max_tv, min_share, max_heads, window
        self._core: _core.CanonicalLaw | _core.MarginalLaw
        if target == "canonical":
            self._core = _core.CanonicalLaw(tokenizer._core)
        else:
            self._core = _core.MarginalLaw(tokenizer._core, max_tv, max_heads, min_share)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the tokenizer does to texts before they are tokens: probabilities are those of texts after it."""
        return tuple(self._core.caveats)

    @property
    def symbols(self) -> NDArray[np.uint32]:
        """The added tokens, uint32 ``[n]``: they end texts, have no bytes, and a context may end with one."""
        return self._core.symbols

    def start(self, prompt: bytes = b"", context: Sequence[int] = ()) -> ByteState:
        """The state behind a prompt, conditioned on all encodings that begin with it.

        Args:
            prompt: any start of a UTF-8 text, also inside a character. Added tokens that it spells are read as such,
                as ``tokenizer.encode`` does; bytes that are pushed later are plain text.
            context: tokens before the prompt, the last one an added token; the prompt is then plain text, whatever it
                spells.

        Raises:
            DistributionError: no canonical encoding begins with the prompt.
            ParamsError: the context does not end with an added token.
        """
        given, rest = self._parted(prompt, plain=len(context) > 0)
        if len(context) and context[-1] not in self._core.symbols:
            raise ParamsError(f"expected the context to end with an added token, found token {context[-1]}")
        context = [*context, *given.tolist()]
        if isinstance(self._core, _core.CanonicalLaw):
            return ByteState(self, self._core.start(context, rest))
        return self._read(context, rest)

    def score(self, text: bytes) -> float:
        """The natural log-probability that a text starts with ``text``: the log mass of its covers.

        Asks the model about each token of ``text`` and little more, in batches. Added tokens that are spelled count as
        given. The marginal target reads byte by byte; it misses at most the share :attr:`ByteState.certificate`.

        A text that the model gives no mass scores minus infinity.

        Raises:
            DistributionError: no canonical encoding begins with ``text``.
        """
        if self.target == "marginal":
            context, rest = self._parted(text, windowed=False)
            try:
                state = self._read(context.tolist(), rest)
            except DistributionError as error:
                if error.row is None:
                    return -np.inf
                raise
        else:
            state = self.start(text)
        state._fill("mass")
        return state._core.log_mass()[0]

    def heal(self, prompt: bytes, context: Sequence[int] = ()) -> Healed:
        r"""The prompt's stable tokens and the exact distribution of what covers the rest.

        Usually two to six contexts in one call of the model, after which generation goes on by tokens.

        Args:
            prompt: as in :meth:`start`.
            context: as in :meth:`start`; the stable tokens begin with it.

        Raises:
            DistributionError: no canonical encoding begins with the prompt, or the model gives all of them
                probability zero.
            ParamsError: the target is not canonical, or the context does not end with an added token.

        >>> import numpy as np, tokenloom as tl
        >>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
        >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\s+|\S+", mergeable_ranks=ranks, special_tokens={})
        >>> model = tl.bytelevel.ByteModel(lambda contexts: np.full((len(contexts), 257), -np.log(257)), toy)
        >>> healed = model.heal(b"x a")
        >>> healed.ids.tolist(), sorted(healed.tokens.to_lists()), np.exp(healed.log_probs).round(6).tolist()
        ([120, 32], [[97], [256]], [0.5, 0.5])
        """
        if self.target != "canonical":
            raise ParamsError("expected target 'canonical' to heal a prompt, found 'marginal'")
        state = self.start(prompt, context)
        assert isinstance(state._core, _core.ByteState)
        state._fill("covers")
        ids, values, offsets, log_probs = state._core.covers()
        return Healed(ids, Ragged(values, offsets), log_probs)

    def _parted(self, prompt: bytes, *, plain: bool = False, windowed: bool = True) -> tuple[NDArray[np.uint32], bytes]:
        """The tokens that are taken as given, and the bytes behind them."""
        if not isinstance(prompt, bytes | bytearray | memoryview):
            raise TypeError(f"expected bytes, found {type(prompt).__name__}")
        prompt = bytes(prompt)
        encoding = self.tokenizer.encode_with_offsets(prompt, allowed_special=() if plain else "all")
        ends = encoding.byte_offsets[:, 1]
        # Added tokens cut the text: what lies behind the last one is encoded by itself.
        cuts = np.flatnonzero(np.isin(encoding.ids, self._core.symbols))
        n_context = int(cuts[-1]) + 1 if len(cuts) else 0
        if self.target == "marginal" and windowed:
            n_context = max(n_context, int(np.searchsorted(ends, len(prompt) - self.window, side="right")))
        n_bytes = int(ends[n_context - 1]) if n_context else 0
        return encoding.ids[:n_context], prompt[n_bytes:]

    def _read(self, context: list[int], rest: bytes) -> ByteState:
        assert isinstance(self._core, _core.MarginalLaw)
        state = ByteState(self, self._core.start(context))
        for byte in self._core.inserted(context) + rest:
            state._fill("mass")
            state._core = state._core.pushed(byte)
        return state

    def byte_targets(self, text: bytes, prompt: bytes = b"") -> NDArray[np.float32]:
        """What the model says of every byte of a training text, natural logarithms: float32 ``[len(text) + 1, 257]``.

        Row ``i`` is the law behind ``prompt`` and ``text[:i]``. With the canonical target the model is asked for 16
        bytes at a time, in one call each.

        Raises:
            DistributionError: no encoding begins with the bytes.
        """
        if not isinstance(text, bytes | bytearray | memoryview):
            raise TypeError(f"expected bytes, found {type(text).__name__}")
        state = self.start(prompt)
        targets = np.empty((len(text) + 1, 257), dtype=np.float32)
        for at in range(len(text) + 1):
            if at % _N_AHEAD == 0 and self.target == "canonical":
                state._look_ahead(text[at : at + _N_AHEAD])
            targets[at] = state.next_byte()
            if at < len(text):
                state.push(text[at])
        return targets

    def sample(
        self, prompt: bytes = b"", max_bytes: int = 256, params: Params | None = None, seed: int = 0
    ) -> tuple[bytes, NDArray[np.float64]]:
        """Draw bytes until an added token or the end comes; see :func:`sample`."""
        return sample(self.start(prompt), max_bytes, params, seed)

    def _rows(self, contexts: list[list[int]]) -> NDArray[np.float64]:
        answer = self.lm(contexts)
        try:
            rows = np.ascontiguousarray(answer, dtype=np.float64)
        except (TypeError, ValueError) as error:
            found = type(answer).__name__
            raise ArrayError(f"expected rows of numbers from the model, found {found}: {error}") from error
        if rows.ndim != 2 or len(rows) != len(contexts):
            expected = f"an array of {len(contexts)} rows"
            found = f"shape {rows.shape}"
            message = f"expected the model's answer to be {expected}, found {found}"
            raise ArrayError(message, argument="lm", expected=expected, found=found)
        return rows

    def __reduce__(self) -> tuple[Any, ...]:
        options = {name: getattr(self, name) for name in ("max_tv", "min_share", "max_heads", "window")}
        return (_rebuilt, (self.lm, self.tokenizer, self.target, options))


def _rebuilt(lm: Any, tokenizer: Tokenizer, target: Any, options: dict[str, Any]) -> ByteModel:
    return ByteModel(lm, tokenizer, target, **options)


class ByteState:
    """The bytes so far, with all encodings that begin with them. Made by :meth:`ByteModel.start`.

    Forks share what the model has answered. A state belongs to one thread at a time. What was pushed can be taken back;
    rows of the model are kept for the last 16 bytes, before that the model is asked again where they are needed.
    """

    __slots__ = ("_answers", "_core", "_model", "_past", "_recent", "_trunk")

    _N_RECENT = 16

    def __init__(self, model: ByteModel, core: _Core) -> None:
        self._model, self._core = model, core
        # States before this one, the last one first: [state, older ones].
        self._past: list[Any] | None = None
        self._recent: deque[list[Any]] = deque(maxlen=self._N_RECENT)
        self._trunk: list[int] = []
        self._answers: dict[tuple[int, ...], NDArray[np.float64]] = {}

    def next_byte(self) -> NDArray[np.float64]:
        """The natural log-probabilities of the next byte, float64 ``[257]``; slot 256 is an added token or the end.

        Calls the model for the contexts it has not answered yet, usually one after each :meth:`push`.

        Raises:
            ArrayError: the model's answer has not the shape asked for.
            DistributionError: the model's answer holds NaN or more than 0 (logits are no log-probabilities), or gives
                the bytes so far probability zero.
            Exception: whatever the model raises, as it is; the state is as before.
        """
        return self._next_byte()[0]

    @property
    def leaked(self) -> float:
        """The share of the mass of the bytes so far that the model gives to sequences no encoding has.

        At ``leaked`` = 0 the chain rule is exact: the log-probabilities of bytes add up to :meth:`ByteModel.score`.
        Otherwise each step adds ``log1p(-leaked)``. Calls the model like :meth:`next_byte`.
        """
        return self._next_byte()[1]

    @property
    def certificate(self) -> float:
        """How far :meth:`next_byte` may be from the exact law, in total variation: 0 for the canonical target.

        At most the model's ``max_tv``, unless so many token sequences matter that some were forgotten, or ``min_share``
        leaves some alone. Calls the model like :meth:`next_byte`.
        """
        return self._next_byte()[2]

    def _next_byte(self) -> tuple[NDArray[np.float64], float, float]:
        self._fill("next_byte")
        return self._core.next_byte()

    def push(self, byte: int) -> None:
        """Go on with a byte.

        Raises:
            DistributionError: no encoding begins with the bytes; the state is as before.
            ParamsError: no byte.
        """
        check_byte(byte)
        if self._model.target == "marginal":
            self._fill("mass")
        pushed = self._core.pushed(byte)
        if len(self._recent) == self._N_RECENT:
            oldest = self._recent[0]
            oldest[0] = oldest[0].slimmed()
        self._past = [self._core, self._past]
        self._recent.append(self._past)
        self._core = pushed

    def pop(self, n: int = 1) -> None:
        """Take back the last ``n`` bytes that were pushed.

        Raises:
            ParamsError: fewer were pushed, or ``n`` is negative; the state is as before.
        """
        check_count(n)
        core, past = self._core, self._past
        for _ in range(n):
            if past is None:
                raise ParamsError(f"expected at most the bytes that were pushed, found {n} to take back")
            core, past = past
        for _ in range(min(n, len(self._recent))):
            self._recent.pop()
        self._core, self._past = core, past
        del self._trunk[core.n_trunk :]

    def fork(self) -> ByteState:
        """A state of its own at the same place."""
        fork = ByteState(self._model, self._core)
        fork._past, fork._recent = self._past, self._recent.copy()
        return fork

    def _look_ahead(self, text: bytes) -> None:
        """Asks the model in one call for what the next bytes will need."""
        self._trunk += self._core.trunk(len(self._trunk))
        ahead, asked = self._core, dict[tuple[int, ...], None]()
        for byte in [*text, None]:
            trunk = ahead.trunk(0)
            for n_trunk, ids in ahead.contexts("next_byte", _MAX_BATCH):
                asked[(*trunk[:n_trunk], *ids)] = None
            if byte is not None:
                ahead = ahead.pushed(byte)
        contexts = [list(context) for context in asked]
        for first in range(0, len(contexts), _MAX_BATCH):
            batch = contexts[first : first + _MAX_BATCH]
            for context, row in zip(batch, self._model._rows(batch), strict=True):
                self._answers[tuple(context)] = row

    def _fill(self, needed_for: str) -> None:
        while contexts := self._core.contexts(needed_for, _MAX_BATCH):
            self._trunk += self._core.trunk(len(self._trunk))
            wanted = [self._trunk[:n_trunk] for n_trunk, _ in contexts]
            for context, (_, ids) in zip(wanted, contexts, strict=True):
                context += ids
            rows = self._known(wanted) if self._answers else self._model._rows(wanted)
            self._core = self._core.filled(needed_for, _MAX_BATCH, rows)

    def _known(self, contexts: list[list[int]]) -> NDArray[np.float64]:
        missing = [context for context in contexts if tuple(context) not in self._answers]
        if missing:
            self._answers.update(zip(map(tuple, missing), self._model._rows(missing), strict=True))
        return np.stack([self._answers.pop(tuple(context)) for context in contexts])
