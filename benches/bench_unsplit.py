"""How bad is the worst text: a megabyte that no pattern cuts?

Every input is one pretoken, or nearly one, or is cut at every character; at 1 MB beside the peers, and at 10 MB to see
how time grows.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from benches import vocabularies
from benches.harness import Case

TITLE = "Encode: texts without boundaries, cl100k, one thread"
NOTE = (
    "One call, ms. Letters, hex and base64 are random (seeds 0 to 2). At 10 MB rs-bpe is the oracle: the others that "
    "give lists at that length take minutes. tiktoken panics on spaces + x, kitoken ends the process on runs of "
    "spaces."
)

# The first makes what long words need; the others do not.
N_ROUNDS = 5
_ENGINES = ("tokenloom", "rs_bpe", "quicktok", "tuetoken", "fastokens", "splintr", "tokenizers")
_LONG_ENGINES = ("tokenloom", "rs_bpe", "quicktok")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _drawn(alphabet: str) -> Callable[[int, int], str]:
    return lambda n, seed: "".join(random.Random(seed).choices(alphabet, k=n))


# From a number of bytes and a seed to a text of about so many.
TEXTS: dict[str, Callable[[int, int], str]] = {
    "a": lambda n, _: "a" * n,
    "spaces": lambda n, _: " " * n,
    "newlines": lambda n, _: "\n" * n,
    "ab": lambda n, _: "ab" * (n // 2),
    "hex": _drawn("0123456789abcdef"),
    "letters": _drawn(_LETTERS),
    "CJK": lambda n, seed: _drawn("".join(map(chr, range(0x4E00, 0x9FA6))))(n // 3, seed),
    "!": lambda n, _: "!" * n,
    "spaces + x": lambda n, _: " " * (n - 1) + "x",
    "digits": _drawn("0123456789"),
    "emoji ZWJ": lambda n, _: "👩\u200d" * (n // 7),
    "combining marks": lambda n, _: "e\u0301" * (n // 3),
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
            paths = [folder / f"{name.replace(' ', '_')}-{n_megabytes}-{index}.txt" for index in range(N_ROUNDS)]
            for index, path in enumerate(paths):
                if not path.exists():
                    # Another length each round, so that a cache of whole pieces does not answer the second.
                    text = make(n_megabytes * 1_000_000 - 42 * index, index)
                    path.write_text(text, encoding="utf-8", newline="")
            rows.append(
                Case(
                    row=f"{name}, {n_megabytes} MB",
                    operation="encode_list",
                    engines=engines,
                    oracle="tokenizers" if n_megabytes == 1 else "rs_bpe",
                    arguments={
                        "tokenizer": tokenizer,
                        "warm_up": str(folder / "warm-up.txt"),
                        "texts": [str(path) for path in paths],
                    },
                    n_items=1,
                    unit="ms",
                    n_rounds=N_ROUNDS,
                    limit_seconds=60.0,
                )
            )
    return rows
