"""How bad is the worst text: a megabyte that no pattern cuts?

Every input is one pretoken, or nearly one, or is cut at every character; at 1 MB beside the peers, and at 10 MB to see how
time grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from benches import vocabularies
from benches.harness import Case

TITLE = "Encode: texts without boundaries, cl100k, one thread"
NOTE = (
    "One call, ms. Letters, hex and base64 are random (seed 0). At 10 MB rs-bpe is the oracle: the others that give lists at "
    "that length take minutes. tiktoken panics on spaces + x, kitoken ends the process on runs of spaces."
)

N_ROUNDS = 3
_ENGINES = ("tokenloom", "rs_bpe", "quicktok", "tuetoken", "fastokens", "splintr", "tokenizers")
_LONG_ENGINES = ("tokenloom", "rs_bpe", "quicktok")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _drawn(alphabet: str) -> Callable[[int], str]:
    return lambda n: "".join(random.Random(0).choices(alphabet, k=n))


# From a number of bytes to a text of about so many.
TEXTS: dict[str, Callable[[int], str]] = {
    "a": lambda n: "a" * n,
    "spaces": lambda n: " " * n,
    "newlines": lambda n: "\n" * n,
    "ab": lambda n: "ab" * (n // 2),
    "hex": _drawn("0123456789abcdef"),
    "letters": _drawn(_LETTERS),
    "CJK": lambda n: _drawn("".join(map(chr, range(0x4E00, 0x9FA6))))(n // 3),
    "!": lambda n: "!" * n,
    "spaces + x": lambda n: " " * (n - 1) + "x",
    "digits": _drawn("0123456789"),
    "emoji ZWJ": lambda n: "👩\u200d" * (n // 7),
    "combining marks": lambda n: "e\u0301" * (n // 3),
    "base64": _drawn(_BASE64),
}


def cases() -> list[Case]:
    """Every text at 1 MB and at 10 MB."""
    tokenizer = vocabularies.load("cl100k")
    assert tokenizer is not None
    folder = vocabularies.made_folder() / "unsplit"
    folder.mkdir(exist_ok=True)
    (folder / "warm-up.txt").write_text("A first call.\n" * 100, encoding="utf-8")
    rows = []
    for n_megabytes, engines in ((1, _ENGINES), (10, _LONG_ENGINES)):
        for name, make in TEXTS.items():
            path = folder / f"{name.replace(' ', '_')}-{n_megabytes}.txt"
            if not path.exists():
                Path(path).write_text(make(n_megabytes * 1_000_000), encoding="utf-8", newline="")
            rows.append(
                Case(
                    row=f"{name}, {n_megabytes} MB",
                    operation="encode_list",
                    engines=engines,
                    oracle="tokenizers" if n_megabytes == 1 else "rs_bpe",
                    arguments={
                        "tokenizer": tokenizer,
                        "warm_up": str(folder / "warm-up.txt"),
                        "texts": [str(path)] * N_ROUNDS,
                    },
                    n_items=1,
                    unit="ms",
                    n_rounds=N_ROUNDS,
                    limit_seconds=60.0,
                )
            )
    return rows
