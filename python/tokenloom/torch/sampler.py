"""How does a loop of one's own draw its tokens, reproducibly?

:class:`Sampler` holds what a draw needs besides logits: the rules, the seeds, the texts so far, the state of mirostat.
:class:`RulesProcessor` is the same behind the interface of Hugging Face's logits processors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tokenloom import sample
from tokenloom.errors import ArrayError, DistributionError
from tokenloom.sample import Draws, LogitStats, Params

__all__ = ["RulesProcessor", "Sampler"]

_NEUTRAL = Params()


class Sampler:
    """Draws the next token of every text in a batch and remembers it.

    A text's tokens depend on its prompt, rules and seed alone: rows may come, go and change places.

    Args:
        params: One :class:`tokenloom.sample.Params` or one a text.
        prompts: The ids of each prompt.
        seeds: One int, from which every text gets a seed of its own, or one seed a text.

    Attributes:
        texts: The ids of every text, prompt first.
        prompt_lengths: How many of them are the prompt.
        logprobs: The natural log-probability of every drawn token, by text.

    >>> import torch, tokenloom as tl
    >>> sampler = tl.torch.Sampler(tl.sample.Params(top_k=2), prompts=[[5], [6, 7]], seeds=1)
    >>> tokens = sampler(torch.tensor([[9.0, 8.0, 0.0], [0.0, 8.0, 9.0]]))
    >>> [len(text) for text in sampler.texts]
    [2, 3]
    """

    def __init__(
        self,
        params: Params | Sequence[Params] = _NEUTRAL,
        prompts: Sequence[Sequence[int]] = ((),),
        seeds: int | Sequence[int] = 0,
    ) -> None:
        self.texts = [[int(token) for token in prompt] for prompt in prompts]
        self.prompt_lengths = [len(text) for text in self.texts]
        n_texts = len(self.texts)
        self._params = [params] * n_texts if isinstance(params, Params) else list(params)
        if len(self._params) != n_texts:
            raise ArrayError(f"expected one Params or one a prompt ({n_texts}), found {len(self._params)}")
        given = sample.seeds(seeds, n_texts).tolist() if isinstance(seeds, int) else [int(seed) for seed in seeds]
        if len(given) != n_texts:
            raise ArrayError(f"expected one seed or one a prompt ({n_texts}), found {len(given)}", argument="seeds")
        self._seeds = given
        self._mus = [float("nan")] * n_texts
        self.logprobs: list[list[float]] = [[] for _ in self.texts]

    def __call__(self, logits: torch.Tensor, mask: Any = None) -> torch.Tensor:
        """Draw and remember one token a text.

        Args:
            logits: float[B, V], on the CPU or on a CUDA device.
            mask: As in :func:`tokenloom.sample.sample`.

        Returns:
            int64[B], on the device of the logits.

        Raises:
            ArrayError: An array has the wrong dtype or shape.
            DistributionError: A text has no next token; ``error.row`` says which. Nothing is remembered then.
        """
        if any(params.mirostat for params in self._params):
            return self.draw(logits, mask).tokens  # type: ignore[no-any-return]
        arguments, texts = self._arguments(logits, mask)
        drawn = sample.sample(logits, *arguments, **texts)
        self._remember(drawn.tokens, drawn.logprobs, drawn.status)
        tokens: torch.Tensor = drawn.tokens
        return tokens

    def draw(self, logits: torch.Tensor, mask: Any = None, *, n_top: int = 0, top: Any = "raw") -> Draws:
        """Draw and remember the same token a text, and tell what each row looks like: :func:`tokenloom.sample.draw`.

        Args:
            logits: float[B, V], on the CPU or on a CUDA device.
            mask: As in :func:`tokenloom.sample.sample`.
            n_top: As in :func:`tokenloom.sample.draw`.
            top: As in :func:`tokenloom.sample.draw`.

        Raises:
            ArrayError: An array has the wrong dtype or shape.
            DistributionError: A text has no next token; ``error.row`` says which. Nothing is remembered then.
        """
        arguments, texts = self._arguments(logits, mask)
        rows = _where_rules_run(logits, self._params)
        drawn = sample.draw(rows, *arguments, **texts, mirostat_mu=self._mus, n_top=n_top, top=top)
        self._remember(drawn.tokens, drawn.logprobs, drawn.status)
        self._mus = drawn.mirostat_mu.tolist()
        if rows is logits:
            return drawn
        stats = LogitStats(*(tensor.to(logits.device) for tensor in drawn.stats))
        others = {name: tensor.to(logits.device) for name, tensor in drawn._asdict().items() if name != "stats"}
        return Draws(stats=stats, **others)

    def _arguments(self, logits: torch.Tensor, mask: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if len(logits) != len(self.texts):
            raise ArrayError(f"expected logits of {len(self.texts)} rows, found {len(logits)}", argument="logits")
        seeds = np.array(self._seeds, dtype=np.uint64)
        positions = [len(text) for text in self.texts]
        has_rules = any(params.rules.needs_history for params in self._params)
        texts = {"history": self.texts if has_rules else None, "prompt_lengths": np.array(self.prompt_lengths)}
        return (self._params, seeds, positions, mask), texts

    def _remember(self, tokens: torch.Tensor, logprobs: torch.Tensor, statuses: torch.Tensor) -> None:
        _check(statuses.tolist())
        for text, own, token, logprob in zip(
            self.texts, self.logprobs, tokens.tolist(), logprobs.tolist(), strict=True
        ):
            text.append(token)
            own.append(logprob)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these texts in this order; what a cache does by ``batch_select_indices``."""
        for name in ("texts", "logprobs"):
            setattr(self, name, [list(getattr(self, name)[row]) for row in rows])
        for name in ("prompt_lengths", "_params", "_seeds", "_mus"):
            setattr(self, name, [getattr(self, name)[row] for row in rows])


