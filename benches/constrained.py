"""What does a constraint in Python cost on a real model, and what do the weights say?

``python -m benches.constrained --model FILE.gguf --record constrained`` continues prompts of three tasks with the
default model (SmolLM2-135M-Instruct, float32, CPU, one thread) under a predicate in Python: a pattern with look-around,
SQL by ``sqlglot`` on questions of sql-eval, SMILES by ``partialsmiles``. The ways: masks made by asking about every
token (a whole text for the pattern; elsewhere five tokens, which stand for the others), locally constrained decoding
(draws without weights), importance sampling, AWRS with particles, and genlm-control's AWRS with particles.

Questions are calls of the task's functions. A way's time is the processor time of its own, the model's forward passes
and the logarithms of its rows left out. "Alive" is the share of particles with weight, which are those whose text is
complete and right within the tokens allowed; a run is dead where none is. The log marginal of a prompt is the log of
the mean of the estimates of all seeds, dead ones counting as zero (each estimate is unbiased, its logarithm is not),
with its standard error by the delta method; that of several prompts is the mean of theirs. An error shows what few
seeds have seen, not what none of them has met. Locally constrained decoding is importance sampling without the weights,
so both are one run. SMILES and SQL are lines, ended by the line's end, and have a budget of checks a step, the same for
both libraries (theirs is called max_rejects).

The pattern is the hard case: behind the last digit nothing fits but the end of the text, which the model gives 5e-8 to
2e-5. Exact draws without a budget look for more among all other tokens, and that is nearly all of their questions.
genlm-control stops where 1e-5 of a step's mass is unseen and takes the rest for forbidden, so it asks less and loses
such texts; our tolerance is that rule. A budget needs neither: the end's verdict is known beforehand, so the search may
stop with hardly any variance, without bias. "Exact steps" ask about every token that digits and hyphens can spell, so
that their marginal has no variance within a step: the others should agree with it.
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
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benches.harness import ROOT
from benches.record import FOLDER, describe_machine

QUESTIONS = ROOT.parent / "shared" / "data" / "sql_eval" / "questions_gen_sqlite.csv"
EXAMPLES = """-- How many rivers are longer than 500 km?
SELECT COUNT(*) FROM river WHERE length > 500
-- Which papers were published in 2010, and in which journal?
SELECT title, journal FROM paper WHERE year = 2010
"""
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
    end: bytes = b"<|im_end|>"
    budget: int | None = None
    alphabet: str | None = None


class Asked:
    """A task whose questions are counted: those about prefixes and those about complete texts."""

    def __init__(self, task: Task) -> None:
        self.n = 0
        self.task = replace(task, fits=self._counting(task.fits), complete=self._counting(task.complete))

    def _counting(self, ask: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
        def counted(text: bytes) -> bool:
            self.n += 1
            return ask(text)

        return counted


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
        alphabet="[0-9-]*",
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
        if text is None or ";" in text or "\n" in text:
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
            return int(error.errors[0]["col"]) >= len(text.rstrip()) - 1
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
    prompts = [f"{EXAMPLES}-- {question}\n" for question in questions[:: len(questions) // n][:n]]
    return [Task("SQL", prompt, fits, complete, 48, 5, b"\n", 256) for prompt in prompts]


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
    return Task("SMILES", prompt, lambda p: parses(p, True), lambda p: bool(p) and parses(p, False), 24, 5, b"\n", 512)


class Reading:
    """A reader of the model whose own processor time is known."""

    def __init__(self, model: Any, n_vocab: int) -> None:
        import tokenloom as tl

        self._reader, self.seconds = tl.torch.CachedReader(model, n_vocab), 0.0

    def start(self, prompt: list[int]) -> Any:
        return self._timed(self._reader.start, prompt)

    def advance(self, parents: list[int], tokens: list[int]) -> Any:
        return self._timed(self._reader.advance, parents, tokens)

    def _timed(self, read: Callable[..., Any], *what: Any) -> Any:
        start = time.process_time()
        rows = read(*what)
        self.seconds += time.process_time() - start
        return rows


class SideBySide:
    """Rows of contexts that are asked for one by one, in coroutines, and read together."""

    def __init__(self, reader: Reading, prompt: list[int]) -> None:
        self._reader, self._prompt = reader, prompt
        self._rows: dict[tuple[int, ...], Any] = {}
        self._read: list[tuple[int, ...]] = []  # the contexts that the reader's rows stand for
        self._waiting: list[tuple[int, ...]] = []

    async def row(self, context: list[int]) -> Any:
        """Natural log-probabilities behind a context, which goes on from one of the step before."""
        key = tuple(context)
        if key not in self._rows:
            if key not in self._waiting:
                self._waiting.append(key)
            await asyncio.sleep(0)  # the others ask for theirs
        if key not in self._rows:
            keys = self._waiting
            if keys == [()]:
                rows = self._reader.start(self._prompt)
            else:
                rows = self._reader.advance([self._read.index(key[:-1]) for key in keys], [key[-1] for key in keys])
            self._rows |= dict(zip(keys, rows, strict=True))
            self._read, self._waiting = keys, []
        return self._rows[key]


class Ways:
    """The ways of one task on one model."""

    def __init__(self, model: Any, tokenizer: Any, particles: int) -> None:
        self.model, self.tokenizer, self.particles = model, tokenizer, particles

    def end(self, task: Task) -> int:
        """The one token that ends a text; genlm-control knows no second."""
        return int(self.tokenizer.token_id(task.end))

    def constraint(self, task: Task) -> Any:
        import tokenloom as tl

        return tl.control.predicate(task.fits, self.tokenizer, complete=task.complete, eos=[self.end(task)])

    def run(self, task: Task, seed: int, particles: int = 0, exact: bool = False, **options: Any) -> dict[str, Any]:
        """One run of our particles."""
        import tokenloom as tl

        reader, end, asked = Reading(self.model, self.tokenizer.vocab_size), self.end(task), Asked(task)
        constraint = self.constraint(asked.task)
        options = {"budget": task.budget, **options}
        if exact:  # the tokens that the alphabet spells are few: all are checked up front
            spelled = tl.control.regex(task.alphabet, self.tokenizer, eos=[end])
            n_spelled = int(np.unpackbits(spelled.start().mask().view(np.uint8)).sum())
            constraint = spelled & constraint
            options |= {"method": "hybrid", "estimator": "known_mass", "top_m": n_spelled}
        smc = tl.control.Smc(particles=particles or self.particles, **options)
        prompt = self.tokenizer.encode_list(task.prompt)
        start = time.process_time()
        found = smc.run(reader, constraint, prompt, max_new_tokens=task.n_tokens, eos=[end], seed=seed)
        seconds = time.process_time() - start - reader.seconds
        n_asked, n_tokens = asked.n, max(1, sum(len(ids) for ids in found.ids))
        right = [reason == "eos" for reason in found.finish_reasons]
        assert all(task.complete(text) for text, is_right in zip(found.texts, right, strict=True) if is_right)
        posterior = found.posterior()
        return {
            "asked": n_asked / n_tokens,
            "ms": 1e3 * seconds / n_tokens,
            "alive": sum(right) / len(right),
            "log_marginal": found.log_marginal,
            "example": max(posterior, key=posterior.__getitem__).decode() if posterior else "",
        }

    def masked(self, task: Task) -> dict[str, Any]:
        """Masks by asking about every token, for the first tokens of one text."""
        import tokenloom as tl

        end = self.end(task)
        reader = Reading(self.model, self.tokenizer.vocab_size)
        asked = Asked(task)
        state = self.constraint(asked.task).start()
        rows = reader.start(self.tokenizer.encode_list(task.prompt))
        seconds, n, log_weight, token = 0.0, 0, 0.0, -1
        every = np.arange(self.tokenizer.vocab_size, dtype=np.uint32)
        while n < task.n_masked and token != end:
            start = time.process_time()
            allowed = np.array(state.check_many(every))
            row = np.where(allowed, rows[0], -np.inf)
            seconds += time.process_time() - start
            n += 1
            if row.max() == -np.inf:
                break
            log_weight += float(np.logaddexp.reduce(row))
            token = int(tl.sample.sample(row[None].astype(np.float32), seeds=[1], positions=[n]).tokens[0])
            if token != end:
                state.advance(token)
                rows = reader.advance([0], [token])
        is_whole = task.n_masked >= task.n_tokens
        return {
            "asked": asked.n / n,
            "ms": 1e3 * seconds / n,
            "alive": float(token == end) if is_whole else None,
            "log_marginal": (log_weight if token == end else -math.inf) if is_whole else None,
            "example": "",
        }

    def genlm(self, task: Task, seed: int) -> dict[str, Any]:
        """genlm-control: its AWRS and its SMC, on rows from the same model, which reads its particles side by side."""
        from genlm.control import Potential
        from genlm.control.sampler.token import AWRS

        n_vocab, end = self.tokenizer.vocab_size, self.end(task)
        prompt = self.tokenizer.encode_list(task.prompt)
        vocabulary = [token for token in range(n_vocab) if token != end]
        special = set(self.tokenizer.special_tokens.values())
        reader, asked = Reading(self.model, n_vocab), Asked(task)
        rows, fits, complete = SideBySide(reader, prompt), asked.task.fits, asked.task.complete

        class Model(Potential):  # type: ignore[misc]
            async def prefix(self, context: list[int]) -> float:
                return 0.0

            async def complete(self, context: list[int]) -> float:
                return 0.0

            async def logw_next(self, context: list[int]) -> Any:
                row = await rows.row(context)
                return self.make_lazy_weights(np.append(row[vocabulary], row[end]))

        tokenizer = self.tokenizer

        def spelled(context: list[int]) -> bytes | None:
            if any(token in special for token in context):
                return None
            return b"".join(tokenizer.token_bytes(token) for token in context)

        class Rule(Potential):  # type: ignore[misc]
            async def prefix(self, context: list[int]) -> float:
                text = spelled(context)
                return 0.0 if text is not None and (not context or fits(text)) else -math.inf

            async def complete(self, context: list[int]) -> float:
                text = spelled(context)
                return 0.0 if text is not None and complete(text) else -math.inf

            async def logw_eos(self, context: list[int]) -> float:
                return await self.complete(context)  # its default asks about the whole vocabulary

        most = math.inf if task.budget is None else task.budget
        sampler = AWRS(Model(vocabulary), Rule(vocabulary), seed=seed, max_rejects=most, autobatch=False)
        np.random.seed(seed)  # its resampling draws from there
        start = time.process_time()
        run = sampler.smc(n_particles=self.particles, ess_threshold=0.5, max_tokens=task.n_tokens)
        found = asyncio.run(run)
        seconds = time.process_time() - start - reader.seconds
        n_tokens = max(1, sum(len(context) for context in found.contexts))
        weights = np.array(found.log_weights)
        return {
            "asked": asked.n / n_tokens,
            "ms": 1e3 * seconds / n_tokens,
            "alive": float((weights > -np.inf).mean()),
            "log_marginal": float(found.log_ml),
            "example": "",
        }


Marginal = tuple[float | None, float | None, int]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds and prompts; the log marginal of each prompt: its value, its standard error, dead runs."""
    alive = [run["alive"] for run in runs if run["alive"] is not None]
    by_prompt: dict[int, list[float]] = {}
    for run in runs:
        if run["log_marginal"] is not None:
            by_prompt.setdefault(run.get("prompt", 0), []).append(run["log_marginal"])
    return {
        "asked": statistics.mean(run["asked"] for run in runs),
        "ms": statistics.mean(run["ms"] for run in runs),
        "alive": statistics.mean(alive) if alive else None,
        "log_marginals": [marginal(values) for values in by_prompt.values()],
        "runs": runs,
    }


