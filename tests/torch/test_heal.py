"""A healed prompt is one of its covers, with the right frequency, and its text goes on where the prompt ended."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, UnsupportedFeatureError
from transformers import LlamaForCausalLM

PROMPT = "x th"
WARM = tl.sample.Params(temperature=1.0)


def test_covers_come_as_often_as_they_are_probable(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    """Pearson's statistic over 400 seeds; a correct draw fails once in 10^6 sets of seeds, and the seeds are fixed."""
    byte_model = tl.bytelevel.ByteModel(tiny_model, tiny_tokenizer)
    healed = byte_model.heal(PROMPT.encode())
    covers = [(*healed.ids.tolist(), *cover) for cover in healed.tokens.to_lists()]
    n_seeds = 400
    answers = tl.torch.generate(
        tiny_model,
        tiny_tokenizer,
        [PROMPT] * n_seeds,
        max_new_tokens=1,
        heal=True,
        params=WARM,
        seed=range(n_seeds),
        batch_size=64,
    )
    found = [tuple(answer.prompt_ids.tolist()) for answer in answers]
    assert set(found) <= set(covers)
    assert len(covers) > 1
    expected = n_seeds * np.exp(healed.log_probs)
    counts = np.array([found.count(cover) for cover in covers])
    common = expected >= 5
    statistic = ((counts - expected)[common] ** 2 / expected[common]).sum()
    from scipy.stats import chi2

    assert statistic < chi2.isf(1e-6, max(int(common.sum()) - 1, 1))


