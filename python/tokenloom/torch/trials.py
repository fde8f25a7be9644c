"""Where the model is uncertain, which of several continuations up to the next pause does it like best?

Cautious Next Token Prediction (arXiv 2507.03038). Where the entropy of the next token is low, one token is drawn. Where
it is high, several trials are drawn up to the next punctuation, and the one with the least mean negative
log-probability a token stays. The trials share the cache of the text and run as one batch; the one that stays is then
read once more by the text's own row. The paper and its program count trials differently: see ``counting``, and
``docs/decisions.md``.

Cost of an uncertain stretch: one copy of the cache for each trial, forward passes for the longest trial, one pass over
the kept one. Drawing is lossy by design: the text no longer has the model's law.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom import sample
from tokenloom.errors import ParamsError
from tokenloom.sample import Params
from tokenloom.torch.batch import Batch
from tokenloom.torch.result import Generation, Stats
from tokenloom.torch.uncertainty import entropy

__all__ = ["PAUSES", "cautious", "n_trials"]

PAUSES = frozenset(".,\n?!:;)]}")
"""The characters that end a trial."""


def n_trials(
    uncertainty: float, least: float = 0.01, most: float = 1.5, n_most: int = 10, counting: str = "paper"
) -> int:
    """How many trials are made where the next token has this entropy, in nats.

    Args:
        uncertainty: entropy of the distribution that is drawn from.
        least: entropy up to which one token is drawn.
        most: entropy from which ``n_most`` trials are made.
        n_most: most trials.
        counting: ``"paper"``: ``floor(share * n_most)``, at least 1; ``"program"``: ``1 + floor(share (n_most - 1))``.

    >>> from tokenloom.torch.trials import n_trials
    >>> n_trials(0.4), n_trials(0.4, counting="program"), n_trials(9.0)
    (2, 3, 10)
    """
    share = (uncertainty - least) / (most - least)
    if counting == "paper":
        return max(1, min(n_most, math.floor(share * n_most)))
    if counting == "program":
        return int(1 + (n_most - 1) * min(max(share, 0.0), 1.0))
    raise ParamsError(f"expected counting 'paper' or 'program', found {counting!r}")


def cautious(
    model: Any,
    tokenizer: Any,
    prompt: str | Iterable[int],
    *,
    max_new_tokens: int = 128,
    params: Params = Params(),  # noqa: B008 (immutable)
    seed: int = 0,
    eos: Iterable[int] = (),
    pauses: Collection[str] = PAUSES,
    anywhere: bool = False,
    least: float = 0.01,
    most: float = 1.5,
    n_most: int = 10,
    counting: str = "paper",
) -> Generation:
    """Continue a prompt by cautious next token prediction.

    Args:
        model: a Hugging Face causal language model with attention layers and a key-value cache.
        tokenizer: whose ids the model reads.
        prompt: a text or token ids.
        max_new_tokens: most tokens to generate.
        params: sampling rules; entropies and the scores of trials are those of the distribution after them.
        seed: all the randomness.
        eos: tokens that end the text.
        pauses: characters that end a trial.
        anywhere: whether a token ends a trial that holds such a character anywhere. Default: only tokens that are
            one of the characters, as published.
        least: see :func:`n_trials`, as the next three.
        most: entropy from which most trials are made.
        n_most: most trials.
        counting: how trials are counted.

    Returns:
        A :class:`Generation`. ``stats.drafted`` counts the tokens of all trials, ``stats.accepted`` those that stayed.
    """
    ids = tokenizer.encode_list(prompt) if isinstance(prompt, str) else [int(token) for token in prompt]
    n_vocab = min(int(tokenizer.vocab_size), int(model.config.get_text_config(decoder=True).vocab_size))
    ends = frozenset(int(token) for token in eos)
    stops = _pausing(tokenizer, n_vocab, pauses, anywhere) | ends
    each = sample.seeds(seed, n_most)
    text = Batch(model, 1)
    stats = Stats()
    new: list[int] = []
    logprobs: list[float] = []
    pending = list(ids)
    while len(new) < max_new_tokens and not (new and new[-1] in ends):
        logits = _feed(text, [pending], n_vocab)
        stats.model_calls += 1
        law = sample.distribution(logits, params)[0]
        n = n_trials(float(entropy(law)), least, most, n_most, counting)
        start = len(ids) + len(new)
        if n == 1:
            tokens, costs = _draw(logits, params, each[:1], start)
            pending, losses = tokens.tolist(), costs.tolist()
        else:
            n_left = max_new_tokens - len(new)
            pending, losses = _best_trial(text, logits, params, each[:n], start, n_left, stops, n_vocab, stats)
        new += pending
        logprobs += [-loss for loss in losses]
    body = new[:-1] if new and new[-1] in ends else new
    stats.n_tokens = len(new)
    return Generation(
        prompt_ids=np.array(ids, dtype=np.uint32),
        text=tokenizer.decode(body),
        ids=np.array(new, dtype=np.uint32),
        logprobs=np.array(logprobs, dtype=np.float64),
        log_weight=0.0,
        finish_reason="eos" if len(body) < len(new) else "length",
        stats=stats,
    )


def _best_trial(
    text: Batch,
    logits: NDArray[np.float32],
    params: Params,
    seeds: NDArray[np.uint64],
    start: int,
    n_left: int,
    stops: frozenset[int],
    n_vocab: int,
    stats: Stats,
) -> tuple[list[int], list[float]]:
    """Tokens and losses of the trial with the least mean loss; the first of equal ones."""
    tokens, losses = _draw(np.repeat(logits, len(seeds), axis=0), params, seeds, start)
    paths = [[token] for token in tokens.tolist()]
    costs = [[loss] for loss in losses.tolist()]
    running = [at for at, path in enumerate(paths) if path[-1] not in stops and n_left > 1]
    branches = text.branch(len(seeds))
    branches.select(running) if running else None
    while running:
        rows = _feed(branches, [[paths[at][-1]] for at in running], n_vocab)
        stats.model_calls += 1
        tokens, losses = _draw(rows, params, seeds[running], start + len(paths[running[0]]))
        for at, token, loss in zip(running, tokens.tolist(), losses.tolist(), strict=True):
            paths[at].append(token)
            costs[at].append(loss)
        goes_on = [i for i, at in enumerate(running) if paths[at][-1] not in stops and len(paths[at]) < n_left]
        running = [running[i] for i in goes_on]
        if running:
            branches.select(goes_on)
    best = min(range(len(paths)), key=lambda at: math.fsum(costs[at]) / len(costs[at]))
    stats.drafted += sum(map(len, paths))
    stats.accepted += len(paths[best])
    return paths[best], costs[best]


def _feed(batch: Batch, blocks: list[list[int]], n_vocab: int) -> NDArray[np.float32]:
    logits: NDArray[np.float32] = batch.feed(blocks)[:, :n_vocab].numpy()
    batch.keep([range(len(block)) for block in blocks])
    return logits


def _draw(
    logits: NDArray[np.float32], params: Params, seeds: NDArray[np.uint64], position: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A token for each row, and its negative log-probability."""
    positions = np.full(len(logits), position, dtype=np.int64)
    drawn = sample.sample(logits, params, seeds=seeds, positions=positions)
    tokens = np.asarray(drawn.tokens, dtype=np.int64)
    laws = sample.distribution(logits, params)
    return tokens, -np.log(laws[np.arange(len(tokens)), tokens])


def _pausing(tokenizer: Any, n_vocab: int, pauses: Collection[str], anywhere: bool) -> frozenset[int]:
    marks = [mark.encode() for mark in pauses]
    special = set(tokenizer.special_tokens.values())
    found = set()
    for token in range(n_vocab):
        try:
            spelled = b"" if token in special else tokenizer.token_bytes(token)
        except KeyError:
            continue
        if spelled in marks or (anywhere and any(mark in spelled for mark in marks)):
            found.add(token)
    return frozenset(found)
