"""How far are the kernels from reading the logits once, and how far ahead of the peers?

    PYTHONPATH=python python -m benches.gpu                 # everything; writes benches/record/<date>-gpu.{json,md}
    PYTHONPATH=python python -m benches.gpu --quick         # small sizes, nothing written

First the bandwidth of a copy, then every kernel at every size beside its prediction (``predict.py``), then torch's
built-ins, Hugging Face's processors and FlashInfer, where they are installed, on the same logits. Before a row is timed
the tokens are compared with the CPU's on eight rows. Rounds of the engines are interleaved; the median counts. Logits
rotate among buffers that together exceed the L2 cache.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import platform
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tokenloom as tl
import torch
from tokenloom.torch import kernels

from benches.gpu import predict

Params = tl.sample.Params
RECORD = Path(__file__).parents[1] / "record"
BUFFER_BYTES = 256 * 2**20
RULES = {
    "sample greedy": Params(temperature=0),
    "sample temperature": Params(temperature=0.8),
    "sample top_p": Params(temperature=0.8, top_p=0.9),
    "sample top_k top_p": Params(temperature=0.8, top_k=50, top_p=0.9),
    "sample top_k top_p min_p": Params(temperature=0.8, top_k=50, top_p=0.9, min_p=0.02),
}

Call = Callable[[torch.Tensor], Any]


def median_s(calls: dict[str, Call], buffers: list[torch.Tensor], n_rounds: int) -> dict[str, float]:
    """The median time of each call, in rounds that take all of them in turn."""
    events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(buffers[0])
    torch.cuda.synchronize()
    for n_round in range(n_rounds):
        for name, call in calls.items():
            n_inner = 20
            events[0].record()
            for n in range(n_inner):
                call(buffers[(n_round + n) % len(buffers)])
            events[1].record()
            events[1].synchronize()
            times[name].append(events[0].elapsed_time(events[1]) * 1e-3 / n_inner)
    return {name: statistics.median(each) for name, each in times.items()}


def copy_bandwidth() -> float:
    """Bytes a second that a copy moves, reading and writing."""
    source = torch.empty(2**28, dtype=torch.float32, device="cuda")
    target = torch.empty_like(source)
    seconds = median_s({"copy": target.copy_}, [source], 10)["copy"]
    return 2 * source.numel() * 4 / seconds


def ours(n_rows: int, n_vocab: int) -> dict[str, Call]:
    """The kernels, by the names of the predictions."""
    seeds, positions = torch.arange(n_rows, device="cuda"), torch.zeros(n_rows, dtype=torch.int64, device="cuda")
    mask = torch.full((n_rows, -(-n_vocab // 32)), -1, dtype=torch.int32, device="cuda")
    order = torch.randperm(n_vocab, device="cuda").int()
    cuts = torch.linspace(0, n_vocab, 258, device="cuda").int()
    ranges = torch.stack([cuts[:-1], cuts[1:]], dim=1).contiguous()
    found: dict[str, Call] = {
        name: lambda logits, params=params: tl.sample.sample(logits, params, seeds, positions)
        for name, params in RULES.items()
    }
    found["sample masked"] = lambda logits: tl.sample.sample(logits, Params(temperature=0.8), seeds, positions, mask)
    found["arrivals 64"] = lambda logits: kernels.arrivals(logits, seeds, positions, 64)
    found["forbid"] = lambda logits: kernels.forbid_(logits, mask)
    found["range_sums 257"] = lambda logits: kernels.range_sums(logits, order, ranges)
    if n_rows * n_vocab <= 2**25:
        p = torch.rand(n_rows, 5, n_vocab, device="cuda")
        q = torch.rand(n_rows, 4, n_vocab, device="cuda")
        drafts = torch.randint(0, n_vocab, (n_rows, 4), device="cuda").int()
        parents = torch.arange(-1, 3, device="cuda").int().expand(n_rows, 4).contiguous()
        lengths = torch.full((n_rows,), 4, dtype=torch.int32, device="cuda")
        found["verify chain 4"] = lambda _: kernels.verify("chain", p, q, drafts, parents, lengths, seeds, positions)
    return found


def peers() -> dict[str, dict[str, Call]]:
    """What others do for the same rules, by the name of ours."""

    def multinomial(logits: torch.Tensor) -> torch.Tensor:
        return torch.multinomial((logits.float() / 0.8).softmax(-1), 1)

    def race(logits: torch.Tensor) -> torch.Tensor:
        probs = (logits.float() / 0.8).softmax(-1)
        return (probs / torch.empty_like(probs).exponential_()).argmax(-1)

    def top_k_first(logits: torch.Tensor) -> torch.Tensor:
        values, ids = (logits.float() / 0.8).topk(50)
        probs = values.softmax(-1)
        probs[(probs.cumsum(-1) - probs) >= 0.9] = 0
        return ids.gather(-1, torch.multinomial(probs, 1))

    found: dict[str, dict[str, Call]] = {
        "sample greedy": {"torch argmax": lambda logits: logits.argmax(-1)},
        "sample temperature": {"torch multinomial": multinomial, "torch exponential race": race},
        "sample top_k top_p": {"torch top-k first": top_k_first},
    }
    if importlib.util.find_spec("transformers"):
        from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

        chain = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopKLogitsWarper(50), TopPLogitsWarper(0.9)])
        found["sample top_k top_p"]["HF processors"] = lambda logits: torch.multinomial(
            chain(torch.zeros(len(logits), 1, dtype=torch.int64, device="cuda"), logits.float()).softmax(-1), 1
        )
    if importlib.util.find_spec("flashinfer"):
        from flashinfer import sampling

        found["sample temperature"]["FlashInfer"] = lambda logits: sampling.sampling_from_logits(logits.float() / 0.8)
        found["sample top_p"] = {
            "FlashInfer": lambda logits: sampling.top_p_sampling_from_probs((logits.float() / 0.8).softmax(-1), 0.9)
        }
        found["sample top_k top_p"]["FlashInfer"] = lambda logits: sampling.top_k_top_p_sampling_from_logits(
            logits.float() / 0.8, 50, 0.9
        )
    return found


def check(logits: torch.Tensor) -> None:
    """Raise unless eight rows draw the tokens of the CPU."""
    rows, seeds = logits[:8], np.arange(min(8, len(logits)))
    for name, params in RULES.items():
        found = tl.sample.sample(rows, params, torch.from_numpy(seeds).cuda(), 0).tokens.cpu()
        expected = tl.sample.sample(rows.cpu(), params, seeds, 0).tokens
        if not torch.equal(found, expected):
            raise SystemExit(f"{name}: the device draws {found.tolist()}, the CPU {expected.tolist()}")


def rows_of(n_vocab: int, n_rows: int, dtype: torch.dtype, bandwidth: float, n_rounds: int) -> list[dict[str, Any]]:
    """Every kernel and peer at one size."""
    width = 2 if dtype == torch.bfloat16 else 4
    n_buffers = max(1, min(64, BUFFER_BYTES // (n_rows * n_vocab * width)))
    buffers = [(torch.randn(n_rows, n_vocab, device="cuda") * 3).to(dtype) for _ in range(n_buffers)]
    check(buffers[0])
    calls, others = ours(n_rows, n_vocab), peers()
    n_multiprocessors = torch.cuda.get_device_properties(0).multi_processor_count
    found = []
    for case in predict.cases([(n_vocab, n_rows)], width):
        if case.name not in calls:
            continue
        times = median_s({"tokenloom": calls[case.name], **others.get(case.name, {})}, buffers, n_rounds)
        once = predict.roofline_s(case, bandwidth)
        found.append(
            {
                "kernel": case.name,
                "dtype": str(dtype).removeprefix("torch."),
                "n_rows": n_rows,
                "n_vocab": n_vocab,
                "roofline_us": once * 1e6,
                "predicted_us": predict.predicted_s(case, bandwidth, n_multiprocessors) * 1e6,
                "measured_us": {name: seconds * 1e6 for name, seconds in times.items()},
                "share_of_roofline": once / times["tokenloom"],
            }
        )
        print(json.dumps(found[-1]), flush=True)
    return found


def main() -> None:
    """Run and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two sizes, nothing written")
    arguments = parser.parse_args()
    print("kernels:", tl.gpu.warmup())
    bandwidth = copy_bandwidth()
    print(f"copy: {bandwidth / 1e12:.2f} TB/s")
    batches = (1, 64) if arguments.quick else (1, 8, 64, 256, 512)
    vocabularies = (32_768,) if arguments.quick else (32_768, 131_072, 262_144)
    rows = []
    for dtype in (torch.bfloat16, torch.float32):
        for n_vocab in vocabularies:
            for n_rows in batches:
                rows += rows_of(n_vocab, n_rows, dtype, bandwidth, 3 if arguments.quick else 9)
    if not arguments.quick:
        write(bandwidth, rows)


