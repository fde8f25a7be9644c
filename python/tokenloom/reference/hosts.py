"""How do vLLM and llama.cpp define their rules?

Two samplers written down from the definitions of their hosts, each with the host's own data structures and steps (vLLM
masks rows of logits, llama.cpp shrinks a list of candidates), in float64. They share nothing with ``sample.py`` beside
them, so that a wrong reading of a rule shows as a difference. Hugging Face needs no twin: its processors can be asked.

Read from: vLLM ``vllm/v1/sample/sampler.py``, ``ops/penalties.py``, ``ops/bad_words.py``, ``ops/topk_topp_sampler.py``,
``logits_processor/builtin.py``; llama.cpp ``src/llama-sampler.cpp`` and the default chain of ``common/common.h``.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MINUS_INFINITY = -math.inf


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities of logits that may be ``-inf``."""
    best = max(logits)
    weights = [math.exp(logit - best) for logit in logits]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def vllm(logits: Sequence[float], prompt: Sequence[int], output: Sequence[int], **rules: Any) -> list[float]:
    """The row that vLLM's PyTorch sampler draws from: ``-inf`` where a token cannot be drawn.

    ``rules`` are named as in vLLM's ``SamplingParams``; ``bad_words`` are sequences of ids, as its sampler sees them.
    """
    row = _vllm_adjusted(list(logits), prompt, output, rules)
    temperature = rules.get("temperature", 1.0)
    if temperature < 1e-5:
        best = row.index(max(row))
        return [0.0 if token == best else MINUS_INFINITY for token in range(len(row))]
    row = [logit / temperature for logit in row]
    if rules.get("min_p", 0.0) > 0:
        probs = softmax(row)
        least_p = rules["min_p"] * max(probs)
        row = [logit if p >= least_p else MINUS_INFINITY for logit, p in zip(row, probs, strict=True)]
    ascending = sorted(range(len(row)), key=lambda token: (row[token], -token))
    top_k = rules.get("top_k", 0)
    if 0 < top_k < len(row):
        least = row[ascending[len(row) - top_k]]
        row = [logit if logit >= least else MINUS_INFINITY for logit in row]
    if rules.get("top_p", 1.0) < 1:
        probs, below = softmax(row), 0.0
        for token in ascending[:-1]:
            below += probs[token]
            if below <= 1 - rules["top_p"]:
                row[token] = MINUS_INFINITY
    return row


def _vllm_adjusted(
    row: list[float], prompt: Sequence[int], output: Sequence[int], rules: Mapping[str, Any]
) -> list[float]:
    if rules.get("allowed_token_ids"):
        row = [logit if token in rules["allowed_token_ids"] else MINUS_INFINITY for token, logit in enumerate(row)]
    for word in rules.get("bad_words", ()):
        *prefix, last = word
        if len(word) <= len(output) + 1 and list(output[len(output) - len(prefix) :]) == prefix:
            row[last] = MINUS_INFINITY
    if len(output) < rules.get("min_tokens", 0):
        for token in rules.get("stop_token_ids", ()):
            row[token] = MINUS_INFINITY
    for token, bias in rules.get("logit_bias", {}).items():
        row[token] += bias
    counts = Counter(output)
    for token in {*prompt, *output}:
        penalty = rules.get("repetition_penalty", 1.0)
        row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
    for token, count in counts.items():
        row[token] -= rules.get("frequency_penalty", 0.0) * count
        row[token] -= rules.get("presence_penalty", 0.0)
    return row


Candidates = list[tuple[int, float]]


def llamacpp(logits: Sequence[float], last: Sequence[int], **rules: Any) -> dict[int, float]:
    """The candidates that llama.cpp's default chain ends with, and their logits.

    ``last`` are the tokens that its ring buffers hold, prompt included. ``rules`` are named as in its
    ``common_params_sampling``; ``xtc_coin`` says whether its generator let XTC through.
    """
    bias: Mapping[int, float] = rules.get("logit_bias", {})
    candidates = [(token, logit + bias.get(token, 0.0)) for token, logit in enumerate(logits)]
    candidates = [candidate for candidate in candidates if candidate[1] > MINUS_INFINITY]
    if rules.get("mirostat", 0):
        return dict(_mirostat(_temperature(candidates, rules), len(logits), rules))
    chain: list[Callable[[Candidates, Mapping[str, Any]], Candidates]] = [
        lambda given, rules: _penalties(given, last, rules),
        lambda given, rules: _dry(given, last, rules),
        _top_n_sigma,
        _top_k,
        _typical,
        _top_p,
        _min_p,
        _xtc,
        _temperature,
    ]
    for step in chain:
        candidates = step(candidates, rules)
    return dict(candidates)


def _falling(candidates: Candidates) -> Candidates:
    return sorted(candidates, key=lambda candidate: (-candidate[1], candidate[0]))


def _probs(candidates: Candidates) -> list[float]:
    return softmax([logit for _, logit in candidates])


