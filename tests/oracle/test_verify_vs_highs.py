"""Is the closed form of the best acceptance that of a linear program?

The program transports the law of k independent drafts to the target: `flow[drafts, token]` is how often these drafts
are drawn and this token is committed. It maximises how often the committed token is one of the drafts.
"""

from __future__ import annotations

import numpy as np
import pytest
import tokenloom as tl
from scipy.optimize import linprog


def best_by_program(p: np.ndarray, q: np.ndarray, k: int) -> float:
    n_vocab = len(p)
    drafts = list(np.ndindex(*[n_vocab] * k))
    is_drafted = np.array([[token in draft for token in range(n_vocab)] for draft in drafts], dtype=float)
    of_drafts = np.array([np.prod(q[list(draft)]) for draft in drafts])
    from_drafts = np.kron(np.eye(len(drafts)), np.ones(n_vocab))
    # The last token's row follows from the others; with rounding in it the program may look infeasible.
    to_tokens = np.kron(np.ones(len(drafts)), np.eye(n_vocab))
    solved = linprog(
        -is_drafted.ravel(),
        A_eq=np.vstack([from_drafts, to_tokens[:-1]]),
        b_eq=np.concatenate([of_drafts, p[:-1]]),
        method="highs",
    )
    assert solved.status == 0
    return -float(solved.fun)


@pytest.mark.parametrize(("n_vocab", "k"), [(1, 2), (2, 1), (2, 3), (3, 2), (3, 3), (4, 2), (5, 2)])
def test_optimal_acceptance_equals_the_program(n_vocab: int, k: int) -> None:
    rng = np.random.default_rng(n_vocab + 10 * k)
    for case in range(12):
        p, q = rng.dirichlet(np.full(n_vocab, 0.4), 2)
        if case % 3 == 0 and n_vocab > 1:
            p[0], q[-1] = 0, 0
            p, q = p / p.sum(), q / q.sum()
        best = best_by_program(p, q, k)
        assert tl.verify.optimal_acceptance(p, q, k) == pytest.approx(best, abs=1e-9)
        for rule in ("recursive", "kseq"):
            assert tl.verify.acceptance(p, q, k, rule) <= best + 1e-9


def test_greedy_multi_is_the_best_rule_for_its_drafts() -> None:
    """The same program with the law of its drafts: all but one are certain."""
    rng = np.random.default_rng(9)
    for _ in range(20):
        p, q = rng.dirichlet(np.full(4, 0.5), 2)
        certain = int(q.argmax())
        rest = np.where(np.arange(4) == certain, 0, q)
        rest /= rest.sum()
        # One draft a row of the program, and the certain token in each.
        is_drafted = np.eye(4) + (np.arange(4) == certain)
        solved = linprog(
            -np.minimum(is_drafted, 1).ravel(),
            A_eq=np.vstack([np.kron(np.eye(4), np.ones(4)), np.kron(np.ones(4), np.eye(4))]),
            b_eq=np.concatenate([rest, p]),
            method="highs",
        )
        assert tl.verify.acceptance(p, q, 2, "greedy_multi") == pytest.approx(-solved.fun, abs=1e-9)
