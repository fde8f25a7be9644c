"""Goodness of fit on the real path: random numbers, race and all.

The laws themselves are enumerated exactly in ``rust/decode/tests/laws.rs``. Seeds are fixed, so these tests do not
flicker; read as tests on fresh seeds, each p-value below 1e-6 is a false alarm once in a million.
"""

from __future__ import annotations

import numpy as np
import pytest
import tokenloom as tl
from scipy import stats

FALSE_ALARM = 1e-6
FIRST_SEED = 20_000


def test_walks_commit_the_law_of_the_target() -> None:
    rng = np.random.default_rng(1)
    tree = tl.draft.DraftTree([0, 1, 1, 0, 2], [-1, -1, 0, 1, 2])
    probs = rng.dirichlet(np.ones(3), 6)
    # Three tokens a run: accepted ones, then draws from the row of their prefix or, off the tree, from a uniform row.
    prefixes = {(): 0, (0,): 1, (1,): 2, (0, 1): 3, (1, 0): 4}
    law = np.zeros((3, 3, 3))
    for text in np.ndindex(3, 3, 3):
        law[text] = np.prod([probs[prefixes[text[:i]]][text[i]] if text[:i] in prefixes else 1 / 3 for i in range(3)])
    n_runs = 60_000
    seeds = [tl.Rng(FIRST_SEED + i, 17) for i in range(n_runs)]
    batch = tl.verify.walk_batch(np.broadcast_to(probs, (n_runs, 6, 3)), [tree] * n_runs, seeds)
    counts = np.zeros((3, 3, 3))
    for i in range(n_runs):
        path = batch.paths[i, : batch.n_accepted[i]]
        text = [*tree.tokens[path].tolist(), int(batch.next_tokens[i])]
        while len(text) < 3:
            row = prefixes.get(tuple(text))
            weights = probs[row] if row is not None else np.ones(3)
            root = tl.draft.DraftTree([], [])
            text.append(tl.verify.walk(weights[None], root, tl.Rng(FIRST_SEED + i, 17 + len(text))).next_token)
        counts[tuple(text[:3])] += 1
    p_value = stats.chisquare(counts.ravel(), n_runs * law.ravel()).pvalue
    print("seeds from", FIRST_SEED, "p-value", p_value)
    assert p_value > FALSE_ALARM


@pytest.mark.parametrize("rule", ["chain", "block", "traversal", "recursive", "kseq"])
def test_drawn_drafts_commit_the_law_of_the_target(rule: str) -> None:
    """Two tokens a run: a chain of two, or three siblings, drawn anew each time."""
    rng = np.random.default_rng(3)
    n_runs, is_chain = 40_000, rule in ("chain", "block")
    p, q = rng.dirichlet(np.ones(3), (2, 4))
    first = rng.choice(3, n_runs, p=q[0])
    if is_chain:
        second = (rng.random((n_runs, 1)) > np.cumsum(q[1 + first], axis=1)).sum(axis=1)
        tokens = np.stack([first, second], axis=1)
        draft = np.stack([np.broadcast_to(q[0], (n_runs, 3)), q[1 + first]], axis=1)
        target = np.stack([np.broadcast_to(p[0], (n_runs, 3)), p[1 + first], np.ones((n_runs, 3))], axis=1)
    else:
        tokens = np.stack([first, *rng.choice(3, (2, n_runs), p=q[0])], axis=1)
        draft = np.broadcast_to(q[0], (n_runs, 3, 3))
        target = np.concatenate([np.broadcast_to(p[0], (n_runs, 1, 3)), p[1 + tokens]], axis=1)
    seeds = [tl.Rng(FIRST_SEED + i, 17) for i in range(n_runs)]
    drafts = tokens if is_chain else [tl.draft.DraftTree(row, [-1] * 3) for row in tokens]
    batch = getattr(tl.verify, f"{rule}_batch")(target, draft, drafts, seeds)
    counts = np.zeros((3, 3))
    root = tl.draft.DraftTree([], [])
    for i in range(n_runs):
        text = [*tokens[i, batch.paths[i, : batch.n_accepted[i]]], batch.next_tokens[i]]
        if len(text) < 2:
            text.append(tl.verify.walk(p[1 + text[0]][None], root, tl.Rng(FIRST_SEED + i, 18)).next_token)
        counts[text[0], text[1]] += 1
    expected = n_runs * p[0][:, None] * p[1:]
    p_value = stats.chisquare(counts.ravel(), expected.ravel()).pvalue
    print("seeds from", FIRST_SEED, "p-value", p_value)
    assert p_value > FALSE_ALARM


def test_weights_are_unbiased_and_tokens_follow_the_constrained_law() -> None:
    rng = np.random.default_rng(2)
    n_vocab, n_runs = 1000, 20_000
    probs = rng.dirichlet(np.full(n_vocab, 0.1))
    allowed = rng.random(n_vocab) < 0.15
    logprobs = np.log(np.maximum(probs, 1e-38))
    drawn = [tl.control.awrs(logprobs, allowed.__getitem__, tl.Rng(FIRST_SEED + i, 3)) for i in range(n_runs)]
    tokens = np.array([token for token, _, _ in drawn])
    weights = np.exp([log_weight for _, log_weight, _ in drawn])
    mass = probs[allowed].sum()
    # The mean weight is the allowed mass; 4.9 standard errors are crossed once in a million.
    z_score = (weights.mean() - mass) / (weights.std() / np.sqrt(n_runs))
    assert abs(z_score) < stats.norm.isf(FALSE_ALARM / 2)
    frequent = np.flatnonzero(allowed & (probs / mass * n_runs > 10))
    counts = np.array([*(np.sum(tokens == token) for token in frequent), np.sum(~np.isin(tokens, frequent))])
    expected = np.append(probs[frequent], mass - probs[frequent].sum()) / mass * n_runs
    p_value = stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue
    print("seeds from", FIRST_SEED, "p-value", p_value, "z", z_score)
    assert p_value > FALSE_ALARM
