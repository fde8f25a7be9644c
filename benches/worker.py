"""How does one engine answer the harness?

Run as ``python -m benches.worker ENGINE``; reads requests, one JSON object a line, and answers each.

    {"operation": name,    prepares the job, in place     {"versions": {...}, "n_rounds": n}
     "arguments": {...}}   of the one before
    {"verify": n}          runs the first n rounds        {"digests": [sha256 of each answer]}
    {"warm_up": true}      calls the job's warm-up        {}
    {"round": k}           times round k                  {"ns": elapsed, "cpu_ns": ..., "resident_bytes": ...}

A failure is a reply with the key ``error``. Whatever an engine prints goes to stderr, so it cannot break the protocol.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from benches.job import Job


def serve(engine: str) -> None:
    """Answer requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job: Job | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "arguments" in request:
                job = None  # its memory first
                module = importlib.import_module(f"benches.engines.{engine}")
                job = _prepare(module, request["operation"], request["arguments"])
                versions = {name: _version(name) for name in module.PACKAGES}
                reply: dict[str, Any] = {"versions": versions, "n_rounds": len(job.rounds)}
            else:
                assert job is not None, "the first request carries the arguments"
                reply = _run(job, request)
        except Exception as error:  # whatever a peer raises belongs in the record
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        # On the path, not installed: a checkout of ours.
        return str(importlib.import_module(package).__version__)


def _prepare(module: ModuleType, operation: str, arguments: dict[str, Any]) -> Job:
    if hasattr(module, operation):
        job: Job = getattr(module, operation)(arguments)
        return job
    from benches.engines import codec

    # The round itself loads in a first call; elsewhere one tokenizer serves all jobs of this process.
    load = module.load if operation == "first_call" else _kept(module.load)
    return codec.OPERATIONS[operation](load, arguments)


_loaded: dict[str, Any] = {}


def _kept(load: Callable[[dict[str, str]], Any]) -> Callable[[dict[str, str]], Any]:
    def load_once(tokenizer: dict[str, str]) -> Any:
        name = tokenizer["name"]
        if name not in _loaded:
            _loaded.clear()
            _loaded[name] = load(tokenizer)
        return _loaded[name]

    return load_once


def _run(job: Job, request: dict[str, Any]) -> dict[str, Any]:
    if "verify" in request:
        return {"digests": [hashlib.sha256(job.answer(call())).hexdigest() for call in job.rounds[: request["verify"]]]}
    if "warm_up" in request:
        job.warm_up()
        return {}
    return _time(job, request["round"])


def _time(job: Job, index: int) -> dict[str, int]:
    call = job.rounds[index]
    gc.collect()
    gc.disable()
    try:
        start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
        result = call()
        elapsed, cpu_elapsed = time.perf_counter_ns() - start, time.process_time_ns() - cpu_start
        resident = _resident_bytes()
    finally:
        gc.enable()
    del result
    return {"ns": elapsed, "cpu_ns": cpu_elapsed, "resident_bytes": resident}


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0  # no such file outside Linux


if __name__ == "__main__":
    serve(sys.argv[1])
