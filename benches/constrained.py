"""What does a constraint in Python cost on a real model, and what do the weights say?

``python -m benches.constrained --model FILE.gguf --record constrained`` continues prompts of three tasks with the
default model (SmolLM2-135M-Instruct, float32, CPU, one thread) under a predicate in Python: a pattern with look-around,
SQL by ``sqlglot`` on questions of sql-eval, SMILES by ``partialsmiles``. The ways: masks made by asking about every
token (whole texts for the pattern; elsewhere five tokens, which stand for the others), locally constrained decoding
(draws without weights), importance sampling, AWRS with particles, and genlm-control's AWRS with particles.

A way's time is its own, the model's forward passes and the logarithms of its rows left out. Validity is the share of
particles whose text is complete and right within the tokens allowed. The log marginal is the log of the mean of the
estimates of all seeds (each of them is unbiased, its logarithm is not), with its standard error by the delta method:
it shows what few seeds have seen, not what none of them has met. Locally constrained decoding has none. "Exact steps"
asks about every token at every step, so that its marginal has no variance within a step. genlm-control stops a search
where 1e-5 of a step's mass is unseen and says that nothing is allowed there; the same rule is shown on our side as a
tolerance. SMILES and SQL have a budget of checks a step, the same for both libraries (theirs is called max_rejects).
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import importlib.metadata
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benches.harness import ROOT
from benches.record import FOLDER, describe_machine

QUESTIONS = ROOT.parent / "shared" / "data" / "sql_eval" / "questions_gen_sqlite.csv"
PATTERN = r"(?!000)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?<!1234)"


@dataclass(frozen=True)
class Task:
    """A prompt and what its continuation must satisfy."""

    name: str
    prompt: str
    fits: Callable[[bytes], bool]
    complete: Callable[[bytes], bool]
    n_tokens: int
    n_masked: int
    budget: int | None = None


def text_of_prefix(prefix: bytes) -> str | None:
    """The text so far without a character that is cut at its end; None where it is no text."""
    try:
        return prefix.decode()
    except UnicodeDecodeError as error:
        return prefix[: error.start].decode() if len(prefix) - error.start < 4 else None


def pattern_task() -> Task:
    """A number with forbidden groups: look-ahead and look-behind."""
    import regex

    compiled = regex.compile(PATTERN)
    return Task(
        "pattern",
        "Forms ask for an identity number, such as 219-09-9999 or 457-55-5462. Mine is ",
        lambda prefix: compiled.fullmatch(prefix.decode("utf-8", "replace"), partial=True) is not None,
        lambda prefix: compiled.fullmatch(prefix.decode("utf-8", "replace")) is not None,
        14,
        14,
    )


def sql_tasks(n: int) -> list[Task]:
    """Questions whose answer the parser must be able to read up to its last word."""
    import logging

    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, TokenError

    logging.getLogger("sqlglot").setLevel(logging.ERROR)

    # What the parser falls over itself, as over `SELECT nullable` (KeyError in 30.x), it cannot read.
    slips = (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError)

    def parse(text: str) -> Any:
        return sqlglot.parse_one(text, read="sqlite")

    def fits(prefix: bytes) -> bool:
        text = text_of_prefix(prefix)
        if text is None or ";" in text:
            return False
        if not text.strip():
            return True
        head = text.lstrip().upper()
        if not ("SELECT".startswith(head[:6]) or head.startswith("SELECT")):
            return False
        try:
            parse(text)
        except TokenError:  # an open quotation
            return True
        except ParseError as error:
            place = error.errors[0]
            lines = text.split("\n")
            at = sum(len(line) + 1 for line in lines[: place["line"] - 1]) + place["col"]
            return at >= len(text.rstrip()) - 1
        except slips:
            return False
        return True

    def complete(prefix: bytes) -> bool:
        try:
            return isinstance(parse(prefix.decode()), exp.Select)
        except (TokenError, ParseError, UnicodeDecodeError, *slips):
            return False

    with QUESTIONS.open(newline="", encoding="utf-8") as file:
        questions = [row["question"] for row in csv.DictReader(file)]
    prompts = [f"-- {question}\n-- SQLite query:\n" for question in questions[:: len(questions) // n][:n]]
    return [Task("SQL", prompt, fits, complete, 24, 5, 256) for prompt in prompts]


def smiles_task() -> Task:
    """Molecules in SMILES."""
    import partialsmiles

    def parses(prefix: bytes, partial: bool) -> bool:
        if any(byte <= 32 or byte > 126 for byte in prefix):
            return False
        try:
            partialsmiles.ParseSmiles(prefix.decode(), partial=partial)
        except (partialsmiles.Error, IndexError, KeyError):
            return False
        return True

    known = "CCO c1ccccc1 CC(=O)O CCN(CC)CC Cc1ccccc1O C1CCCCC1 CC(C)C=O OCC1CCNC1".split()
    prompt = "Molecules in SMILES:\n" + "\n".join(known) + "\n"
    return Task("SMILES", prompt, lambda p: parses(p, True), lambda p: bool(p) and parses(p, False), 16, 5, 512)


class Ways:
    """The ways of one task on one model."""

    def __init__(self, model: Any, tokenizer: Any, ends: list[int], particles: int) -> None:
        self.model, self.tokenizer, self.ends, self.particles = model, tokenizer, ends, particles

    def constraint(self, task: Task) -> Any:
        import tokenloom as tl

        return tl.control.predicate(task.fits, self.tokenizer, complete=task.complete, eos=self.ends)

    def run(self, task: Task, seed: int, particles: int = 0, **options: Any) -> dict[str, Any]:
        """One run of our particles."""
        import tokenloom as tl

        reader = tl.torch.CachedReader(self.model, self.tokenizer.vocab_size)
        options = {"budget": task.budget, **options}
        smc = tl.control.Smc(particles=particles or self.particles, **options)
        prompt = self.tokenizer.encode_list(task.prompt)
        start = time.perf_counter()
        found = smc.run(reader, self.constraint(task), prompt, max_new_tokens=task.n_tokens, eos=self.ends, seed=seed)
        seconds = time.perf_counter() - start - reader.seconds
        n_tokens = max(1, sum(len(ids) for ids in found.ids))
        right = [reason == "eos" for reason in found.finish_reasons]
        assert all(task.complete(text) for text, is_right in zip(found.texts, right, strict=True) if is_right)
        return {
            "checks": found.n_checks / n_tokens,
            "ms": 1e3 * seconds / n_tokens,
            "valid": sum(right) / len(right),
            "log_marginal": found.log_marginal,
            "example": max(found.posterior() or {b"": 0.0}, key=(found.posterior() or {b"": 0.0}).__getitem__).decode(),
        }

    def masked(self, task: Task) -> dict[str, Any]:
        """Masks by asking about every token, for the first tokens of one text."""
        import tokenloom as tl

        reader = tl.torch.CachedReader(self.model, self.tokenizer.vocab_size)
        state = self.constraint(task).start()
        rows = reader.start(self.tokenizer.encode_list(task.prompt))
        seconds, n, log_weight = 0.0, 0, 0.0
        every = np.arange(self.tokenizer.vocab_size, dtype=np.uint32)
        while n < task.n_masked:
            start = time.perf_counter()
            allowed = np.array(state.check_many(every))
            allowed[self.ends] = state.is_accepting()
            row = np.where(allowed, rows[0], -np.inf)
            seconds += time.perf_counter() - start
            n += 1
            if row.max() == -np.inf:
                break
            log_weight += float(np.logaddexp.reduce(row))
            token = int(tl.sample.sample(row[None].astype(np.float32), seeds=[1], positions=[n]).tokens[0])
            if token in self.ends:
                break
            state.advance(token)
            rows = reader.advance([0], [token])
        return {
            "checks": float(len(every)),
            "ms": 1e3 * seconds / n,
            "valid": None,
            "log_marginal": None,
            "example": "",
        }

    def genlm(self, task: Task, seed: int) -> dict[str, Any]:
        """genlm-control: its AWRS and its SMC, on rows from the same model."""
        import tokenloom as tl
        from genlm.control import Potential
        from genlm.control.sampler.token import AWRS

        lm = tl.torch.LanguageModel(self.model)
        n_vocab, end = self.tokenizer.vocab_size, self.ends[0]
        prompt = self.tokenizer.encode_list(task.prompt)
        vocabulary = [token for token in range(n_vocab) if token not in self.ends]
        special = set(self.tokenizer.special_tokens.values())
        clock = {"model": 0.0, "checks": 0}
        memo: dict[tuple[int, ...], Any] = {}

        class Model(Potential):  # type: ignore[misc]
            async def prefix(self, context: list[int]) -> float:
                return 0.0

            async def complete(self, context: list[int]) -> float:
                return 0.0

            async def logw_next(self, context: list[int]) -> Any:
                key = tuple(context)
                start = time.perf_counter()
                if key not in memo:
                    row = lm([[*prompt, *context]])[0, :n_vocab]
                    row = row - np.logaddexp.reduce(row)
                    memo[key] = np.append(row[vocabulary], row[end])
                clock["model"] += time.perf_counter() - start
                return self.make_lazy_weights(memo[key])

        tokenizer = self.tokenizer

        def spelled(context: list[int]) -> bytes | None:
            if any(token in special for token in context):
                return None
            return b"".join(tokenizer.token_bytes(token) for token in context)

        class Rule(Potential):  # type: ignore[misc]
            async def prefix(self, context: list[int]) -> float:
                clock["checks"] += 1
                text = spelled(context)
                return 0.0 if text is not None and (not context or task.fits(text)) else -math.inf

            async def complete(self, context: list[int]) -> float:
                clock["checks"] += 1
                text = spelled(context)
                return 0.0 if text is not None and task.complete(text) else -math.inf

            async def logw_eos(self, context: list[int]) -> float:
                return await self.complete(context)  # its default asks about the whole vocabulary

        most = math.inf if task.budget is None else task.budget
        sampler = AWRS(Model(vocabulary), Rule(vocabulary), seed=seed, max_rejects=most, autobatch=False)
        np.random.seed(seed)  # its resampling draws from there
        start = time.perf_counter()
        run = sampler.smc(n_particles=self.particles, ess_threshold=0.5, max_tokens=task.n_tokens)
        found = asyncio.run(run)
        seconds = time.perf_counter() - start - clock["model"]
        n_tokens = max(1, sum(len(context) for context in found.contexts))
        weights = np.array(found.log_weights)
        return {
            "checks": clock["checks"] / n_tokens,
            "ms": 1e3 * seconds / n_tokens,
            "valid": float((weights > -np.inf).mean()),
            "log_marginal": float(found.log_ml),
            "example": "",
        }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds and prompts; the log marginal prompt by prompt, with its standard error."""
    valid = [run["valid"] for run in runs if run["valid"] is not None]
    by_prompt: dict[int, list[float]] = {}
    for run in runs:
        if run["log_marginal"] is not None:
            by_prompt.setdefault(run.get("prompt", 0), []).append(run["log_marginal"])
    marginals = []
    for values in by_prompt.values():
        best = max(values)
        if best == -math.inf:
            marginals.append((None, None, len(values)))
            continue
        masses = [math.exp(value - best) for value in values]
        mean = statistics.mean(masses)
        error = statistics.stdev(masses) / mean / math.sqrt(len(masses)) if len(masses) > 1 else None
        marginals.append((best + math.log(mean), error, sum(mass == 0.0 for mass in masses)))
    return {
        "checks": statistics.mean(run["checks"] for run in runs),
        "ms": statistics.median(run["ms"] for run in runs),
        "valid": statistics.mean(valid) if valid else None,
        "log_marginals": marginals,
        "example": runs[0]["example"],
        "n_runs": len(runs),
    }


