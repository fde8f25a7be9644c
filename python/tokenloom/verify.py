"""Which drafted tokens may stay without changing the distribution?

Row 0 of ``p`` (``logits``, ``probs``) is the position after the last committed token, row ``j + 1`` the one behind node
``j`` of the tree: the rows that a model returns for the last committed token followed by the nodes. Where tokens were
drawn by a draft model, row ``r`` of ``q`` is the distribution that the children of row ``r`` were drawn from.

Rows are weights: each is divided by its own sum. Temperature, truncation, penalties and masks are applied before, to
each row with the prefix of its node, and to ``q`` exactly as they were when the tokens were drawn. Which rule fits
which draft is in ``docs/concepts/verify.md``; for drafts that were not drawn at random it is :func:`walk`.

>>> import numpy as np, tokenloom as tl
>>> tree = tl.draft.DraftTree(tokens=[2, 0, 1], parents=[-1, 0, 0])
>>> logits = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 1.0], [9.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
>>> accepted = tl.verify.greedy(logits, tree)
>>> accepted.path.tolist(), accepted.next_token, accepted.n_accepted
([0, 2], 0, 2)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokenloom._accepted import Accepted, AcceptedBatch, Status, as_chains, as_ids, as_rows, first, usable
from tokenloom._any_order import ContextDraft, any_order, any_order_batch, context_draft
from tokenloom._continuous import AcceptedPoint, AcceptedPointBatch, continuous, continuous_batch
from tokenloom._core import verify as _core
from tokenloom._relaxed import Margin, Neighbours, Relaxed, RelaxedBatch, Typical, relaxed, relaxed_batch
from tokenloom.draft import DraftTree
from tokenloom.errors import ArrayError
from tokenloom.sample import Rng

__all__ = [
    "Accepted",
    "AcceptedBatch",
    "AcceptedPoint",
    "AcceptedPointBatch",
    "ContextDraft",
    "Margin",
    "Neighbours",
    "Outcome",
    "Pruned",
    "Relaxed",
    "RelaxedBatch",
    "Status",
    "Typical",
    "acceptance",
    "any_order",
    "any_order_batch",
    "block",
    "block_batch",
    "chain",
    "chain_batch",
    "context_draft",
    "continuous",
    "continuous_batch",
    "follow",
    "greedy",
    "greedy_batch",
    "greedy_multi",
    "greedy_multi_batch",
    "kseq",
    "kseq_batch",
    "law",
    "optimal_acceptance",
    "prune",
    "recursive",
    "recursive_batch",
    "relaxed",
    "relaxed_batch",
    "traversal",
    "traversal_batch",
    "walk",
    "walk_batch",
]


class Outcome(NamedTuple):
    """One way in which a verification can end.

    Attributes:
        accepted: what is committed.
        probability: how often, given the draft.
    """

    accepted: Accepted
    probability: float


class Pruned(NamedTuple):
    """What is left of a tree.

    Attributes:
        tree: the nodes that are left.
        nodes: where they were, int32[m]: rows ``[0, *(nodes + 1)]`` of the whole tree are the rows of this one.
    """

    tree: DraftTree
    nodes: NDArray[np.int32]


def greedy(logits: ArrayLike, tree: DraftTree) -> Accepted:
    """Accept the tokens that greedy decoding says; among equal logits the smallest id.

    Args:
        logits: float32 or float64[n + 1, V] for a tree of n nodes; probabilities do as well.
        tree: the draft.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row on the path has NaN, +inf or nothing above -inf; ``row`` names it.
    """
    return _one("greedy", logits, None, [tree], 0)


def walk(probs: ArrayLike, tree: DraftTree, rng: int | Rng) -> Accepted:
    """Accept the tokens that sampling draws: lossless, and no lossless rule accepts more of a fixed tree.

    Depth d of the tree is drawn at position ``rng.position + d`` with the noise that plain sampling has there, so the
    committed text equals plain sampling with the same seed.

    Args:
        probs: float32 or float64[n + 1, V], not negative; rows need not sum to one.
        tree: the draft; of equal siblings the first is taken.
        rng: an int seed (position 0), or a :class:`tokenloom.Rng` at the position of row 0.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row on the path has NaN, an infinite or a negative entry, or no mass; ``row`` names it.
    """
    return _one("walk", probs, None, [tree], rng)


def follow(sampled: ArrayLike | Sequence[int], tree: DraftTree) -> Accepted:
    """Accept the tokens that were drawn before, one for each row.

    This is :func:`walk` for loops that sample all rows in one call: row ``j + 1`` at the position of its depth.

    Args:
        sampled: the target's token in each row, integer[n + 1].
        tree: the draft.

    Raises:
        ArrayError: ``sampled`` is not one integer for each row.
        DraftError: an id is negative or above 2**31 - 1.
    """
    return first(AcceptedBatch(*_core.follow(sampled, tree)))


def chain(
    p: ArrayLike, q: ArrayLike, tokens: ArrayLike | Sequence[int], rng: int | Rng, *, normalized: bool = False
) -> Accepted:
    """Accept a drawn chain token by token (Leviathan et al. 2023; Chen et al. 2023). Lossless.

    Token i is accepted with probability ``min(1, p/q)``; at the first rejection the next token is drawn from the
    positive part of ``p - q``, after the last acceptance from ``p``. :func:`block` never accepts fewer on average.

    Args:
        p: the target, float32 or float64[n + 1, V].
        q: the draft, [n, V]: row i is what token i was drawn from.
        tokens: the drafted ids, integer[n].
        rng: an int seed, or a :class:`tokenloom.Rng` at the position of the first drafted token. The draft must not
            have used this seed's numbers of purpose SAMPLE, ACCEPT or RESIDUAL.
        normalized: the rows are known to be probabilities that sum to 1 and need not be checked and summed: then only
            the numbers that matter are read. Where they are not, the result is some result, and the law is off by as
            much as the sums are.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row that is read is no distribution; ``row`` names it.
        DraftError: a token is out of range, or has probability 0 in its row of ``q``.
    """
    return _one("chain", p, q, as_chains(tokens), rng, normalized=normalized)


def block(
    p: ArrayLike, q: ArrayLike, tokens: ArrayLike | Sequence[int], rng: int | Rng, *, normalized: bool = False
) -> Accepted:
    """Accept the longest prefix of a drawn chain that passes as a block (Sun et al. 2024). Lossless.

    Args:
        p: as :func:`chain`.
        q: as :func:`chain`.
        tokens: as :func:`chain`.
        rng: as :func:`chain`.
        normalized: as :func:`chain`.

    Raises:
        ArrayError: as :func:`chain`.
        DistributionError: as :func:`chain`.
        DraftError: as :func:`chain`.
    """
    return _one("block", p, q, as_chains(tokens), rng, normalized=normalized)


def traversal(
    p: ArrayLike,
    q: ArrayLike,
    tree: DraftTree,
    rng: int | Rng,
    *,
    replacement: bool = True,
    normalized: bool = False,
) -> Accepted:
    """Accept a path of a drawn tree, from the leaves up (Weng et al. 2025). Lossless; :func:`block` for trees.

    Args:
        p: the target, float32 or float64[n + 1, V].
        q: the draft, [n, V] or longer: row r is what the children of row r were drawn from, in the order of the nodes.
            Rows without children are not read.
        tree: the draft.
        rng: as :func:`chain`.
        replacement: siblings were drawn independently and may be equal; ``False``: each was drawn from what the ones
            before had left.
        normalized: as :func:`chain`.

    Raises:
        ArrayError: as :func:`chain`.
        DistributionError: as :func:`chain`.
        DraftError: as :func:`chain`; without replacement also where siblings are equal.
    """
    return _one("traversal", p, q, [tree], rng, replacement=replacement, normalized=normalized)


def recursive(
    p: ArrayLike,
    q: ArrayLike,
    tree: DraftTree,
    rng: int | Rng,
    *,
    replacement: bool = True,
    normalized: bool = False,
) -> Accepted:
    """Accept a path of a drawn tree, testing siblings in turn (Miao et al. 2024; Chen et al. 2024). Lossless.

    Args:
        p: as :func:`traversal`.
        q: as :func:`traversal`.
        tree: the draft. Equal siblings, drawn with replacement, are continued together; their rows must be equal.
        rng: as :func:`chain`.
        replacement: as :func:`traversal`.
        normalized: as :func:`chain`.

    Raises:
        ArrayError: as :func:`traversal`.
        DistributionError: as :func:`traversal`.
        DraftError: as :func:`traversal`.
    """
    return _one("recursive", p, q, [tree], rng, replacement=replacement, normalized=normalized)


def kseq(p: ArrayLike, q: ArrayLike, tree: DraftTree, rng: int | Rng, *, normalized: bool = False) -> Accepted:
    """Accept a path of independent drafts by k-SEQ (SpecTr; Sun et al. 2023). Lossless.

    The division factor solves ``1 - (1 - b)^k = rho b`` at each place, where ``b`` is the mass of ``min(q, p / rho)``
    and k the number of drafts that still hold the accepted text.

    Args:
        p: as :func:`traversal`.
        q: as :func:`traversal`.
        tree: k chains from the root, or any tree whose siblings were drawn independently. Equal siblings are continued
            together; their rows must be equal.
        rng: as :func:`chain`.
        normalized: as :func:`chain`.

    Raises:
        ArrayError: as :func:`traversal`.
        DistributionError: as :func:`traversal`.
        DraftError: as :func:`traversal`.
    """
    return _one("kseq", p, q, [tree], rng, normalized=normalized)


def greedy_multi(p: ArrayLike, q: ArrayLike, tree: DraftTree, rng: int | Rng, *, normalized: bool = False) -> Accepted:
    """Accept a path of a tree whose siblings are the best tokens of ``q`` and one draw from the rest (Hu et al. 2025).

    Lossless, and the best rule for such drafts.

    Args:
        p: as :func:`traversal`.
        q: as :func:`traversal`.
        tree: the last child of every row was drawn from ``q`` without its earlier siblings, which were not drawn but
            taken (usually the most probable; any choice that depends on ``q`` alone is lossless).
        rng: as :func:`chain`.
        normalized: as :func:`chain`.

    Raises:
        ArrayError: as :func:`traversal`.
        DistributionError: as :func:`traversal`.
        DraftError: as :func:`traversal`; also where the last child equals a sibling.
    """
    return _one("greedy_multi", p, q, [tree], rng, normalized=normalized)


def greedy_batch(logits: ArrayLike, trees: Sequence[DraftTree], *, threads: int | None = None) -> AcceptedBatch:
    """:func:`greedy` for several trees.

    Args:
        logits: float32 or float64[B, n + 1, V], where n is the size of the largest tree; padding rows are not read.
        trees: B trees.
        threads: at most this many threads, which live for this call only; every usable core where ``None``. The result
            does not depend on it.

    Raises:
        ArrayError: wrong dtype or shape. Bad numbers do not raise: see ``status``.
        ValueError: ``threads`` is below 1.
    """
    return _batch("greedy", logits, None, trees, [0] * len(trees), threads)


def walk_batch(
    probs: ArrayLike, trees: Sequence[DraftTree], rngs: Sequence[int | Rng], *, threads: int | None = None
) -> AcceptedBatch:
    """:func:`walk` for several trees.

    Args:
        probs: float32 or float64[B, n + 1, V], where n is the size of the largest tree; padding rows are not read.
        trees: B trees.
        rngs: B seeds or :class:`tokenloom.Rng`.
        threads: as :func:`greedy_batch`.

    Raises:
        ArrayError: wrong dtype or shape, or not one rng a tree. Bad numbers do not raise: see ``status``.
        ValueError: ``threads`` is below 1.
    """
    return _batch("walk", probs, None, trees, rngs, threads)


def chain_batch(
    p: ArrayLike,
    q: ArrayLike,
    tokens: ArrayLike,
    rngs: Sequence[int | Rng],
    *,
    normalized: bool = False,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`chain` for several chains.

    Args:
        p: float32 or float64[B, n + 1, V], where n is the length of the longest chain; padding rows are not read.
        q: [B, n, V].
        tokens: integer[B, n]; a chain ends at its first -1.
        rngs: B seeds or :class:`tokenloom.Rng`.
        normalized: as :func:`chain`.
        threads: as :func:`greedy_batch`.

    Raises:
        ArrayError: as :func:`walk_batch`.
        DraftError: a token is negative (and not -1) or above 2**31 - 1.
        ValueError: ``threads`` is below 1.
    """
    return _batch("chain", p, q, as_ids(tokens, 2), rngs, threads, normalized=normalized)


