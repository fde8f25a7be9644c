"""A logits processor keeps foreign loops to a constraint: sampling, batches with padding, beams."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ConstraintError, UnsupportedFeatureError
from transformers import LlamaForCausalLM

PATTERN = "(the [a-f]{2}, ){2}and on"


@pytest.mark.parametrize("options", [{"do_sample": True}, {"do_sample": False}, {"num_beams": 3}], ids=str)
def test_every_row_matches(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, options: dict[str, object]
) -> None:
    torch.manual_seed(1)
    processor = tl.torch.MaskProcessor(tl.control.regex(PATTERN, tiny_tokenizer, eos=[265]), threads=1)
    ids = torch.tensor([[5, 6, 7], [0, 256, 9]])
    answers = tiny_model.generate(
        ids,
        attention_mask=torch.tensor([[1, 1, 1], [0, 1, 1]]),
        logits_processor=[processor],
        max_new_tokens=40,
        pad_token_id=0,
        eos_token_id=265,
        **options,
    )
    for row in answers[:, 3:].tolist():
        text = tiny_tokenizer.decode(row[: row.index(265)])
        assert re.fullmatch(PATTERN, text)


def test_greedy_answers_are_those_of_the_own_loop(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    constraint = tl.control.regex(PATTERN, tiny_tokenizer, eos=[265])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, "eos_token_id": 265}
    ids = torch.tensor([[5, 6, 7]])
    by_processor = tiny_model.generate(ids, logits_processor=[tl.torch.MaskProcessor(constraint)], **options)
    for method in ("mask", "check"):
        loop = tl.torch.custom_generate(constraint=constraint, method=method)
        assert torch.equal(tiny_model.generate(ids, custom_generate=loop, **options), by_processor)


def test_rows_may_change_places_and_start_again(tiny_tokenizer: tl.Tokenizer) -> None:
    processor = tl.torch.MaskProcessor(tl.control.regex("ab|cd", tiny_tokenizer, eos=[265]), n_prompt=1)
    a, b, c, d = (tiny_tokenizer.token_id(letter) for letter in (b"a", b"b", b"c", b"d"))

    def allowed(*rows: list[int]) -> list[list[int]]:
        scores = processor(torch.tensor([[0, *row] for row in rows]), torch.zeros(len(rows), 272))
        return [np.flatnonzero(row).tolist() for row in (scores == 0).numpy()]

    assert allowed([], []) == [[a, c]] * 2
    assert allowed([a], [c]) == [[b], [d]]
    assert allowed([c], [a]) == [[d], [b]]
    assert allowed([c, d]) == [[265]]
    assert len(allowed([c, d, 265], [a, b, 265])[0]) == 272
    with pytest.raises(ConstraintError):
        allowed([d])
    short = tl.control.predicate(lambda prefix: len(prefix) < 3, tiny_tokenizer)
    with pytest.raises(UnsupportedFeatureError, match="masks"):
        tl.torch.MaskProcessor(short)(torch.tensor([[1]]), torch.zeros(1, 272))
