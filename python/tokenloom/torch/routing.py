"""Which of two models should say this: the small one or the large one?

Two grains, one kind of rule. A *rule* is a callable that looks at how sure the small model was and says whether the
large one is needed. :func:`cascade` asks it once for a whole answer (language model cascades); :func:`route` asks it
for every token, and lets the large model say the tokens it is needed for (R2R). The large model reads what it has not
seen in one pass when it is needed, so tokens between two of its turns cost it no pass of their own.

Routing is not speculation: the text is neither the small model's nor the large one's. It trades quality for cost, and
the threshold has to be chosen on answers one can judge.

Chow-type scores: Gupta et al., "Language model cascades: token-level uncertainty and beyond", ICLR 2024. Token routing:
Fu et al., "R2R", 2025. LogU: Ma et al., "Estimating LLM uncertainty with logits", 2025.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from tokenloom import sample
from tokenloom.draft import DraftTree
from tokenloom.errors import ArrayError, UnsupportedFeatureError
from tokenloom.sample import Params
from tokenloom.torch.batch import Batch, largest_exact_batch
from tokenloom.torch.loop import ends_of, generate
from tokenloom.torch.options import check_count
from tokenloom.torch.result import Generation
from tokenloom.torch.writing import Writing

__all__ = [
    "Hysteresis",
    "Routed",
    "TokenStats",
    "above",
    "below",
    "cascade",
    "chow_average",
    "chow_quantile",
    "chow_sum",
    "quantile_vector",
    "route",
    "token_stats",
]

_N_TOP = 10
_N_READ = 256  # tokens of an answer that are read in one pass: their logits are held together
LEVELS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class TokenStats:
    """How sure a model is of its next token.

    Attributes:
        entropy: of the whole distribution, in nats.
        margin: probability of the best token less that of the second.
        max_prob: probability of the best token.
        aleatoric: LogU's uncertainty of the choice: the expected entropy of a Dirichlet law with the ten best logits as
            evidence, in nats. Logits below 0 are no evidence.
        epistemic: LogU's uncertainty of the model: 10 over (evidence + 10).
        hidden: the last state of the model, a tensor, where it was asked for.
    """

    entropy: float
    margin: float
    max_prob: float
    aleatoric: float
    epistemic: float
    hidden: Any = None


def token_stats(logits: ArrayLike, hidden: Any = None) -> TokenStats:
    """The statistics of one row of logits, float[V] with at least two finite entries."""
    row = np.asarray(logits, dtype=np.float64)
    if row.ndim != 1 or len(row) < 2:
        raise ArrayError(f"expected logits of shape [V], found {list(row.shape)}", argument="logits")
    shifted = row - row.max()
    weights = np.exp(shifted)
    total = weights.sum()
    log_probs = shifted - np.log(total)
    probs = weights / total
    top = np.sort(row[np.argpartition(row, -min(_N_TOP, len(row)))[-min(_N_TOP, len(row)) :]])[::-1]
    best = np.exp(top[:2] - row.max()) / total
    evidence = np.maximum(top, 0.0)
    strength = float(evidence.sum())
    shares = evidence / strength if strength > 0 else np.full(len(top), 1.0 / len(top))
    return TokenStats(
        entropy=float(-(probs * np.where(probs > 0, log_probs, 0.0)).sum()),
        margin=float(best[0] - best[1]),
        max_prob=float(best[0]),
        aleatoric=float(-(shares * (_digamma(evidence + 1) - _digamma(np.array([strength + 1])))).sum()),
        epistemic=len(top) / (strength + len(top)),
        hidden=hidden,
    )


def _digamma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The logarithmic derivative of the gamma function for x >= 1: recurrence up to 8, then the asymptotic series."""
    shifted, value = x.astype(np.float64), np.zeros(len(x))
    for _ in range(8):
        small = shifted < 8
        value = np.where(small, value - 1 / shifted, value)
        shifted = np.where(small, shifted + 1, shifted)
    inverse = 1 / (shifted * shifted)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    found: NDArray[np.float64] = value + np.log(shifted) - 0.5 / shifted - series
    return found


