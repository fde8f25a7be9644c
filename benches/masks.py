"""What do masks and checks of JSON Schemas cost beside llguidance's own binding and xgrammar, and who is right?

``python -m benches.masks --tokenizer qwen3`` walks the instances of a MaskBench sample (``../shared/data``) with all
engines at once: every schema is compiled by each, then every token of every instance is offered to each, after its
mask was filled. Whose turn is first rotates. Times are processor times of the calling thread, so a busy machine
disturbs them little; before each, a row of logits is read, as a decoding loop does, so that nobody finds the caches
warm. A walk ends where an engine refuses; its verdict is right if that is what the instance's label says.

A draw by checks is made at every step of the right instances, from logits in which the recorded token has ``--peak`` of
the mass and the rest is spread over the vocabulary as exp(N(0, 2)). Its cost is the time inside the constraint: checks,
and masks where it resorts to them. What a plain draw costs is the same for all methods and left out.

Batches: 64 walks side by side, one call a step for all masks, ``--threads`` threads, time on the wall.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llguidance
import numpy as np
import tokenloom as tl
import xgrammar
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask, fill_next_token_bitmask_par
from tokenloom.errors import ConstraintError

from benches.harness import ROOT

DATA = ROOT.parent / "shared" / "data"
ENGINES = ("tokenloom", "llguidance", "xgrammar")
N_BATCH = 64


class Ours:
    """tokenloom."""

    def __init__(self, path: Path, tokenizer: tl.Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.words = np.zeros(-(-tokenizer.vocab_size // 32), dtype=np.int32)
        tl.control.regex("x", tokenizer)

    def compile(self, schema: str) -> tl.control.Constraint:
        return tl.control.json_schema(schema, self.tokenizer)

    def start(self, compiled: tl.control.Constraint) -> Any:
        return compiled.start()

    def mask(self, state: Any) -> None:
        state.fill_mask(self.words)

    def advance(self, state: Any, token: int) -> bool:
        try:
            state.advance(token)
        except ConstraintError:
            return False
        return True

    def accepts(self, state: Any) -> bool:
        return bool(state.is_accepting())


class Llguidance:
    """llguidance's own Python binding."""

    def __init__(self, path: Path, tokenizer: tl.Tokenizer) -> None:
        self.tokenizer = llguidance.LLTokenizer(str(path))
        self.words = allocate_token_bitmask(1, self.tokenizer.vocab_size)

    def compile(self, schema: str) -> Any:
        matcher = llguidance.LLMatcher(
            self.tokenizer, llguidance.LLMatcher.grammar_from_json_schema(schema), log_level=0
        )
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        return matcher

    def start(self, compiled: Any) -> Any:
        return compiled.deep_copy()

    def mask(self, state: Any) -> None:
        fill_next_token_bitmask(state, self.words)

    def advance(self, state: Any, token: int) -> bool:
        return bool(state.try_consume_tokens([token]))

    def accepts(self, state: Any) -> bool:
        return bool(state.is_accepting())


class Xgrammar:
    """xgrammar, without its cache of compiled grammars, one thread."""

    def __init__(self, path: Path, tokenizer: tl.Tokenizer) -> None:
        from transformers import PreTrainedTokenizerFast

        info = xgrammar.TokenizerInfo.from_huggingface(PreTrainedTokenizerFast(tokenizer_file=str(path)))
        self.compiler = xgrammar.GrammarCompiler(info, max_threads=1, cache_enabled=False)
        self.words = xgrammar.allocate_token_bitmask(1, info.vocab_size)

    def compile(self, schema: str) -> Any:
        return self.compiler.compile_json_schema(schema)

    def start(self, compiled: Any) -> Any:
        return xgrammar.GrammarMatcher(compiled, terminate_without_stop_token=True)

    def mask(self, state: Any) -> None:
        state.fill_next_token_bitmask(self.words)

    def advance(self, state: Any, token: int) -> bool:
        return bool(state.accept_token(token))

    def accepts(self, state: Any) -> bool:
        return bool(state.is_completed())


class Watched:
    """A state whose questions are timed."""

    def __init__(self, state: Any) -> None:
        self.state, self.n_ns = state, 0

    def check(self, token: int) -> bool:
        start = time.thread_time_ns()
        answer = self.state.check(token)
        self.n_ns += time.thread_time_ns() - start
        return bool(answer)

    def mask(self) -> Any:
        start = time.thread_time_ns()
        answer = self.state.mask()
        self.n_ns += time.thread_time_ns() - start
        return answer


def timed(times: list[float], work: Callable[[], Any]) -> Any:
    """Do the work, and note its processor time in microseconds."""
    start = time.thread_time_ns()
    value = work()
    times.append((time.thread_time_ns() - start) / 1e3)
    return value


