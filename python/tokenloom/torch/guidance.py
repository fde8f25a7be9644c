"""How do two readings of one text make one law?

Guidance compares what a model says with what it says without the condition, or what an expert says with what an
amateur says, and goes further in the direction of the difference. Both are readers of
:class:`tokenloom.control.Smc`: two caches that grow side by side, and one row of log-probabilities from two. So guided
text comes with constraints, particles, weights and critics like any other; without a constraint, :func:`follow` draws
plainly.

Cost: two forward passes a step. The guided law is a law of its own: nothing here is unbiased for the model's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokenloom import sample
from tokenloom.control import Reader
from tokenloom.errors import ParamsError
from tokenloom.sample import Params
from tokenloom.torch.options import check_count

__all__ = ["Guided", "classifier_free", "contrastive", "follow"]

Rows: TypeAlias = NDArray[np.floating[Any]]


def classifier_free(scale: float) -> Callable[[Rows, Rows], Rows]:
    """Classifier-free guidance: ``l_u + scale (l_c - l_u)`` of log-probabilities with and without the condition.

    Args:
        scale: 1 is the model with the condition, 0 the one without; above 1 it leans further.
    """

    def combine(conditioned: Rows, plain: Rows) -> Rows:
        both = np.isfinite(conditioned) & np.isfinite(plain)
        scores = np.full_like(plain, -np.inf)
        scores[both] = plain[both] + scale * (conditioned[both] - plain[both])
        return _normalised(scores)

    return combine


def contrastive(alpha: float = 0.1, beta: float = 0.5) -> Callable[[Rows, Rows], Rows]:
    """Contrastive decoding: ``(1 + beta) l_e - beta l_a`` where the expert's probability is at least alpha of its best.

    Args:
        alpha: share of the expert's best probability that a token needs, above 0 to 1.
        beta: how far the amateur is pushed away, at least 0.

    O'Brien and Lewis, "Contrastive decoding improves reasoning in large language models" (2023). The older form of Li
    et al. (2022), ``l_e - l_a``, is the limit of a large beta at a temperature that grows with it.
    """
    if not 0.0 < alpha <= 1.0 or beta < 0.0:
        raise ParamsError(f"expected alpha above 0 up to 1 and beta of at least 0, found {alpha} and {beta}")

    def combine(expert: Rows, amateur: Rows) -> Rows:
        kept = (expert >= expert.max(axis=-1, keepdims=True) + np.log(alpha)) & np.isfinite(amateur)
        scores = np.full_like(expert, -np.inf)
        scores[kept] = (1.0 + beta) * expert[kept] - beta * amateur[kept]
        return _normalised(scores)

    return combine


def _normalised(scores: Rows) -> Rows:
    best = scores.max(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        total = np.log(np.exp(scores - best).sum(axis=-1, keepdims=True))
    normalised: Rows = scores - best - total
    return normalised


class Guided:
    """Two readers of one text as one.

    Args:
        first: the model with the condition, or the expert.
        second: the model without it, or the amateur; both speak of the same tokens.
        combine: from two arrays of log-probabilities, float[B, V], to one.
        second_prompt: what the second one reads in place of the prompt; default: the same.
    """

    def __init__(
        self,
        first: Reader,
        second: Reader,
        combine: Callable[[Rows, Rows], Rows],
        second_prompt: Sequence[int] | None = None,
    ) -> None:
        self._first, self._second, self._combine = first, second, combine
        self._second_prompt = second_prompt

    def start(self, prompt: Sequence[int]) -> Rows:
        """Both read their prompts."""
        other = prompt if self._second_prompt is None else self._second_prompt
        return self._combine(self._first.start(prompt), self._second.start(other))

    def advance(self, parents: Sequence[int], tokens: Sequence[int]) -> Rows:
        """Both go on alike."""
        return self._combine(self._first.advance(parents, tokens), self._second.advance(parents, tokens))


def follow(
    reader: Reader,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    params: Params = Params(),  # noqa: B008 (immutable)
    seed: int = 0,
    eos: Iterable[int] = (),
) -> NDArray[np.uint32]:
    """Draw one text from a reader without a constraint; its tokens, an end token included.

    Args:
        reader: such as :class:`Guided` or :class:`tokenloom.torch.CachedReader`.
        prompt: token ids.
        max_new_tokens: most tokens.
        params: sampling rules, applied to the reader's law.
        seed: all the randomness.
        eos: tokens that end the text.

    Raises:
        ArrayError: ``max_new_tokens`` is no integer of at least 0.
    """
    check_count(max_new_tokens, 0, "max_new_tokens")
    ends: frozenset[Any] = frozenset(int(token) for token in eos)
    ids: list[int] = []
    rows = reader.start(prompt) if max_new_tokens else None
    while rows is not None:
        logits = np.asarray(rows, dtype=np.float32)
        drawn = sample.sample(
            logits,
            params,
            seeds=np.array([seed], dtype=np.uint64),
            positions=len(prompt) + len(ids),
            history=[[*prompt, *ids]] if params.rules.needs_history else None,
            prompt_lengths=len(prompt),
        )
        ids.append(int(drawn.tokens[0]))
        is_over = ids[-1] in ends or len(ids) == max_new_tokens
        rows = None if is_over else reader.advance([0], ids[-1:])
    return np.array(ids, dtype=np.uint32)
