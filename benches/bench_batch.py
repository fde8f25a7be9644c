"""How fast is a batch of documents encoded on two threads, beside the peers?

10 MB a call in documents of 4,000 characters.
"""

from __future__ import annotations

from pathlib import Path

from benches import corpora, vocabularies
from benches.harness import Case

TITLE = "Encode: batches of 10 MB in documents of 4 kB, two threads"
NOTE = (
    "As far as the text goes, a round is text the engine has not seen; where it does not go so far, the same part of "
    "it for every engine. gigatoken returns an awkward array, tokenloom, fastokens, splintr and tuetoken one array "
    "with offsets."
)

N_ROUNDS = 3
N_PROCESSES = 3
N_SLICES = 10
NAMES = ("cl100k", "llama3")
ARRAYS = ("tokenloom", "gigatoken", "fastokens", "splintr", "tuetoken")
LISTS = ("tokenloom", "gigatoken", "fastokens", "splintr", "tuetoken", "tiktoken")


def cases() -> list[Case]:
    """Two tokenizers, English and code, arrays and lists."""
    rows = []
    for kind in ("English", "code"):
        paths = corpora.write_slices(kind, N_SLICES * N_ROUNDS + 1)
        warm_up, rest = paths[:1], paths[1:]
        step = min(N_SLICES, (len(rest) - N_SLICES) // (N_ROUNDS - 1))
        groups = [rest[index * step : index * step + N_SLICES] for index in range(N_ROUNDS)]
        n_bytes = sum(Path(path).stat().st_size for group in groups for path in group) / N_ROUNDS
        for tokenizer in filter(None, map(vocabularies.load, NAMES)):
            for result, engines in (("array", ARRAYS), ("list", LISTS)):
                rows.append(
                    Case(
                        row=f"{tokenizer['name']}, {kind}, {result}",
                        operation=f"batch_{result}",
                        engines=engines,
                        oracle="tiktoken",
                        oracle_operation="batch_list",
                        arguments={"tokenizer": tokenizer, "warm_up": warm_up, "groups": groups, "n_chars": 4000},
                        n_items=n_bytes / 1e6,
                        unit="MB/s",
                        n_rounds=N_ROUNDS,
                        n_processes=N_PROCESSES,
                        n_threads=2,
                    )
                )
    return rows
