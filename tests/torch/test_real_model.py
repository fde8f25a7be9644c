"""On a real model: the drafter changes no token, saves calls, and the weights are those that transformers reads.

Eight prompts in every run; sixty-four under the ``heavy`` marker. Two runs may part only where the two best candidates
of a draw are closer than the model's own float differences at that place, which are measured there.
"""

from __future__ import annotations

import ast
import calendar
import difflib
import inspect
import itertools
import json
import pydoc_data.topics
import shutil
import statistics
import string
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from transformers import DynamicCache

DATA = Path(__file__).parents[1] / "data"
TEMPERATURE = 0.8
SAMPLED = tl.sample.Params(temperature=TEMPERATURE)
SEED = 2024


@pytest.fixture(scope="module")
def smol(smollm2_gguf: Path) -> tuple[Any, Any]:
    return tl.torch.load(smollm2_gguf)


@pytest.fixture(scope="module")
def eight() -> list[dict[str, str]]:
    path = Path(tl.__file__).parent / "demo" / "prompts.json"
    prompts: list[dict[str, str]] = json.loads(path.read_text("utf-8"))
    return prompts


def ask(model: Any, texts: Sequence[str]) -> list[str]:
    return [tl.torch.chat_prompt(model, text) or text for text in texts]


def both_ways(model: Any, tokenizer: Any, prompts: list[str], **options: Any) -> tuple[list[Any], list[Any]]:
    plain = tl.torch.generate(model, tokenizer, prompts, seed=SEED, **options)
    drafted = tl.torch.generate(model, tokenizer, prompts, seed=SEED, drafter=tl.draft.Suffix(), **options)
    return plain, drafted


def assert_same(
    model: Any,
    tokenizer: Any,
    prompts: list[str],
    plain: list[Any],
    drafted: list[Any],
    params: Any,
    constraint: Any = None,
) -> int:
    """Compare token by token and judge every divergence; returns their number."""
    n_divergences = 0
    for prompt, one, two in zip(prompts, plain, drafted, strict=True):
        pairs = itertools.zip_longest(one.ids.tolist(), two.ids.tolist())
        at = next((index for index, (a, b) in enumerate(pairs) if a != b), None)
        if at is None:
            continue
        n_divergences += 1
        prefix = [*tokenizer.encode_list(prompt), *one.ids[:at].tolist()]
        logits = same_place_in_other_shapes(model, prefix)[:, : tokenizer.vocab_size]
        noise = float((logits.max(0) - logits.min(0)).max())
        gap = race_gap(logits[0], params, len(prefix), mask_after(constraint, one.ids[:at]))
        print(f"divergence at token {at} of {prompt[-60:]!r}: gap of the race {gap:.2e}, float difference {noise:.2e}")
        scale = params.temperature or 1.0
        assert gap <= 2 * noise / scale, "the runs parted where the model's rounding does not explain it"
    return n_divergences


def mask_after(constraint: Any, ids: Any) -> Any:
    """What the constraint allows behind ``ids``, or None where everything is allowed."""
    if constraint is None:
        return None
    state = constraint.start()
    for token in ids:
        state.advance(int(token))
    return np.asarray(state.mask())


def race_gap(logits: np.ndarray[Any, Any], params: Any, position: int, mask: Any = None) -> float:
    """How far the winner of the draw is ahead of the second, in nats."""
    seeds, positions = np.array([SEED], dtype=np.uint64), np.array([position])
    rules = {"seeds": seeds, "positions": positions, "mask": mask, "return_margins": True}
    drawn = tl.sample.sample(logits[None], params, **rules)
    return float(drawn.margins[0])


