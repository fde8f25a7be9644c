"""How fast is text indexed and drafted from, and how good are the drafts, beside the peers?

The speed rows go through the harness. How many tokens a step yields is no time: ``python -m benches.bench_draft``
prints that table, each engine in a process of its own, on the same requests; with ``growth`` behind it, what a token
costs from 10,000 to 10,000,000 of them; with ``batch`` what a batch of proposals saves. What the merged tree yields
beside its sources is :mod:`benches.merged`.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benches.harness import ROOT, Case

TITLE = "Draft: one suffix index, and whole drafting steps through the public interface"
NOTE = (
    "Random: uniform over 49,152 ids, so that a context of 64 tokens has one continuation, on which all engines must "
    "agree. A tokenloom stream carries what it matches along, arctic matches anew in each call. Of 500 streams each "
    "proposes once a round, so its memory is cold. Of a draft the tokens are taken, where there are any. Replay: "
    "recorded Spec-Bench answers in the vocabulary of SmolLM2, requests in file order, nothing known at the start; a "
    "step is propose and commit, and engines draft differently, so they must agree on what was committed. Where the "
    "Spec-Bench file is not beside the checkout (../shared/data/spec_bench) the text and replay rows are left out."
)

N_ROUNDS = 5
QUESTIONS = ROOT.parent / "shared" / "data" / "spec_bench" / "question.jsonl"


def cases() -> list[Case]:
    """Update, propose and replay."""
    rows = []
    pair = ("tokenloom", "arctic_inference")
    for n_tokens in (10_000, 100_000, 1_000_000):
        data = {"seed": 1, "n_tokens": n_tokens, "n_rounds": N_ROUNDS}
        rows.append(Case(f"append, random, {n_tokens:,}", "draft_update", pair, pair[1], data, n_tokens, "us"))
        for name, is_hit in (("64-token match, 16 drafted", True), ("no match", False)):
            arguments = {**data, "is_hit": is_hit, "n_contexts": 500}
            rows.append(Case(f"propose, {name}, {n_tokens:,}", "draft_propose", pair, pair[1], arguments, 500, "us"))
    if QUESTIONS.exists():
        requests, n_tokens, n_answer = write_requests()
        data = {"requests": requests, "n_tokens": n_tokens, "n_rounds": N_ROUNDS}
        rows.append(Case(f"append, Spec-Bench, {n_tokens:,}", "draft_update", pair, pair[1], data, n_tokens, "us"))
        engines = (*pair, "prompt_lookup")
        arguments = {"requests": requests, "n_rounds": N_ROUNDS}
        rows.append(Case("replay, per answer token", "draft_replay", engines, pair[1], arguments, n_answer, "us"))
    return rows


def write_requests() -> tuple[str, int, int]:
    """Tokenize the questions that have a reference: the path, all tokens, answer tokens."""
    import tokenloom as tl

    folder = Path(tempfile.mkdtemp(prefix="bench-draft-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    gguf = next(_load_script("fetch_assets").fetch("smollm2").rglob("*.gguf"))
    tokenizer = tl.Tokenizer.from_file(gguf)
    rows: list[tuple[str, list[int], list[int]]] = []
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        question = json.loads(line)
        text: list[int] = []
        for turn, reference in zip(question["turns"], question.get("reference", []), strict=False):
            text = text + tokenizer.encode_list(turn)
            # A question of the RAG part has a list of short answers.
            answer = tokenizer.encode_list(reference if isinstance(reference, str) else reference[0])
            rows.append((_group(question["category"]), text, answer))
            text = text + answer
    path = folder / "requests.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    n_answer = sum(len(answer) for _, _, answer in rows)
    return str(path), n_answer + sum(len(prompt) for _, prompt, _ in rows), n_answer


def _group(category: str) -> str:
    return category if category in ("translation", "summarization", "qa", "math_reasoning", "rag") else "mt_bench"


def _load_script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up by name while it runs
    spec.loader.exec_module(module)
    return module


def _quality() -> None:
    """Print tokens and drafted tokens a step of each engine, and its tokens a step by category."""
    requests, *_ = write_requests()
    entries: list[tuple[str, dict[str, Any]]] = [
        ("tokenloom", {}),
        ("tokenloom", {"min_prob": 0.15}),
        ("tokenloom", {"kind": "Merged"}),
        ("tokenloom", {"kind": "Recycling"}),
        ("tokenloom", {"kind": "Ngram"}),
        ("arctic_inference", {}),
        ("prompt_lookup", {}),
    ]
    print("engine, tokens/step, drafted/step, accepted/drafted, tokens/step by category")
    for engine, options in entries:
        arguments = json.dumps({"requests": requests, "n_rounds": 1, **options})
        command = [sys.executable, "-m", "benches.bench_draft", engine, arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        counts = json.loads(done.stdout)
        n_tokens, n_steps, n_drafted = (sum(count[i] for count in counts.values()) for i in range(3))
        parts = ", ".join(f"{kind} {count[0] / count[1]:.3f}" for kind, count in counts.items())
        name = f"{engine} {options or ''}".strip()
        rate = (n_tokens - n_steps) / n_drafted
        print(f"{name}, {n_tokens / n_steps:.3f}, {n_drafted / n_steps:.2f}, {rate:.3f}, {parts}")


def _growth() -> None:
    """Print what a token costs as a stream grows."""
    import numpy as np
    import tokenloom as tl

    rng = np.random.default_rng(1)
    print("tokens, us/token to append, B/token open, B/token ended")
    for n_tokens in (10**4, 10**5, 10**6, 10**7):
        ids = rng.zipf(1.3, n_tokens).clip(max=49_151).astype(np.int32)
        drafter = tl.draft.Suffix(max_bytes=2**30)
        stream = drafter.begin([])
        start = time.perf_counter()
        for at in range(0, n_tokens, 10_000):
            stream.commit(ids[at : at + 10_000])
        seconds = time.perf_counter() - start
        n_bytes = stream.n_bytes
        stream.end()
        frozen = drafter.n_bytes / max(drafter.n_tokens, 1)
        print(f"{n_tokens:,}, {seconds / n_tokens * 1e6:.3f}, {n_bytes / n_tokens:.1f}, {frozen:.2f}")


def _batch() -> None:
    """Print what a batch of 256 proposals saves on two threads, and what two threads could save here at all.

    Rounds are interleaved: single calls, the batch, and a job that two threads can only halve (two hashes of much
    memory, one after the other and side by side). Where the other cores are busy, or share their units, the last says
    so; the quickest rounds are those that were disturbed least.
    """
    import hashlib
    import statistics
    import threading
    from collections.abc import Callable

    import numpy as np
    import tokenloom as tl

    rng = np.random.default_rng(1)
    drafter = tl.draft.Suffix(min_prob=0.01)
    streams = [drafter.begin(rng.integers(0, 50, 2000)) for _ in range(256)]
    out = tl.draft.TreeBatch.empty(256, 32)
    memory = bytes(400_000)

    def single() -> None:
        for stream in streams:
            stream.propose(32)

    def both() -> None:
        helper = threading.Thread(target=hashlib.sha256, args=(memory,))
        helper.start()
        hashlib.sha256(memory)
        helper.join()

    jobs: dict[str, Callable[[], object]] = {
        "single": single,
        "batch": lambda: drafter.propose_batch(streams, 32, out=out, threads=2),
        "one": lambda: [hashlib.sha256(memory) for _ in range(2)],
        "two": both,
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(301):
        for name, job in jobs.items():
            start = time.perf_counter(), time.process_time()
            job()
            found[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    for title, over, under in (("256 proposals", "single", "batch"), ("two hashes", "one", "two")):
        ratios = sorted(long[0] / short[0] for long, short in zip(found[over], found[under], strict=True))
        work = statistics.median(long[1] for long in found[over]) / statistics.median(s[1] for s in found[under])
        quickest = [min(round_[0] for round_ in found[name]) for name in (over, under)]
        quarter = len(ratios) // 4
        print(
            f"{title} on two threads: {ratios[len(ratios) // 2]:.2f} times as fast (quartiles {ratios[quarter]:.2f} to "
            f"{ratios[-quarter - 1]:.2f}), quickest rounds {quickest[0] / quickest[1]:.2f} times "
            f"({quickest[0] * 1e3:.2f} and {quickest[1] * 1e3:.2f} ms), processor time {work:.2f} times less"
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["growth"]:
        _growth()
    elif sys.argv[1:] == ["batch"]:
        _batch()
    elif len(sys.argv) > 1:
        job = importlib.import_module(f"benches.engines.{sys.argv[1]}").draft_replay(json.loads(sys.argv[2]))
        print(json.dumps(job.rounds[0]()))
    else:
        _quality()
