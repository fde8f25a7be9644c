"""Trees change nothing but time: any tree, any shape of batch, any cache, with and without a constraint."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, UnsupportedFeatureError
from transformers import DynamicCache, LlamaForCausalLM, MistralConfig, MistralForCausalLM, StaticCache

PROMPTS = ["the cat and the dog and the cat and the", "a", "in the beginning there was the word", "the the the the"]
SAMPLED = tl.sample.Params(temperature=0.8, top_p=0.95)


class Forest:
    """A drafter that knows the answers, and hides them in random trees, seldom on the main chain."""

    def __init__(self, answers: dict[tuple[int, ...], list[int]], seed: int = 0) -> None:
        self.answers, self.rng = answers, random.Random(seed)

    def begin(self, prompt_ids: Any) -> Grove:
        return Grove(self.answers[tuple(int(token) for token in prompt_ids)], self.rng)


class Grove:
    def __init__(self, answer: list[int], rng: random.Random) -> None:
        self.answer, self.rng, self.n_done = answer, rng, 0

    def propose(self, budget: int) -> tl.draft.DraftTree:
        n = self.rng.randrange(0, min(budget, 12) + 1)
        tokens, parents, probs = [], [], []
        truth = -1  # the deepest node on the true path
        for node in range(n):
            depth = int(tl.draft.DraftTree(tokens, parents).depths[truth]) if truth >= 0 else 0
            ahead = self.answer[self.n_done + depth : self.n_done + depth + 1]
            if ahead and self.rng.random() < 0.4:
                tokens.append(ahead[0])
                parents.append(truth)
                truth = node
            else:
                tokens.append(self.rng.randrange(265))
                parents.append(self.rng.randrange(-1, node))
            probs.append(self.rng.random())
        return tl.draft.DraftTree(tokens, parents, np.array(probs, dtype=np.float32))

    def commit(self, ids: Any) -> None:
        assert list(ids) == self.answer[self.n_done : self.n_done + len(ids)]
        self.n_done += len(ids)

    def end(self) -> None: ...


def no_vowel(prefix: bytes) -> bool:
    return not re.search(rb"[iou]", prefix)


def run(model: Any, tokenizer: Any, prompts: Any = PROMPTS, **options: Any) -> list[Any]:
    return tl.torch.generate(model, tokenizer, prompts, **({"max_new_tokens": 24, "eos": (), "seed": 5} | options))


@pytest.mark.parametrize("constrained", [False, True], ids=["free", "constrained"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_any_tree_gives_the_plain_tokens(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, batch_size: int, cache: str, constrained: bool
) -> None:
    constraint = tl.control.predicate(no_vowel, tiny_tokenizer) if constrained else None
    shared = {"params": SAMPLED, "constraint": constraint}
    plain = run(tiny_model, tiny_tokenizer, batch_size=1, **shared)
    answers = {tuple(one.prompt_ids.tolist()): one.ids.tolist() for one in plain}
    for shape in ("tree", "chain"):
        how = {"draft_shape": shape, "batch_size": batch_size, "cache": cache}
        drafted = run(tiny_model, tiny_tokenizer, drafter=Forest(answers), **shared, **how)
        assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
        for one, two in zip(plain, drafted, strict=True):
            np.testing.assert_allclose(two.logprobs, one.logprobs, atol=1e-4)
            assert two.stats.model_calls == two.stats.n_tokens - two.stats.accepted
        if shape == "tree":
            assert sum(one.stats.accepted for one in drafted) > 20


@pytest.mark.parametrize("drafter", [tl.draft.Suffix(), tl.draft.Trie()], ids=["suffix", "trie"])
def test_tokens_of_another_vocabulary_are_not_read(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, drafter: Any
) -> None:
    """The drafter has seen texts of a larger model: after two tokens of the answer, or at once, names that are none."""
    ids = tiny_tokenizer.encode_list(PROMPTS[0])
    options: Any = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    plain = tiny_model.generate(torch.tensor([ids]), **options)
    for answer in ([*plain[0, len(ids) :][:2].tolist(), 272, 5], [2**31 - 2, 5]):
        with drafter.begin(ids) as other:
            other.commit(answer)
    calls: list[int] = []
    hook = tiny_model.register_forward_pre_hook(lambda *_: calls.append(1))
    for shape in ("tree", "chain"):
        ours = tl.torch.custom_generate(drafter=drafter, draft_shape=shape)
        assert torch.equal(tiny_model.generate(torch.tensor([ids]), **options, custom_generate=ours), plain)
        assert len(calls) < 8, "what comes before is read"
        calls.clear()
    with tl.torch.assisted(tiny_model, drafter):
        assert torch.equal(tiny_model.generate(torch.tensor([ids]), **options), plain)
    hook.remove()
    for constraint in (None, tl.control.predicate(no_vowel, tiny_tokenizer)):
        without, drafted = (
            run(tiny_model, tiny_tokenizer, [ids, ids], constraint=constraint, drafter=one) for one in (None, drafter)
        )
        assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in without]


def test_what_a_constraint_forbids_is_not_read(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    i, t, h = (tiny_tokenizer.encode_list(text)[0] for text in "ith")

    class Drafter:
        def begin(self, _: Any) -> Any:
            return self

        def propose(self, budget: int) -> tl.draft.DraftTree:
            return tl.draft.DraftTree([i, t, h, i, t], [-1, 0, -1, 2, 2])

        def commit(self, _: Any) -> None: ...

        def end(self) -> None: ...

    constraint = tl.control.predicate(no_vowel, tiny_tokenizer)
    (answer,) = run(
        tiny_model, tiny_tokenizer, "a", drafter=Drafter(), constraint=constraint, method="check", max_new_tokens=6
    )
    # "i" goes, with what hangs from it and below "h" too: two nodes of five are left.
    assert answer.stats.drafted <= 2 * answer.stats.model_calls
    assert answer.stats.drafted >= answer.stats.model_calls


def test_bare_functions_decode_greedily(tiny_model: LlamaForCausalLM) -> None:
    """A loop of one's own: inputs for a tree, greedy acceptance, the cache cut to the path."""
    rng = random.Random(3)
    for cache in (DynamicCache(), StaticCache(config=tiny_model.config, max_cache_len=128)):
        text = [rng.randrange(265) for _ in range(9)]
        n_prompt = len(text)
        expected = tiny_model.generate(
            torch.tensor([text]), max_new_tokens=60, do_sample=False, eos_token_id=None, pad_token_id=0
        )[0].tolist()
        with torch.inference_mode():
            tiny_model(torch.tensor([text[:-1]]), past_key_values=cache, use_cache=True)
        grove = Grove(expected[n_prompt:], rng)
        while len(text) < 60:
            tree = tl.torch.chain_first(grove.propose(12))
            inputs = tl.torch.tree_inputs(tiny_model, tree, text[-1], len(text) - 1)
            if isinstance(cache, StaticCache):
                seen = inputs["attention_mask"]
                inputs["attention_mask"] = torch.nn.functional.pad(seen, (0, 128 - seen.shape[-1]))
            with torch.inference_mode():
                logits = tiny_model(**inputs, past_key_values=cache, use_cache=True).logits[0]
            accepted = tl.verify.greedy(logits.float().numpy(), tree)
            tl.torch.keep_path(cache, len(text) - 1, accepted.path)
            new = [*tree.tokens[accepted.path].tolist(), accepted.next_token]
            grove.commit(new)
            text += new
            assert int(cache.get_seq_length()) == len(text) - 1
        assert text[:60] == expected[:60]


