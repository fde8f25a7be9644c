"""How does vLLM draft with a drafter of this library?

:class:`Proposer` is what vLLM's ``method: "custom_class"`` asks for:

```console
vllm serve MODEL --speculative-config '{"method": "custom_class",
    "custom_proposer_backend": "tokenloom.compat.vllm.Proposer", "num_speculative_tokens": 8}'
```

vLLM names no requests there: it gives rows of a table that move when requests come and go. A stream therefore belongs
to its text. A row whose text continues the one seen there before goes on with its stream; otherwise the stream is
looked for among those that lost their row, by their texts; a text that none has seen begins a stream. What is compared
is memory against memory, microseconds for a long text. Streams that no row holds any more are ended, which shares their
answers.

vLLM itself is not imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenloom._streams import NativeDrafter
from tokenloom.draft import Suffix

__all__ = ["Proposer"]


class Proposer:
    """Drafts for vLLM.

    Args:
        vllm_config: vLLM's configuration; ``speculative_config.num_speculative_tokens`` and
            ``model_config.max_model_len`` are read.
        drafter: where drafts come from. Default: ``tl.draft.Suffix(min_prob=0.1)``; a subclass that calls
            ``super().__init__(vllm_config, drafter)`` chooses another one.

    >>> from types import SimpleNamespace as Config
    >>> import numpy as np
    >>> config = Config(
    ...     speculative_config=Config(num_speculative_tokens=3), model_config=Config(max_model_len=100)
    ... )
    >>> proposer = Proposer(config)
    >>> table = np.zeros((1, 100), dtype=np.int32)
    >>> table[0, :8] = [1, 2, 3, 4, 5, 1, 2, 3]
    >>> proposer.propose([[3]], np.array([8]), table)
    [[4, 5, 1]]
    """

    def __init__(self, vllm_config: Any, drafter: Any = None) -> None:
        self._n_drafted = int(vllm_config.speculative_config.num_speculative_tokens)
        self._max_model_len = int(vllm_config.model_config.max_model_len)
        self._drafter = Suffix(min_prob=0.1) if drafter is None else drafter
        self._held: dict[int, _Held] = {}

    def propose(
        self,
        sampled_token_ids: Sequence[Sequence[int]],
        num_tokens_no_spec: Any,
        token_ids_cpu: Any,
        slot_mappings: Any = None,
    ) -> list[list[int]]:
        """Draft for every row.

        Args:
            sampled_token_ids: what each row's request was just given; a row with nothing (a prompt in parts) is not
                drafted for.
            num_tokens_no_spec: length of each row's text, int[B or more].
            token_ids_cpu: the texts, int32[B or more, length].
            slot_mappings: not looked at.

        Returns:
            The drafted tokens of each row, possibly none.
        """
        lengths, table = np.asarray(num_tokens_no_spec), np.asarray(token_ids_cpu)
        texts = [table[row, : int(lengths[row])] for row in range(len(sampled_token_ids))]
        self._follow(texts)
        drafts: list[list[int]] = []
        for row, (sampled, text) in enumerate(zip(sampled_token_ids, texts, strict=True)):
            room = min(self._n_drafted, self._max_model_len - len(text) - 1)
            if not len(sampled) or room <= 0:
                drafts.append([])
                continue
            shape = {"chain": True} if isinstance(self._drafter, NativeDrafter) else {}
            drafts.append(_chain(self._held[row].stream.propose(budget=room, **shape))[:room])
        return drafts

    def load_model(self, *_: Any, **__: Any) -> None:
        """There is no model to load."""

    def _follow(self, texts: Sequence[NDArray[np.int32]]) -> None:
        """Give every row the stream of its text, grown to it."""
        before, self._held = self._held, {}
        for row, text in enumerate(texts):
            if row in before and before[row].begins(text):
                self._held[row] = before.pop(row)
        for row, text in enumerate(texts):
            if row not in self._held:
                moved = [other for other, held in before.items() if held.begins(text)]
                # Of several, the longest: texts that share a prompt and an answer so far.
                best = max(moved, key=lambda other: before[other].n_tokens, default=None)
                self._held[row] = _Held(self._drafter, text) if best is None else before.pop(best)
            self._held[row].grow(text)
        for held in before.values():
            held.stream.end()


class _Held:
    """A stream and the text it has been told."""

    def __init__(self, drafter: Any, text: NDArray[np.int32]) -> None:
        self._text = np.array(text, dtype=np.int32)
        self.n_tokens = len(self._text)
        self.stream = drafter.begin(self._text)

    def begins(self, text: NDArray[np.int32]) -> bool:
        """Whether ``text`` continues this one."""
        return self.n_tokens <= len(text) and bool(np.array_equal(self._text[: self.n_tokens], text[: self.n_tokens]))

    def grow(self, text: NDArray[np.int32]) -> None:
        if len(text) == self.n_tokens:
            return
        new = np.array(text[self.n_tokens :], dtype=np.int32)
        if len(text) > len(self._text):  # doubling: a copy of everything only now and then
            self._text = np.concatenate([self._text[: self.n_tokens], new, np.empty(len(text), dtype=np.int32)])
        else:
            self._text[self.n_tokens : len(text)] = new
        self.n_tokens = len(text)
        self.stream.commit(new)


def _chain(tree: Any) -> list[int]:
    """The main chain of a tree, which comes first."""
    parents: list[int] = tree.parents.tolist()
    n = next((node for node, parent in enumerate(parents) if parent != node - 1), len(parents))
    tokens: list[int] = tree.tokens[:n].tolist()
    return tokens
