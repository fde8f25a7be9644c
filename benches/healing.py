"""What follows a prompt that ends inside a line of code: no healing, token healing, exact healing?

``python -m benches.healing --model FILE.gguf --record healing`` cuts functions of the standard library and of MBPP's
solutions inside a line and lets the default model (SmolLM2-135M-Instruct, greedy) write the rest of that line from the
lines before the cut:

- *none*: the prompt's own tokens;
- *token healing*: the last token is taken back, and the likeliest token that starts with its bytes is put in its place;
- *exact*: ``tl.torch.generate(heal=True)``: the likeliest cover of the prompt.

Cuts are drawn by a fixed seed: half of them anywhere in a line, half inside a token of the encoded file. An answer is
right if the rest of the line is, white space at its end aside. The intervals are Wilson's at 95 %; the last columns
count the prompts that only one of two ways gets right, with the exact two-sided sign test.
"""

from __future__ import annotations

import argparse
import inspect
import json
import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benches.harness import ROOT
from benches.record import heading, write_page

MBPP = ROOT.parent / "shared" / "data" / "mbpp" / "mbpp_test.jsonl"
MODULES = ("bisect", "calendar", "colorsys", "fnmatch", "heapq", "shlex", "statistics", "string", "textwrap", "uuid")
WAYS = ("none", "token healing", "exact")


@dataclass(frozen=True)
class Cut:
    """A prompt and the rest of its last line."""

    source: str
    kind: str
    prompt: str
    rest: str


def files() -> list[tuple[str, str]]:
    """Sources and their code: MBPP's where it lies beside the checkout."""
    found = []
    for name in MODULES:
        found.append(("standard library", inspect.getsource(__import__(name))))
    if MBPP.exists():
        lines = MBPP.read_text("utf-8").splitlines()
        for item in map(json.loads, lines):
            code = item["code"].replace("\r\n", "\n")
            found.append(("MBPP", f'"""{item["prompt"]}"""\n{code}'))
    return [(source, code) for source, code in found if code.isascii()]


def cuts(tokenizer: Any, n_each: int, n_before: int) -> list[Cut]:
    """``n_each`` cuts for each source and kind."""
    rng = random.Random(20)
    found: list[Cut] = []
    groups: dict[str, list[str]] = {}
    for source, code in files():
        groups.setdefault(source, []).append(code)
    for source, codes in groups.items():
        for kind in ("anywhere", "inside a token"):
            n_left = n_each
            while n_left:
                code = rng.choice(codes)
                inside = set(range(len(code)))
                if kind == "inside a token":
                    inside -= set(tokenizer.encode_with_offsets(code).byte_offsets[:, 1].tolist())
                at = rng.choice(sorted(inside))
                line_start, line_end = code.rfind("\n", 0, at) + 1, code.find("\n", at)
                rest = code[at : line_end if line_end >= 0 else len(code)].rstrip()
                begun = code[line_start:at].strip()
                # A word or two of the line are known, its rest is short, and it is code.
                if len(begun) < 2 or not 2 <= len(rest) <= 24 or "#" in code[line_start:line_end] or at < 40:
                    continue
                first = code.rfind("\n", 0, max(at - n_before, 0)) + 1
                found.append(Cut(source, kind, code[first:at], rest))
                n_left -= 1
    return found


