"""How is the next token drawn from a row of logits?

The rules of ``tokenloom.sample`` in plain float64: sort, add up, cut, one function a rule and none faster than it must
be. :func:`adjusted` changes single logits, :func:`keep_set` applies the other rules in an order, :func:`draw` runs the
race. Where a rule compares against a limit that no sum comes close to, the compiled code keeps the same tokens; its
masses are rounded to 2^-42 and its weights to float32.

How the hosts themselves define their rules: ``hosts.py`` beside this file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tokenloom.reference import rng

PRESETS: dict[str, tuple[str, ...]] = {
    "hf": (
        *("temperature", "top_k_with_ties", "top_p", "min_p", "typical_p_with_ties", "epsilon_cutoff", "eta_cutoff"),
        *("top_n_sigma", "p_less", "xtc", "mirostat"),
    ),
    "vllm": (
        *("temperature", "min_p", "top_k_with_ties", "top_p", "typical_p_with_ties", "epsilon_cutoff", "eta_cutoff"),
        *("top_n_sigma", "p_less", "xtc", "mirostat"),
    ),
    "llamacpp": (
        *("top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "epsilon_cutoff", "eta_cutoff", "p_less", "xtc"),
        "temperature",
    ),
    "joint": (
        *("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"),
        *("top_n_sigma", "p_less", "xtc", "mirostat"),
    ),
}
#: What switches each rule off.
NEUTRAL: dict[str, Any] = {
    "temperature": 1.0,
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "top_n_sigma": 0.0,
    "p_less": 0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "order": "hf",
}


class Row:
    """The tokens that are left, and the temperature they are weighed at."""

    def __init__(self, logits: Sequence[float]) -> None:
        self.logits = logits
        self.kept = {token for token, logit in enumerate(logits) if logit > -math.inf}
        self.temperature = 1.0

    def probabilities(self) -> dict[int, float]:
        """Of the tokens that are left."""
        best = max(self.logits[token] for token in self.kept)
        weights = {token: math.exp((self.logits[token] - best) / self.temperature) for token in self.kept}
        total = math.fsum(weights.values())
        return {token: weight / total for token, weight in weights.items()}

    def entropy(self) -> float:
        """In nats."""
        return -math.fsum(p * math.log(p) for p in self.probabilities().values() if p > 0)

    def best_first(self) -> list[int]:
        """Ties in order of id."""
        return sorted(self.kept, key=lambda token: (-self.logits[token], token))

    def cut(self, order: Sequence[int], mass: Callable[[int], float], limit: float) -> None:
        """Keep the tokens before which less than ``limit`` has been seen, in this order; at least one."""
        kept: set[int] = set()
        seen = 0.0
        for token in order:
            if kept and seen >= limit:
                break
            kept.add(token)
            seen += mass(token)
        self.kept = kept

    def at_least(self, limit: float) -> None:
        """Keep tokens with this probability, and the best and its equals in any case."""
        probs = self.probabilities()
        best = self.logits[self.best_first()[0]]
        self.kept = {token for token in self.kept if probs[token] >= limit or self.logits[token] == best}


def set_temperature(row: Row, rules: Mapping[str, Any]) -> None:
    """Fixed, or growing with the entropy; at zero the best token stays."""
    temperature, spread = rules["temperature"], rules["dynatemp_range"]
    if spread > 0:
        if len(row.kept) < 2:
            return
        low = max(temperature - spread, 0.0)
        share = min(row.entropy() / math.log(len(row.kept)), 1.0)
        temperature = low + (temperature + spread - low) * share ** rules["dynatemp_exponent"]
    if temperature == 0:
        row.kept = {row.best_first()[0]}
    else:
        row.temperature = temperature


def top_k(row: Row, k: int, with_ties: bool) -> None:
    """The k best."""
    if k > 0:
        order = row.best_first()
        last = row.logits[order[min(k, len(order)) - 1]]
        row.kept = {token for token in order if row.logits[token] >= last} if with_ties else set(order[:k])


def top_p(row: Row, p: float) -> None:
    """The shortest prefix, best first, that holds this mass."""
    if p < 1:
        row.cut(row.best_first(), row.probabilities().__getitem__, p)


def min_p(row: Row, p: float) -> None:
    """At least this share of the best one's probability."""
    probs = row.probabilities()
    least = p * max(probs.values())
    row.kept = {token for token in row.kept if probs[token] >= least}


def typical_p(row: Row, p: float, with_ties: bool) -> None:
    """Nearest to the entropy first, up to this mass."""
    if p < 1:
        probs, entropy = row.probabilities(), row.entropy()
        distance = {token: abs(-math.log(probs[token]) - entropy) for token in row.kept if probs[token] > 0}
        before = set(distance)
        row.cut(sorted(distance, key=lambda token: (distance[token], token)), probs.__getitem__, p)
        if with_ties:
            last = max(distance[token] for token in row.kept)
            row.kept = {token for token in before if distance[token] <= last}