def text_of(found: dict[str, Any]) -> str:
    """The record as a page."""
    lines = [
        f"# Constraints in Python on a real model, {found['date']}",
        "",
        f"`{found['command']}` on {found['machine']}. Versions: {found['versions']}.",
        "",
        (__doc__ or "").split("\n\n", 2)[2].replace("\n", " ").strip(),
        "",
        f"{found['particles']} particles; exact steps: {found['exact_particles']}.",
        "",
        "| task | way | runs | checks a token | ms a token | valid | log marginal, prompt by prompt |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, ways in found["tasks"].items():
        for way, numbers in ways.items():
            if "error" in numbers:
                lines.append(f"| {task} | {way} | | {numbers['error']} | | | |")
                continue
            valid = "" if numbers["valid"] is None else f"{numbers['valid']:.2f}"
            marginals = []
            for mean, error, n_dead in numbers["log_marginals"]:
                if mean is None:
                    marginals.append("all dead")
                    continue
                spread = "" if error is None else f" ± {error:.2f}"
                marginals.append(f"{mean:.2f}{spread}" + (f" ({n_dead} runs all dead)" if n_dead else ""))
            cells = [task, way, numbers["n_runs"], f"{numbers['checks']:.1f}", f"{numbers['ms']:.2f}", valid]
            lines.append(f"| {' | '.join(map(str, cells))} | {'; '.join(marginals)} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, and record where asked to."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.constrained")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--particles", type=int, default=5)
    parser.add_argument("--questions", type=int, default=2, help="SQL questions")
    parser.add_argument("--exact-particles", type=int, default=40, help="of the pattern's run with exact steps")
    parser.add_argument("--only", default="pattern,SMILES,SQL", help="tasks, by comma")
    parser.add_argument("--record", default="", help="name of the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = tl.torch.load(options.model)
    ends = [int(model.generation_config.eos_token_id)]  # one for all ways: genlm-control knows no second
    ways = Ways(model, tokenizer, ends, options.particles)
    packages = ("torch", "transformers", "sqlglot", "partialsmiles", "regex", "genlm-control")
    found: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": " ".join(["python -m benches.constrained", *sys.argv[1:]]).replace(str(options.model), "MODEL"),
        "machine": describe_machine(),
        "versions": {name: _version(name) for name in packages},
        "particles": options.particles,
        "exact_particles": options.exact_particles,
        "tasks": {},
    }
    stem = FOLDER / f"{found['date']}-{options.record}"
    if options.record and stem.with_suffix(".json").exists():  # tasks that were run before stay
        found["tasks"] = json.loads(stem.with_suffix(".json").read_text("utf-8"))["tasks"]
    ours: dict[str, dict[str, Any]] = {
        "locally constrained": {"ess": 0.0, "weigh": False},
        "importance": {"ess": 0.0},
        "AWRS-SMC": {"ess": 0.5},
        "AWRS-SMC, tolerance 1e-5": {"ess": 0.5, "tolerance": 1e-5},
        "AWRS-SMC, 64 checks a step at most": {"ess": 0.5, "budget": 64},
        "AWRS-SMC, 3 extra checks": {"ess": 0.5, "estimator": "known_mass", "extra": 3},
    }
    makers: dict[str, Callable[[], list[Task]]] = {
        "pattern": lambda: [pattern_task()],
        "SMILES": lambda: [smiles_task()],
        "SQL": lambda: sql_tasks(options.questions),
    }
    for name in options.only.split(","):
        tasks = makers[name]()
        rows: dict[str, Any] = {}
        for way, settings in (ours if name == "pattern" else dict(list(ours.items())[:3])).items():
            runs = [
                ways.run(task, seed, **settings) | {"prompt": at}
                for at, task in enumerate(tasks)
                for seed in range(options.seeds)
            ]
            rows[way] = summary(runs)
            if not settings.get("weigh", True):
                rows[way]["log_marginals"] = []
        if name == "pattern" and options.exact_particles:
            every = {"estimator": "known_mass", "top_m": tokenizer.vocab_size, "ess": 0.5}
            rows["exact steps"] = summary([ways.run(tasks[0], 0, options.exact_particles, **every)])
        n_masked = tasks[0].n_masked
        whole = n_masked >= tasks[0].n_tokens
        label = "masks by loop" if whole else f"masks by loop, {n_masked} tokens, extrapolated"
        rows[label] = summary([ways.masked(tasks[0])])
        try:
            runs = [
                ways.genlm(task, seed) | {"prompt": at}
                for at, task in enumerate(tasks)
                for seed in range(options.seeds)
            ]
            rows["genlm-control"] = summary(runs)
        except Exception as error:  # what a peer raises belongs in the record
            rows["genlm-control"] = {"error": f"{type(error).__name__}: {error}"[:120]}
        found["tasks"][name] = rows
        print(text_of(found), file=sys.stderr, flush=True)
        if options.record:
            stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
            stem.with_suffix(".md").write_text(text_of(found), "utf-8")
    return 0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


if __name__ == "__main__":
    raise SystemExit(main())