def test_main_chain_comes_first() -> None:
    tree = tl.draft.DraftTree([1, 2, 3, 4, 5], [-1, -1, 1, 0, 1], np.array([0.3, 0.6, 0.2, 0.9, 0.7], dtype=np.float32))
    first = tl.torch.chain_first(tree)
    assert first.tokens.tolist() == [2, 5, 1, 3, 4]
    assert first.parents.tolist() == [-1, 0, -1, 0, 2]
    assert tl.torch.chain_first(first) is first


def test_models_that_take_no_mask_read_chains(tiny_tokenizer: tl.Tokenizer) -> None:
    torch.manual_seed(1)
    shape = {"vocab_size": 272, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = MistralForCausalLM(MistralConfig(**shape, **heads, sliding_window=8)).double().eval()
    plain = run(model, tiny_tokenizer, PROMPTS[:2])
    answers = {tuple(one.prompt_ids.tolist()): one.ids.tolist() for one in plain}
    drafted = run(model, tiny_tokenizer, PROMPTS[:2], drafter=Forest(answers))
    assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
    with pytest.raises(UnsupportedFeatureError, match="mask of four dimensions"):
        tl.torch.tree_inputs(model, tl.draft.DraftTree([1], [-1]), 2, 3)
    with pytest.raises(UnsupportedFeatureError, match="full attention"):
        run(model, tiny_tokenizer, cache="static")


@pytest.mark.parametrize("option", ["draft_shape", "cache", "method"])
def test_unknown_words_are_named(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, option: str) -> None:
    with pytest.raises(ArrayError, match=f"expected {option} .*found 'other'"):
        run(tiny_model, tiny_tokenizer, **{option: "other"})