def _penalties(candidates: Candidates, last: Sequence[int], rules: Mapping[str, Any]) -> Candidates:
    last_n, repeat = rules.get("penalty_last_n", 64), rules.get("penalty_repeat", 1.0)
    counts = Counter(last[max(len(last) - last_n, 0) :])
    changed = []
    for token, logit in candidates:
        if counts[token]:
            logit = logit * repeat if logit <= 0 else logit / repeat
            logit -= counts[token] * rules.get("penalty_freq", 0.0) + rules.get("penalty_present", 0.0)
        changed.append((token, logit))
    return changed


def _dry(candidates: Candidates, last: Sequence[int], rules: Mapping[str, Any]) -> Candidates:
    multiplier, base = rules.get("dry_multiplier", 0.0), rules.get("dry_base", 1.75)
    allowed = rules.get("dry_allowed_length", 2)
    breakers = [tuple(breaker) for breaker in rules.get("dry_breakers", ())]
    n = len(last)
    if multiplier == 0 or n <= allowed:
        return candidates
    limit = n
    for back in range(n):
        here = [b for b in breakers if len(b) <= back + 1 and tuple(last[n - 1 - back : n - 1 - back + len(b)]) == b]
        if here:
            limit = back + 1 - max(map(len, here))
            break
    if limit < allowed:
        return candidates
    longest: dict[int, int] = {}
    for end in range(n - 1):
        length = 0
        while length <= end and last[end - length] == last[n - 1 - length]:
            length += 1
        length = min(length, limit)
        if length >= allowed:
            longest[last[end + 1]] = max(longest.get(last[end + 1], 0), length)
    return [
        (token, logit - multiplier * base ** (longest[token] - allowed))
        if token in longest and (token,) not in breakers
        else (token, logit)
        for token, logit in candidates
    ]


def _top_n_sigma(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    n = rules.get("top_n_sigma", -1.0)
    if n <= 0 or len(candidates) <= 1:
        return candidates
    logits = [logit for _, logit in candidates]
    mean = sum(logits) / len(logits)
    sigma = math.sqrt(sum((logit - mean) ** 2 for logit in logits) / len(logits))
    least = max(logits) - n * sigma
    return [candidate for candidate in candidates if candidate[1] >= least]


def _top_k(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    k = rules.get("top_k", 0)
    return _falling(candidates)[:k] if k > 0 else candidates


def _typical(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    mass = rules.get("typ_p", 1.0)
    if mass >= 1:
        return candidates
    candidates = _falling(candidates)
    probs = _probs(candidates)
    entropy = -math.fsum(p * math.log(p) for p in probs if p > 0)
    shifted = [abs(-math.log(p) - entropy) if p > 0 else math.inf for p in probs]
    kept, seen = [], 0.0
    for index in sorted(range(len(candidates)), key=shifted.__getitem__):
        kept.append(candidates[index])
        seen += probs[index]
        if seen > mass:
            break
    return kept


def _top_p(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    p = rules.get("top_p", 1.0)
    if p >= 1:
        return candidates
    candidates = _falling(candidates)
    seen = 0.0
    for n_kept, mass in enumerate(_probs(candidates), 1):
        seen += mass
        if seen >= p:
            return candidates[:n_kept]
    return candidates


def _min_p(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    p = rules.get("min_p", 0.0)
    if p <= 0:
        return candidates
    least = max(logit for _, logit in candidates) + math.log(p)
    return [candidate for candidate in candidates if candidate[1] >= least]


def _xtc(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    threshold = rules.get("xtc_threshold", 0.1)
    if not rules.get("xtc_coin", False) or threshold > 0.5 or len(candidates) < 2:
        return candidates
    candidates = _falling(candidates)
    n_obvious = sum(p >= threshold for p in _probs(candidates))
    return candidates[max(n_obvious - 1, 0) :]


def _temperature(candidates: Candidates, rules: Mapping[str, Any]) -> Candidates:
    temperature, spread = rules.get("temp", 1.0), rules.get("dynatemp_range", 0.0)
    if spread > 0:
        if len(candidates) <= 1:
            return candidates
        entropy = -math.fsum(p * math.log(p) for p in _probs(candidates) if p > 0)
        share = entropy / math.log(len(candidates))
        low, high = max(0.0, temperature - spread), temperature + spread
        temperature = low + (high - low) * share ** rules.get("dynatemp_exponent", 1.0)
    if temperature <= 0:
        return _falling(candidates)[:1]
    return [(token, logit / temperature) for token, logit in candidates]


def _mirostat(candidates: Candidates, n_vocab: int, rules: Mapping[str, Any]) -> Candidates:
    mu = rules["mirostat_mu"]
    candidates = _falling(candidates)
    probs = _probs(candidates)
    if rules["mirostat"] == 2:
        n_kept = next((n for n, p in enumerate(probs) if -math.log2(p) > mu), len(probs))
        return candidates[: max(n_kept, 1)]
    top = probs[:100]
    steps = [(math.log((i + 2) / (i + 1)), math.log(p / after)) for i, (p, after) in enumerate(itertools.pairwise(top))]
    s = sum(t * b for t, b in steps) / sum(t * t for t, _ in steps)
    k = ((s - 1) * 2**mu / (1 - n_vocab ** (1 - s))) ** (1 / s)
    return candidates[: max(int(k), 1)]
