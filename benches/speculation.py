"""How much faster does a real model answer with drafts, token for token the same?

``python -m benches.speculation --record speculation`` asks the default model (SmolLM2-135M-Instruct, float32, CPU, one
thread) requests of each category of Spec-Bench, greedily: plainly, with ``tl.draft.Suffix`` as far as it pays
(``draft_budget="auto"``), and with transformers' prompt lookup. The three ways take turns prompt by prompt in rotating
order, in one process that holds one model; the time is processor time, reading the prompt included. Divergences of
tokens are counted: they come from the model's own rounding between shapes of input, and such an answer is compared up
to there.

The second table is drafting where it cannot pay: text sampled at temperature 1.5, which repeats nothing. Median of
paired runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.harness import ROOT
from benches.record import heading, write_page

QUESTIONS = ROOT.parent / "shared" / "data" / "spec_bench" / "question.jsonl"
OURS_ALONE = ROOT / "tests" / "data" / "spec_bench_56.jsonl"
TASKS = ("translation", "summarization", "qa", "math_reasoning", "rag")
WAYS = ("plain", "drafts", "prompt lookup")


def requests(n_each: int, n_chars: int) -> dict[str, list[str]]:
    """Requests by category, the longest of at most ``n_chars`` characters first."""
    found: dict[str, list[str]] = {}
    if QUESTIONS.exists():
        for line in QUESTIONS.read_text("utf-8").splitlines():
            item = json.loads(line)
            category = item["category"] if item["category"] in TASKS else "MT-bench"
            found.setdefault(category, []).append(item["turns"][0])
    else:
        for line in OURS_ALONE.read_text("utf-8").splitlines():
            item = json.loads(line)
            found.setdefault(item["name"].split()[0], []).append(item["text"])
    chosen = {}
    for category, texts in sorted(found.items()):
        fitting = sorted((text for text in texts if len(text) <= n_chars), key=len, reverse=True)
        chosen[category] = (fitting or sorted(texts, key=len))[:n_each]
    return chosen


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds and the result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


class Ways:
    """The ways of answering, on one model."""

    def __init__(self, model: Any, tokenizer: Any, n_tokens: int) -> None:
        import tokenloom as tl

        self.tl, self.model, self.tokenizer, self.n_tokens = tl, model, tokenizer, n_tokens
        self.drafter, self.pace = tl.draft.Suffix(), tl.torch.Pace(tl.torch.cost_curve(model))
        self.calls = self.drafted = self.tokens = 0

    def answer(self, way: str, prompt: str) -> tuple[float, list[int]]:
        """Processor seconds and new tokens."""
        if way == "prompt lookup":
            return self._lookup(prompt)
        extra = {"drafter": self.drafter, "draft_budget": self.pace} if way == "drafts" else {}
        greedy = self.tl.sample.Params(temperature=0.0)
        seconds, (found,) = timed(
            lambda: self.tl.torch.generate(
                self.model, self.tokenizer, prompt, max_new_tokens=self.n_tokens, params=greedy, **extra
            )
        )
        if way == "drafts":
            self.calls += found.stats.model_calls
            self.drafted += found.stats.drafted
            self.tokens += found.stats.n_tokens
        return seconds, found.ids.tolist()

    def _lookup(self, prompt: str) -> tuple[float, list[int]]:
        import torch

        ids = torch.tensor([self.tokenizer.encode_list(prompt)])
        seconds, found = timed(
            lambda: self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=self.n_tokens,
                do_sample=False,
                prompt_lookup_num_tokens=10,
                pad_token_id=0,
            )
        )
        return seconds, found[0, ids.shape[1] :].tolist()


def compare(ways: Ways, texts: list[str], n_done: int) -> dict[str, Any]:
    """One category: seconds by way, ratios, divergences."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    ways.calls = ways.drafted = ways.tokens = 0
    n_divergences = 0
    for index, text in enumerate(texts):
        prompt = ways.tl.torch.chat_prompt(ways.model, text) or text
        answers = {}
        for turn in range(len(WAYS)):
            way = WAYS[(n_done + index + turn) % len(WAYS)]
            spent, answers[way] = ways.answer(way, prompt)
            seconds[way].append(spent)
        n_divergences += sum(answers[way] != answers["plain"] for way in WAYS[1:])
    ratios = {way: [a / b for a, b in zip(seconds[way], seconds["drafts"], strict=True)] for way in WAYS}
    return {
        "n_requests": len(texts),
        "seconds": seconds,
        "over_plain": statistics.mean(ratios["plain"]),
        "over_lookup": statistics.mean(ratios["prompt lookup"]),
        "tokens_per_call": ways.tokens / max(1, ways.calls),
        "drafted_per_call": ways.drafted / max(1, ways.calls),
        "n_divergences": n_divergences,
    }


