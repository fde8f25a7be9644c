"""Exact samples of constrained texts by rejection of whole texts, with a trie of what was rejected."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._constraint import Constraint, State
from tokenloom._smc import LanguageModel, ends_of
from tokenloom.errors import LimitError
from tokenloom.sample import Params, Rng, sample

__all__ = ["ExactSampler", "Sampled"]


@dataclass(frozen=True)
class Sampled:
    """An exact sample.

    Attributes:
        ids: its tokens, the end token included, uint32[n].
        text: its bytes without the end token.
        n_attempts: texts that were begun for it, itself included.
    """

    ids: NDArray[np.uint32]
    text: bytes
    n_attempts: int


@dataclass
class _Node:
    """A prefix below which something was rejected: for each child the share of its mass that is known to be dead."""

    dead: dict[int, float] = field(default_factory=dict)
    probs: dict[int, float] = field(default_factory=dict)
    children: dict[int, _Node] = field(default_factory=dict)

    def share(self) -> float:
        return min(1.0, sum(self.probs[token] * share for token, share in self.dead.items()))


class ExactSampler:
    r"""Independent samples of the model's law given that the whole text satisfies the constraint: no weights, no bias.

    Texts are drawn from the model and thrown away as soon as they break the constraint. What broke it is remembered in
    a trie together with its mass, and later texts are drawn from the model given that they are none of the remembered
    ones: ``p(t) (1 - dead(t))`` at each node. So no text is rejected twice, and the chance of acceptance only grows.
    For many samples of one prompt; where almost no mass is allowed, :class:`Smc` is the tool.

    Args:
        lm: from contexts (lists of ids) to natural log-probabilities, float[B, V].
        constraint: what the text must satisfy.
        prompt: token ids before the text.
        max_new_tokens: a text that has not ended by then is rejected.
        eos: tokens that end a text where the constraint accepts; by default those of the constraint.
        seed: all the randomness.

    "Constrained adaptive rejection sampling" (arXiv 2510.01902), with checks of single tokens in place of masks.

    >>> import numpy as np, tokenloom as tl
    >>> ranks = {bytes([byte]): byte for byte in range(256)}
    >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+", mergeable_ranks=ranks, special_tokens={"</s>": 256})
    >>> law = np.full(257, -np.inf)
    >>> law[[97, 98, 256]] = np.log([0.5, 0.3, 0.2])
    >>> no_bb = tl.control.predicate(lambda prefix: b"bb" not in prefix, toy)
    >>> sampler = tl.control.ExactSampler(lambda contexts: np.tile(law, (len(contexts), 1)), no_bb, max_new_tokens=4)
    >>> texts = [found.text for found in sampler.draw(50)]
    >>> any(b"bb" in text for text in texts), max(map(len, texts)) < 4, sampler.dead_share() > 0.4
    (False, True, True)
    """

    def __init__(
        self,
        lm: LanguageModel,
        constraint: Constraint,
        prompt: Sequence[int] = (),
        *,
        max_new_tokens: int,
        eos: Collection[int] | None = None,
        seed: int = 0,
    ) -> None:
        self._lm, self._constraint, self._prompt = lm, constraint, [int(token) for token in prompt]
        self._ends = ends_of(constraint) if eos is None else frozenset(int(id) for id in eos)
        self._n_tokens, self._seed = max_new_tokens, seed
        self._root = _Node()
        self._n_attempts = 0

    def dead_share(self) -> float:
        """The share of the model's mass that is known to be rejected: at most 1 minus the allowed mass."""
        return self._root.share()

    def draw(self, n: int = 1, max_attempts: int = 10_000) -> list[Sampled]:
        """``n`` independent samples.

        Raises:
            LimitError: more than ``max_attempts`` texts were begun for one sample, or no mass is left.
            Exception: whatever a predicate raises, as it is.
        """
        found = []
        for _ in range(n):
            for attempt in range(1, max_attempts + 1):
                drawn = self._attempt()
                if drawn is not None:
                    found.append(Sampled(*drawn, attempt))
                    break
                if self.dead_share() >= 1.0:
                    raise LimitError(
                        "expected some mass to be allowed, found that every text is rejected", limit=attempt
                    )
            else:
                message = f"expected a sample within {max_attempts} attempts, found none"
                raise LimitError(message, limit=max_attempts, value=max_attempts)
        return found

    def _attempt(self) -> tuple[NDArray[np.uint32], bytes] | None:
        """Draw one text from the model without the dead ones; None where it is rejected, which is then remembered."""
        rng_seed = int(Rng(self._seed).derive(self._n_attempts).seed)
        self._n_attempts += 1
        state: State = self._constraint.start()
        ids: list[int] = []
        path: list[tuple[int, float]] = []
        node: _Node | None = self._root
        while len(ids) < self._n_tokens:
            row = np.asarray(self._lm([[*self._prompt, *ids]])[0], dtype=np.float64)
            row = row - np.logaddexp.reduce(row)
            alive = row.copy()
            for token, share in node.dead.items() if node is not None else ():
                alive[token] = alive[token] + np.log1p(-share) if share < 1.0 else -np.inf
            if not np.isfinite(alive.max()):
                break
            token = _draw(alive, rng_seed, len(ids))
            path.append((token, float(np.exp(row[token]))))
            is_end = token in self._ends
            if not (state.is_accepting() if is_end else state.check(token)):
                break
            ids.append(token)
            if is_end:
                return np.array(ids, dtype=np.uint32), state.prefix
            state.advance(token)
            node = node.children.get(token) if node is not None else None
        self._reject(path)
        return None

    def _reject(self, path: list[tuple[int, float]]) -> None:
        """The path is dead, and so is its share of the mass of every prefix of it."""
        nodes = [self._root]
        for token, _ in path[:-1]:
            nodes.append(nodes[-1].children.setdefault(token, _Node()))
        share = 1.0
        for node, (token, prob) in zip(reversed(nodes), reversed(path), strict=True):
            node.dead[token], node.probs[token] = share, prob
            share = node.share()


def _draw(log_probs: NDArray[np.float64], seed: int, position: int) -> int:
    logits: Any = (log_probs - log_probs.max()).astype(np.float32)[None]
    drawn = sample(logits, Params(), seeds=np.array([seed], dtype=np.uint64), positions=np.array([position]))
    return int(drawn.tokens[0])