def above(what: str | Callable[[Any], float], threshold: float) -> Callable[[Any], bool]:
    """The rule that holds where a statistic (its name, or a function of it) is at least ``threshold``.

    Published settings: ``above("entropy", 0.45)``, ``above("aleatoric", 2.275)``, and for a trained router
    ``above(lambda stats: router(stats.hidden), 0.5)``.
    """
    read = _reader(what)
    return lambda stats: read(stats) >= threshold


def below(what: str | Callable[[Any], float], threshold: float) -> Callable[[Any], bool]:
    """The rule that holds where a statistic is less than ``threshold``.

    ``below("margin", 0.2)``, ``below(chow_average, -1.0)``.
    """
    read = _reader(what)
    return lambda stats: read(stats) < threshold


def _reader(what: str | Callable[[Any], float]) -> Callable[[Any], float]:
    return what if callable(what) else lambda stats: float(getattr(stats, what))


class Hysteresis:
    """A rule that does not change its mind at every token.

    The answers of another rule are averaged, each new one with weight ``1 - momentum``; the large model is called when
    the average reaches ``rise``, and left when it falls to ``fall``. One object serves one text after the other:
    :func:`route` calls ``reset`` in between.

    Args:
        rule: the rule that is smoothed.
        rise: average at which the large model takes over.
        fall: average at which the small one does.
        momentum: weight of the past; 0 for none.
    """

    def __init__(
        self, rule: Callable[[Any], bool], *, rise: float = 0.7, fall: float = 0.3, momentum: float = 0.7
    ) -> None:
        if not 0 <= fall <= rise <= 1 or not 0 <= momentum < 1:
            raise ArrayError(
                f"expected 0 <= fall <= rise <= 1 and 0 <= momentum < 1, found {fall}, {rise} and {momentum}"
            )
        self._rule, self._rise, self._fall, self._momentum = rule, rise, fall, momentum
        self.reset()

    def reset(self) -> None:
        """A new text begins."""
        self._average, self._is_large = 0.0, False

    def __call__(self, stats: Any) -> bool:
        """Whether the large model is needed."""
        self._average = self._momentum * self._average + (1 - self._momentum) * bool(self._rule(stats))
        self._is_large = self._average > self._fall if self._is_large else self._average >= self._rise
        return self._is_large


def chow_sum(logprobs: ArrayLike) -> float:
    """The answer's log-probability. Long answers have less of it: their length decides as much as their quality."""
    return float(np.sum(np.asarray(logprobs, dtype=np.float64)))


def chow_average(logprobs: ArrayLike) -> float:
    """The mean log-probability of a token; 0 for an empty answer."""
    values = np.asarray(logprobs, dtype=np.float64)
    return float(values.mean()) if len(values) else 0.0


def chow_quantile(alpha: float) -> Callable[[ArrayLike], float]:
    """A score: the ``alpha`` quantile of the tokens' log-probabilities; 0 is the least sure token."""
    return lambda logprobs: float(quantile_vector(logprobs, (alpha,))[0])


def quantile_vector(logprobs: ArrayLike, levels: Sequence[float] = LEVELS) -> NDArray[np.float64]:
    """Quantiles of the tokens' log-probabilities, float64[levels]: what a learned rule looks at; zeros for none."""
    values = np.asarray(logprobs, dtype=np.float64)
    if not len(values):
        return np.zeros(len(levels))
    return np.asarray(np.quantile(values, list(levels)), dtype=np.float64)


