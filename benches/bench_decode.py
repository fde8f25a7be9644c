"""How fast do ids become text, beside the peers?

1 MB of text in one call, and 50 ids a call, one thread. Ids are given in the form the engine takes fastest: an array
where there is such an interface, else a list.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from benches import corpora, vocabularies
from benches.harness import Case

TITLE = "Decode: one thread"
NOTE = "Ids of English text. tokenloom, gigatoken and tuetoken take an array of ids, the others a list."

N_ROUNDS = 9
_ENGINES = {
    "cl100k": ("tokenloom", "tuetoken", "rs_bpe", "gigatoken", "quicktok", "kitoken", "tiktoken", "tokenizers"),
    "llama3": ("tokenloom", "tuetoken", "gigatoken", "kitoken", "tiktoken", "tokenizers"),
    "gemma": ("tokenloom", "tuetoken", "gigatoken", "splintr", "kitoken", "tokenizers"),
}


def cases() -> list[Case]:
    """Three tokenizers, one long call and many short ones."""
    paths = corpora.write_slices("English", N_ROUNDS + 1)
    rows = []
    for tokenizer in filter(None, map(vocabularies.load, _ENGINES)):
        name = tokenizer["name"]
        ids = [_ids_of(tokenizer, path) for path in paths]
        n_bytes = [Path(path).stat().st_size for path in paths[1:]]
        sizes: tuple[tuple[str, dict[str, Any], float, str], ...] = (
            ("1 MB", {}, sum(n_bytes) / len(n_bytes) / 1e6, "MB/s"),
            ("50 ids", {"n_ids": 50, "n_calls": 4000}, 4000, "us"),
        )
        for size, options, n_items, unit in sizes:
            rows.append(
                Case(
                    row=f"{name}, {size}",
                    operation="decode",
                    engines=_ENGINES[name],
                    oracle="tiktoken" if "ranks" in tokenizer else "tokenizers",
                    arguments={"tokenizer": tokenizer, "warm_up": ids[0], "ids": ids[1:], **options},
                    n_items=n_items,
                    unit=unit,
                    n_rounds=len(ids) - 1,
                )
            )
    return rows


def _ids_of(tokenizer: vocabularies.Vocabulary, path: str) -> str:
    """The ids of a text, by a peer, in a file beside it; ASCII only, so that 50 ids always end with a character."""
    target = Path(path).with_suffix(f".{tokenizer['name']}-ascii.npy")
    if not target.exists():
        peer = importlib.import_module(f"benches.engines.{'tiktoken' if 'ranks' in tokenizer else 'fastokens'}")
        encode = peer.load(tokenizer).encode_list
        np.save(target, np.array(encode(Path(path).read_bytes().decode("ascii", "ignore")), np.uint32))
    return str(target)
