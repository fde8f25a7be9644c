"""Verification of drafted trees: twins, batches, exact laws, bad input."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DistributionError, DraftError
from tokenloom.reference import verify as twin


def random_tree(rng: np.random.Generator, n_nodes: int, n_vocab: int) -> tl.draft.DraftTree:
    parents = [int(rng.integers(-1, node)) if node else -1 for node in range(n_nodes)]
    return tl.draft.DraftTree(rng.integers(0, n_vocab, n_nodes), parents)


def test_walks_equal_the_twins() -> None:
    rng = np.random.default_rng(7)
    n_deep = 0
    for case in range(300):
        n_vocab = int(rng.integers(1, 4))
        tree = random_tree(rng, int(rng.integers(0, 9)), n_vocab)
        tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
        rows = rng.dirichlet(np.ones(n_vocab), len(tree) + 1)
        twin_tree = twin.Tree(tokens, parents)
        greedy = tl.verify.greedy(np.round(rows, 1), tree)
        node, token = twin.greedy(np.round(rows, 1).tolist(), twin_tree)
        assert (greedy.path.tolist(), greedy.next_token) == (twin_tree.path_to(node), token)
        walk = tl.verify.walk(rows, tree, tl.Rng(case, 2**33))
        node, token = twin.walk(rows.tolist(), twin_tree, twin.Seeded(case, 2**33))
        assert (walk.path.tolist(), walk.next_token) == (twin_tree.path_to(node), token)
        assert walk.n_accepted == len(walk.path)
        n_deep += walk.n_accepted > 1
    assert n_deep > 30


def test_a_walk_commits_what_plain_sampling_draws() -> None:
    """Row j + 1 is drawn at the position of its depth, with the noise of ``tl.sample``."""
    rng = np.random.default_rng(3)
    for seed in range(100):
        tree = random_tree(rng, 6, 3)
        logits = rng.normal(size=(7, 3)).astype(np.float32)
        probs = np.exp(logits.astype(np.float64))
        positions = 40 + np.concatenate([[0], tree.depths]).astype(np.int64)
        sampled = tl.sample.sample(logits, tl.sample.Params(), seeds=np.full(7, seed, np.uint64), positions=positions)
        walked = tl.verify.walk(probs, tree, tl.Rng(seed, 40))
        followed = tl.verify.follow(sampled.tokens, tree)
        assert walked.path.tolist() == followed.path.tolist()
        assert walked.next_token == followed.next_token


RULES = {
    "chain": {},
    "block": {},
    "traversal": {"replacement": True},
    "traversal, distinct": {"replacement": False},
    "recursive": {"replacement": True},
    "recursive, distinct": {"replacement": False},
    "kseq": {},
    "greedy_multi": {},
}


class Drawn(NamedTuple):
    """A drafted tree with the rows that it was drawn for."""

    p: np.ndarray
    q: np.ndarray
    tree: tl.draft.DraftTree

    def drafts(self, rule: str) -> list[int] | tl.draft.DraftTree:
        """What the rule takes."""
        return self.tree.tokens.tolist() if rule in ("chain", "block") else self.tree


def draw(rule: str, rng: np.random.Generator, n_nodes: int, n_vocab: int, dtype: type = np.float64) -> Drawn:
    """A draft as the rule wants it; equal texts have equal rows, and some tokens are forbidden."""
    is_chain, is_distinct = rule in ("chain", "block"), "distinct" in rule or rule == "greedy_multi"
    parents: list[int] = []
    tokens: list[int] = []
    rows: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
    texts: list[tuple[int, ...]] = [()]
    while True:
        for text in texts:
            if text not in rows:
                p, q = rng.dirichlet(np.full(n_vocab, 0.7), 2) * (rng.random((2, n_vocab)) < 0.8) + 1e-3 * np.eye(
                    2, n_vocab
                )
                rows[text] = (p.astype(dtype), q.astype(dtype))
        if len(tokens) == n_nodes:
            break
        parent = len(tokens) - 1 if is_chain else int(rng.integers(-1, len(tokens)))
        taken = [token for token, other in zip(tokens, parents, strict=True) if other == parent] if is_distinct else []
        law = rows[texts[parent + 1]][1].copy()
        law[taken] = 0
        if law.sum() == 0:
            n_nodes -= 1
            continue
        tokens.append(int(rng.choice(n_vocab, p=law / law.sum())))
        parents.append(parent)
        texts.append((*texts[parent + 1], tokens[-1]))
    p, q = (np.array([rows[text][i] for text in texts]).reshape(-1, n_vocab) for i in (0, 1))
    return Drawn(p, q[:-1], tl.draft.DraftTree(tokens, parents))


@pytest.mark.parametrize("name", RULES)
def test_rules_equal_the_twins(name: str) -> None:
    rule, options = name.partition(",")[0], RULES[name]
    rng = np.random.default_rng(11)
    ends = set()
    for case in range(250):
        drawn = draw(name, rng, int(rng.integers(0, 7)), int(rng.integers(2, 5)))
        found = getattr(tl.verify, rule)(drawn.p, drawn.q, drawn.drafts(rule), tl.Rng(case, 2**40 + 3), **options)
        p, q = ((rows / rows.sum(axis=1, keepdims=True)).tolist() for rows in (drawn.p, drawn.q))
        tree = twin.Tree(drawn.tree.tokens.tolist(), drawn.tree.parents.tolist())
        node, token = getattr(twin, rule)(p, q, tree, *options.values(), twin.Seeded(case, 2**40 + 3))
        assert (found.path.tolist(), found.next_token) == (tree.path_to(node), token)
        assert found.n_accepted == len(found.path)
        ends.add(found.n_accepted)
    assert {0, 1, 2, 3} <= ends


@pytest.mark.parametrize("name", RULES)
def test_batches_equal_single_calls_on_any_number_of_threads(name: str) -> None:
    rule, options = name.partition(",")[0], RULES[name]
    rng = np.random.default_rng(12)
    n_vocab, n_trees = 40_000, 7
    drawn = [draw(name, rng, n_nodes, 300, np.float32) for n_nodes in (0, 6, 2, 4, 1, 6, 3)]
    p, q = np.full((n_trees, 7, n_vocab), np.nan, np.float32), np.full((n_trees, 6, n_vocab), np.nan, np.float32)
    for i, one in enumerate(drawn):
        p[i, : len(one.p)], q[i, : len(one.q)] = 0, 0
        p[i, : len(one.p), ::133], q[i, : len(one.q), ::133] = (
            np.pad(one.p, ((0, 0), (0, 1))),
            np.pad(one.q, ((0, 0), (0, 1))),
        )
    trees = [tl.draft.DraftTree(133 * one.tree.tokens, one.tree.parents) for one in drawn]
    rngs = [tl.Rng(i, 9 * i) for i in range(n_trees)]
    chains = np.full((n_trees, 6), -1)
    for i, tree in enumerate(trees):
        chains[i, : len(tree)] = tree.tokens
    drafts = chains if rule in ("chain", "block") else trees
    run = getattr(tl.verify, f"{rule}_batch")
    batch = run(p, q, drafts, rngs, threads=1, **options)
    assert batch.status.tolist() == [0] * n_trees
    for other in (run(p, q, drafts, rngs, threads=3, **options), run(p, q, drafts, rngs, **options)):
        assert all(np.array_equal(a, b) for a, b in zip(batch, other, strict=True))
    for i, tree in enumerate(trees):
        draft = tree.tokens if rule in ("chain", "block") else tree
        one = getattr(tl.verify, rule)(p[i, : len(tree) + 1], q[i, : len(tree)], draft, rngs[i], **options)
        assert batch.paths[i].tolist() == one.path.tolist() + [-1] * (6 - one.n_accepted)
        assert (batch.next_tokens[i], batch.n_accepted[i]) == (one.next_token, one.n_accepted)


@pytest.mark.parametrize("name", ["walk", *RULES])
def test_laws_are_the_targets(name: str) -> None:
    """Two places, every draft that can be drawn; deeper trees and all shapes are in ``rust/decode/tests``."""
    rule, options, n_vocab = name.partition(",")[0], RULES.get(name, {}), 3
    rng = np.random.default_rng(13)
    p, q = rng.dirichlet(np.ones(n_vocab), (2, n_vocab + 1))
    p[0, 1], q[2, 0] = 0, 0
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    expected = p[0][:, None] * p[1:]
    found = np.zeros((n_vocab, n_vocab))
    is_chain = rule in ("chain", "block")
    for first, second in np.ndindex(n_vocab, n_vocab):
        # A chain of two, or two siblings.
        law = q[1 + first] if is_chain else q[0]
        if "distinct" in name or rule == "greedy_multi":
            law = np.where(np.arange(n_vocab) == first, 0, law) / (1 - q[0, first])
        of_draft = q[0, first] * law[second]
        if rule == "greedy_multi":
            of_draft = law[second] * (first == q[0].argmax())
        if of_draft == 0:
            continue
        tree = tl.draft.DraftTree([first, second], [-1, 0 if is_chain else -1])
        rows = [p[0], p[1 + first], np.ones(n_vocab) if is_chain else p[1 + second]]
        for accepted, probability in tl.verify.law(
            rule, np.array(rows), tree, np.array([q[0], q[1 + first]]), **options
        ):
            text = [*tree.tokens[accepted.path], accepted.next_token]
            if len(text) > 1:
                found[text[0], text[1]] += of_draft * probability
            else:
                found[text[0]] += of_draft * probability * p[1 + text[0]]
            assert accepted.n_accepted == len(accepted.path)
    assert abs(found - expected).max() < 1e-12


def test_acceptance_in_closed_form() -> None:
    rng = np.random.default_rng(14)
    for _ in range(200):
        p, q = rng.dirichlet(np.full(5, 0.5), 2)
        p[0] *= rng.random() < 0.5
        p, q = p / p.sum(), q / q.sum()
        one = np.minimum(p, q).sum()
        for k in (1, 2, 3, 7):
            best = tl.verify.optimal_acceptance(p, q, k)
            assert best == pytest.approx(twin.optimal_acceptance(p.tolist(), q.tolist(), k), abs=1e-12)
            recursive, kseq, greedy = (tl.verify.acceptance(p, q, k, r) for r in ("recursive", "kseq", "greedy_multi"))
            assert one - 1e-12 <= recursive <= best + 1e-12
            assert (1 - (1 - 1 / k) ** k) * best - 1e-12 <= kseq <= best + 1e-12
            assert one - 1e-12 <= greedy <= 1
            if k == 1:
                assert [best, kseq, greedy] == pytest.approx([one] * 3)
    assert tl.verify.optimal_acceptance(p, q, 0) == 0
    assert tl.verify.optimal_acceptance([1.0], [2.0], 3) == 1
    with pytest.raises(ArrayError, match="q with 2 elements"):
        tl.verify.optimal_acceptance([0.5, 0.5], [1.0], 1)
    with pytest.raises(DistributionError):
        tl.verify.optimal_acceptance([0.5, -0.5], [1.0, 0.0], 1)
    with pytest.raises(ValueError, match="found -1"):
        tl.verify.optimal_acceptance([1.0], [1.0], -1)


@pytest.mark.parametrize("name", RULES)
def test_rows_that_are_taken_on_trust(name: str) -> None:
    """The same result where the rows are normalised; some result, not a crash, where they are anything."""
    rule, options = name.partition(",")[0], RULES[name]
    rng = np.random.default_rng(16)
    run, run_batch = getattr(tl.verify, rule), getattr(tl.verify, f"{rule}_batch")
    for case in range(60):
        drawn = draw(name, rng, 5, 4)
        p, q = (rows / rows.sum(axis=1, keepdims=True) for rows in (drawn.p, drawn.q))
        drafts = drawn.drafts(rule)
        trusted, checked = (run(p, q, drafts, case, normalized=flag, **options) for flag in (True, False))
        assert trusted.path.tolist() == checked.path.tolist()
        assert trusted.next_token == checked.next_token
        wild = rng.choice([np.nan, np.inf, -np.inf, -1.0, 0.0, 5e-324, 1.0, 1e308], (2, *p.shape))
        trees = np.array([drafts]) if rule in ("chain", "block") else [drafts]
        batch = run_batch(wild[:1], wild[1:], trees, [case], normalized=True, **options)
        assert -1 <= batch.next_tokens[0] < 4
        assert set(batch.status.tolist()) <= set(tl.verify.Status)


def test_without_a_draft_every_rule_is_plain_sampling() -> None:
    logits = np.log(np.random.default_rng(15).dirichlet(np.ones(50), 1)).astype(np.float32)
    probs, q, root = np.exp(logits.astype(np.float64)), np.ones((0, 50)), tl.draft.DraftTree([], [])
    for seed in range(20):
        at = tl.Rng(seed, 5)
        said = int(tl.sample.sample(logits, tl.sample.Params(), seeds=seed, positions=5).tokens[0])
        assert {tl.verify.chain(probs, q, [], at).next_token, tl.verify.block(probs, q, [], at).next_token} == {said}
        rules = (tl.verify.traversal, tl.verify.recursive, tl.verify.kseq, tl.verify.greedy_multi)
        assert {rule(probs, q, root, at).next_token for rule in rules} == {said}


def test_drafts_that_cannot_have_been_drawn_are_named() -> None:
    p, q = np.full((3, 2), 0.5), np.array([[1.0, 0.0], [1.0, 0.0]])
    with pytest.raises(
        DraftError, match="expected token 1 of node 0 to have a draft probability above 0 in row 0 of q"
    ):
        tl.verify.chain(p[:2], q[:1], [1], 0)
    with pytest.raises(DraftError, match="drafted tokens below 2, found 7 at node 0"):
        tl.verify.chain(p[:2], q[:1], [7], 0)
    with pytest.raises(DraftError, match="at least 0, found -1 at index 0"):
        tl.verify.chain(p[:2], q[:1], [-1], 0)
    with pytest.raises(DraftError, match="expected a chain, found node 1 with parent -1"):
        tl.verify.law("chain", p, tl.draft.DraftTree([0, 0], [-1, -1]), q)
    siblings = tl.draft.DraftTree([0, 0], [-1, -1])
    target = np.array([[0.0, 1.0], [0.5, 0.5], [0.5, 0.5]])
    for rule in (tl.verify.recursive, tl.verify.traversal):
        assert rule(target, q, siblings, 0).next_token == 1
        with pytest.raises(DraftError, match="token 0 of node 1"):
            rule(target, q, siblings, 0, replacement=False)
    with pytest.raises(DraftError, match="node 1"):
        tl.verify.greedy_multi(target, q, siblings, 0)
    with pytest.raises(TypeError, match="expected q"):
        tl.verify.law("kseq", p, siblings)
    with pytest.raises(ArrayError, match="expected rows of q with 2 elements, found 3"):
        tl.verify.chain(p[:2], np.ones((1, 3)), [0], 0)
    with pytest.raises(ArrayError, match="expected 2 rows"):
        tl.verify.kseq(p, q[:1], siblings, 0)
    with pytest.raises(ArrayError, match="a sequence of integers"):
        tl.verify.block(p[:2], q[:1], [0.5], 0)


def test_a_bad_tree_fails_alone() -> None:
    status = tl.verify.Status
    p, q = np.full((7, 2, 2), 0.5), np.full((7, 1, 2), 0.5)
    p[1, 0, 0], p[2, 0], q[3, 0, 0], q[4, 0, 1], p[5, 0] = np.nan, 0, -1, 0, [1e308, 1e308]
    tokens = np.array([[0], [0], [0], [0], [1], [0], [2]])
    batch = tl.verify.chain_batch(p, q, tokens, [3] * 7)
    expected = [
        status.OK,
        status.NOT_FINITE,
        status.EMPTY,
        status.NEGATIVE,
        status.DRAFT,
        status.NOT_FINITE,
        status.DRAFT,
    ]
    assert batch.status.tolist() == expected
    assert set(batch.next_tokens[1:].tolist()) == set(batch.paths[1:, 0].tolist()) == {-1}
    assert not batch.n_accepted[1:].any()
    assert batch.next_tokens[0] == tl.verify.chain(p[0], q[0], [0], 3).next_token


def test_extreme_rows() -> None:
    """One column, denormal numbers, rows that are multiples of distributions, equal rows, disjoint rows."""
    tree = tl.draft.DraftTree([0, 0], [-1, -1])
    for rule in (tl.verify.traversal, tl.verify.recursive, tl.verify.kseq):
        assert rule(np.ones((3, 1)), np.ones((2, 1)), tree, 0)[1:] == (0, 1)
    tiny = np.full((2, 4), 1e-45, np.float32)
    assert tl.verify.chain(tiny, tiny[:1], [2], 1).n_accepted == 1
    with pytest.raises(DistributionError, match="normal number, found 2e-323 at row 0"):
        tl.verify.chain(np.full((2, 4), 5e-324), np.ones((1, 4)), [2], 1)
    p, q = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0]]), np.array([[0, 0.5, 0.5, 0]])
    for seed in range(30):
        assert tl.verify.chain(p, q, [1], seed)[1:] == (0, 0)
        assert tl.verify.block(1e-30 * p, 1e30 * q, [2], seed)[1:] == (0, 0)
        assert tl.verify.chain(q[[0, 0]], 3 * q, [2], seed).n_accepted == 1
    # Rows below a token that the target forbids are not read.
    p = np.array([[0.0, 1.0], [np.nan, np.nan], [np.nan, np.nan]])
    deep = tl.draft.DraftTree([0, 1], [-1, 0])
    for rule in (tl.verify.traversal, tl.verify.recursive, tl.verify.kseq, tl.verify.greedy_multi):
        assert rule(p, np.array([[0.5, 0.5], [np.nan, np.nan]]), deep, 0)[1:] == (1, 0)


def test_batches_of_walks_equal_single_trees() -> None:
    rng = np.random.default_rng(5)
    trees = [random_tree(rng, n_nodes, 3) for n_nodes in (0, 5, 2, 7)]
    probs = rng.dirichlet(np.ones(3), (4, 8)).astype(np.float32)
    rngs = [tl.Rng(i, 9 * i) for i in range(4)]
    padded = probs.copy()
    for i, tree in enumerate(trees):
        padded[i, len(tree) + 1 :] = np.nan
    walked, greedy = tl.verify.walk_batch(padded, trees, rngs), tl.verify.greedy_batch(padded, trees)
    assert walked.paths.shape == (4, 7)
    assert walked.paths.dtype == walked.next_tokens.dtype == walked.n_accepted.dtype == np.int32
    for i, tree in enumerate(trees):
        for batch, one in (
            (walked, tl.verify.walk(probs[i, : len(tree) + 1], tree, rngs[i])),
            (greedy, tl.verify.greedy(probs[i, : len(tree) + 1], tree)),
        ):
            assert batch.paths[i].tolist() == one.path.tolist() + [-1] * (7 - one.n_accepted)
            assert (batch.next_tokens[i], batch.n_accepted[i]) == (one.next_token, one.n_accepted)


def test_equal_logits_say_the_smallest_id_and_the_first_of_equal_siblings_stays() -> None:
    tree = tl.draft.DraftTree([1, 1, 0], [-1, -1, -1])
    assert tl.verify.greedy(np.zeros((4, 3)), tree).path.tolist() == [2]
    logits = np.array([[0.0, 5.0, 5.0]] * 4, dtype=np.float32)
    assert tl.verify.greedy(logits, tree).path.tolist() == [0]


def test_other_layouts_are_taken() -> None:
    tree = tl.draft.DraftTree([0], [-1])
    rows = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert tl.verify.greedy(np.asfortranarray(rows), tree).next_token == 1
    assert tl.verify.greedy(rows.tolist(), tree).next_token == 1
    assert (
        tl.verify.walk(rows[:, ::-1][:, ::-1], tree, 3).next_token == tl.verify.walk(rows, tree, tl.Rng(3)).next_token
    )


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([np.nan, 1.0], "found NaN at row 1, token 0"),
        ([np.inf, 1.0], "found inf at row 1, token 0"),
        ([0.5, -0.5], "at least 0, found -0.5 at row 1, token 1"),
        ([0.0, 0.0], "sum to 0 at row 1"),
    ],
)
def test_rows_that_are_no_distribution_are_named(bad: list[float], message: str) -> None:
    tree = tl.draft.DraftTree([0, 1], [-1, -1])
    probs = np.array([[1.0, 0.0], bad, [np.nan, np.nan]])
    with pytest.raises(DistributionError, match=message) as caught:
        tl.verify.walk(probs, tree, 0)
    assert caught.value.row == 1
    batch = tl.verify.walk_batch(np.stack([np.ones((3, 2)), probs]), [tree, tree], [0, 0])
    assert batch.status.astype(bool).tolist() == [False, True]
    assert batch.next_tokens[1] == -1


def test_greedy_rejects_rows_without_a_best_token() -> None:
    tree = tl.draft.DraftTree([], [])
    for row in ([np.nan, 0.0], [np.inf, 0.0], [-np.inf, -np.inf]):
        with pytest.raises(DistributionError, match="row 0"):
            tl.verify.greedy(np.array([row]), tree)


def test_shapes_and_dtypes() -> None:
    tree = tl.draft.DraftTree([0], [-1])
    with pytest.raises(ArrayError, match="expected 2 rows, one for the last committed token"):
        tl.verify.greedy(np.zeros((1, 2)), tree)
    with pytest.raises(ArrayError, match=r"\[trees, rows, vocabulary\]"):
        tl.verify.greedy(np.zeros(2), tree)
    with pytest.raises(ArrayError, match="float32 or float64"):
        tl.verify.greedy(np.zeros((2, 2), dtype=np.int64), tree)
    with pytest.raises(ArrayError, match="one tree for each of the 2 blocks"):
        tl.verify.greedy_batch(np.zeros((2, 2, 2)), [tree])
    with pytest.raises(ArrayError, match="rngs"):
        tl.verify.walk_batch(np.ones((1, 2, 2)), [tree], [])
    with pytest.raises(ArrayError, match="found 1"):
        tl.verify.follow([0], tree)
    with pytest.raises(DraftError, match="found -1"):
        tl.verify.follow([0, -1], tree)
    with pytest.raises(DistributionError):
        tl.verify.greedy(np.zeros((2, 0)), tree)
    with pytest.raises(TypeError):
        tl.verify.walk(np.ones((2, 2)), tree, "seed")  # type: ignore[arg-type]
