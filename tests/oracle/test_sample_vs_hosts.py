"""The rules against the hosts' own definitions: which tokens are kept, and with which logits.

Hugging Face's processors as they are, in float64; vLLM and llama.cpp as `tokenloom.reference.hosts` writes them down.
Where a cut falls by cumulative mass, tokens within 1e-6 of the limit may differ; tokens that tie count as one class,
because hosts sort without a rule for ties. Rows: `sample_rows`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
import torch
from sample_rows import WIDTHS, bf16, hard_rows, recorded_rows
from tokenloom.reference import hosts, rng
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

Params = tl.sample.Params
SLACK = 1e-6
#: Rules that cut by cumulative mass.
MASSES = ("top_p", "typical_p")


def check(logits: np.ndarray, kept: np.ndarray, rules: dict, host: Callable[[dict], Iterable[int]]) -> None:
    """Between what the host keeps with slightly smaller and slightly larger masses, counting ties as one class."""

    def classes(shift: float) -> Counter:
        moved = {name: min(max(rules[name] + shift, 1e-9), 1 - 1e-9) for name in MASSES if name in rules}
        return Counter(logits[token] for token in host({**rules, **moved}))

    found, fewest, most = Counter(logits[kept]), classes(-SLACK), classes(SLACK)
    for value in found.keys() | fewest.keys() | most.keys():
        assert fewest[value] <= found[value] <= most[value], (rules, value)


CHAINS = [
    {"temperature": 0.7},
    {"top_k": 1},
    {"top_k": 5},
    {"top_k": 50},
    {"top_k": 10**9},
    {"top_p": 0.0},
    {"top_p": 0.3},
    {"top_p": 0.95},
    {"min_p": 0.05},
    {"min_p": 1.0},
    {"typical_p": 0.2},
    {"typical_p": 0.9},
    {"temperature": 1e-3, "top_p": 0.9},
    {"temperature": 100.0, "top_k": 20, "top_p": 0.5},
    {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.02, "typical_p": 0.95},
]
HF_CHAINS = [
    *CHAINS,
    {"epsilon_cutoff": 3e-4},
    {"epsilon_cutoff": 0.2},
    {"eta_cutoff": 3e-4},
    {"eta_cutoff": 0.3},
    {"temperature": 1.3, "top_k": 30, "top_p": 0.99, "epsilon_cutoff": 0.01, "eta_cutoff": 0.02},
]
MAKERS = {
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
    "typical_p": TypicalLogitsWarper,
    "epsilon_cutoff": EpsilonLogitsWarper,
    "eta_cutoff": EtaLogitsWarper,
}


def hugging_face(logits: np.ndarray, rules: dict) -> np.ndarray:
    chain = LogitsProcessorList([make(rules[name]) for name, make in MAKERS.items() if name in rules])
    row = torch.from_numpy(logits).double()[None]
    return np.flatnonzero(chain(torch.zeros(1, 1, dtype=torch.int64), row)[0].numpy() > -np.inf)


@pytest.mark.parametrize("rules", HF_CHAINS, ids=str)
def test_hugging_face(rules):
    for n_vocab in WIDTHS:
        for logits in hard_rows(n_vocab).values():
            kept = tl.sample.keep_set(logits[None], Params(**rules))[0]
            check(logits, kept, rules, lambda rules, logits=logits: hugging_face(logits, rules))


@pytest.mark.parametrize("rules", [*CHAINS, {"temperature": 0.0}, {"temperature": 0.0, "top_k": 3}], ids=str)
def test_vllm(rules):
    for n_vocab in WIDTHS:
        for logits in hard_rows(n_vocab).values():
            if "typical_p" in rules:
                continue

            def host(rules: dict, logits: np.ndarray = logits) -> np.ndarray:
                return np.flatnonzero(np.array(hosts.vllm(logits.tolist(), (), (), **rules)) > -np.inf)

            check(logits, tl.sample.keep_set(logits[None], Params(**rules, order="vllm"))[0], rules, host)


@pytest.mark.parametrize("order", ["hf", "vllm", "llamacpp", "joint"])
def test_neutral_rules_keep_all(order):
    """Hosts leave out a rule that is neutral, so what has underflowed stays."""
    neutral = Params(top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, order=order)
    for n_vocab in WIDTHS:
        for logits in hard_rows(n_vocab).values():
            np.testing.assert_array_equal(tl.sample.keep_set(logits[None], neutral)[0], logits > -np.inf)


LLAMA_NAMES = {"temperature": "temp", "typical_p": "typ_p"}
LLAMA_CHAINS = [
    *CHAINS,
    {"temperature": 0.0},
    {"temperature": 0.0, "typical_p": 0.5},
    {"top_n_sigma": 1.5},
    {"top_n_sigma": 0.7, "top_k": 20},
    {"temperature": 0.8, "dynatemp_range": 0.5, "dynatemp_exponent": 1.3, "top_p": 0.9},
    {"temperature": 0.3, "dynatemp_range": 0.3, "top_k": 9},
    {"xtc_probability": 1.0, "xtc_threshold": 0.05},
    {"xtc_probability": 0.5, "xtc_threshold": 0.02, "min_p": 0.01},
    {"xtc_probability": 1.0, "xtc_threshold": 0.6},
]


def llama(logits: np.ndarray, rules: dict, seed: int, last: tuple = (), **more: Any) -> dict[int, float]:
    named = {LLAMA_NAMES.get(name, name): value for name, value in rules.items()}
    coin = rng.word(seed, 0, 0, rng.XTC) < rules.get("xtc_probability", 0.0) * 2**32
    return hosts.llamacpp(logits.tolist(), last, xtc_coin=coin, **named, **more)


@pytest.mark.parametrize("rules", LLAMA_CHAINS, ids=str)
def test_llamacpp(rules):
    params = Params(**rules, order="llamacpp")
    for seed, n_vocab in enumerate(WIDTHS):
        for name, logits in hard_rows(n_vocab).items():
            kept = tl.sample.keep_set(logits[None], params, seeds=seed)[0]
            check(logits, kept, rules, lambda rules, logits=logits, seed=seed: llama(logits, rules, seed))
            if name in ("normal", "wide") and len(set(logits)) == n_vocab:
                host = llama(logits, rules, seed)
                left = tl.sample.process(logits[None], params, seeds=seed)[0]
                probs = hosts.softmax(list(host.values()))
                found = np.exp(left.astype(float) - left.max())[list(host)]
                np.testing.assert_allclose(found / found.sum(), probs, rtol=2e-5, atol=1e-9)


HOSTS: dict[str, Callable[[np.ndarray, dict], Iterable[int]]] = {
    "hf": hugging_face,
    "vllm": lambda logits, rules: np.flatnonzero(np.array(hosts.vllm(logits.tolist(), (), (), **rules)) > -np.inf),
    "llamacpp": lambda logits, rules: llama(logits, rules, 0),
}


def check_recorded(order: str, rules: dict, rows: np.ndarray) -> None:
    kept = tl.sample.keep_set(rows, Params(**rules, order=order))
    for logits, own in zip(rows, kept, strict=True):
        check(logits, own, rules, lambda rules, logits=logits: HOSTS[order](logits, rules))


RECORDED = [
    *(("hf", rules) for rules in HF_CHAINS),
    *(("vllm", rules) for rules in CHAINS if "typical_p" not in rules),
    *(("llamacpp", rules) for rules in LLAMA_CHAINS),
]


@pytest.mark.parametrize("n", range(len(RECORDED)))
def test_recorded_rows(n):
    """A row of a real model, another one for each list of rules."""
    rows = recorded_rows()[[n % 8]]
    check_recorded(*RECORDED[n], rows)
    if n % 3 == 0:
        check_recorded(*RECORDED[n], bf16(rows))


@pytest.mark.heavy
@pytest.mark.parametrize("n", range(len(RECORDED)))
def test_all_recorded_rows(n):
    rows = recorded_rows()
    check_recorded(*RECORDED[n], np.concatenate([rows, bf16(rows)]))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("mu", [0.3, 2.0, 5.0, 9.0])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_mirostat(version, mu, temperature):
    for n_vocab in (200, 5000):
        for name in ("normal", "wide", "zipf", "peaked"):
            logits = hard_rows(n_vocab)[name]
            rules = {"mirostat": version, "temperature": temperature}
            params = Params(**rules, order="llamacpp", mirostat_tau=3.0)
            drawn = tl.sample.draw(logits[None], params, seeds=5, mirostat_mu=[mu], n_top=n_vocab, top="processed")
            host = llama(logits, rules, 0, mirostat_mu=mu)
            assert set(drawn.top_tokens[0][drawn.top_tokens[0] >= 0].tolist()) == set(host)
            probs = dict(zip(host, hosts.softmax(list(host.values())), strict=True))
            bits = -np.log2(probs[int(drawn.tokens[0])])
            assert drawn.mirostat_mu[0] == pytest.approx(mu - 0.1 * (bits - 3.0), abs=1e-5)


def texts(n_kinds: int) -> list[np.ndarray]:
    generator = np.random.default_rng(n_kinds)
    return [generator.integers(0, n_kinds, size=n) for n in (0, 1, 2, 3, 7, 40, 200)]


HF_TEXT_RULES = [
    ({"repetition_penalty": 1.3}, lambda n: RepetitionPenaltyLogitsProcessor(1.3)),
    ({"repetition_penalty": 0.8}, lambda n: RepetitionPenaltyLogitsProcessor(0.8)),
    ({"no_repeat_ngram_size": 1}, lambda n: NoRepeatNGramLogitsProcessor(1)),
    ({"no_repeat_ngram_size": 2}, lambda n: NoRepeatNGramLogitsProcessor(2)),
    ({"no_repeat_ngram_size": 4}, lambda n: NoRepeatNGramLogitsProcessor(4)),
    ({"bad_words": [[3], [1, 2], [2, 0, 1]]}, lambda n: NoBadWordsLogitsProcessor([[3], [1, 2], [2, 0, 1]])),
    (
        {"bias": {4: 2.5, (1, 4): -1.0, (0, 2, 4): 0.5, (5,): -np.inf}},
        lambda n: SequenceBiasLogitsProcessor({(4,): 2.5, (1, 4): -1.0, (0, 2, 4): 0.5, (5,): -np.inf}),
    ),
    ({"min_tokens": 5, "stop_ids": [1, 6]}, lambda n: MinNewTokensLengthLogitsProcessor(n, 5, [1, 6])),
]


@pytest.mark.parametrize(("rules", "make"), HF_TEXT_RULES, ids=lambda value: str(value)[:40])
def test_hugging_face_with_a_text(rules, make):
    logits = hard_rows(127)["wide"]
    for n_kinds in (2, 3, 8):
        for ids in texts(n_kinds):
            n_prompt = len(ids) // 2
            found = tl.sample.process(logits[None], Params(**rules), history=[ids], prompt_lengths=n_prompt)[0]
            expected = make(n_prompt)(torch.from_numpy(ids)[None], torch.from_numpy(logits)[None])[0].numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


TEXT_RULES = {
    "repetition_penalty": 1.2,
    "frequency_penalty": 0.3,
    "presence_penalty": -0.2,
    "bad_words": [[3], [1, 2], [0, 1]],
    "min_tokens": 3,
}


def test_vllm_with_a_text():
    logits = hard_rows(127)["wide"]
    allowed = list(range(0, 120))
    params = Params(**TEXT_RULES, allowed_ids=allowed, stop_ids=[6], bias={4: 2.0, 7: -1.5}, order="vllm")
    for n_kinds in (2, 8):
        for ids in texts(n_kinds):
            prompt, output = ids[: len(ids) // 2].tolist(), ids[len(ids) // 2 :].tolist()
            found = tl.sample.process(logits[None], params, history=[ids], prompt_lengths=len(prompt))[0]
            lists = {"allowed_token_ids": allowed, "stop_token_ids": [6], "logit_bias": {4: 2.0, 7: -1.5}}
            expected = hosts.vllm(logits.tolist(), prompt, output, **TEXT_RULES, **lists)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("breakers", [[], [[2]], [[1, 2], [2]], [[0, 1, 2], [1]]], ids=str)
@pytest.mark.parametrize("allowed", [0, 1, 2, 4])
def test_llamacpp_with_a_text(breakers, allowed):
    logits = hard_rows(127)["wide"]
    dry = {"dry_multiplier": 0.8, "dry_base": 1.1, "dry_allowed_length": allowed, "dry_breakers": breakers}
    penalties = {"repetition_penalty": 1.1, "frequency_penalty": 0.05, "presence_penalty": 0.1, "penalty_last_n": 20}
    params = Params(**dry, **penalties, bias={4: 2.0}, order="llamacpp")
    names = {"penalty_repeat": 1.1, "penalty_freq": 0.05, "penalty_present": 0.1, "penalty_last_n": 20}
    for n_kinds in (2, 3, 8):
        for ids in texts(n_kinds):
            found = tl.sample.process(logits[None], params, history=[ids])[0]
            host = hosts.llamacpp(logits.tolist(), ids.tolist(), **dry, **names, logit_bias={4: 2.0})
            expected = [host[token] for token in range(127)]
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-5)