def cascade(
    small: Any,
    large: Any,
    tokenizer: Any,
    prompts: Any,
    *,
    rule: Callable[[Any], bool],
    large_tokenizer: Any = None,
    **options: Any,
) -> tuple[list[Generation], NDArray[np.bool_]]:
    """Answer with the small model, and again with the large one where ``rule`` asks for it.

    Args:
        small: answers everything.
        large: answers what the rule defers.
        tokenizer: the small model's tokenizer.
        prompts: as for :func:`generate`.
        rule: given the log-probabilities of an answer's tokens, float64[n], says whether to defer:
            ``below(chow_average, -0.7)``, ``below(chow_quantile(0.0), -3.0)``, or any function of
            :func:`quantile_vector`. They are the small model's own, at temperature 1 and before every rule, so a greedy
            answer has some, too; for them the small model reads each answer once more, in passes of 256 tokens.
        large_tokenizer: the large model's tokenizer, where it is another one; then prompts are texts.
        options: what :func:`generate` takes, particles excepted. ``stream`` hears of each prompt one answer alone: the
            small model's when it is known to stay, the large one's as it comes.

    Returns:
        The answers, and which of them are the large model's, bool[B].

    Raises:
        ArrayError: there is a ``large_tokenizer`` and a prompt is no text; and what :func:`generate` raises.
        UnsupportedFeatureError: particles were asked for: a rule judges one answer a prompt.
    """
    texts = [prompts] if isinstance(prompts, str) else list(prompts)
    if large_tokenizer is not None and (strangers := [text for text in texts if not isinstance(text, str)]):
        raise ArrayError(
            f"expected texts as prompts of two tokenizers, found {type(strangers[0]).__name__}", argument="prompts"
        )
    if options.get("method") == "smc" or options.get("particles", 1) != 1:
        raise UnsupportedFeatureError("expected one answer a prompt in a cascade, found particles")
    stream = options.pop("stream", None)
    answers = generate(small, tokenizer, texts, **options)
    n_vocab = min(int(tokenizer.vocab_size), _n_logits(small))
    deferred = np.array([bool(rule(_model_logprobs(small, answer, n_vocab))) for answer in answers], dtype=np.bool_)
    if stream is not None:
        for at in np.flatnonzero(~deferred).tolist():
            if answers[at].text:
                stream(at, answers[at].text)
    again = np.flatnonzero(deferred).tolist()
    if again:
        each: dict[str, Any] = {
            name: _chosen(options[name], again, len(texts)) for name in ("params", "seed") if name in options
        }
        if stream is not None:
            each["stream"] = lambda index, piece: stream(again[index], piece)
        tokenizer = tokenizer if large_tokenizer is None else large_tokenizer
        better = generate(large, tokenizer, [texts[at] for at in again], **(options | each))
        for at, answer in zip(again, better, strict=True):
            answers[at] = answer
    return answers, deferred


def _model_logprobs(model: Any, answer: Generation, n_vocab: int) -> NDArray[np.float64]:
    """What the model itself says of each token of its answer, whatever rules and constraint it was drawn under."""
    prompt, ids = answer.prompt_ids.tolist(), answer.ids.tolist()
    if not ids:
        return np.zeros(0)
    batch, found = Batch(model, 1), []
    for first in range(0, len(ids), _N_READ):
        # The last token of what was read and a chain behind it: one row of logits for each token of the answer.
        block, chain = (prompt if first == 0 else [ids[first - 1]]), ids[first : first + _N_READ]
        logits = batch.feed([block], [DraftTree.chain(chain[:-1])])[:, :n_vocab].double()
        laws = torch.log_softmax(logits, dim=-1)
        found.append(laws[range(len(chain)), chain].numpy())
    return np.concatenate(found)


def _chosen(value: Any, rows: Sequence[int], n: int) -> Any:
    """The entries of a list that has one for each prompt; anything else as it is."""
    is_list = not isinstance(value, (Params, int, np.integer)) and len(value) == n
    return [value[at] for at in rows] if is_list else value


@dataclass
class Routed:
    """One routed text.

    Attributes:
        text: the new text.
        ids: its tokens, uint32[n].
        by_large: which of them the large model said, bool[n].
        n_large_calls: forward passes of the large model.
        n_caught_up: tokens that the large model read in them, the prompt included.
    """

    text: str
    ids: NDArray[np.uint32]
    by_large: NDArray[np.bool_]
    n_large_calls: int
    n_caught_up: int


