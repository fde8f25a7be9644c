"""How does one engine answer the harness?

Run as ``python -m benches.worker ENGINE OPERATION``; reads requests, one JSON object a line, and answers each.

    {"arguments": {...}}   prepares the job               {"versions": {...}, "n_rounds": n}
    {"verify": n}          runs the first n rounds        {"digests": [sha256 of each answer]}
    {"warm_up": true}      calls the job's warm-up        {}
    {"round": k}           times round k                  {"ns": elapsed, "resident_bytes": after it}

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
from types import ModuleType
from typing import Any

from benches.job import Job


def serve(engine: str, operation: str) -> None:
    """Answer requests until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job: Job | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "arguments" in request:
                module = importlib.import_module(f"benches.engines.{engine}")
                job = _prepare(module, operation, request["arguments"])
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

    return codec.OPERATIONS[operation](module.load, arguments)


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
        start = time.perf_counter_ns()
        result = call()
        elapsed = time.perf_counter_ns() - start
        resident = _resident_bytes()
    finally:
        gc.enable()
    del result
    return {"ns": elapsed, "resident_bytes": resident}


def _resident_bytes() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0  # no such file outside Linux


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
