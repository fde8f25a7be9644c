"""How fast is a corpus turned into a tokenizer, beside the Hugging Face trainer?

The whole training from documents in memory to merges, on every core the machine has (both sides). The answer is the
list of merges; the oracle is tokenizers.
"""

from __future__ import annotations

from pathlib import Path

import tokenloom as tl

from benches import corpora
from benches.harness import Case

TITLE = "Train: 10 MB of documents to 32,000 tokens, all cores"
NOTE = "Documents of about 4 kB, cut at line ends: English doc strings; Python sources and C++ headers."

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
                    row=f"{name}, {kind}, {n_megabytes:.1f} MB",
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
    return rows