def route(
    small: Any,
    large: Any,
    tokenizer: Any,
    prompt: str | Sequence[int],
    *,
    rule: Callable[[TokenStats], bool],
    max_new_tokens: int = 128,
    params: Params = Params(),  # noqa: B008 (immutable)
    seed: int = 0,
    eos: Sequence[int] | None = None,
    stop: str | Sequence[str] = (),
    with_hidden: bool = False,
) -> Routed:
    """Continue a prompt token by token, each said by the model that ``rule`` chooses.

    Args:
        small: proposes every token.
        large: says the tokens for which the rule holds; of the same vocabulary.
        tokenizer: the :class:`tokenloom.Tokenizer` of both.
        prompt: a text or token ids; not empty.
        rule: given the small model's :class:`TokenStats`, says whether the large model is needed. Its method ``reset``,
            if it has one, is called first.
        max_new_tokens: most tokens to generate.
        params: sampling rules, for both models.
        seed: with the absolute position, the source of randomness of both models.
        eos: tokens that end the text. Default: those of the large model's generation config.
        stop: strings before which the text is cut.
        with_hidden: fill in ``hidden`` of the statistics, for routers that look at it.

    Raises:
        ArrayError: the prompt is empty, or ``max_new_tokens`` is no integer of at least 0.
        UnsupportedFeatureError: a model has layers that cannot take a token back.
    """
    check_count(max_new_tokens, 0, "max_new_tokens")
    for model in (small, large):
        largest_exact_batch(model, 1)
    ids = tokenizer.encode_list(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
    if not ids:
        raise ArrayError("expected at least one token, found an empty prompt", argument="prompt")
    if reset := getattr(rule, "reset", None):
        reset()
    ends = ends_of(large, eos)
    writing = Writing(tokenizer, (stop,) if isinstance(stop, str) else tuple(stop))
    n_vocab = min(int(tokenizer.vocab_size), *(_n_logits(model) for model in (small, large)))
    text, n_prompt = list(ids), len(ids)
    readers = _Reader(small, n_vocab), _Reader(large, n_vocab)
    head = small.get_output_embeddings() if with_hidden else None
    seen: list[Any] = []
    hook = None if head is None else head.register_forward_pre_hook(lambda _, states: seen.append(states[0][0, -1]))
    try:
        by_large = _say(text, readers, rule, max_new_tokens, params, seed, ends, writing, seen)
    finally:
        if hook is not None:
            hook.remove()
    return Routed(
        text=writing.finish(),
        ids=np.array(text[n_prompt:], dtype=np.uint32),
        by_large=np.array(by_large, dtype=np.bool_),
        n_large_calls=readers[1].n_calls,
        n_caught_up=readers[1].n_read,
    )


def _say(
    text: list[int],
    readers: tuple[_Reader, _Reader],
    rule: Callable[[TokenStats], bool],
    n_tokens: int,
    params: Params,
    seed: int,
    ends: frozenset[int],
    writing: Writing,
    seen: list[Any],
) -> list[bool]:
    """Lengthen ``text`` to its end; says which tokens are the large model's."""
    by_large: list[bool] = []
    n_prompt = len(text)
    while len(by_large) < n_tokens:
        logits = readers[0].after(text)
        is_large = bool(rule(token_stats(logits, seen.pop() if seen else None)))
        if is_large:
            logits = readers[1].after(text)
        drawn = sample.sample(
            logits[None],
            params,
            seeds=np.array([seed], np.uint64),
            positions=len(text),
            history=[text] if params.rules.needs_history else None,
            prompt_lengths=n_prompt,
        )
        text.append(int(drawn.tokens[0]))
        by_large.append(is_large)
        if text[-1] in ends:
            break
        writing.push(text[-1])
        if writing.stopped:
            break
    return by_large


class _Reader:
    """A model that reads on from where it stopped."""

    def __init__(self, model: Any, n_vocab: int) -> None:
        self._batch, self._n_vocab = Batch(model, 1), n_vocab
        self.n_calls = self.n_read = 0

    def after(self, text: Sequence[int]) -> NDArray[np.float32]:
        new = text[self.n_read :]
        self.n_calls, self.n_read = self.n_calls + 1, len(text)
        logits: NDArray[np.float32] = self._batch.feed([new])[0, : self._n_vocab].numpy()
        return logits


def _n_logits(model: Any) -> int:
    return int(model.config.get_text_config(decoder=True).vocab_size)
