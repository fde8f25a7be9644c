"""How does a model read a whole tree of drafts in one forward pass?

The nodes are fed behind the last committed token. A node sees the past, its ancestors and itself, at the position of
its depth; so its logits are those after its own path. Which path is accepted is known only afterwards; where it is the
tree's main chain, its columns lie in place already if that chain was fed first, and the cache is only cropped
(:func:`chain_first`). Cost: O(nodes x (past + nodes)) for the mask.

The functions are those of ``tl.torch.generate``, for loops of one's own:

```python
import torch
import tokenloom as tl
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

config = LlamaConfig(
    vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
    num_attention_heads=2, num_key_value_heads=2,
)
model, cache = LlamaForCausalLM(config).eval(), DynamicCache()
text = [3, 4, 5, 6, 3, 4]
with torch.inference_mode():
    model(torch.tensor([text[:-1]]), past_key_values=cache, use_cache=True)
for _ in range(3):
    tree = tl.draft.DraftTree(tokens=[5, 6, 9], parents=[-1, 0, -1])  # or stream.propose(...)
    n_past = len(text) - 1
    inputs = tl.torch.tree_inputs(model, tree, text[-1], n_past)
    with torch.inference_mode():
        logits = model(**inputs, past_key_values=cache, use_cache=True).logits[0]
    accepted = tl.verify.greedy(logits.numpy(), tree)
    tl.torch.keep_path(cache, n_past, accepted.path)
    text += [*tree.tokens[accepted.path].tolist(), accepted.next_token]
    assert cache.get_seq_length() == len(text) - 1
```
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tokenloom.draft import DraftTree
from tokenloom.errors import UnsupportedFeatureError

__all__ = ["can_read_trees", "chain_first", "is_chain", "mask_for", "subtree", "tree_inputs"]


def tree_inputs(model: Any, tree: DraftTree, last_token: int, n_past: int) -> dict[str, torch.Tensor]:
    """What to call a model with, so that it reads the last committed token and a tree behind it.

    Args:
        model: a causal language model for which :func:`can_read_trees` holds.
        tree: the draft; chain-first order saves moving the cache (:func:`chain_first`).
        last_token: the last committed token, which the cache does not hold yet.
        n_past: tokens in the cache.

    Returns:
        ``input_ids`` int64[1, n + 1], ``position_ids`` of the same shape and ``attention_mask``
        [1, 1, n + 1, n_past + n + 1] in the form the model's attention asks for, on the model's device. Logit row 0 is
        that of the last committed token, row ``j + 1`` that of node ``j``.

    Raises:
        UnsupportedFeatureError: the model's attention takes no such mask.
    """
    if not can_read_trees(model):
        raise UnsupportedFeatureError(
            "expected a model whose attention (eager or sdpa) takes a mask of four dimensions and positions"
        )
    tokens = np.concatenate([[last_token], tree.tokens])
    seen = np.asarray(tree.attention_mask(n_past))[None, None]
    return {
        "input_ids": torch.from_numpy(tokens.astype(np.int64))[None].to(model.device),
        "position_ids": torch.from_numpy(np.array(tree.position_ids(n_past), dtype=np.int64))[None].to(model.device),
        "attention_mask": mask_for(model, torch.from_numpy(np.array(seen))),
    }


def mask_for(model: Any, seen: torch.Tensor) -> torch.Tensor:
    """A mask of bools (True = attends) in the form the model's attention asks for, on its device."""
    seen = seen.to(model.device)
    if model.config._attn_implementation != "eager":
        return seen
    closed = torch.full((), torch.finfo(model.dtype).min, dtype=model.dtype, device=seen.device)
    return torch.where(seen, torch.zeros_like(closed), closed)


def can_read_trees(model: Any) -> bool:
    """Whether the model takes masks of four dimensions: full attention, eager or sdpa, explicit positions."""
    config = model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return (
        kinds == {"full_attention"}
        and getattr(config, "sliding_window", None) is None
        and getattr(model.config, "_attn_implementation", None) in ("eager", "sdpa")
        and {"position_ids", "attention_mask"} <= inspect.signature(model.forward).parameters.keys()
    )


def is_chain(tree: DraftTree) -> bool:
    """Whether every node continues the one before it."""
    return bool((tree.parents == np.arange(-1, len(tree) - 1)).all())


def chain_first(tree: DraftTree) -> DraftTree:
    """The same tree with its main chain (the most probable child of each node) in front; the others stay in order."""
    chain = main_chain(tree)
    if chain == list(range(len(chain))):
        return tree
    on_chain = set(chain)
    return subtree(tree, chain + [node for node in range(len(tree)) if node not in on_chain])


def main_chain(tree: DraftTree) -> list[int]:
    """The nodes from the root down, each the most probable child of the one before; among equals the first."""
    parents, probs = tree.parents.tolist(), tree.probs.tolist()
    best: dict[int, int] = {}
    for node, parent in enumerate(parents):
        if parent not in best or probs[node] > probs[best[parent]]:
            best[parent] = node
    chain: list[int] = []
    at = -1
    while at in best:
        at = best[at]
        chain.append(at)
    return chain


def subtree(tree: DraftTree, nodes: Sequence[int]) -> DraftTree:
    """The tree of ``nodes``, in this order; each comes after its parent, which is one of them."""
    place = {node: at for at, node in enumerate(nodes)} | {-1: -1}
    index = np.asarray(nodes, dtype=np.int64)
    parents: NDArray[np.int64] = np.array([place[int(tree.parents[node])] for node in nodes], dtype=np.int64)
    return DraftTree(tree.tokens[index], parents, tree.probs[index])