def marginal(values: list[float]) -> Marginal:
    """The log of the mean of estimates given as logarithms, its standard error, and how many are zero."""
    n_dead = sum(value == -math.inf for value in values)
    best = max(values)
    if best == -math.inf:
        return None, None, n_dead
    masses = [math.exp(value - best) for value in values]
    mean = statistics.mean(masses)
    error = statistics.stdev(masses) / mean / math.sqrt(len(masses)) if len(masses) > 1 else None
    return best + math.log(mean), error, n_dead


def over_prompts(marginals: list[Marginal]) -> str:
    """The mean over the prompts, with its error, and what is dead; empty without marginals."""
    there = [(mean, error) for mean, error, _ in marginals if mean is not None]
    if not there:
        return "all dead" if marginals else ""
    text = f"{statistics.mean(mean for mean, _ in there):.2f}"
    if all(error is not None for _, error in there):
        text += f" ± {math.sqrt(sum(error**2 for _, error in there if error is not None)) / len(there):.2f}"
    notes = []
    if n_dead := sum(dead for _, _, dead in marginals):
        notes.append(f"{n_dead} runs dead")
    if len(there) < len(marginals):
        notes.append(f"over {len(there)} of {len(marginals)} prompts")
    return text + (f" ({', '.join(notes)})" if notes else "")