def prompts(model: Any, tokenizer: Any, way: str, texts: list[str]) -> list[Any]:
    """What ``generate`` is asked to go on from."""
    import tokenloom as tl

    if way != "token healing":
        return list(texts)
    spelled = [bytes(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
    special = set(tokenizer.special_tokens.values())
    found = []
    for text in texts:
        ids = tokenizer.encode_list(text)
        row = tl.torch.LanguageModel(model)([ids[:-1]])[0]
        fits = [id for id, token in enumerate(spelled) if token.startswith(spelled[ids[-1]]) and id not in special]
        found.append([*ids[:-1], max(fits, key=lambda id: row[id])])
    return found


def answers(model: Any, tokenizer: Any, way: str, texts: list[str], n_tokens: int) -> list[str]:
    """The rest of each prompt's last line."""
    import tokenloom as tl

    found = []
    for first in range(0, len(texts), 8):
        batch = texts[first : first + 8]
        written = tl.torch.generate(
            model,
            tokenizer,
            prompts(model, tokenizer, way, batch),
            max_new_tokens=n_tokens,
            params=tl.sample.Params(temperature=0.0),
            heal=way == "exact",
            warn_unhealed="never",
        )
        for text, one in zip(batch, written, strict=True):
            whole = tokenizer.decode([*one.prompt_ids.tolist(), *one.ids.tolist()])
            assert whole.startswith(text)
            found.append(whole[len(text) :].split("\n", 1)[0].rstrip())
        print(f"  {way}: {len(found)} of {len(texts)}", file=sys.stderr, flush=True)
    return found


def wilson(n_right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    z, share = 1.96, n_right / n
    middle, width = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - width) / (1 + z * z / n), (middle + width) / (1 + z * z / n)


def sign_test(n_one: int, n_other: int) -> float:
    """The two-sided probability of so uneven a split of discordant pairs."""
    n, most = n_one + n_other, max(n_one, n_other)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(most, n + 1)) / 2**n)


def summary(right: dict[str, list[bool]]) -> dict[str, Any]:
    """Shares with intervals, and pairs."""
    n = len(right["none"])
    found: dict[str, Any] = {"n": n, "ways": {}, "against_exact": {}}
    for way in WAYS:
        n_right = sum(right[way])
        found["ways"][way] = {"n_right": n_right, "interval": wilson(n_right, n)}
        if way != "exact":
            gained = sum(b and not a for a, b in zip(right[way], right["exact"], strict=True))
            lost = sum(a and not b for a, b in zip(right[way], right["exact"], strict=True))
            found["against_exact"][way] = {"gained": gained, "lost": lost, "p": sign_test(gained, lost)}
    return found


def text_of(found: dict[str, Any]) -> str:
    """The table for readers, in Markdown."""
    lines = [
        f"# Prompts that end inside a line, {found['date']}",
        "",
        f"`{found['command']}`: {', '.join(f'{name} {version}' for name, version in found['versions'].items())}.",
        "",
        "Right: the rest of the line, exactly. In brackets the 95 % interval.",
        "",
        "| prompts | n | none | token healing | exact | exact over none: gained, lost, p | over token healing |",
        "|---|---:|---:|---:|---:|---|---|",
    ]
    for name, row in found["groups"].items():
        cells = []
        for way in WAYS:
            low, high = row["ways"][way]["interval"]
            cells.append(f"{row['ways'][way]['n_right'] / row['n']:.1%} ({low:.0%} to {high:.0%})")
        for way in ("none", "token healing"):
            pair = row["against_exact"][way]
            cells.append(f"{pair['gained']}, {pair['lost']}, {pair['p']:.2g}")
        lines.append(f"| {name} | {row['n']} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Run, print, and record where asked to."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.healing")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    parser.add_argument("--each", type=int, default=50, help="prompts for each source and kind")
    parser.add_argument("--before", type=int, default=240, help="characters before the cut, about")
    parser.add_argument("--tokens", type=int, default=14, help="tokens an answer")
    parser.add_argument("--record", default="", help="name of the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = tl.torch.load(options.model)
    asked = cuts(tokenizer, options.each, options.before)
    texts = [cut.prompt for cut in asked]
    said = {way: answers(model, tokenizer, way, texts, options.tokens) for way in WAYS}
    right = {way: [a == cut.rest for a, cut in zip(said[way], asked, strict=True)] for way in WAYS}
    groups = {"all": list(range(len(asked)))}
    for name in dict.fromkeys(f"{cut.source}, {cut.kind}" for cut in asked):
        groups[name] = [at for at, cut in enumerate(asked) if f"{cut.source}, {cut.kind}" == name]
    found: dict[str, Any] = {
        **heading("healing", ("torch", "transformers"), MODEL=options.model),
        "groups": {
            name: summary({way: np.array(right[way])[list(places)].tolist() for way in WAYS})
            for name, places in groups.items()
        },
        "answers": [
            {"kind": f"{cut.source}, {cut.kind}", "rest": cut.rest, "answers": {way: said[way][at] for way in WAYS}}
            for at, cut in enumerate(asked)
        ],
    }
    print(text_of(found))
    if options.record:
        write_page(options.record, found, text_of(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