def top_n_sigma(row: Row, n: float) -> None:
    """Within n standard deviations of the best logit."""
    logits = [row.logits[token] for token in row.kept]
    mean = math.fsum(logits) / len(logits)
    least = max(logits) - n * math.sqrt(math.fsum((logit - mean) ** 2 for logit in logits) / len(logits))
    row.kept = {token for token in row.kept if row.logits[token] >= least}


def p_less(row: Row, version: int) -> None:
    """At least as likely as two draws are to agree."""
    agree = math.fsum(p * p for p in row.probabilities().values())
    n_vocab = len(row.logits)
    row.at_least(agree if version == 1 else (n_vocab * agree - 1) / max(n_vocab - 1, 1))


def xtc(row: Row, threshold: float) -> None:
    """Of the tokens that reach the threshold, only the last stays."""
    probs, order = row.probabilities(), row.best_first()
    obvious = [token for token in order if probs[token] >= threshold]
    if obvious:
        row.kept -= set(obvious[:-1])


def mirostat(row: Row, version: int, mu: float) -> None:
    """Version 2 cuts by surprise, version 1 by the k that Zipf's law gives."""
    if version == 2:
        row.at_least(2.0**-mu if mu >= 0 else math.inf)
        return
    best = row.best_first()[:100]
    if len(best) < 2:
        return
    logits = [row.logits[token] / row.temperature for token in best]
    ratios = [math.log((rank + 2) / (rank + 1)) for rank in range(len(best) - 1)]
    gaps = [before - after for before, after in itertools.pairwise(logits)]
    s = sum(t * gap for t, gap in zip(ratios, gaps, strict=True)) / sum(t * t for t in ratios)
    excess, n_vocab = s - 1, len(row.logits)
    zipf = 1 / math.log(n_vocab) if abs(excess) < 1e-9 else excess / (1 - n_vocab**-excess)
    top_k(row, max(1, min(int((zipf * 2**mu) ** (1 / s)), n_vocab)), False)


def apply(op: str, row: Row, rules: Mapping[str, Any], mu: float, coin: bool) -> None:
    """One operation of an order."""
    if op == "temperature":
        set_temperature(row, rules)
    elif op.startswith("top_k"):
        top_k(row, rules["top_k"], op.endswith("ties"))
    elif op == "top_p":
        top_p(row, rules["top_p"])
    elif op == "min_p":
        min_p(row, rules["min_p"])
    elif op.startswith("typical_p"):
        typical_p(row, rules["typical_p"], op.endswith("ties"))
    elif op == "epsilon_cutoff":
        row.at_least(rules["epsilon_cutoff"])
    elif op == "eta_cutoff":
        row.at_least(min(rules["eta_cutoff"], math.sqrt(rules["eta_cutoff"]) * math.exp(-row.entropy())))
    elif op == "top_n_sigma" and rules["top_n_sigma"] > 0:
        top_n_sigma(row, rules["top_n_sigma"])
    elif op == "p_less" and rules["p_less"]:
        p_less(row, rules["p_less"])
    elif op == "xtc" and coin and rules["xtc_threshold"] <= 0.5:
        xtc(row, rules["xtc_threshold"])
    elif op == "mirostat" and rules["mirostat"]:
        mirostat(row, rules["mirostat"], mu)


def shaped(logits: Sequence[float], seed: int = 0, position: int = 0, mu: float | None = None, **given: Any) -> Row:
    """What the operations leave of a row. ``seed`` and ``position`` address the coin of XTC."""
    rules = {**NEUTRAL, **given}
    order = PRESETS.get(rules["order"], rules["order"])
    if rules["order"] == "llamacpp" and rules["mirostat"]:
        order = ("temperature", "mirostat")
    coin = rng.word(seed, position, 0, rng.XTC) < rules["xtc_probability"] * 2**32
    row = Row(logits)
    for op in order:
        apply(op, row, rules, 2 * rules["mirostat_tau"] if mu is None else mu, coin)
    return row


def keep_set(logits: Sequence[float], **rules: Any) -> set[int]:
    """The tokens that may be drawn."""
    return shaped(logits, **rules).kept


def distribution(logits: Sequence[float], **rules: Any) -> list[float]:
    """The probability of every token under the rules."""
    probs = shaped(logits, **rules).probabilities()
    return [probs.get(token, 0.0) for token in range(len(logits))]


def draw(probabilities: Sequence[float], seed: int, position: int, purpose: int = rng.SAMPLE) -> int:
    """The winner of the race: the token with the smallest waiting time divided by its probability."""
    runners = [token for token, p in enumerate(probabilities) if p > 0]
    return min(runners, key=lambda token: rng.exponential(seed, position, token, purpose) / probabilities[token])


def next_mu(mu: float, probability: float, tau: float, eta: float) -> float:
    """The state of mirostat after a token of this probability."""
    return mu - eta * (-math.log2(probability) - tau)