def rows_of(path: Path, n: int, seed: int) -> list[dict[str, Any]]:
    with lzma.open(path) as lines:
        rows = [json.loads(line) for line in lines]
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[at] for at in order[:n]]


class Run:
    """All walks and what was measured on them."""

    def __init__(self, engines: dict[str, Any], tokenizer: tl.Tokenizer, peak: float, seed: int) -> None:
        self.engines, self.tokenizer = engines, tokenizer
        self.compile_us: dict[str, list[float]] = {name: [] for name in engines}
        self.mask_us: dict[str, list[float]] = {name: [] for name in engines}
        self.check_us: list[float] = []
        self.n_checks: list[int] = []
        self.n_masked = 0
        kinds = ("compiled", "right", "valid refused", "invalid accepted")
        self.counts = {name: dict.fromkeys(kinds, 0) for name in engines}
        self.batch: list[tuple[dict[str, Any], list[int]]] = []
        random = np.random.default_rng(seed)
        self.noise = random.normal(0.0, 2.0, tokenizer.vocab_size).astype(np.float32)
        rest = np.logaddexp.reduce(self.noise.astype(np.float64))
        self.peak_logit = np.float32(rest + np.log(peak / (1 - peak)))
        self.seed, self.n_steps = seed, 0

    def schema(self, row: dict[str, Any], turn: int) -> None:
        """Compile one schema and walk its instances."""
        text = json.dumps(row["schema"])
        names = list(self.engines)
        compiled: dict[str, Any] = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            try:
                compiled[name] = timed(self.compile_us[name], lambda name=name: self.engines[name].compile(text))
            except Exception:  # an unsupported schema; each engine has its own way to say so
                continue
            self.counts[name]["compiled"] += 1
        if "tokenloom" not in compiled or "llguidance" not in compiled:
            return
        for test in row["tests"]:
            tokens = self.tokenizer.encode_list(json.dumps(test["data"], ensure_ascii=False))
            if len(tokens) <= 400:
                self.walk(compiled, tokens, bool(test["valid"]), turn)
                if test["valid"] and len(tokens) >= 24 and len(self.batch) < N_BATCH:
                    self.batch.append((compiled, tokens))

    def walk(self, compiled: dict[str, Any], tokens: list[int], valid: bool, turn: int) -> None:
        states = {name: self.engines[name].start(grammar) for name, grammar in compiled.items()}
        checked = compiled["tokenloom"].start()
        alive = dict.fromkeys(states, True)
        for step, token in enumerate(tokens):
            names = [name for name in states if alive[name]]
            shift = (turn + step) % max(1, len(names))
            # Times of steps that all engines took part in are compared.
            times = self.mask_us if len(names) == len(self.engines) else {name: [] for name in names}
            for name in names[shift:] + names[:shift]:
                self.noise.max()
                timed(times[name], lambda name=name: self.engines[name].mask(states[name]))
            if alive["tokenloom"] and valid:
                self.draw(checked, token)
            for name in names:
                alive[name] = self.engines[name].advance(states[name], token)
            if alive["tokenloom"] and valid:
                checked.advance(token)
            if not any(alive.values()):
                break
        for name, state in states.items():
            accepted = alive[name] and self.engines[name].accepts(state)
            verdict = "right" if accepted == valid else "valid refused" if valid else "invalid accepted"
            self.counts[name][verdict] += 1

    def draw(self, state: Any, token: int) -> None:
        logits = self.noise
        kept, logits[token] = logits[token], self.peak_logit
        watched = Watched(state.core)
        drawn = tl.control.draw_checked(logits, watched, tl.Rng(self.seed, self.n_steps))
        logits[token] = kept
        self.n_steps += 1
        self.check_us.append(watched.n_ns / 1e3)
        self.n_checks.append(drawn.n_checks)
        self.n_masked += drawn.has_masked


