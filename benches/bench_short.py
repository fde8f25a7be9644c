"""What does one call on a short text cost, beside the peers?

Documents of 4,000 characters, sentences of 200, and one string of 19 bytes again and again, which shows the price of
the call itself. One thread. All but the last are text that the engine has not seen.
"""

from __future__ import annotations

from typing import Any

from benches import corpora, vocabularies
from benches.bench_encode import engines_of
from benches.harness import Case

TITLE = "Encode: short texts, one call each, one thread"
NOTE = (
    "English docstrings in pieces of 4,000 and 200 characters, 240 and 2,000 calls a round; 'Hello, dear world! ' "
    "20,000 times a round. us a call."
)

N_ROUNDS = 9
NAMES = ("cl100k", "o200k", "llama3", "qwen3")
_SIZES: dict[str, dict[str, Any]] = {
    "4 kB": {"n_chars": 4000, "n_calls": 240},
    "200 B": {"n_chars": 200, "n_calls": 2000},
    "19 B again": {"text": "Hello, dear world! ", "n_calls": 20_000},
}


def cases() -> list[Case]:
    """Every tokenizer, size and kind of result."""
    paths = corpora.write_slices("English", N_ROUNDS + 1)
    rows = []
    for tokenizer in filter(None, map(vocabularies.load, NAMES)):
        for size, options in _SIZES.items():
            for result in ("array", "list"):
                engines = engines_of(tokenizer, result)
                rows.append(
                    Case(
                        row=f"{tokenizer['name']}, {size}, {result}",
                        operation=f"calls_{result}",
                        engines=engines,
                        oracle="tiktoken" if "tiktoken" in engines else "tokenizers",
                        oracle_operation="calls_list",
                        arguments={
                            "tokenizer": tokenizer,
                            "warm_up": paths[0],
                            "texts": paths[1:],
                            "n_rounds": N_ROUNDS,
                            **options,
                        },
                        n_items=options["n_calls"],
                        unit="us",
                        n_rounds=N_ROUNDS,
                    )
                )
    return rows
