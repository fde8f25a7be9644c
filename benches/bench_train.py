"""How fast is a corpus turned into a tokenizer, beside the other trainers?

The whole training to merges: from documents in memory beside the Hugging Face trainer, from files beside gigabpe (whose
merges are those of the Hugging Face trainer, for the GPT-2 pattern alone), rustbpe (another order of ties, so only the
number of tokens is compared) and bpe-continue (merges across words, behind a first stage). Memory is that of a fresh
process behind its training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tokenloom as tl

from benches import corpora
from benches.harness import Case

TITLE = "Train: files and documents to tokenizers, two threads"
NOTE = (
    "Documents of about 4 kB, cut at line ends; files are read as lines. English: doc strings; code: Python sources, "
    "C++ headers. Superwords: a first stage of 8,000 tokens by the cl100k pattern, 2,000 on lines."
)

_QUANTITIES: tuple[Literal["time", "memory"], ...] = ("time", "memory")
_N_SLICES = 10
_N_ROUNDS = 3


def cases() -> list[Case]:
    """Both kinds of text, two patterns."""
    rows = []
    for kind in ("English", "code"):
        paths = corpora.write_slices(kind, _N_SLICES)
        n_megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6
        for name, pattern in (("GPT2", tl.patterns.GPT2), ("CL100K", tl.patterns.CL100K)):
            rows.append(
                Case(
                    row=f"documents, {name}, {kind}, {n_megabytes:.1f} MB",
                    operation="train",
                    engines=("tokenloom", "tokenizers"),
                    oracle="tokenizers",
                    arguments={"pattern": pattern, "vocab_size": 32_000, "texts": paths, "n_rounds": _N_ROUNDS},
                    n_items=n_megabytes,
                    unit="MB/s",
                    n_rounds=_N_ROUNDS,
                    n_threads=None,
                )
            )
    return rows + _files()


def _files() -> list[Case]:
    many = corpora.write_slices("code", 100)
    ten = corpora.write_slices("English", _N_SLICES)
    gpt2 = {"pattern": tl.patterns.GPT2, "vocab_size": 32_000}
    cl100k = {"pattern": tl.patterns.CL100K, "vocab_size": 32_000}
    lines = {"pattern": tl.patterns.CL100K, "transition": 8_000, "vocab_size": 10_000}
    return [
        case
        for row, operation, peers, oracle, arguments, paths in (
            ("files, GPT2", "train_files", ("gigabpe",), "tokenizers", gpt2, many),
            ("files, CL100K", "train_size", ("rustbpe",), "rustbpe", cl100k, many),
            ("superwords", "train_lines", ("bpe_continue",), "bpe_continue", lines, ten),
        )
        for case in _both(row, operation, peers, oracle, arguments, paths)
    ]


def _both(
    row: str, operation: str, peers: tuple[str, ...], oracle: str, arguments: dict[str, object], paths: list[str]
) -> list[Case]:
    """Time and memory of one row."""
    n_megabytes = sum(Path(path).stat().st_size for path in paths) / 1e6
    return [
        Case(
            row=f"{row}, {n_megabytes:.0f} MB, {quantity}",
            operation=operation,
            engines=("tokenloom", *peers),
            oracle=oracle,
            arguments=arguments | {"texts": paths, "n_rounds": _N_ROUNDS},
            n_items=1 if quantity == "memory" else n_megabytes,
            unit="MB" if quantity == "memory" else "MB/s",
            n_rounds=_N_ROUNDS,
            quantity=quantity,
            fresh=quantity == "memory",
            n_threads=2,
            limit_seconds=900.0,
        )
        for quantity in _QUANTITIES
    ]
