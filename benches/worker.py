"""How does one engine answer the harness?

Run as ``python -m benches.worker ENGINE OPERATION``; reads requests, one JSON object a line, and answers each.

    {"arguments": {...}}   prepares the job               {"versions": {...}, "n_rounds": n}
    {"verify": true}       runs every round, untimed      {"digests": [sha256 of each answer]}
    {"warm_up": true}      calls the job's warm-up        {}
    {"round": k}           times round k                  {"ns": elapsed}

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
                job = getattr(module, operation)(request["arguments"])
                versions = {name: importlib.metadata.version(name) for name in module.PACKAGES}
                reply: dict[str, Any] = {"versions": versions, "n_rounds": len(job.rounds)}
            else:
                assert job is not None, "the first request carries the arguments"
                reply = _run(job, request)
        except Exception as error:  # whatever a peer raises belongs in the record
            reply = {"error": f"{type(error).__name__}: {error}"[:300]}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _run(job: Job, request: dict[str, Any]) -> dict[str, Any]:
    if "verify" in request:
        return {"digests": [hashlib.sha256(job.answer(call())).hexdigest() for call in job.rounds]}
    if "warm_up" in request:
        job.warm_up()
        return {}
    return {"ns": _time(job, request["round"])}


def _time(job: Job, index: int) -> int:
    call = job.rounds[index]
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter_ns()
        result = call()
        elapsed = time.perf_counter_ns() - start
    finally:
        gc.enable()
    del result
    return elapsed


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