class RulesProcessor:
    """Hugging Face's logits processors, all of them in one: ``model.generate(logits_processor=[RulesProcessor(...)])``.

    Without a seed it returns the logits that the rules leave, ``-inf`` elsewhere, as the processors do, and
    ``generate`` draws. With a seed it draws itself and leaves one token: the text then depends on its prompt, its rules
    and its seed alone, not on the batch, the padding or the state of a generator. Call ``generate`` with
    ``do_sample=True`` and neutral rules of its own (``temperature=1.0, top_k=0, top_p=1.0``). One processor serves one
    call.

    Args:
        params: One :class:`tokenloom.sample.Params` or one a row. The state of mirostat is not kept.
        seed: Where each row's seed is derived from, or one seed a row.
        pad_token_id: Leading tokens of this id are not part of a text.
    """

    def __init__(
        self,
        params: Params | Sequence[Params] = _NEUTRAL,
        seed: int | Sequence[int] | None = None,
        pad_token_id: int | None = None,
    ) -> None:
        self._params = params
        self._seed = seed
        self._pad = pad_token_id
        self._prompt_width: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores of the next token, float[B, V], for texts int64[B, n]."""
        n_rows = len(input_ids)
        if self._prompt_width is None:
            self._prompt_width = input_ids.shape[1]
        texts = [self._without_padding(row) for row in input_ids.cpu().numpy()]
        n_new = input_ids.shape[1] - self._prompt_width
        positions = np.array([len(text) for text in texts])
        keywords: dict[str, Any] = {"history": texts, "prompt_lengths": np.maximum(positions - n_new, 0)}
        rows = _where_rules_run(scores, [self._params] if isinstance(self._params, Params) else self._params)
        if self._seed is None:
            left = sample.process(rows, self._params, **keywords)
        else:
            seeds = sample.seeds(self._seed, n_rows) if isinstance(self._seed, int) else np.array(self._seed, np.uint64)
            drawn = sample.sample(rows, self._params, seeds, positions, **keywords)
            _check(drawn.status.tolist())
            left = torch.full(scores.shape, -torch.inf, dtype=torch.float32, device=scores.device)
            left.scatter_(1, drawn.tokens[:, None].to(scores.device), 0.0)
        return left.to(scores.device, scores.dtype)  # type: ignore[no-any-return]

    def _without_padding(self, row: Any) -> Any:
        if self._pad is None:
            return row
        text = np.flatnonzero(row != self._pad)
        return row[text[0] :] if len(text) else row[:0]


def _where_rules_run(logits: torch.Tensor, params: Sequence[Params]) -> torch.Tensor:
    """Mirostat as published has no kernel: its rows go to the CPU."""
    return logits.cpu() if any(item.mirostat == 1 for item in params) else logits


def _check(statuses: Sequence[int]) -> None:
    """Raise for the first row that has no token."""
    for row, status in enumerate(statuses):
        if status != sample.Status.OK:
            reason = sample.Status(status).name
            raise DistributionError(f"expected a row to draw from, found {reason} at row {row}", row=row)
