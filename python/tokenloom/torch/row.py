"""What does one prompt of a batch remember between two steps?

Its tokens, the drafter's stream, the constraint's state and the text so far. A step plans a tree of drafted tokens, the
model reads what it has not seen yet (``pending``) and the tree, and the drawn tokens are accepted one by one, so an end
token or a stop string in the middle of an accepted path ends the text right there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom.draft import DraftTree
from tokenloom.errors import ConstraintError
from tokenloom.torch.batch import Batch
from tokenloom.torch.draw import Drawn
from tokenloom.torch.gate import Gate
from tokenloom.torch.result import Generation, Stats
from tokenloom.torch.tree_attention import chain_first, main_chain, subtree

__all__ = ["MAX_FORCED", "Row", "as_tree", "known_part"]

_NOTHING = DraftTree(tokens=[], parents=[])

MAX_FORCED = 32
"""Most forced tokens that are drafted in one step."""


class Row:
    """One prompt and its growing continuation.

    Args:
        index: place of the prompt in the caller's list.
        prompt: its token ids; not empty.
        n_tokens: how many tokens may be generated.
        params: sampling rules.
        seed: with the absolute position, the whole source of randomness.
        eos: end tokens.
        stream: the drafter's stream for this prompt, or None.
        gate: the constraint's gate, or None.
        writing: what becomes of the tokens as text, a ``Writing`` or its like; None where nobody asks.
        process: ``process(new_tokens, logits) -> logits`` before the sampling rules, logits float32[V], or None.
        is_over: ``is_over(new_tokens) -> bool``, asked after every token, or None.
        start: absolute position of the first new token, for texts whose prompt is counted otherwise; default: the
            prompt's length.
        forced: what becomes of tokens that the constraint forces: ``"draft"``, ``"jump"`` or ``"ask"``.
        read: a batch of one row that has read the beginning of the prompt, and how much of it; or None.
    """

    def __init__(
        self,
        index: int,
        prompt: Sequence[int],
        *,
        n_tokens: int,
        params: Any,
        seed: int,
        eos: frozenset[int],
        stream: Any = None,
        gate: Gate | None = None,
        writing: Any = None,
        process: Callable[[list[int], NDArray[np.float32]], NDArray[np.float32]] | None = None,
        is_over: Callable[[list[int]], bool] | None = None,
        start: int | None = None,
        forced: str = "ask",
        read: tuple[Batch, int] | None = None,
    ) -> None:
        self.index = index
        self.params = params
        self.seed = seed
        self.gate = gate
        self.process = process
        self.stream = stream
        self.tree = _NOTHING
        self._read: Batch | None = None
        self.n_read = 0
        if read is not None:
            self._read, self.n_read = read
        self.pending = [int(token) for token in prompt[self.n_read :]]
        self.finish_reason = "length" if n_tokens == 0 else ""
        self.stats = Stats()
        self.ids: list[int] = []
        self.taken: list[int] = []
        self.prompt_ids = np.array(prompt, dtype=np.uint32)
        self._start = len(prompt) if start is None else start
        self._n_tokens = n_tokens
        self._eos = eos
        self._writing = writing
        self._is_over = is_over
        self._logprobs: list[float] = []
        self._log_weight = 0.0
        self._forced = forced
        if writing is not None and writing.stopped:
            self.finish_reason = "stop"
        self.taken = self._jump()
        self.pending += self.taken

    @property
    def jumps(self) -> bool:
        """Whether forced tokens come next, to be taken without a draw."""
        return self._forced == "jump" and self.gate is not None and bool(self.gate.forced())

    @property
    def position(self) -> int:
        """Absolute position of the next token to be drawn."""
        return self._start + len(self.ids)

    @property
    def step(self) -> int:
        """How many tokens have been generated."""
        return len(self.ids)

    @property
    def n_useful(self) -> int:
        """The deepest draft of which a token could still be kept."""
        return self._n_tokens - len(self.ids) - 1

    def ends_with(self, token: int) -> bool:
        """Whether ``token`` ends the text."""
        return token in self._eos

    def give_read(self) -> Batch | None:
        """The batch that has read the beginning of the prompt, once."""
        given, self._read = self._read, None
        return given

    def plan(self, proposed: Any, budget: int, chain_only: bool, n_vocab: int) -> None:
        """Take of what the drafter proposed at most ``budget`` nodes, none deeper than useful, none forbidden.

        Args:
            proposed: anything with ``tokens``, ``parents`` and perhaps ``probs``, or None.
            budget: most nodes.
            chain_only: keep the main chain alone.
            n_vocab: tokens from here on are never drawn; a drafter that has seen another model's texts names them.
        """
        tree = _NOTHING if proposed is None else known_part(as_tree(proposed), n_vocab)
        if len(tree) and chain_only:
            tree = subtree(tree, main_chain(tree))
        if len(tree) and (len(tree) > budget or int(tree.depths.max()) > self.n_useful):
            tree = _first_nodes(tree, budget, self.n_useful)
        if len(tree) and self.gate is not None:
            tree = self._allowed(tree, self.gate)
        if self._forced == "draft" and self.gate is not None and self.n_useful > 0:
            forced = self.gate.forced()[: min(self.n_useful, MAX_FORCED)]
            if len(forced) > (int(tree.depths.max()) if len(tree) else 0):
                tree = DraftTree(tokens=forced, parents=list(range(-1, len(forced) - 1)))
        self.tree = tree

    def read(self, tree: DraftTree) -> None:
        """This is what the model reads: the tree that was planned, or what pays of it."""
        self.tree = chain_first(tree) if len(tree) else _NOTHING
        self.stats.drafted += len(tree)
        self.stats.model_calls += 1

    def _allowed(self, tree: DraftTree, gate: Gate) -> DraftTree:
        """The tree without the subtrees that the constraint or the end of the text forbids."""
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(tree.parents.tolist()):
            children.setdefault(parent, []).append(node)
        tokens = tree.tokens.tolist()
        allowed: list[int] = []
        # Depth first, because the constraint's state moves along one path: (node, leaving it).
        stack = [(node, False) for node in reversed(children.get(-1, []))]
        while stack:
            node, leaving = stack.pop()
            if leaving:
                gate.rollback(1)
            elif tokens[node] not in self._eos and gate(tokens[node]):
                gate.advance(tokens[node])
                allowed.append(node)
                stack.append((node, True))
                stack.extend((child, False) for child in reversed(children.get(node, [])))
        return tree if len(allowed) == len(tree) else subtree(tree, sorted(allowed))

    def accept(self, drawn: Drawn) -> list[int]:
        """Take the drawn tokens, a path of the tree and one more. Returns the places of the fed tokens to keep.

        Raises:
            ConstraintError: the constraint neither accepts the text nor allows a token; names the text and the step.
        """
        n_fed = len(self.pending)
        self.taken = taken = []
        for token, logprob, log_weight in zip(drawn.tokens, drawn.logprobs, drawn.log_weights, strict=True):
            taken.append(token)
            self.ids.append(token)
            self._logprobs.append(logprob)
            self._log_weight += log_weight
            self._push(token)
            if self.finish_reason:
                break
        path = drawn.path[: len(taken)]
        self.stats.accepted += len(path)
        if taken:
            taken += self._jump()
            # The path was read as drafts; what follows it was not.
            self.pending = taken[len(path) :]
        self.stats.n_tokens = len(self.ids)
        if drawn.dead_end and not self.finish_reason:
            self._end_dead()
        return [*range(n_fed), *(n_fed + node for node in path)]

    def _end_dead(self) -> None:
        assert self.gate is not None
        if not self.gate.is_accepting():
            prefix = b"" if self._writing is None else self._writing.spell(self.ids)
            raise ConstraintError(
                f"the constraint allows no token after {prefix[-60:]!r} (prompt {self.index}, step {self.step})",
                prefix=prefix,
                step=self.step,
            )
        self.finish_reason = "constraint"

    def _jump(self) -> list[int]:
        """Take the tokens that the constraint forces without asking the model."""
        jumped: list[int] = []
        while not self.finish_reason and self.jumps:
            assert self.gate is not None
            for token in self.gate.forced():
                jumped.append(token)
                self.ids.append(token)
                self._logprobs.append(0.0)
                self._push(token)
                if self.finish_reason:
                    break
        self.stats.forced += len(jumped)
        return jumped

    def _push(self, token: int) -> None:
        if token in self._eos:
            self.finish_reason = "eos"
            return
        if self.gate is not None:
            self.gate.advance(token)
        if self._writing is not None:
            self._writing.push(token)
        if self._writing is not None and self._writing.stopped:
            self.finish_reason = "stop"
        elif len(self.ids) >= self._n_tokens:
            self.finish_reason = "length"
        elif self._is_over is not None and self._is_over(self.ids):
            self.finish_reason = "stop"

    def finish(self, seconds: dict[str, float]) -> Generation:
        """End the text and say what it is."""
        if self.gate is not None:
            self.stats.checks = self.gate.n_checks
        self.stats.seconds = seconds
        return Generation(
            prompt_ids=self.prompt_ids,
            text="" if self._writing is None else self._writing.finish(),
            ids=np.array(self.ids, dtype=np.uint32),
            logprobs=np.array(self._logprobs, dtype=np.float64),
            log_weight=self._log_weight,
            finish_reason=self.finish_reason,
            stats=self.stats,
        )

    def close(self) -> None:
        """Give the drafter's stream back; the row generates no more."""
        if self.stream is not None:
            self.stream.end()
            self.stream = None


def as_tree(proposed: Any) -> DraftTree:
    """What a drafter proposed: a tree, or anything with ``tokens``, ``parents`` and perhaps ``probs``."""
    if isinstance(proposed, DraftTree):
        return proposed
    probs = getattr(proposed, "probs", None)
    return DraftTree(
        np.asarray(proposed.tokens, dtype=np.int64),
        np.asarray(proposed.parents, dtype=np.int64),
        None if probs is None else np.asarray(probs, dtype=np.float32),
    )


def known_part(tree: DraftTree, n_vocab: int) -> DraftTree:
    """The tree without the tokens from ``n_vocab`` on, and what stands behind them."""
    return tree if (tree.tokens < n_vocab).all() else tree.cut(tree.tokens < n_vocab)[0]


def _first_nodes(tree: DraftTree, budget: int, n_useful: int) -> DraftTree:
    """The first ``budget`` nodes that are no deeper than ``n_useful``; parents come first, so it is a tree."""
    nodes = [node for node, depth in enumerate(tree.depths.tolist()) if depth <= n_useful]
    return subtree(tree, nodes[:budget])
