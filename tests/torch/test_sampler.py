"""tl.torch.Sampler and RulesProcessor: the tokens of tl.sample.sample, whatever the batch does."""

import numpy as np
import pytest
import tokenloom as tl
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

Params = tl.sample.Params
RULES = [
    Params(temperature=0.8, top_k=20),
    Params(repetition_penalty=1.4, top_p=0.9),
    Params(mirostat=2, mirostat_tau=2.0),
    Params(dry_multiplier=1.0, no_repeat_ngram_size=3, order="llamacpp"),
]
PROMPTS = [[1, 2, 3], [4], [], [5, 6, 5, 6]]


def logits_of(texts: list[list[int]]) -> torch.Tensor:
    """A model: logits that depend on the last two tokens alone."""
    rows = []
    for text in texts:
        generator = np.random.default_rng([7, *text[-2:]])
        rows.append(generator.normal(size=100).astype(np.float32) * 2)
    return torch.from_numpy(np.array(rows))


def test_a_text_depends_on_itself_alone():
    together = tl.torch.Sampler(RULES, PROMPTS, seeds=[3, 4, 5, 6])
    for _ in range(12):
        together(logits_of(together.texts))
    for row, (params, prompt) in enumerate(zip(RULES, PROMPTS, strict=True)):
        alone = tl.torch.Sampler(params, [prompt], seeds=[3 + row])
        for _ in range(12):
            tokens = alone(logits_of(alone.texts))
        assert alone.texts[0] == together.texts[row]
        assert tokens.dtype == torch.int64
        assert alone.logprobs[0] == together.logprobs[row]


def test_rows_come_and_go():
    sampler = tl.torch.Sampler(RULES, PROMPTS, seeds=9)
    whole = tl.torch.Sampler(RULES, PROMPTS, seeds=9)
    for step in range(8):
        whole(logits_of(whole.texts))
        sampler(logits_of(sampler.texts))
        if step == 3:
            sampler.keep([3, 1, 2])
    assert sampler.texts == [whole.texts[3], whole.texts[1], whole.texts[2]]
    assert sampler.prompt_lengths == [4, 1, 0]


def test_draws_are_those_of_sample():
    sampler = tl.torch.Sampler(Params(top_k=5), [[1], [2]], seeds=[7, 8])
    logits = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    mask = torch.full((2, 2), -2, dtype=torch.int32)
    expected = tl.sample.sample(logits, Params(top_k=5), [7, 8], 1, mask)
    assert sampler(logits, mask).tolist() == expected.tokens.tolist()
    assert sampler(logits.bfloat16()).shape == (2,)


@pytest.mark.parametrize("mirostat", [0, 1, 2])
def test_draws_with_statistics_are_the_same_draws(mirostat):
    params = Params(top_p=0.9, mirostat=mirostat)
    samplers = [tl.torch.Sampler(params, [[1], [2, 3]], seeds=5) for _ in range(2)]
    generator = torch.Generator().manual_seed(6)
    for _ in range(6):
        logits = torch.randn(2, 50, generator=generator) * 3
        drawn = samplers[1].draw(logits, n_top=3)
        assert samplers[0](logits).tolist() == drawn.tokens.tolist()
        torch.testing.assert_close(drawn.raw_logprobs, logits.log_softmax(-1).gather(1, drawn.tokens[:, None])[:, 0])
        assert torch.equal(drawn.top_tokens, logits.topk(3).indices)
    assert samplers[0].texts == samplers[1].texts
    assert samplers[0].logprobs == samplers[1].logprobs


def test_what_does_not_fit_is_named():
    with pytest.raises(tl.errors.ArrayError, match="one Params or one a prompt"):
        tl.torch.Sampler([Params()] * 3, [[1]])
    with pytest.raises(tl.errors.ArrayError, match="one seed"):
        tl.torch.Sampler(Params(), [[1]], seeds=[1, 2])
    sampler = tl.torch.Sampler(Params(), [[1], [2]])
    with pytest.raises(tl.errors.ArrayError, match="logits of 2 rows, found 1"):
        sampler(torch.zeros(1, 5))
    with pytest.raises(tl.errors.DistributionError, match="NOT_FINITE at row 1") as caught:
        sampler(torch.tensor([[0.0, 1.0], [0.0, float("nan")]]))
    assert caught.value.row == 1
    assert sampler.texts == [[1], [2]]


def test_processor_equals_hugging_face_s():
    chain = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.3),
            NoRepeatNGramLogitsProcessor(2),
            TemperatureLogitsWarper(0.7),
            TopKLogitsWarper(30),
            TopPLogitsWarper(0.9),
            MinPLogitsWarper(0.02),
        ]
    )
    params = Params(temperature=0.7, top_k=30, top_p=0.9, min_p=0.02, repetition_penalty=1.3, no_repeat_ngram_size=2)
    generator = torch.Generator().manual_seed(2)
    for dtype in (torch.float32, torch.bfloat16):
        scores = (torch.randn(3, 200, generator=generator) * 2).to(dtype)
        ids = torch.randint(0, 6, (3, 11), generator=generator)
        found = tl.torch.RulesProcessor(params)(ids, scores)
        assert found.dtype == dtype
        torch.testing.assert_close(found.float(), chain(ids, scores.float()), rtol=1e-2, atol=1e-5)


def test_generate_is_seeded_and_does_not_see_the_batch(tiny_model):
    neutral = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0, "max_new_tokens": 12, "pad_token_id": 0}

    def run(prompts: list[list[int]], seeds: list[int]) -> list[list[int]]:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
        processor = tl.torch.RulesProcessor(Params(top_k=40, repetition_penalty=1.1), seeds, pad_token_id=0)
        out = tiny_model.generate(ids, attention_mask=(ids != 0).long(), logits_processor=[processor], **neutral)
        return out[:, width:].tolist()

    torch.manual_seed(1)
    first = run([[5, 6, 7], [9, 8, 7]], [1, 2])
    torch.manual_seed(2)
    assert run([[9, 8, 7], [5, 6, 7]], [2, 1]) == first[::-1]
    assert run([[5, 6, 7]], [1])[0] == first[0]
    assert run([[5, 6, 7]], [3])[0] != first[0]