def write(bandwidth: float, rows: list[dict[str, Any]]) -> None:
    """The record: machine, versions, date, and what was predicted beside what was measured."""
    packages = ("tokenloom", "torch", "transformers", "flashinfer-python")
    versions = {}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    machine = {"gpu": torch.cuda.get_device_name(), "python": platform.python_version(), "cuda": torch.version.cuda}
    record = {"machine": machine, "versions": versions, "copy_bytes_per_s": bandwidth, "rows": rows}
    name = f"{datetime.date.today().isoformat()}-gpu"
    (RECORD / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    lines = [f"# GPU: {machine['gpu']}, copy {bandwidth / 1e12:.2f} TB/s", "", f"Versions: {versions}.", ""]
    lines += ["| kernel | dtype | B | V | once, us | predicted | measured | share | peers |", "|" + "---|" * 9]
    for row in rows:
        others = ", ".join(f"{k} {v:.1f}" for k, v in row["measured_us"].items() if k != "tokenloom")
        times = f"{row['roofline_us']:.1f} | {row['predicted_us']:.1f} | {row['measured_us']['tokenloom']:.1f}"
        share = f"{row['share_of_roofline']:.0%}"
        lines.append(
            f"| {row['kernel']} | {row['dtype']} | {row['n_rows']} | {row['n_vocab']} | {times} | {share} | {others} |"
        )
    (RECORD / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