def text_of(found: dict[str, Any]) -> str:
    """The record as a page."""
    lines = [
        f"# Constraints in Python on a real model, {found['date']}",
        "",
        f"`{found['command']}` on {found['machine']}, {found['minutes']} minutes. Versions: {found['versions']}.",
        "",
        *(paragraph.replace("\n", " ").strip() + "\n" for paragraph in (__doc__ or "").split("\n\n")[2:]),
        "",
        f"{found['particles']} particles; exact steps: {found['exact_particles']}.",
        "",
        "| task | way | runs | questions a token | ms a token | alive | log marginal |",
        "|---|---|---|---|---|---|---|",
    ]
    for task, ways in found["tasks"].items():
        for way, numbers in ways.items():
            if "error" in numbers:
                lines.append(f"| {task} | {way} | | {numbers['error']} | | | |")
                continue
            alive = "" if numbers["alive"] is None else f"{numbers['alive']:.2f}"
            cells = [task, way, len(numbers["runs"]), f"{numbers['asked']:.1f}", f"{numbers['ms']:.2f}", alive]
            lines.append(f"| {' | '.join(map(str, cells))} | {over_prompts(numbers['log_marginals'])} |")
    for task, ways in found["tasks"].items():
        columns = {way: numbers["log_marginals"] for way, numbers in ways.items() if numbers.get("log_marginals")}
        n_prompts = max(map(len, columns.values()), default=0)
        if n_prompts > 1:
            lines += [
                "",
                f"{task}, prompt by prompt:",
                "",
                f"| | {' | '.join(columns)} |",
                "|---" * (len(columns) + 1) + "|",
            ]
            for at in range(n_prompts):
                lines.append(f"| {at + 1} | {' | '.join(over_prompts([each[at]]) for each in columns.values())} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run, print, and record where asked to."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.constrained")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--particles", type=int, default=10)
    parser.add_argument("--questions", type=int, default=8, help="SQL questions")
    parser.add_argument("--exact-particles", type=int, default=40, help="of each run with exact steps")
    parser.add_argument("--only", default="pattern,SMILES,SQL", help="tasks, by comma")
    parser.add_argument("--record", default="", help="name of the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = tl.torch.load(options.model)
    ways = Ways(model, tokenizer, options.particles)
    packages = ("torch", "transformers", "sqlglot", "partialsmiles", "regex", "genlm-control")
    began = time.perf_counter()
    found: dict[str, Any] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": " ".join(["python -m benches.constrained", *sys.argv[1:]]).replace(str(options.model), "MODEL"),
        "machine": describe_machine(),
        "versions": {name: _version(name) for name in packages},
        "particles": options.particles,
        "exact_particles": options.exact_particles,
        "tasks": {},
    }
    ours: dict[str, dict[str, Any]] = {
        "importance": {"ess": 0.0},
        "AWRS-SMC": {"ess": 0.5},
        "AWRS-SMC, tolerance 1e-5": {"ess": 0.5, "tolerance": 1e-5},
        "AWRS-SMC, 64 checks a step at most": {"ess": 0.5, "budget": 64},
        "AWRS-SMC, 3 extra checks": {"ess": 0.5, "estimator": "known_mass", "extra": 3},
        "exact steps": {"ess": 0.5, "exact": True, "particles": options.exact_particles},
    }
    makers: dict[str, Callable[[], list[Task]]] = {
        "pattern": lambda: [pattern_task()],
        "SMILES": lambda: [smiles_task()],
        "SQL": lambda: sql_tasks(options.questions),
    }

    def runs_of(tasks: list[Task], way: Callable[..., dict[str, Any]], **settings: Any) -> dict[str, Any]:
        pairs = [(at, seed) for at in range(len(tasks)) for seed in range(options.seeds)]
        return summary([way(tasks[at], seed, **settings) | {"prompt": at} for at, seed in pairs])

    for name in options.only.split(","):
        tasks = makers[name]()
        rows: dict[str, Any] = {}
        for way, settings in (ours if tasks[0].alphabet else dict(list(ours.items())[:2])).items():
            rows[way] = runs_of(tasks, ways.run, **settings)
        rows = {"locally constrained": rows["importance"] | {"log_marginals": []}, **rows}
        found["tasks"][name] = rows
        n_masked = tasks[0].n_masked
        whole = n_masked >= tasks[0].n_tokens
        label = "masks by loop, one text" if whole else f"masks by loop, {n_masked} tokens, extrapolated"
        rows[label] = summary([ways.masked(tasks[0])])
        try:
            rows["genlm-control"] = runs_of(tasks, ways.genlm)
        except Exception as error:  # what a peer raises belongs in the record
            rows["genlm-control"] = {"error": f"{type(error).__name__}: {error}"[:120]}
        found["minutes"] = round((time.perf_counter() - began) / 60, 1)
        print(text_of(found), file=sys.stderr, flush=True)
    if options.record:
        stem = FOLDER / f"{found['date']}-{options.record}"
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
