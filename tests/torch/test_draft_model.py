"""A model that drafts, with the target's vocabulary and with another one, changes no token."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from tokenloom.errors import ArrayError, DraftError
from transformers import LlamaConfig, LlamaForCausalLM

TEXTS = ["the cat and the dog", "naïve 自然 the", "in the beginning was the word, and the"]
SAMPLED = tl.sample.Params(temperature=0.8, top_p=0.95)


@pytest.fixture(scope="module")
def other_tokenizer(test_data: Path) -> tl.Tokenizer:
    return tl.Tokenizer.from_file(str(test_data / "tiny.tokenizer.json"))


def run(model: Any, tokenizer: Any, **options: Any) -> list[Any]:
    return tl.torch.generate(model, tokenizer, TEXTS, **({"max_new_tokens": 24, "eos": (), "seed": 3} | options))


def test_the_model_itself_drafts_what_it_says(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    greedy = tl.sample.Params(temperature=0.0)
    plain = run(tiny_model, tiny_tokenizer, params=greedy)
    drafter = tl.torch.DraftModel(tiny_model, min_prob=0.0)
    drafted = run(tiny_model, tiny_tokenizer, params=greedy, drafter=drafter, draft_budget=4)
    assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
    # It may name one of the logits that are no token; then the draft ends there.
    assert sum(one.stats.accepted for one in drafted) > 40


@pytest.mark.parametrize("params", [tl.sample.Params(temperature=0.0), SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_another_vocabulary_changes_no_token(
    tiny_model: LlamaForCausalLM,
    tiny_tokenizer: tl.Tokenizer,
    other_tokenizer: tl.Tokenizer,
    params: Any,
    batch_size: int,
) -> None:
    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    small = LlamaForCausalLM(LlamaConfig(vocab_size=other_tokenizer.vocab_size, **shape, **heads)).eval()
    drafter = tl.torch.DraftModel(small, other_tokenizer, tiny_tokenizer, min_prob=0.0)
    plain = run(tiny_model, tiny_tokenizer, params=params)
    drafted = run(tiny_model, tiny_tokenizer, params=params, drafter=drafter, draft_budget=5, batch_size=batch_size)
    assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
    assert sum(one.stats.drafted for one in drafted) > 0


class Reciter(LlamaForCausalLM):
    """A model that knows one text by heart, token by token."""

    def learn(self, ids: list[int]) -> None:
        self.ids = ids

    def forward(self, input_ids: Any, position_ids: Any = None, past_key_values: Any = None, **_: Any) -> Any:
        logits = torch.zeros((*input_ids.shape, self.config.vocab_size))
        for row, column in torch.cartesian_prod(*map(torch.arange, input_ids.shape)).tolist():
            at = int(position_ids[row, column]) + 1
            if at < len(self.ids):
                logits[row, column, self.ids[at]] = 30.0
        return SimpleNamespace(logits=logits)


def test_drafts_are_cut_as_the_target_cuts(tiny_tokenizer: tl.Tokenizer, other_tokenizer: tl.Tokenizer) -> None:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    small = Reciter(LlamaConfig(vocab_size=other_tokenizer.vocab_size, num_key_value_heads=2, **shape))
    text = "the other word and then the other one in the long run\n"
    small.learn(other_tokenizer.encode_list(text))
    drafter = tl.torch.DraftModel(small, other_tokenizer, tiny_tokenizer)
    ids = tiny_tokenizer.encode_list(text)
    stream, n_done, n_calls = drafter.begin(ids[:3]), 3, 0
    while n_done < len(ids):
        tree = stream.propose(budget=6)
        assert tree.parents.tolist() == list(range(-1, len(tree) - 1))
        n_right = 0
        while n_right < len(tree) and n_done + n_right < len(ids) and tree.tokens[n_right] == ids[n_done + n_right]:
            n_right += 1
        new = ids[n_done : n_done + n_right + 1]
        stream.commit(new)
        n_done, n_calls = n_done + len(new), n_calls + 1
    assert n_calls <= len(ids) / 3, "most of what is drafted fits"
    assert len(stream.propose(0)) == 0
    stream.end()
    assert len(stream.propose(4)) == 0


class Bigram(LlamaForCausalLM):
    """A model whose next token depends on the last one alone, by a table of probabilities."""

    def learn(self, table: dict[int, dict[int, float]]) -> None:
        self.table = table

    def forward(self, input_ids: Any, position_ids: Any = None, past_key_values: Any = None, **_: Any) -> Any:
        logits = torch.full((*input_ids.shape, self.config.vocab_size), -torch.inf)
        for row, column in torch.cartesian_prod(*map(torch.arange, input_ids.shape)).tolist():
            for token, prob in self.table[int(input_ids[row, column])].items():
                logits[row, column, token] = math.log(prob)
        return SimpleNamespace(logits=logits)


@pytest.fixture(scope="module")
def bigram() -> Bigram:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = Bigram(LlamaConfig(vocab_size=8, num_key_value_heads=2, **shape))
    model.learn({0: {1: 0.5, 2: 0.3, 3: 0.2}, 1: {4: 0.9, 5: 0.1}, 4: {4: 1.0}, 2: {5: 1.0}, 5: {5: 1.0}, 3: {3: 1.0}})
    return model


def test_branches_grow_by_their_shares(bigram: Bigram) -> None:
    stream = tl.torch.DraftModel(bigram, min_prob=0.0, branches=3).begin([0])
    tree = stream.propose(12)
    tokens, parents = tree.tokens.tolist(), tree.parents.tolist()
    firsts = {token: tokens.index(token) for at, token in enumerate(tokens) if parents[at] == -1}
    assert list(firsts) == [1, 2, 3]
    np.testing.assert_allclose(tree.probs[list(firsts.values())], [0.5, 0.3, 0.2], atol=1e-6)
    # Shares of 0.45, 0.3 and 0.2 of twelve tokens.
    sizes = dict.fromkeys(firsts, 0)
    for at in range(len(tree)):
        root = at
        while parents[root] >= 0:
            root = parents[root]
        sizes[tokens[root]] += 1
    assert sizes == {1: 6, 2: 4, 3: 2}
    assert tokens[:6] == [1, 4, 4, 4, 4, 4]
    assert len(stream.propose(2)) == 2
    sure = tl.torch.DraftModel(bigram, min_prob=0.25, branches=3).begin([0]).propose(6)
    assert sorted(set(sure.tokens.tolist())) == [1, 2, 4, 5]
    stream.commit([2])
    assert stream.propose(3).tokens.tolist() == [5, 5, 5]


def test_the_threshold_follows_what_is_accepted(bigram: Bigram) -> None:
    fallback = tl.draft.Fallback(0.2)
    drafter = tl.torch.DraftModel(bigram, fallback=fallback)
    stream = drafter.begin([0])
    assert stream.propose(3).tokens.tolist() == [1, 4, 4]
    stream.commit([1, 4, 4, 4])
    assert fallback.threshold == 0.1, "all was right"
    stream.propose(4)
    stream.commit([4, 4])
    assert fallback.threshold == 0.05, "the text ended in the draft: nothing was wrong"
    drafter = tl.torch.DraftModel(bigram, fallback=fallback)
    stream = drafter.begin([0])
    assert len(stream.propose(2)) == 2
    stream.commit([1, 5])
    assert fallback.threshold == pytest.approx(0.05 / 0.45**0.5), "one of two, drafted with 0.45, was wrong"
    high = tl.draft.Fallback(0.6)
    assert len(tl.torch.DraftModel(bigram, fallback=high).begin([0]).propose(4)) == 0
    several = tl.draft.Fallback(0.2)
    stream = tl.torch.DraftModel(bigram, fallback=several, branches=3).begin([0])
    stream.propose(6)
    stream.commit([2, 5])
    assert several.threshold == 0.1, "the second branch was right"


@pytest.mark.parametrize("params", [tl.sample.Params(temperature=0.0), SAMPLED], ids=["greedy", "sampled"])
def test_branches_and_thresholds_change_no_token(
    tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer, other_tokenizer: tl.Tokenizer, params: Any
) -> None:
    plain = run(tiny_model, tiny_tokenizer, params=params)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    small = LlamaForCausalLM(LlamaConfig(vocab_size=other_tokenizer.vocab_size, **shape, **heads)).eval()
    accepted = []
    for models in ((tiny_model,), (small, other_tokenizer, tiny_tokenizer)):
        for options in ({"branches": 3, "min_prob": 0.0}, {"branches": 2, "fallback": tl.draft.Fallback(1e-6)}):
            drafter = tl.torch.DraftModel(*models, **options)
            drafted = run(tiny_model, tiny_tokenizer, params=params, drafter=drafter, draft_budget=6)
            assert [one.ids.tolist() for one in drafted] == [one.ids.tolist() for one in plain]
            accepted.append(sum(one.stats.accepted for one in drafted))
    assert accepted[0] > 20


def test_vocabularies_of_other_sizes(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    """Larger than the target's, smaller than it, or with logits and ids that are no token."""
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    options: Any = {"max_new_tokens": 16, "do_sample": True, "eos_token_id": None, "pad_token_id": 0}
    # The text holds ids of the target's padding: 266 and above are no tokens.
    ids = torch.tensor([[*tiny_tokenizer.encode_list("the cat"), 270, 84]])
    ours = [tl.torch.custom_generate(seed=seed) for seed in range(3)]
    plain = [tiny_model.generate(ids, **options, custom_generate=one) for one in ours]
    for n_vocab in (100, 266, 400):
        torch.manual_seed(n_vocab)
        small = LlamaForCausalLM(LlamaConfig(vocab_size=n_vocab, **shape, **heads)).eval()
        drafters = [tl.torch.DraftModel(small, min_prob=0.0)]
        if n_vocab >= tiny_tokenizer.vocab_size:
            drafters.append(tl.torch.DraftModel(small, tiny_tokenizer, tiny_tokenizer, min_prob=0.0))
        for drafter in drafters:
            for seed, expected in enumerate(plain):
                drafting = tl.torch.custom_generate(seed=seed, drafter=drafter, draft_budget=4)
                assert torch.equal(tiny_model.generate(ids, **options, custom_generate=drafting), expected)
            with tl.torch.assisted(tiny_model, drafter):
                tiny_model.generate(ids, **options)
            run(tiny_model, tiny_tokenizer, drafter=drafter, draft_budget=4)


def test_options_that_make_no_sense(tiny_model: LlamaForCausalLM, tiny_tokenizer: tl.Tokenizer) -> None:
    with pytest.raises(ArrayError, match="both tokenizers or none, found tokenizer alone"):
        tl.torch.DraftModel(tiny_model, tiny_tokenizer)
    with pytest.raises(ArrayError, match="both tokenizers or none, found target_tokenizer alone"):
        tl.torch.DraftModel(tiny_model, target_tokenizer=tiny_tokenizer)
    with pytest.raises(ArrayError, match="branches as an integer of at least 1, found 0"):
        tl.torch.DraftModel(tiny_model, branches=0)
    with pytest.raises(DraftError, match="min_prob from 0 to 1, found nan"):
        tl.torch.DraftModel(tiny_model, min_prob=math.nan)
    wrong: Any = 0.01
    with pytest.raises(DraftError, match=r"a tl\.draft\.Fallback, found float"):
        tl.torch.DraftModel(tiny_model, fallback=wrong)