def batches(run: Run, n_threads: int) -> dict[str, list[float]]:
    """Milliseconds on the wall for 64 masks, one entry a step."""
    ours, theirs = run.engines["tokenloom"], run.engines["llguidance"]
    executor = llguidance.LLExecutor(n_threads)
    batcher = xgrammar.BatchGrammarMatcher(max_threads=n_threads)
    walks = run.batch
    own = [ours.start(compiled["tokenloom"]) for compiled, _ in walks]
    other = [theirs.start(compiled["llguidance"]) for compiled, _ in walks]
    third = [
        run.engines["xgrammar"].start(compiled["xgrammar"]) if "xgrammar" in compiled else None for compiled, _ in walks
    ]
    words = np.zeros((len(walks), len(ours.words)), dtype=np.int32)
    their_words = allocate_token_bitmask(len(walks), theirs.tokenizer.vocab_size)
    there = [state for state in third if state is not None]
    third_words = xgrammar.allocate_token_bitmask(len(there), run.engines["xgrammar"].words.shape[1] * 32)
    calls: dict[str, Callable[[], Any]] = {
        "tokenloom": lambda: tl.control.fill_masks(own, words, threads=n_threads),
        "llguidance": lambda: fill_next_token_bitmask_par(
            executor, [(state, at) for at, state in enumerate(other)], their_words
        ),
        "xgrammar": lambda: batcher.batch_fill_next_token_bitmask(there, third_words),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for step in range(min(len(tokens) for _, tokens in walks)):
        names = list(calls)
        for name in names[step % 3 :] + names[: step % 3]:
            start = time.perf_counter()
            calls[name]()
            times[name].append((time.perf_counter() - start) * 1e3)
        for at, (_, tokens) in enumerate(walks):
            ours.advance(own[at], tokens[step])
            theirs.advance(other[at], tokens[step])
            if third[at] is not None:
                third[at].accept_token(tokens[step])
    return times


def spread(values: list[float]) -> str:
    """Mean, median, 99th percentile and largest."""
    array = np.array(values)
    return f"{array.mean():.1f} | {np.median(array):.1f} | {np.percentile(array, 99):.1f} | {array.max():.1f}"


def text_of(run: Run, batch: dict[str, list[float]], options: argparse.Namespace) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("llguidance", "xgrammar"))
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "unknown")
    lines = [
        f"## {options.tokenizer}: {run.tokenizer.vocab_size:,} tokens, {options.schemas} schemas",
        "",
        f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {versions}.",
        "",
        "| us | mean | p50 | p99 | max |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| compile, {name} | {spread(run.compile_us[name])} |" for name in run.engines]
    lines += [f"| mask, {name} | {spread(run.mask_us[name])} |" for name in run.engines]
    lines.append(f"| draw by checks, inside the constraint | {spread(run.check_us)} |")
    masks = {name: np.array(values) for name, values in run.mask_us.items()}
    checks = np.array(run.check_us)
    ratio = float(np.median(masks["tokenloom"] / masks["llguidance"]))
    compiles = float(np.median(run.compile_us["tokenloom"]) / np.median(run.compile_us["llguidance"]))
    lines += [
        "",
        f"Masks at {len(masks['tokenloom']):,} steps that all engines took. Ours over llguidance's: median of the "
        f"paired ratios {ratio:.2f}, means {masks['tokenloom'].mean() / masks['llguidance'].mean():.2f}; compile "
        f"medians {compiles:.2f}. llguidance's mask over our checks: mean "
        f"{masks['llguidance'].mean() / checks.mean():.1f}, p99 "
        f"{np.percentile(masks['llguidance'], 99) / np.percentile(checks, 99):.1f}; "
        f"{np.mean(run.n_checks):.2f} checks a token, a mask in {run.n_masked / len(checks):.2%} of the steps.",
        "",
        "| verdicts | " + " | ".join(next(iter(run.counts.values()))) + " |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {name} | " + " | ".join(map(str, counts.values())) + " |" for name, counts in run.counts.items()]
    medians = {name: statistics.median(values) for name, values in batch.items()}
    pairs = zip(batch["tokenloom"], batch["llguidance"], strict=True)
    lines += [
        "",
        f"{len(run.batch)} masks in one call, {options.threads} threads, {len(batch['tokenloom'])} steps, median ms: "
        + ", ".join(f"{name} {value:.2f}" for name, value in medians.items())
        + f"; ours over llguidance's, median of the paired ratios {statistics.median(a / b for a, b in pairs):.2f}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run, print, record."""
    parser = argparse.ArgumentParser(prog="python -m benches.masks", description=__doc__)
    parser.add_argument("--tokenizer", default="qwen3", help="a file of ../shared/data/tokenizers, or smollm2")
    parser.add_argument("--schemas", type=int, default=300)
    parser.add_argument("--peak", type=float, default=0.9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="append the tables to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        if options.tokenizer == "smollm2":
            from scripts.fetch_assets import locate

            (file,) = locate("smollm2").glob("*.gguf")
            tl.Tokenizer.from_file(file).save(path)
        else:
            path.write_bytes(lzma.decompress((DATA / f"tokenizers/{options.tokenizer}.tokenizer.json.xz").read_bytes()))
        tokenizer = tl.Tokenizer.from_file(path)
        makers = {"tokenloom": Ours, "llguidance": Llguidance, "xgrammar": Xgrammar}
        engines = {name: makers[name](path, tokenizer) for name in ENGINES}
        run = Run(engines, tokenizer, options.peak, options.seed)
        rows = rows_of(DATA / "maskbench_sample" / "maskbench_sample.jsonl.xz", options.schemas, options.seed)
        for turn, row in enumerate(rows):
            run.schema(row, turn)
        text = text_of(run, batches(run, options.threads), options)
    print(text)
    if options.record:
        with options.record.open("a", encoding="utf-8") as record:
            record.write(text + "\n")


if __name__ == "__main__":
    main()
