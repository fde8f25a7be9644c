"""Is there a text on which a published tokenizer file and its peer differ?

Draws texts without end until the time is up, gives each batch to both sides of every file, and prints the seed first. A
difference is shrunk to the shortest text that still shows it, printed with its ids, and makes the exit status 1.

    python scripts/fuzz_ids.py --seconds 600 --files qwen3,cl100k_base --seed 7

Files are those of the oracle tests (``tests/oracle/published.py``); texts are drawn by ``oracle_texts.py`` there.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "oracle"), str(ROOT / "scripts")]

import compose_tokenizers  # noqa: E402
import fetch_assets  # noqa: E402
import published  # noqa: E402
import pytest  # noqa: E402
import tiktoken  # noqa: E402
import tokenizers  # noqa: E402
import tokenloom as tl  # noqa: E402
from oracle_texts import random_texts  # noqa: E402
from tiktoken.load import load_tiktoken_bpe  # noqa: E402

Answer = Callable[[list[str]], list[Any]]
N_PER_BATCH = 200


def main() -> int:
    """Fuzz until the time is up; returns the exit status."""
    parser = argparse.ArgumentParser(description="Compare ids, offsets and decoding with the peers, without end.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--files", default="", metavar="A,B", help="default: all")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    pairs = _pairs({name for name in options.files.split(",") if name})
    if not pairs:
        parser.error("there is no such file")
    draw = random.Random(options.seed)
    n_texts = 0
    n_found = 0
    end = time.monotonic() + options.seconds
    while time.monotonic() < end:
        texts = random_texts(draw.randrange(2**62), N_PER_BATCH, n_pieces=draw.choice([3, 8, 24, 100]))
        for name, (ours, theirs) in pairs.items():
            for text, got, want in zip(texts, ours(texts), theirs(texts), strict=True):
                if got != want:
                    n_found += 1
                    _report(name, _shrink(text, lambda t, a=ours, b=theirs: a([t]) != b([t])), ours, theirs)  # type: ignore[misc]
        n_texts += len(texts)
        print(f"\r{n_texts:,} texts, {len(pairs)} files, {n_found} differences", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(f"{n_texts} texts on each of {len(pairs)} files ({', '.join(pairs)}): {n_found} differences")
    return bool(n_found)


def _pairs(wanted: set[str]) -> dict[str, tuple[Answer, Answer]]:
    shared = ROOT.parent / "shared" / "data"
    sources = published.Sources(
        fetch_assets.fetch, ROOT / "tests" / "data", shared if shared.is_dir() else None, compose_tokenizers
    )
    pairs = {}
    for name, read in published.TOKENIZER_JSON.items():
        if not wanted or name in wanted:
            try:
                data = read(sources)
            except pytest.skip.Exception as reason:
                print(f"left out: {reason}")
                continue
            peer = tokenizers.Tokenizer.from_str(data.decode())
            pairs[name] = (_ours(tl.Tokenizer.from_bytes(data), offsets=True), _huggingface(peer))
    for name, (asset, file, pattern) in published.RANKS.items():
        if not wanted or name in wanted:
            path = fetch_assets.fetch(asset) / file
            encoding = tiktoken.Encoding(
                name, pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(path)), special_tokens={}
            )
            loaded = tl.Tokenizer.from_file(path, pattern=pattern, special_tokens={})
            pairs[name] = (_ours(loaded, offsets=False), _tiktoken(encoding))
    return pairs


def _ours(tokenizer: tl.Tokenizer, offsets: bool) -> Answer:
    def answer(texts: list[str]) -> list[Any]:
        rows = tokenizer.encode_batch(texts).to_lists()
        decoded = tokenizer.decode_batch(rows)
        if not offsets:
            return list(zip(rows, decoded, strict=True))
        spans = [list(map(tuple, tokenizer.encode_with_offsets(text).char_offsets.tolist())) for text in texts]
        return list(zip(rows, decoded, spans, strict=True))

    return answer


def _huggingface(tokenizer: tokenizers.Tokenizer) -> Answer:
    def answer(texts: list[str]) -> list[Any]:
        found = tokenizer.encode_batch(texts, add_special_tokens=False)
        rows = [row.ids for row in found]
        decoded = tokenizer.decode_batch(rows, skip_special_tokens=False)
        return list(zip(rows, decoded, [row.offsets for row in found], strict=True))

    return answer


def _tiktoken(encoding: tiktoken.Encoding) -> Answer:
    def answer(texts: list[str]) -> list[Any]:
        rows = encoding.encode_ordinary_batch(texts, num_threads=2)
        return list(zip(rows, map(encoding.decode, rows), strict=True))

    return answer


def _shrink(text: str, differs: Callable[[str], bool]) -> str:
    """Leaves characters out, long runs first, as long as the difference stays."""
    size = max(1, len(text) // 2)
    while size:
        at = 0
        while at < len(text):
            shorter = text[:at] + text[at + size :]
            if differs(shorter):
                text = shorter
            else:
                at += size
        size //= 2
    return text


def _report(name: str, text: str, ours: Answer, theirs: Answer) -> None:
    print(f"\n{name}: {text!r}\n  tokenloom {ours([text])[0]}\n  peer      {theirs([text])[0]}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
