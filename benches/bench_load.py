"""What does a program pay until its first ids: time and memory?

Each round is a fresh process: the file is loaded and one sentence encoded. The import of the library is not in the
time, but is in the memory, as everything else that the process holds afterwards.
"""

from __future__ import annotations

from benches import vocabularies
from benches.harness import Case

TITLE = "Load and first call, in a fresh process"
NOTE = (
    "Resident memory is that of the whole process after the first call; it includes Python (about 15 MB), and NumPy "
    "for the libraries that import it (tokenloom, gigatoken). cl100k: from the rank file for tokenloom, gigatoken, "
    "kitoken, riptoken and tiktoken, from a tokenizer.json for the others; rs_bpe and quicktok hold it themselves. "
    "llama3, gemma: from the tokenizer.json, riptoken and tiktoken from the rank file."
)

N_ROUNDS = 9
_ENGINES = {
    "cl100k": (
        "tokenloom", "kitoken", "riptoken", "rs_bpe", "quicktok", "tuetoken", "splintr", "gigatoken",
        "tiktoken", "tokenizers",
    ),
    "llama3": ("tokenloom", "kitoken", "riptoken", "tuetoken", "splintr", "gigatoken", "tiktoken", "tokenizers"),
    "gemma": ("tokenloom", "kitoken", "tuetoken", "splintr", "gigatoken", "tokenizers"),
}  # fmt: skip
_TEXT = "The first call of a program: 12 words, ünïcödé, and a number, 2026.\n"


def cases() -> list[Case]:
    """Three tokenizers, time and memory."""
    rows = []
    for tokenizer in filter(None, map(vocabularies.load, _ENGINES)):
        name = tokenizer["name"]
        for quantity, unit, n_items in (("time", "ms", 1), ("memory", "MB", 1)):
            rows.append(
                Case(
                    row=f"{name}, {quantity}",
                    operation="first_call",
                    engines=_ENGINES[name],
                    oracle="tokenizers",
                    arguments={"tokenizer": tokenizer, "text": _TEXT, "n_rounds": N_ROUNDS},
                    n_items=n_items,
                    unit=unit,
                    n_rounds=N_ROUNDS,
                    quantity=quantity,
                    fresh=True,
                )
            )
    return rows