def same_place_in_other_shapes(model: Any, prefix: list[int]) -> np.ndarray[Any, Any]:
    """The logits after ``prefix``, read in four shapes of input: float64[4, V]."""
    ids = torch.tensor([prefix])
    rows = [model(ids, logits_to_keep=1).logits[0, -1]]
    for n_last in (1, min(8, len(prefix) - 1)):
        cache = DynamicCache()
        model(ids[:, :-n_last], past_key_values=cache, use_cache=True, logits_to_keep=1)
        rows.append(model(ids[:, -n_last:], past_key_values=cache, use_cache=True).logits[0, -1])
    rows.append(model(ids.repeat(8, 1), logits_to_keep=1).logits[0, -1])
    return torch.stack(rows).detach().double().numpy()


def pooled_rate(answers: list[Any]) -> float:
    return sum(answer.stats.n_tokens for answer in answers) / sum(answer.stats.model_calls for answer in answers)


@pytest.fixture(scope="module")
def eight_ways(smol: tuple[Any, Any], eight: list[dict[str, str]]) -> tuple[list[str], list[Any], list[Any]]:
    """The eight prompts, answered plainly and with drafts."""
    prompts = ask(smol[0], [prompt["text"] for prompt in eight])
    return prompts, *both_ways(*smol, prompts, max_new_tokens=32, params=SAMPLED)


def test_drafts_change_no_token(smol: tuple[Any, Any], eight_ways: tuple[list[str], list[Any], list[Any]]) -> None:
    n = assert_same(*smol, *eight_ways, SAMPLED)
    print(f"{n} divergences in 8 x 32 tokens; tokens per call {pooled_rate(eight_ways[2]):.2f}")


def test_copying_text_takes_fewer_calls(
    eight: list[dict[str, str]], eight_ways: tuple[list[str], list[Any], list[Any]]
) -> None:
    answers = eight_ways[2]
    kinds = {"summary": lambda prompt: prompt["kind"] == "summary", "code": lambda prompt: "```" in prompt["text"]}
    for kind, is_of_kind in kinds.items():
        rate = pooled_rate([answer for prompt, answer in zip(eight, answers, strict=True) if is_of_kind(prompt)])
        print(f"{kind}: tokens per call {rate:.2f}")
        assert rate > 1, kind


@pytest.mark.heavy
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("params", [SAMPLED, tl.sample.Params(temperature=0.0)], ids=["sampled", "greedy"])
def test_drafts_change_no_token_in_64_prompts(smol: tuple[Any, Any], params: Any) -> None:
    model, tokenizer = smol
    lines = (DATA / "spec_bench_56.jsonl").read_text("utf-8").splitlines()
    topics = sorted(pydoc_data.topics.topics.items(), key=lambda item: (abs(len(item[1]) - 1200), item[0]))[:8]
    summaries = [f"Summarize the following text.\n\n{text}" for _, text in topics]
    texts = [json.loads(line)["text"] for line in lines] + summaries
    assert len(texts) == 64
    prompts = ask(model, texts)
    plain, drafted = both_ways(model, tokenizer, prompts, max_new_tokens=128, params=params, batch_size=16)
    n = assert_same(model, tokenizer, prompts, plain, drafted, params)
    print(f"{n} divergences in 64 prompts; tokens per call {pooled_rate(drafted):.2f}")
    assert pooled_rate(drafted[-8:]) > 1, "summaries"
    assert pooled_rate([a for a, text in zip(drafted, texts, strict=True) if "function" in text]) > 1, "code"


def many_texts() -> list[str]:
    """Two hundred requests: those of Spec-Bench, and functions of the standard library to explain or to rewrite."""
    lines = (DATA / "spec_bench_56.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    wishes = (
        "Explain what this function does.",
        "Rewrite it with type hints.",
        "Write a test for this code.",
    )
    for module in (ast, calendar, difflib, inspect, shutil, statistics, string, textwrap):
        for _, function in inspect.getmembers(module, inspect.isfunction):
            source = inspect.getsource(function)
            if function.__module__ == module.__name__ and 120 <= len(source) <= 800 and len(texts) < 200:
                texts.append(f"{wishes[len(texts) % 3]}\n\n```python\n{source}```")
    for _, text in sorted(pydoc_data.topics.topics.items(), key=lambda item: (len(item[1]), item[0])):
        if len(texts) < 200 and len(text) >= 200:
            texts.append(f"Summarize the following text.\n\n{text[:400]}")
    assert len(texts) == 200
    return texts


