"""Is there a `tokenizer.json` that this library reads otherwise than `tokenizers` does?

Draws whole definitions without end until the time is up (normalizers, pretokenizers, models, added tokens,
post-processors and decoders, each of any kind, in any combination), gives each file to both, and compares whether it
loads, ids, token strings, offsets, word numbers and masks of texts and pairs, and decoded text; of `tl.Tokenizer` ids,
offsets and decoded text. Prints the seed of each difference, which makes the exit status 1; `--seed N --seconds 0`
shows that one definition again.

    python scripts/fuzz_definitions.py --seconds 600 --seed 7

Parts and texts are those of ``tests/oracle/test_pipeline_components_vs_tokenizers.py``. What the peer is wrong about
(``docs/decisions.md``) is left out: texts on which it panics, added tokens that are nothing or another one once
normalized, and contents given twice.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests" / "oracle")]
os.environ["RUST_BACKTRACE"] = "0"

import test_pipeline_components_vs_tokenizers as parts  # noqa: E402
import tokenizers  # noqa: E402
import tokenloom as tl  # noqa: E402
from tokenloom.compat import tokenizers as compat  # noqa: E402

CONTENTS = ("<new>", "the", " ab", "A", "<s>", "12", "é", "中 b", "cd", "[MASK]", "a b", "'s")
MODELS = (parts.random_bpe, parts.random_word_piece, parts.random_word_level, parts.random_unigram)
KINDS = ("bert", "t5", "albert", "clip", "xlm", "gpt2")
N_TEXTS = 12


def main() -> int:
    """Fuzz until the time is up; returns the exit status."""
    parser = argparse.ArgumentParser(description="Compare random tokenizer.json files with the peer, without end.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    end = time.monotonic() + options.seconds
    n_files = n_refused = n_found = 0
    for seed in range(options.seed, 2**63):
        draw = random.Random(seed)
        outcome = _compared(json.dumps(_definition(draw)), draw)
        n_files += 1
        n_refused += outcome is None
        if outcome:
            n_found += 1
            print(f"\nseed {seed}: {outcome}", flush=True)
        print(f"\r{n_files:,} files, {n_found} differences", end="", file=sys.stderr, flush=True)
        if time.monotonic() >= end:
            break
    print(file=sys.stderr)
    print(f"{n_files} files, {n_refused} of them refused by both: {n_found} differences")
    return bool(n_found)


def _definition(draw: random.Random) -> dict[str, Any]:
    """A file: a small model of random lists, or a trained one, under parts of any kind."""
    if draw.random() < 0.5:
        file: dict[str, Any] = json.loads(parts.trained(draw.choice(KINDS)).to_str())
    else:
        file = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None}
        file |= {"pre_tokenizer": None, "post_processor": None, "decoder": None, "model": draw.choice(MODELS)(draw)}
    for name, make in (
        ("normalizer", parts.random_normalizer),
        ("pre_tokenizer", parts.random_pre_tokenizer),
        ("decoder", parts.random_decoder),
    ):
        if draw.random() < 0.6:
            file[name] = draw.choice([None, json.loads(make(draw).__getstate__())])
    vocab = file["model"]["vocab"]
    n_tokens = len(vocab)
    # Given twice, a token may decode as the normalized form that it no longer has.
    forms = {entry["content"] for entry in file["added_tokens"]}
    for content in draw.sample(CONTENTS, draw.choice([0, 0, 2, 4])):
        is_normalized = draw.random() < 0.5
        flags = {name: draw.random() < 0.3 for name in ("single_word", "lstrip", "rstrip", "special")}
        if content not in forms and not (isinstance(vocab, dict) and content in vocab):
            forms.add(content)
            entry = {"id": n_tokens + len(file["added_tokens"]), "content": content, "normalized": is_normalized}
            file["added_tokens"].append(entry | flags)
    _unmix(file)
    file["post_processor"] = draw.choice([None, _post_processor(draw, vocab)]) if vocab else None
    return file


def _unmix(file: dict[str, Any]) -> None:
    """Let tokens that normalizing makes nothing, or the same as another, be searched as they are written."""
    if file["normalizer"] is None:
        return
    bare = {"version": "1.0", "normalizer": file["normalizer"], "model": {"type": "BPE", "vocab": {}, "merges": []}}
    normalizer = tokenizers.Tokenizer.from_str(json.dumps(bare)).normalizer
    forms = {""}
    for entry in file["added_tokens"]:
        if entry["normalized"]:
            form = parts.outcome(lambda: normalizer.normalize_str(entry["content"]))  # noqa: B023
            entry["normalized"] = form not in forms
            forms.add(form)


def _post_processor(draw: random.Random, vocab: Any) -> dict[str, Any]:
    tokens = list(vocab) if isinstance(vocab, dict) else [token for token, _ in vocab]
    ids = vocab if isinstance(vocab, dict) else {token: id for id, token in enumerate(tokens)}
    first, last = draw.choice(tokens), draw.choice(tokens)
    trims = {"add_prefix_space": draw.random() < 0.5, "trim_offsets": draw.random() < 0.5}
    ends = {"sep": [last, ids[last]], "cls": [first, ids[first]]}
    template = json.loads(
        tokenizers.processors.TemplateProcessing(
            draw.choice(["$A", "[X] $A", "[X]:1 $A:2 [Y]:3"]),
            draw.choice(["$A $B:1", "[X] $A [Y] $B:1 [Y]:1", "$B $A:1"]),
            [("[X]", ids[first]), ("[Y]", ids[last])],
        ).__getstate__()
    )
    trim = {"type": "ByteLevel", **trims}
    return draw.choice(
        [
            template,
            trim,
            {"type": "BertProcessing", **ends},
            {"type": "RobertaProcessing", **ends, **trims},
            {"type": "Sequence", "processors": [trim, template]},
        ]
    )


def _compared(text: str, draw: random.Random) -> str | None:
    """The first difference, an empty string where there is none, and None where nobody reads the file."""
    peer = parts.outcome(lambda: tokenizers.Tokenizer.from_str(text))
    ours = parts.outcome(lambda: compat.Tokenizer.from_str(text))
    native = parts.outcome(lambda: tl.Tokenizer.from_bytes(text.encode()))
    loads = [found != "refused" for found in (peer, ours, native)]
    if len(set(loads)) > 1:
        return f"loads in the peer, in compat, in Tokenizer: {loads}"
    if peer == "refused":
        return None
    forms = {id: token.content for id, token in peer.get_added_tokens_decoder().items() if token.special}
    is_other_form = lambda id: forms.get(id, peer.id_to_token(id)) != peer.id_to_token(id)  # noqa: E731
    for _ in range(N_TEXTS):
        one, other = (draw.choice([parts.text_of(draw), _with_added(draw)]) for _ in range(2))
        for items in ((one,), (one, other)):
            expected = parts.outcome(lambda: _seen(peer.encode(*items)))  # noqa: B023
            found = parts.outcome(lambda: _seen(ours.encode(*items)))  # noqa: B023
            if expected not in ("refused", found):
                return f"{items!r}: expected {expected}, found {found}"
        expected = parts.outcome(lambda: _plain(peer.encode(one, add_special_tokens=False)))  # noqa: B023
        found = parts.outcome(lambda: _native(native, one))  # noqa: B023
        if expected not in ("refused", found):
            return f"{one!r} in Tokenizer: expected {expected}, found {found}"
        drawn = [draw.randrange(peer.get_vocab_size() + 2) for _ in range(draw.randrange(9))]
        for skips in (False, True):
            expected = parts.outcome(lambda: peer.decode(drawn, skip_special_tokens=skips))  # noqa: B023
            found = parts.outcome(lambda: ours.decode(drawn, skip_special_tokens=skips))  # noqa: B023
            if expected not in ("refused", found):
                return f"{drawn}: expected text {expected!r}, found {found!r}"
            known = [id for id in drawn if peer.id_to_token(id) is not None]
            if skips and native.is_compiled and any(map(is_other_form, known)):
                continue
            expected = parts.outcome(lambda: peer.decode(known, skip_special_tokens=skips))  # noqa: B023
            found = parts.outcome(lambda: native.decode(known, skip_special_tokens=skips))  # noqa: B023
            if expected not in ("refused", found):
                return f"{known} in Tokenizer: expected text {expected!r}, found {found!r}"
    return ""


def _with_added(draw: random.Random) -> str:
    return "".join(draw.choice([draw.choice(CONTENTS), parts.text_of(draw, 4)]) for _ in range(draw.randrange(6)))


def _plain(encoding: Any) -> tuple[Any, ...]:
    return encoding.ids, encoding.offsets


def _native(tokenizer: tl.Tokenizer, text: str) -> tuple[Any, ...]:
    found = tokenizer.encode_with_offsets(text)
    if found.ids.tolist() != tokenizer.encode_list(text):
        raise AssertionError("ids with offsets are others")
    return found.ids.tolist(), list(map(tuple, found.char_offsets.tolist()))


def _seen(encoding: Any) -> tuple[Any, ...]:
    return (
        encoding.ids,
        encoding.tokens,
        encoding.offsets,
        encoding.word_ids,
        encoding.type_ids,
        encoding.special_tokens_mask,
    )


if __name__ == "__main__":
    raise SystemExit(main())