def block_batch(
    p: ArrayLike,
    q: ArrayLike,
    tokens: ArrayLike,
    rngs: Sequence[int | Rng],
    *,
    normalized: bool = False,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`block` for several chains.

    Args:
        p: as :func:`chain_batch`.
        q: as :func:`chain_batch`.
        tokens: as :func:`chain_batch`.
        rngs: as :func:`chain_batch`.
        normalized: as :func:`chain`.
        threads: as :func:`greedy_batch`.

    Raises:
        ArrayError: as :func:`chain_batch`.
        DraftError: as :func:`chain_batch`.
        ValueError: as :func:`chain_batch`.
    """
    return _batch("block", p, q, as_ids(tokens, 2), rngs, threads, normalized=normalized)


def traversal_batch(
    p: ArrayLike,
    q: ArrayLike,
    trees: Sequence[DraftTree],
    rngs: Sequence[int | Rng],
    *,
    replacement: bool = True,
    normalized: bool = False,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`traversal` for several trees.

    Args:
        p: float32 or float64[B, n + 1, V], where n is the size of the largest tree; padding rows are not read.
        q: [B, n, V] or longer.
        trees: B trees.
        rngs: B seeds or :class:`tokenloom.Rng`.
        replacement: as :func:`traversal`.
        normalized: as :func:`chain`.
        threads: as :func:`greedy_batch`.

    Raises:
        ArrayError: as :func:`walk_batch`.
        ValueError: ``threads`` is below 1.
    """
    return _batch("traversal", p, q, trees, rngs, threads, replacement=replacement, normalized=normalized)


def recursive_batch(
    p: ArrayLike,
    q: ArrayLike,
    trees: Sequence[DraftTree],
    rngs: Sequence[int | Rng],
    *,
    replacement: bool = True,
    normalized: bool = False,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`recursive` for several trees; arguments and errors as :func:`traversal_batch`."""
    return _batch("recursive", p, q, trees, rngs, threads, replacement=replacement, normalized=normalized)


def kseq_batch(
    p: ArrayLike,
    q: ArrayLike,
    trees: Sequence[DraftTree],
    rngs: Sequence[int | Rng],
    *,
    normalized: bool = False,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`kseq` for several trees; arguments and errors as :func:`traversal_batch`."""
    return _batch("kseq", p, q, trees, rngs, threads, normalized=normalized)


def greedy_multi_batch(
    p: ArrayLike,
    q: ArrayLike,
    trees: Sequence[DraftTree],
    rngs: Sequence[int | Rng],
    *,
    normalized: bool = False,
    threads: int | None = None,
) -> AcceptedBatch:
    """:func:`greedy_multi` for several trees; arguments and errors as :func:`traversal_batch`."""
    return _batch("greedy_multi", p, q, trees, rngs, threads, normalized=normalized)


def law(
    rule: Literal["walk", "chain", "block", "traversal", "recursive", "kseq", "greedy_multi"],
    p: ArrayLike,
    tree: DraftTree,
    q: ArrayLike | None = None,
    *,
    replacement: bool = True,
) -> list[Outcome]:
    """Every outcome of a rule for a given draft, with its exact probability: all decisions are made in turn.

    For tests and for looking at rules on tiny vocabularies: there are as many outcomes as sequences of decisions.
    Outcomes with equal results are not merged.

    Args:
        rule: the name of a rule of this module.
        p: as for the rule.
        tree: the draft; a chain for the rules that take ``tokens``.
        q: as for the rule; not for ``"walk"``.
        replacement: as for the rule.

    Raises:
        ArrayError: as the rule.
        DistributionError: as the rule.
        DraftError: as the rule.

    >>> import numpy as np, tokenloom as tl
    >>> tree = tl.draft.DraftTree([1], [-1])
    >>> outcomes = tl.verify.law("chain", np.array([[0.75, 0.25], [0.5, 0.5]]), tree, np.array([[0.5, 0.5]]))
    >>> [(accepted.n_accepted, accepted.next_token, probability) for accepted, probability in outcomes]
    [(1, 0, 0.25), (1, 1, 0.25), (0, 0, 0.5)]
    """
    outcomes = _core.law((rule, replacement, False), *as_rows(p, _required(rule, q), n_axes=2), tree)
    return [
        Outcome(Accepted(np.array(path, dtype=np.int32), next_token, len(path)), probability)
        for path, next_token, probability in outcomes
    ]


def acceptance(
    p: ArrayLike, q: ArrayLike, k: int, rule: Literal["optimal", "recursive", "kseq", "greedy_multi"] = "optimal"
) -> float:
    """The probability that a rule accepts one of k drafts for one place, in closed form.

    ``"optimal"`` is the best that any rule can do with k independent draws from ``q`` (Hu et al. 2025); ``"recursive"``
    and ``"kseq"`` are the rules of this module with independent draws; ``"greedy_multi"`` is that rule with the k - 1
    most probable tokens of ``q`` and one draw from the rest, which can lie above the optimum for independent draws.

    Args:
        p: the target, float32 or float64[V].
        q: the draft, [V].
        k: how many drafts.
        rule: which rule.

    Raises:
        ArrayError: wrong dtype or shape.
        DistributionError: a row is no distribution.
    """
    rows, draft = as_rows(p, q, n_axes=1)
    assert draft is not None
    if k < 0:
        raise ValueError(f"expected k to be at least 0, found {k}")
    return _core.acceptance(rows, draft, k, rule)


def optimal_acceptance(p: ArrayLike, q: ArrayLike, k: int) -> float:
    """The largest probability with which any lossless rule accepts one of k independent draws from ``q``.

    Args:
        p: as :func:`acceptance`.
        q: as :func:`acceptance`.
        k: as :func:`acceptance`.

    Raises:
        ArrayError: as :func:`acceptance`.
        DistributionError: as :func:`acceptance`.

    >>> import tokenloom as tl
    >>> tl.verify.optimal_acceptance([0.5, 0.5], [1.0, 0.0], k=2)
    0.5
    """
    return acceptance(p, q, k)


def prune(tree: DraftTree, *, keep: ArrayLike | None = None, masks: ArrayLike | None = None) -> Pruned:
    """Cut nodes that a constraint forbids, and everything below them, before the model runs.

    Verify what is left with :func:`walk`, :func:`follow` or :func:`greedy`: they commit what they would have committed
    with the whole tree. A draft that was drawn at random is verified whole, with any numbers in the rows that were not
    computed: a token that the target forbids is rejected without looking at its row.

    Args:
        tree: the draft.
        keep: which nodes are allowed, bool[n].
        masks: instead, packed masks as ``state.mask()`` returns them, int32 or uint32[n + 1, ceil(V / 32)]: row 0
            behind the last committed token, row ``j + 1`` behind node j. Bit t % 32 of word t // 32 allows token t.

    Raises:
        ArrayError: wrong shape or dtype, or not exactly one of ``keep`` and ``masks``.

    >>> import tokenloom as tl
    >>> cut = tl.verify.prune(tl.draft.DraftTree([5, 6, 7], [-1, 0, -1]), keep=[False, True, True])
    >>> cut.tree.tokens.tolist(), cut.nodes.tolist()
    ([7], [2])
    """
    if (keep is None) == (masks is None):
        raise ArrayError("expected keep or masks, found " + ("neither" if keep is None else "both"))
    if masks is not None:
        words = np.asarray(masks)
        if words.dtype not in (np.int32, np.uint32) or words.ndim != 2 or len(words) != len(tree) + 1:
            expected = f"int32 with {len(tree) + 1} rows"
            found = f"shape {words.shape} of {words.dtype}"
            raise ArrayError(
                f"expected masks to be {expected}, found {found}", argument="masks", expected=expected, found=found
            )
        columns = tree.tokens // 32
        is_inside = columns < words.shape[1]
        found_words = words[tree.parents + 1, np.where(is_inside, columns, 0)] if words.shape[1] else 0
        keep = is_inside & (found_words >> (tree.tokens % 32) & 1).astype(bool)
    return Pruned(*_core.prune(tree, np.asarray(keep, dtype=bool).reshape(-1)))


def _one(
    rule: str,
    p: ArrayLike,
    q: ArrayLike | None,
    drafts: Sequence[DraftTree] | NDArray[np.int64],
    rng: int | Rng,
    *,
    replacement: bool = True,
    normalized: bool = False,
) -> Accepted:
    rows, draft_rows = as_rows(p, _required(rule, q), n_axes=2)
    arrays, error = _core.accept((rule, replacement, normalized), rows, draft_rows, drafts, [rng], 1)
    if error is not None:
        raise error
    return first(AcceptedBatch(*arrays))


def _batch(
    rule: str,
    p: ArrayLike,
    q: ArrayLike | None,
    drafts: Sequence[DraftTree] | NDArray[np.int64],
    rngs: Sequence[int | Rng],
    threads: int | None,
    *,
    replacement: bool = True,
    normalized: bool = False,
) -> AcceptedBatch:
    rows, draft_rows = as_rows(p, _required(rule, q), n_axes=3)
    trees = drafts if isinstance(drafts, np.ndarray) else list(drafts)
    arrays, _ = _core.accept((rule, replacement, normalized), rows, draft_rows, trees, list(rngs), usable(threads))
    return AcceptedBatch(*arrays)


def _required(rule: str, q: ArrayLike | None) -> ArrayLike | None:
    if q is None and rule not in ("greedy", "walk"):
        raise TypeError(f"expected q, the rows that the draft was drawn from, for rule {rule!r}")
    return q