def test_rules_about_tokens_say_nothing_of_covers(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    """A ban of token 0 is no ban of cover 0, and a penalty needs no text to draw a cover."""
    best = int(tl.bytelevel.ByteModel(tiny_model, tiny_tokenizer).heal(PROMPT.encode()).log_probs.argmax())

    def covers(**rules: Any) -> list[list[int]]:
        options: dict[str, Any] = {"params": tl.sample.Params(**rules), "max_new_tokens": 1, "heal": True}
        found = tl.torch.generate(tiny_model, tiny_tokenizer, [PROMPT] * 4, seed=range(4), **options)
        return [answer.prompt_ids.tolist() for answer in found]

    plain = covers()
    for rules in ({"bad_words": ((best,),)}, {"bias": {best: -50.0}}, {"repetition_penalty": 2.0}):
        assert covers(**rules) == plain


def test_text_goes_on_where_the_prompt_ended(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    for seed in range(20):
        pieces: list[str] = []
        (answer,) = tl.torch.generate(
            tiny_model,
            tiny_tokenizer,
            PROMPT,
            max_new_tokens=6,
            heal=True,
            params=WARM,
            seed=seed,
            eos=(),
            stream=lambda _, piece, pieces=pieces: pieces.append(piece),
        )
        assert PROMPT + answer.text == tiny_tokenizer.decode([*answer.prompt_ids.tolist(), *answer.ids.tolist()])
        assert "".join(pieces) == answer.text


@contextmanager
def passes(model: LlamaForCausalLM) -> Iterator[list[int]]:
    """How many tokens each forward pass reads."""
    widths: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, inputs: widths.append(inputs["input_ids"].numel()), with_kwargs=True
    )
    yield widths
    hook.remove()


def test_the_prompt_is_read_once(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    prompt, n_new = "and the in " * 20 + PROMPT, 5
    options: Any = {"max_new_tokens": n_new, "params": tl.sample.Params(temperature=0), "eos": ()}
    with passes(tiny_model) as plain:
        tl.torch.generate(tiny_model, tiny_tokenizer, prompt, **options)
    with passes(tiny_model) as healing:
        (answer,) = tl.torch.generate(tiny_model, tiny_tokenizer, prompt, heal=True, **options)
    n_prompt = len(tiny_tokenizer.encode(prompt))
    assert plain == [n_prompt, *[1] * (n_new - 1)]
    assert abs(healing[0] - n_prompt) <= 4  # all covers as one tree, without the ends of the longest ones
    assert 1 <= healing[1] <= 3  # the end of the one that was drawn
    assert healing[2:] == [1] * (n_new - 1)
    # What was handed over is what reading everything anew gives.
    (again,) = tl.torch.generate(tiny_model, tiny_tokenizer, [answer.prompt_ids.tolist()], **options)
    assert again.ids.tolist() == answer.ids.tolist()
    np.testing.assert_allclose(again.logprobs, answer.logprobs, atol=1e-6)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("drafter", [None, tl.draft.Suffix(min_prob=0.01)])
def test_batches_and_drafts_change_nothing(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, cache: str, drafter: Any
) -> None:
    # The last but one ends with an added token: nothing of it is read before.
    prompts = ["x th", "the and the and th", "in " * 30 + "a", "the" + "<|end|>", "o"]
    options: Any = {"max_new_tokens": 9, "heal": True, "params": WARM, "seed": range(5), "eos": ()}
    together = tl.torch.generate(tiny_model, tiny_tokenizer, prompts, cache=cache, drafter=drafter, **options)
    for seed, (prompt, found) in enumerate(zip(prompts, together, strict=True)):
        (alone,) = tl.torch.generate(tiny_model, tiny_tokenizer, prompt, **(options | {"seed": seed}))
        assert alone.prompt_ids.tolist() == found.prompt_ids.tolist()
        assert alone.ids.tolist() == found.ids.tolist()


def test_custom_generate_heals_what_tokens_spell(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    texts = ["x th", "a<|end|>the an"]
    ids = [tiny_tokenizer.encode_list(text) for text in texts]
    width = max(map(len, ids))
    inputs = {
        "input_ids": torch.tensor([[0] * (width - len(row)) + row for row in ids]),
        "attention_mask": torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids]),
    }
    ours = tl.torch.custom_generate(heal=tiny_tokenizer, seed=3)
    greedy: Any = {"max_new_tokens": 7, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    found = tiny_model.generate(**inputs, **greedy, custom_generate=ours)
    cold = tl.sample.Params(temperature=0)
    healed = tl.torch.generate(tiny_model, tiny_tokenizer, texts, heal=True, max_new_tokens=1, params=cold, eos=())
    for row, answer in zip(found.tolist(), healed, strict=True):
        plain = tiny_model.generate(torch.from_numpy(answer.prompt_ids.astype(np.int64))[None], **greedy)
        assert row[len(row) - plain.shape[1] :] == plain[0].tolist()
    constrained = tl.torch.custom_generate(heal=tiny_tokenizer, constraint=tl.control.predicate(bool, tiny_tokenizer))
    with pytest.raises(UnsupportedFeatureError, match="without a constraint"):
        tiny_model.generate(**inputs, **greedy, custom_generate=constrained)


def test_blanks_at_the_end_are_warned_of(tiny_model: LlamaForCausalLM) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b" a": 256}
    tokenizer = tl.Tokenizer.from_tiktoken("toy", pat_str=r" ?\S+|\s+", mergeable_ranks=ranks, special_tokens={})
    with pytest.warns(UserWarning, match="prompt 1 ends with blanks that the next word would have"):
        tl.torch.generate(tiny_model, tokenizer, ["x", "x "], max_new_tokens=1)
    # Warnings are errors here.
    tl.torch.generate(tiny_model, tokenizer, ["x ", "x\n"], max_new_tokens=1, warn_unhealed="never")
    tl.torch.generate(tiny_model, tokenizer, "x ", max_new_tokens=1, heal=True)


def test_last_tokens_that_begin_longer_ones_are_warned_of(tiny_model: LlamaForCausalLM) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257}
    tokenizer = tl.Tokenizer.from_tiktoken(
        "toy", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<end>": 258}
    )
    few: Any = {"max_new_tokens": 1, "warn_unhealed": "extendable"}
    with pytest.warns(UserWarning, match="prompt 1 ends with token 256, which begins longer tokens"):
        tl.torch.generate(tiny_model, tokenizer, ["abc", "xab"], **few)
    # Warnings are errors here: nothing is longer, the end is an added token, and words are not warned of by default.
    tl.torch.generate(tiny_model, tokenizer, ["abc", "ab<end>", "abx"], **few)
    tl.torch.generate(tiny_model, tokenizer, "xab", max_new_tokens=1)
    with pytest.raises(ArrayError, match="expected warn_unhealed 'blank', 'extendable', 'never', found True"):
        tl.torch.generate(tiny_model, tokenizer, "x", warn_unhealed=True)  # type: ignore[arg-type]


def test_what_cannot_be_healed(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    with pytest.raises(ArrayError, match="found an empty prompt at index 1"):
        tl.torch.generate(tiny_model, tiny_tokenizer, ["a", ""], heal=True)
    with pytest.raises(ArrayError, match="expected texts to heal, found list"):
        tl.torch.generate(tiny_model, tiny_tokenizer, [[1, 2]], heal=True)
    with pytest.raises(UnsupportedFeatureError, match="without a constraint"):
        tl.torch.generate(
            tiny_model, tiny_tokenizer, "a", heal=True, constraint=tl.control.predicate(bool, tiny_tokenizer)
        )