@pytest.mark.heavy
@pytest.mark.timeout(6 * 3600)
def test_chains_change_no_token_in_200_prompts(smol: tuple[Any, Any]) -> None:
    """Drafted one by one, plain in batches of eight: 200 x 32 tokens, each prompt knowing the answers before it."""
    drafter, n_divergences, answers = tl.draft.Suffix(), 0, []
    prompts = sorted(ask(smol[0], many_texts()), key=len)
    options = {"max_new_tokens": 32, "params": SAMPLED, "seed": SEED}
    for first in range(0, len(prompts), 8):
        group = prompts[first : first + 8]
        plain = tl.torch.generate(*smol, group, **options)
        drafted = tl.torch.generate(*smol, group, drafter=drafter, draft_shape="chain", batch_size=1, **options)
        n_divergences += assert_same(*smol, group, plain, drafted, SAMPLED)
        answers += drafted
        rate = pooled_rate(answers)
        print(f"{len(answers)} prompts, {n_divergences} divergences, {rate:.3f} tokens per call", flush=True)


@pytest.fixture(scope="module")
def twenty_four(smol: tuple[Any, Any]) -> list[str]:
    return sorted(ask(smol[0], many_texts()), key=len)[:24]


WORDS = "[A-Z][a-z]+([ ,.:'-]+[A-Za-z0-9]+)*[.]?"


@pytest.fixture(scope="module")
def plainly(smol: tuple[Any, Any], twenty_four: list[str]) -> dict[bool, list[Any]]:
    """Twenty-four prompts without drafts, free and bound to words, one at a time."""
    options = {"max_new_tokens": 32, "params": SAMPLED, "seed": SEED, "batch_size": 1}
    words = tl.control.regex(WORDS, smol[1])
    return {
        bound: tl.torch.generate(*smol, twenty_four, constraint=words if bound else None, **options)
        for bound in (False, True)
    }


@pytest.mark.heavy
@pytest.mark.timeout(3 * 3600)
@pytest.mark.parametrize("bound", [False, True], ids=["free", "bound"])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("shape", ["chain", "tree"])
def test_no_shape_of_drafts_changes_a_token(
    smol: tuple[Any, Any],
    twenty_four: list[str],
    plainly: dict[bool, list[Any]],
    shape: str,
    batch_size: int,
    bound: bool,
) -> None:
    model, tokenizer = smol
    words = tl.control.regex(WORDS, tokenizer) if bound else None
    drafter = tl.draft.Suffix(min_prob=0.01)
    for text in twenty_four:  # what others were answered is known, so that there is something to draft
        drafter.begin(tokenizer.encode_list(text)).end()
    options = {"max_new_tokens": 32, "params": SAMPLED, "seed": SEED, "constraint": words, "batch_size": batch_size}
    drafted = tl.torch.generate(model, tokenizer, twenty_four, drafter=drafter, draft_shape=shape, **options)
    n = assert_same(model, tokenizer, twenty_four, plainly[bound], drafted, SAMPLED, words)
    rate, n_drafted = pooled_rate(drafted), sum(answer.stats.drafted for answer in drafted)
    print(
        f"{shape}, batch {batch_size}, bound {bound}: {n} divergences, {rate:.3f} tokens per call, {n_drafted} drafted"
    )
    assert n_drafted > 0


@pytest.mark.heavy
def test_weights_are_those_that_transformers_reads(smol: tuple[Any, Any], smollm2_gguf: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, _ = smol
    theirs = AutoModelForCausalLM.from_pretrained(smollm2_gguf.parent, gguf_file=smollm2_gguf.name, dtype=torch.float32)
    ids = torch.arange(20, 84)[None]
    with torch.inference_mode():
        assert torch.equal(model(ids).logits, theirs(ids).logits)
