"""A healed prompt is one of its covers, with the right frequency, and its text goes on where the prompt ended."""

from __future__ import annotations

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError
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


def test_what_cannot_be_healed(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    with pytest.raises(ArrayError, match="found an empty prompt at index 1"):
        tl.torch.generate(tiny_model, tiny_tokenizer, ["a", ""], heal=True)
    with pytest.raises(ArrayError, match="expected texts to heal, found list"):
        tl.torch.generate(tiny_model, tiny_tokenizer, [[1, 2]], heal=True)
    with pytest.raises(ArrayError, match="without a constraint"):
        tl.torch.generate(
            tiny_model, tiny_tokenizer, "a", heal=True, constraint=tl.control.predicate(bool, tiny_tokenizer)
        )