def where_it_cannot_pay(ways: Ways, n_pairs: int, n_tokens: int) -> list[float]:
    """Plain seconds over seconds with drafts, by pair."""
    params = ways.tl.sample.Params(temperature=1.5)
    prompt = ways.tl.torch.chat_prompt(ways.model, "Write a poem about the sea.") or ""
    pace = ways.tl.torch.Pace(ways.tl.torch.cost_curve(ways.model))
    ratios = []
    for pair in range(n_pairs):
        spent = {}
        for with_drafts in (pair % 2 == 0, pair % 2 == 1):
            extra = {"drafter": ways.drafter, "draft_budget": pace} if with_drafts else {}
            spent[with_drafts], _ = timed(
                lambda pair=pair, extra=extra: ways.tl.torch.generate(
                    ways.model, ways.tokenizer, prompt, max_new_tokens=n_tokens, params=params, seed=pair, **extra
                )
            )
        ratios.append(spent[False] / spent[True])
    return ratios


def text_of(found: dict[str, Any]) -> str:
    """The tables for readers, in Markdown."""
    lines = [
        f"# Answers with drafts, {found['date']}",
        "",
        f"`{found['command']}`: {found['machine']['processor']}, {found['machine']['n_cores']} cores, load "
        f"{found['machine']['load_average'][0]}; torch {found['versions']['torch']}, transformers "
        f"{found['versions']['transformers']}, one thread, float32, {found['n_tokens']} tokens a request, greedy.",
        "",
        "Speed-up: processor seconds of the other way over ours, mean of the requests; the prompt's own pass counts.",
        "",
        "| category | requests | over plain | over prompt lookup | tokens per call | drafted per call | divergences |",
        "|---|---|---|---|---|---|---|",
    ]
    for category, row in found["categories"].items():
        lines.append(
            f"| {category} | {row['n_requests']} | {row['over_plain']:.2f} | {row['over_lookup']:.2f} | "
            f"{row['tokens_per_call']:.2f} | {row['drafted_per_call']:.2f} | {row['n_divergences']} |"
        )
    if found["cannot_pay"]:
        pairs = ", ".join(f"{ratio:.3f}" for ratio in found["cannot_pay"])
        median = statistics.median(found["cannot_pay"])
        lines += ["", f"Where drafts cannot pay (temperature 1.5): {pairs}; median {median:.3f}."]
    curve = ", ".join(f"{n}: {1000 * s:.0f}" for n, s in zip(*found["curve"], strict=True))
    return "\n".join([*lines, "", f"Cost curve, ms by tokens: {curve}.", ""])


def main() -> int:
    """Run, print, and record where asked to."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.speculation")
    parser.add_argument("--each", type=int, default=5, help="requests a category")
    parser.add_argument("--chars", type=int, default=800, help="longest request, in characters")
    parser.add_argument("--tokens", type=int, default=64, help="tokens an answer")
    parser.add_argument("--pairs", type=int, default=7, help="paired runs where drafts cannot pay")
    parser.add_argument("--record", default="", help="name of the record")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = tl.torch.load(options.model)
    ways = Ways(model, tokenizer, options.tokens)
    curve = tl.torch.cost_curve(model)
    found: dict[str, Any] = {
        **heading("speculation", ("torch", "transformers"), MODEL=options.model),
        "n_tokens": options.tokens,
        "curve": (curve.rows, curve.seconds),
        "categories": {},
        "cannot_pay": [],
    }
    found["cannot_pay"] = where_it_cannot_pay(ways, options.pairs, options.tokens)
    for category, texts in requests(options.each, options.chars).items():
        found["categories"][category] = compare(ways, texts, len(found["categories"]))
        print(text_of(found), file=sys.stderr, flush=True)
    print(text_of(found))
    if options.record:
        write_page(options.record, found, text_of(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
