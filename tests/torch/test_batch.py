"""A ragged batch says what the model says about each row alone."""

from __future__ import annotations

import random

import pytest
import tokenloom as tl
import torch
from tokenloom.errors import UnsupportedFeatureError
from tokenloom.torch.batch import Batch, largest_exact_batch
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM, MistralConfig, MistralForCausalLM


def random_tree(rng: random.Random, n_nodes: int) -> tl.draft.DraftTree:
    tokens = [rng.randrange(272) for _ in range(n_nodes)]
    return tl.draft.DraftTree(tokens, [rng.randrange(-1, node) for node in range(n_nodes)])


def path_to(tree: tl.draft.DraftTree, node: int) -> list[int]:
    path: list[int] = []
    while node >= 0:
        path.insert(0, node)
        node = int(tree.parents[node])
    return path


@pytest.mark.parametrize("n_columns", [None, 512], ids=["dynamic", "static"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_rows_keep_their_own_columns(tiny_model: LlamaForCausalLM, attention: str, n_columns: int | None) -> None:
    rng = random.Random(1)
    tiny_model.set_attn_implementation(attention)
    slack = 1e-5 if attention == "sdpa" else 2e-4  # eager attention takes its softmax in float32
    batch, rows = Batch(tiny_model, 4, n_columns), [[], [], [], []]
    for step in range(30):
        blocks = [[rng.randrange(272) for _ in range(rng.randrange(1, 3 if step else 40))] for _ in rows]
        trees = [random_tree(rng, rng.randrange(0, 9)) if step % 3 else None for _ in rows]
        n_logits = [1 if tree is None else len(tree) + 1 for tree in trees]
        found = batch.feed(blocks, trees).split(n_logits)
        kept, texts = [], []
        for row, block, tree, logits in zip(rows, blocks, trees, found, strict=True):
            paths = [[]] if tree is None else [[], *(path_to(tree, node) for node in range(len(tree)))]
            for path, of_node in zip(paths, logits, strict=True):
                text = row + block + [int(tree.tokens[node]) for node in path]
                with torch.inference_mode():
                    alone = tiny_model(torch.tensor([text])).logits[0, -1].float()
                torch.testing.assert_close(of_node, alone, rtol=slack, atol=slack)
            path = rng.choice(paths)
            kept.append([*range(len(block)), *(len(block) + node for node in path)])
            texts.append(row + block + [int(tree.tokens[node]) for node in path])
        batch.keep(kept)
        rows = texts
        longest = max(len(row) for row in rows)
        assert batch.n_columns <= longest + longest // 4 + 32, "masked columns are packed away"
        if step == 20:
            batch.select([2, 0, 3])
            rows = [rows[2], rows[0], rows[3]]
    tiny_model.set_attn_implementation("sdpa")


def test_one_row_holds_no_masked_column(tiny_model: LlamaForCausalLM) -> None:
    batch = Batch(tiny_model, 1)
    batch.feed([[1, 2, 3, 4, 5]])
    batch.keep([range(3)])
    assert batch.n_columns == 3


def test_windows_count_columns_so_rows_go_alone() -> None:
    shape = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    assert largest_exact_batch(LlamaForCausalLM(LlamaConfig(**shape, **heads)), 8) == 8
    assert largest_exact_batch(MistralForCausalLM(MistralConfig(**shape, **heads, sliding_window=8)), 8) == 1


def test_recurrent_state_is_refused() -> None:
    model = MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(UnsupportedFeatureError, match=r"past_key_values|layers of type"):
        largest_exact_batch(model, 1)
