"""What do masks and checks of JSON Schemas cost beside llguidance's own binding and xgrammar, and who is right?

``python -m benches.masks --tokenizer qwen3`` walks the instances of a MaskBench sample (``../shared/data``) with all
engines at once: every schema is compiled by each, then every token of every instance is offered to each, after its
mask was filled. Whose turn is first rotates. Times are processor times of the calling thread, so a busy machine
disturbs them little; what the clock itself takes is subtracted. Before each, a row of logits is read, as a decoding
loop does, so that nobody finds the caches warm. A walk ends where an engine refuses; its verdict is right if that is
what the instance's label says.

A draw by checks is made at every step of the right instances, from logits in which the recorded token has ``--peak`` of
the mass and the rest is spread over the vocabulary as exp(N(0, 2)). Its cost is the time inside the constraint: checks,
and masks where it resorts to them. What a plain draw costs is the same for all methods and left out. The constraint of
the draws is compiled by itself, so that no mask has built the lexer's tables for it; they are walked twice, because the
second text of a grammar finds them built, and the table tells the two apart.

Batches: 64 walks side by side, one call a step for all masks, ``--threads`` threads, time on the wall. Where the
schemas have too few long texts, further schemas of the sample give theirs to the batch and to nothing else. Schemas
that xgrammar refuses are missing in its batch, which is then smaller than those of the others.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import lzma
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
from benches.record import describe_machine

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
        self.n_ns += max(0, time.thread_time_ns() - start - CLOCK_NS)
        return bool(answer)

    def mask(self) -> Any:
        start = time.thread_time_ns()
        answer = self.state.mask()
        self.n_ns += max(0, time.thread_time_ns() - start - CLOCK_NS)
        return answer


def timed(times: list[float], work: Callable[[], Any]) -> Any:
    """Do the work, and note its processor time in microseconds."""
    start = time.thread_time_ns()
    value = work()
    times.append(max(0, time.thread_time_ns() - start - CLOCK_NS) / 1e3)
    return value


def clock_ns() -> int:
    """What looking at the clock twice costs: a system call, about as long as a check."""

    def pair() -> int:
        start = time.thread_time_ns()
        return time.thread_time_ns() - start

    return int(statistics.median(pair() for _ in range(10_000)))


CLOCK_NS = clock_ns()


def rows_of(path: Path, seed: int) -> list[dict[str, Any]]:
    with lzma.open(path) as lines:
        rows = [json.loads(line) for line in lines]
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[at] for at in order]


class Run:
    """All walks and what was measured on them."""

    def __init__(self, engines: dict[str, Any], tokenizer: tl.Tokenizer, peak: float, seed: int) -> None:
        self.engines, self.tokenizer = engines, tokenizer
        self.compile_us: dict[str, list[float]] = {name: [] for name in engines}
        self.mask_us: dict[str, list[float]] = {name: [] for name in engines}
        self.check_us: dict[str, list[float]] = {"first text": [], "known grammar": []}
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
        drawing = self.engines["tokenloom"].compile(text)
        n_seen = 0
        for test in row["tests"]:
            tokens = self.tokenizer.encode_list(json.dumps(test["data"], ensure_ascii=False))
            if len(tokens) <= 400:
                self.walk(compiled, tokens, bool(test["valid"]), turn)
                if test["valid"]:
                    self.draws(drawing, tokens, "known grammar" if n_seen else "first text")
                    self.draws(drawing, tokens, "known grammar")
                    n_seen += 1
                if test["valid"]:
                    self.to_batch(compiled, tokens)

    def more_for_batch(self, row: dict[str, Any]) -> None:
        """Compile one more schema for the batch; nothing is timed."""
        text = json.dumps(row["schema"])
        compiled: dict[str, Any] = {}
        for name, engine in self.engines.items():
            with contextlib.suppress(Exception):  # as in `schema`
                compiled[name] = engine.compile(text)
        if "tokenloom" not in compiled or "llguidance" not in compiled:
            return
        for test in row["tests"]:
            if test["valid"]:
                self.to_batch(compiled, self.tokenizer.encode_list(json.dumps(test["data"], ensure_ascii=False)))

    def to_batch(self, compiled: dict[str, Any], tokens: list[int]) -> None:
        """Keep a text for the batch, if it is long enough and there is room."""
        if 24 <= len(tokens) <= 400 and len(self.batch) < N_BATCH:
            self.batch.append((compiled, tokens))

    def walk(self, compiled: dict[str, Any], tokens: list[int], valid: bool, turn: int) -> None:
        states = {name: self.engines[name].start(grammar) for name, grammar in compiled.items()}
        alive = dict.fromkeys(states, True)
        for step, token in enumerate(tokens):
            names = [name for name in states if alive[name]]
            shift = (turn + step) % max(1, len(names))
            # Times of steps that all engines took part in are compared.
            times = self.mask_us if len(names) == len(self.engines) else {name: [] for name in names}
            for name in names[shift:] + names[:shift]:
                self.noise.max()
                timed(times[name], lambda name=name: self.engines[name].mask(states[name]))
            for name in names:
                alive[name] = self.engines[name].advance(states[name], token)
            if not any(alive.values()):
                break
        for name, state in states.items():
            accepted = alive[name] and self.engines[name].accepts(state)
            verdict = "right" if accepted == valid else "valid refused" if valid else "invalid accepted"
            self.counts[name][verdict] += 1

    def draws(self, compiled: tl.control.Constraint, tokens: list[int], kind: str) -> None:
        """Draw at every step of a text, as far as it is allowed."""
        state: Any = compiled.start()
        for token in tokens:
            self.noise.max()
            logits = self.noise
            kept, logits[token] = logits[token], self.peak_logit
            watched = Watched(state.core)
            drawn = tl.control.draw_checked(logits, watched, tl.Rng(self.seed, self.n_steps))
            logits[token] = kept
            self.n_steps += 1
            self.check_us[kind].append(watched.n_ns / 1e3)
            self.n_checks.append(drawn.n_checks)
            self.n_masked += drawn.has_masked
            if not self.engines["tokenloom"].advance(state, token):
                return


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


STATISTICS: dict[str, Callable[[Any], float]] = {
    "mean": np.mean,
    "p50": np.median,
    "p99": lambda values: float(np.percentile(values, 99)),
    "max": np.max,
}


def spread(values: list[float]) -> dict[str, float]:
    """Mean, median, 99th percentile and largest."""
    return {name: round(float(of(values)), 2) for name, of in STATISTICS.items()}


def results(run: Run, batch: dict[str, list[float]], options: argparse.Namespace) -> dict[str, Any]:
    """What is recorded; every number of the table for readers is in it."""
    masks = {name: np.array(values) for name, values in run.mask_us.items()}
    ours, theirs = masks["tokenloom"], masks["llguidance"]
    draws = {kind: np.array(values) for kind, values in run.check_us.items()}
    draws["all draws"] = np.concatenate(list(draws.values()))
    compiled = {name: statistics.median(run.compile_us[name]) for name in ("tokenloom", "llguidance")}
    pairs = zip(batch["tokenloom"], batch["llguidance"], strict=True)
    return {
        "tokenizer": options.tokenizer,
        "n_tokens": run.tokenizer.vocab_size,
        "options": {name: value for name, value in vars(options).items() if name not in ("record", "tokenizer")},
        "machine": describe_machine(),
        "clock_ns": CLOCK_NS,
        "versions": {name: version(name) for name in ("llguidance", "xgrammar")},
        "compile_us": {name: spread(run.compile_us[name]) for name in run.engines},
        "mask_us": {name: spread(run.mask_us[name]) for name in run.engines},
        "draw_us": {kind: spread(times.tolist()) for kind, times in draws.items()},
        "n_steps": len(ours),
        "n_draws": {kind: len(times) for kind, times in draws.items()},
        "checks_per_token": round(float(np.mean(run.n_checks)), 3),
        "share_of_draws_with_a_mask": run.n_masked / len(run.n_checks),
        "verdicts": run.counts,
        "n_batch": {name: sum(name in compiled for compiled, _ in run.batch) for name in run.engines},
        "batch_ms": batch,
        "ratios": {
            "mask, ours over llguidance's, median of pairs": float(np.median(ours / theirs)),
            "mask, ours over llguidance's, means": float(ours.mean() / theirs.mean()),
            "mask, ours over llguidance's, p99": float(np.percentile(ours, 99) / np.percentile(theirs, 99)),
            "compile, ours over llguidance's, medians": compiled["tokenloom"] / compiled["llguidance"],
            "batch, ours over llguidance's, median of pairs": statistics.median(a / b for a, b in pairs),
            **{
                f"llguidance's mask over {kind}, {statistic}": STATISTICS[statistic](theirs)
                / STATISTICS[statistic](times)
                for kind, times in draws.items()
                for statistic in ("mean", "p99")
            },
        },
    }


def text_of(found: dict[str, Any]) -> str:
    """The table for readers."""
    machine, ratios = found["machine"], found["ratios"]
    lines = [
        f"## {found['tokenizer']}: {found['n_tokens']:,} tokens, {found['options']['schemas']} schemas",
        "",
        f"{machine['processor']}, {machine['n_cores']} cores, load {machine['load_average'][0]}, "
        + ", ".join(f"{name} {number}" for name, number in found["versions"].items())
        + ".",
        "",
        "| us | mean | p50 | p99 | max |",
        "|---|---|---|---|---|",
    ]
    for what, of in (
        ("compile", "compile_us"),
        ("mask", "mask_us"),
        ("draw by checks, inside the constraint", "draw_us"),
    ):
        for name, row in found[of].items():
            lines.append(f"| {what}, {name} | " + " | ".join(f"{value:.1f}" for value in row.values()) + " |")
    lines += [
        "",
        f"Masks at {found['n_steps']:,} steps that all engines took; {found['checks_per_token']:.2f} checks a draw, a "
        f"mask in {found['share_of_draws_with_a_mask']:.2%} of the draws.",
        "",
        "| ratio | |",
        "|---|---|",
    ]
    lines += [f"| {name} | {value:.2f} |" for name, value in ratios.items()]
    verdicts = found["verdicts"]
    lines += [
        "",
        "| verdicts | " + " | ".join(next(iter(verdicts.values()))) + " |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {name} | " + " | ".join(map(str, counts.values())) + " |" for name, counts in verdicts.items()]
    batch = found["batch_ms"]
    lines += [
        "",
        f"A batch, {found['options']['threads']} threads, {len(batch['tokenloom'])} steps: "
        + ", ".join(f"{name} {found['n_batch'][name]} masks in {statistics.median(batch[name]):.2f}" for name in batch)
        + " ms (medians).",
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
    parser.add_argument(
        "--record", type=Path, help="append the tables to this file, and all numbers to the .json beside it"
    )
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
        rows = rows_of(DATA / "maskbench_sample" / "maskbench_sample.jsonl.xz", options.seed)
        for turn, row in enumerate(rows[: options.schemas]):
            run.schema(row, turn)
        for row in rows[options.schemas :]:
            if len(run.batch) < N_BATCH:
                run.more_for_batch(row)
        found = results(run, batches(run, options.threads), options)
    print(text_of(found))
    if options.record:
        with options.record.open("a", encoding="utf-8") as record:
            record.write(text_of(found) + "\n")
        raw = options.record.with_suffix(".json")
        known = json.loads(raw.read_text("utf-8")) if raw.exists() else []
        raw.write_text(json.dumps([*known, found], indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
