"""How do particles run over one key-value cache?

The rows of the cache are the distinct contexts that are still alive. When particles branch, die or are resampled, the
rows are chosen anew by the index of their parent (one gather of the cache, nothing is copied deeply), and each new row
reads its one token. Particles that coincide share a row, so a step costs one forward pass over as many rows as there
are different texts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom import sample
from tokenloom._smc import Critic
from tokenloom.control import Particles, Smc
from tokenloom.errors import ArrayError, DistributionError, UnsupportedFeatureError
from tokenloom.sample import Params
from tokenloom.torch.batch import Batch, largest_exact_batch
from tokenloom.torch.result import Generation, Stats
from tokenloom.torch.writing import Writing

__all__ = ["CachedReader", "generate_particles"]


class CachedReader:
    """A Hugging Face model as the reader of :class:`tokenloom.control.Smc`: it keeps what its rows have read.

    Args:
        model: a causal language model with full attention and a key-value cache.
        n_vocab: columns of the logits that are drawn from; default: all.
        params: sampling rules; the particles stand for the law after them.

    Raises:
        UnsupportedFeatureError: rows of this model cannot share a batch exactly.
    """

    def __init__(self, model: Any, n_vocab: int | None = None, params: Params = Params()) -> None:  # noqa: B008
        if largest_exact_batch(model, 2) < 2:
            raise UnsupportedFeatureError("expected a model with full attention and explicit positions for particles")
        self._model, self._params = model, params
        self._n_vocab = n_vocab or int(model.config.get_text_config(decoder=True).vocab_size)
        self._batch = Batch(model, 1)
        self._texts: list[list[int]] = []
        self._n_prompt = 0
        self.n_calls = 0
        self.seconds = 0.0

    def start(self, prompt: Sequence[int]) -> NDArray[np.float64]:
        """One row reads the prompt."""
        self._batch = Batch(self._model, 1)
        self._texts, self._n_prompt = [[]], len(prompt)
        return self._feed([[int(token) for token in prompt]])

    def advance(self, parents: Sequence[int], tokens: Sequence[int]) -> NDArray[np.float64]:
        """The rows go on as children of the former ones."""
        self._batch.select(parents)
        self._texts = [self._texts[parent] for parent in parents]
        return self._feed([[int(token)] for token in tokens])

    def _feed(self, blocks: list[list[int]]) -> NDArray[np.float64]:
        start = time.perf_counter()
        self._texts = [text + block for text, block in zip(self._texts, blocks, strict=True)]
        logits = self._batch.feed(blocks)[:, : self._n_vocab].numpy()
        # What was fed stays: the rows go on from here.
        self._batch.keep([range(len(block)) for block in blocks])
        self.n_calls += 1
        if not np.isfinite(logits.max(axis=1)).all():
            raise DistributionError("expected finite logits, found a row that is not a number")
        with np.errstate(divide="ignore"):
            texts = self._texts if self._params.rules.needs_history else None
            law = sample.distribution(logits, self._params, history=texts, prompt_lengths=self._n_prompt)
            logprobs: NDArray[np.float64] = np.log(law)
        self.seconds += time.perf_counter() - start
        return logprobs


def generate_particles(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    smc: Smc,
    constraint: Any,
    max_new_tokens: int,
    params: Sequence[Params],
    seeds: Sequence[int],
    ends: frozenset[int],
    n_vocab: int,
    stops: Sequence[str] = (),
    stream: Callable[[int, str], None] | None = None,
    critic: Critic | None = None,
) -> list[Generation]:
    """The particles of every prompt, those of one prompt next to each other; texts are empty without a tokenizer."""
    bounds = [string.encode() for string in stops]
    if constraint is None:
        raise ArrayError("expected a constraint for particles, found None", argument="constraint")
    generations: list[Generation] = []
    for prompt, rules, seed in zip(prompts, params, seeds, strict=True):
        reader = CachedReader(model, n_vocab, rules)
        start = time.perf_counter()
        found = smc.run(
            reader, constraint, prompt, max_new_tokens=max_new_tokens, eos=ends, seed=seed, critic=critic, stop=bounds
        )
        seconds = {"model": reader.seconds, "draw": time.perf_counter() - start - reader.seconds}
        texts = []
        for i, ids in enumerate(found.ids):
            write = None if stream is None else partial(stream, len(generations) + i)
            texts.append("" if tokenizer is None else _text_of(Writing(tokenizer, stops, write), ids, ends))
        generations += _as_generations(found, texts, prompt, reader.n_calls, seconds)
    return generations


def _text_of(writing: Writing, ids: NDArray[np.uint32], ends: frozenset[int]) -> str:
    for token in ids.tolist():
        if token not in ends and not writing.stopped:
            writing.push(token)
    return writing.finish()


def _as_generations(
    found: Particles,
    texts: Sequence[str],
    prompt: Sequence[int],
    n_calls: int,
    seconds: dict[str, float],
) -> list[Generation]:
    generations = []
    for i, ids in enumerate(found.ids):
        # What was asked of the constraint was asked for all of them together.
        checks = found.n_checks // len(found.ids) + (i < found.n_checks % len(found.ids))
        generations.append(
            Generation(
                prompt_ids=np.array(prompt, dtype=np.uint32),
                text=texts[i],
                ids=ids,
                logprobs=found.logprobs[i],
                log_weight=float(found.log_weights[i]),
                finish_reason=found.finish_reasons[i],
                stats=Stats(n_tokens=len(ids), model_calls=n_calls, checks=checks, seconds=dict(seconds)),
            )
        )
    return generations
