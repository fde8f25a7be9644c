"""Is there a `tokenizer.json` that this library reads otherwise than `tokenizers` does?

Draws whole definitions without end until the time is up (normalizers, pretokenizers, models, added tokens,
post-processors and decoders, truncation and padding, each of any kind, in any combination), gives each file to both,
and compares whether it loads, ids, token strings, offsets, word numbers and masks of texts, pairs and words, with
their overflow, decoded text, and the file that is written; of `tl.Tokenizer` ids, offsets and decoded text. Then adds
tokens and compares again. Prints the seed of each difference, which makes the exit status 1; `--seed N --seconds 0`
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
        outcome = _compared(_definition(draw), draw)
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
    is_byte_level = file["model"]["type"] == "BPE" and "Ġ" in file["model"]["vocab"] and draw.random() < 0.6
    if is_byte_level:
        file |= _byte_level(draw)
    for name, make in (
        ("normalizer", parts.random_normalizer),
        ("pre_tokenizer", parts.random_pre_tokenizer),
        ("decoder", parts.random_decoder),
    ):
        if draw.random() < 0.6 and not is_byte_level:
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
    if draw.random() < 0.3:
        file |= _settings(draw)
    return file


def _byte_level(draw: random.Random) -> dict[str, Any]:
    """Parts of files for the compiled machine: splits before the byte characters, added tokens beside them."""
    bytes_ = {"type": "ByteLevel", "add_prefix_space": draw.random() < 0.2, "trim_offsets": draw.random() < 0.5}
    steps = [{**bytes_, "use_regex": draw.random() < 0.4}]
    for _ in range(draw.randrange(3)):
        pattern = draw.choice([{"Regex": draw.choice(parts.PATTERNS)}, {"String": draw.choice(parts.LITERALS)}])
        behavior = draw.choice(("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"))
        split = {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": draw.random() < 0.3}
        digits = {"type": "Digits", "individual_digits": draw.random() < 0.5}
        steps.insert(0, draw.choice([split, split, digits]))
    cut = {"type": "Sequence", "pretokenizers": steps} if len(steps) > 1 or draw.random() < 0.2 else steps[0]
    return {"normalizer": draw.choice([None, None, {"type": "NFC"}]), "pre_tokenizer": cut}


def _settings(draw: random.Random) -> dict[str, Any]:
    side = ("Left", "Right")
    return {
        "truncation": {
            "direction": draw.choice(side),
            "max_length": draw.choice([0, 2, 3, 5, 9]),
            "strategy": draw.choice(["LongestFirst", "OnlyFirst", "OnlySecond"]),
            "stride": draw.choice([0, 0, 1, 2]),
        },
        "padding": draw.choice(
            [
                None,
                {
                    "strategy": draw.choice(["BatchLongest", {"Fixed": 7}]),
                    "direction": draw.choice(side),
                    "pad_to_multiple_of": draw.choice([None, 4]),
                    "pad_id": draw.choice([0, 77]),
                    "pad_type_id": draw.randrange(3),
                    "pad_token": "[PAD]",
                },
            ]
        ),
    }


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


def _post_processor(draw: random.Random, vocab: Any, depth: int = 0) -> dict[str, Any]:
    tokens = list(vocab) if isinstance(vocab, dict) else [token for token, _ in vocab]
    ids = vocab if isinstance(vocab, dict) else {token: id for id, token in enumerate(tokens)}
    first, last = draw.choice(tokens), draw.choice(tokens)
    trims = {"add_prefix_space": draw.random() < 0.5, "trim_offsets": draw.random() < 0.5}
    ends = {"sep": [last, ids[last]], "cls": [first, ids[first]]}
    several = {"id": "[Z]", "ids": [ids[first], ids[last]], "tokens": [first, "another"]}
    template = json.loads(
        tokenizers.processors.TemplateProcessing(
            draw.choice(["$A", "[X] $A", "[X]:1 $A:2 [Y]:3", "$A $A:1", "[Z] $0 [Z]:4", "[X]", "$B"]),
            draw.choice(["$A $B:1", "[X] $A [Y] $B:1 [Y]:1", "$B $A:1", "$A [Z] $B:2 $A:1", "$1 [X] $B"]),
            [("[X]", ids[first]), ("[Y]", ids[last]), several],
        ).__getstate__()
    )
    trim = {"type": "ByteLevel", **trims}
    if depth < 2 and draw.random() < 0.15:
        steps = [_post_processor(draw, vocab, depth + 1) for _ in range(draw.randrange(4))]
        return {"type": "Sequence", "processors": steps}
    return draw.choice(
        [
            template,
            trim,
            {"type": "BertProcessing", **ends},
            {"type": "RobertaProcessing", **ends, **trims},
            {"type": "Sequence", "processors": [trim, template]},
        ]
    )


def _compared(file: dict[str, Any], draw: random.Random) -> str | None:
    """The first difference, an empty string where there is none, and None where nobody reads the file."""
    text = json.dumps(file)
    peer = parts.outcome(lambda: tokenizers.Tokenizer.from_str(text))
    ours = parts.outcome(lambda: compat.Tokenizer.from_str(text))
    native = parts.outcome(lambda: tl.Tokenizer.from_bytes(text.encode(), ignore_truncation_and_padding=True))
    loads = [found != "refused" for found in (peer, ours, native)]
    if len(set(loads)) > 1:
        return f"loads in the peer, in compat, in Tokenizer: {loads}"
    if peer == "refused":
        return None
    written = [parts.outcome(lambda: json.loads(side.to_str())) for side in (peer, ours)]  # noqa: B023
    if written[0] != written[1] and written[0] != "refused":
        return f"written: expected {written[0]}, found {written[1]}"
    if found := _same(peer, ours, native, draw, file):
        return found
    for content in draw.sample(CONTENTS, 2):
        token = tokenizers.AddedToken(content, normalized=False, lstrip=draw.random() < 0.3)
        is_known = [side.token_to_id(content) is not None for side in (peer, ours)]
        if not any(is_known):
            peer.add_tokens([token])
            ours.add_tokens([token])
    return _same(peer, ours, None, draw, file)


def _same(peer: Any, ours: Any, native: Any, draw: random.Random, file: dict[str, Any]) -> str:
    """The first difference, or an empty string."""
    forms = {id: token.content for id, token in peer.get_added_tokens_decoder().items() if token.special}
    is_other_form = lambda id: forms.get(id, peer.id_to_token(id)) != peer.id_to_token(id)  # noqa: E731
    has_settings = file.get("truncation") is not None or file.get("padding") is not None
    for _ in range(N_TEXTS):
        one, other = (draw.choice([parts.text_of(draw), _with_added(draw)]) for _ in range(2))
        words = [draw.choice(parts.PARTS) for _ in range(draw.randrange(5))]
        for call in (
            lambda side: _seen(side.encode(one)),  # noqa: B023
            lambda side: _seen(side.encode(one, other)),  # noqa: B023
            lambda side: _seen(side.encode(words, is_pretokenized=True)),  # noqa: B023
            lambda side: _seen(side.encode(words, words[::-1], is_pretokenized=True, add_special_tokens=False)),  # noqa: B023
            lambda side: [_seen(each) for each in side.encode_batch([one, (one, other), other])],  # noqa: B023
            lambda side: [each.ids for each in side.encode_batch_fast([(one, other), one])],  # noqa: B023
        ):
            expected, found = (parts.outcome(lambda: call(side)) for side in (peer, ours))  # noqa: B023
            if expected not in ("refused", found):
                return f"{one!r}, {other!r}, {words!r}: expected {expected}, found {found}"
        if native is not None and not has_settings:
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
            if native is None or (skips and native.is_compiled and any(map(is_other_form, known))):
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
        encoding.attention_mask,
        [_seen(part) for part in encoding.overflowing],
    )


if __name__ == "__main__":
    raise SystemExit(main())
