"""How close are bytes to the exact law, for how many questions to the model and how much work beside it?

``python -m benches.byte_laws --model FILE.gguf --record bytes`` reads passages byte by byte behind their first words
with the default model (SmolLM2-135M-Instruct): ``ByteModel(target="marginal")`` at several shares, and genlm-bytes at
several beam widths and thresholds. Both see the same rows of the model, which are kept, so that the time is that of the
method alone. The exact law is our marginal target with a certificate of at most 1e-4, over the same 257 outcomes.

Then: the time of a byte in a text ten times as long, and what healing a prompt costs in forward passes and tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.record import heading, write_page

PASSAGES = (
    ("The committee met for the first time in March and will meet again on", " Thursday to vote"),
    ('def mean(xs):\n    """The arithmetic mean."""\n    return', " sum(xs) / len(xs)"),
    ("Der Zug nach Hamburg hatte heute wieder Versp\u00e4tung,", " sagte sie und l"),
    ("Water boils at a lower temperature at high altitude because the air", " pressure is lower"),
    ("She opened the old wooden box and found a bundle of letters", " tied with a red rib"),
    ("See https://docs.python.org/3/library/itertools.html for the", " functions that b"),
    ("for name, value in sorted(settings.items()):\n    if value is", " None:\n        con"),
)
SHARES = (0.3, 0.05, 0.01, 0.0075, 0.006, 0.003, 0.0015, 0.001, 0.0008)
BEAMS = ((5, 0.3), (5, 0.05), (10, 0.01), (10, 0.003), (20, 0.001))
EXACT = 1e-4


class Rows:
    """The model's answers behind one passage, kept; what is asked is counted and timed apart."""

    def __init__(self, model: Any, beginning: list[int]) -> None:
        import tokenloom as tl

        self._lm = tl.torch.LanguageModel(model, beginning)
        self._known: dict[tuple[int, ...], NDArray[np.float32]] = {}
        self.asked, self.seconds = 0, 0.0

    def __call__(self, contexts: list[list[int]]) -> NDArray[np.float32]:
        start = time.process_time()
        keys = [tuple(context) for context in contexts]
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        if missing:
            found = self._lm([list(key) for key in missing]).astype(np.float32)
            self._known |= dict(zip(missing, found, strict=True))
        rows = np.stack([self._known[key] for key in keys])
        self.asked += len(keys)
        self.seconds += time.process_time() - start
        return rows


class Run:
    """What one way of reading said and cost."""

    def __init__(self) -> None:
        self.distances: list[float] = []
        self.asked, self.seconds = 0, 0.0

    def summary(self) -> dict[str, float]:
        """Means a byte."""
        n = len(self.distances)
        return {
            "contexts_per_byte": self.asked / n,
            "mean_tv": statistics.mean(self.distances),
            "max_tv": max(self.distances),
            "ms_per_byte": 1e3 * self.seconds / n,
        }


def ours(tokenizer: Any, rows: Rows, text: bytes, **options: Any) -> tuple[NDArray[np.float64], float, int]:
    """The laws along a text, the seconds beside the model, and the contexts asked for."""
    import tokenloom as tl

    model = tl.bytelevel.ByteModel(rows, tokenizer, target="marginal", **options)
    rows.asked, rows.seconds = 0, 0.0
    start = time.process_time()
    state, laws = model.start(b""), []
    for byte in text:
        laws.append(state.next_byte())
        state.push(byte)
    spent = time.process_time() - start - rows.seconds
    return np.exp(np.array(laws)), spent, rows.asked


class Genlm:
    """genlm-bytes over the same rows; its trie is built once."""

    def __init__(self, tokenizer: Any) -> None:
        from genlm.backend.tokenization import Token
        from genlm.bytes.trie import AsyncTokenByteTrie

        spelled = [bytes(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size)]
        self.ends = [spelled[id] for id in tokenizer.special_tokens.values()]
        tokens = [Token(token_id=id, byte_string=token) for id, token in enumerate(spelled)]
        self.trie = AsyncTokenByteTrie.from_vocab(tokens, eos_byte_strings=set(self.ends))

    async def read(self, rows: Rows, text: bytes, width: int, threshold: float) -> tuple[Any, float, int]:
        """As ``ours``. Added tokens are its ends, so that both have the same 257 outcomes."""
        import torch
        from genlm.bytes import BeamParams, ByteBeamState
        from genlm.bytes.byte_lm.trie_state import LazyTrieState, TrieMode

        class Model:
            class tokenizer:  # noqa: N801
                bos_token_id = 0

            async def next_token_logprobs(self, context: list[int]) -> Any:
                return torch.from_numpy(rows([context[1:]])[0])

        params = BeamParams(K=width, prune_threshold=threshold, eos_byte_strings=self.ends)
        rows.asked, rows.seconds = 0, 0.0
        start = time.process_time()
        first = await LazyTrieState.initial(Model(), self.trie, mode=TrieMode.WITH_EOS).materialize()
        state, laws = ByteBeamState([first], params), []
        for byte in text:
            found = np.asarray((await state.logp_next()).ps)
            laws.append(np.append(found[:256], found[257]))
            state = await (state.prune() << byte)
        return np.exp(np.array(laws)), time.process_time() - start - rows.seconds, rows.asked


def compare(model: Any, tokenizer: Any, n_rounds: int) -> dict[str, Any]:
    """Every way on every passage; the second and later rounds are timed, in turns."""
    exact: list[NDArray[np.float64]] = []
    kept: list[Rows] = []
    for prompt, text in PASSAGES:
        kept.append(Rows(model, tokenizer.encode_list(prompt)))
        laws, _, n_asked = ours(tokenizer, kept[-1], text.encode(), max_tv=EXACT, max_heads=1 << 14)
        exact.append(laws)
        print(f"  exact: {n_asked} contexts for {len(laws)} bytes", file=sys.stderr, flush=True)
    genlm = Genlm(tokenizer)
    runs: dict[tuple[str, Any], Run] = {("tokenloom", share): Run() for share in SHARES} | {
        ("genlm-bytes", beam): Run() for beam in BEAMS
    }
    seconds: dict[Any, list[float]] = {way: [] for way in runs}

    async def rounds() -> None:
        for turn in range(n_rounds + 1):
            for way, run in runs.items():
                engine, knob = way
                spent = 0.0
                for (_, text), rows, law in zip(PASSAGES, kept, exact, strict=True):
                    if engine == "tokenloom":
                        found, cpu, n_asked = ours(tokenizer, rows, text.encode(), max_tv=0.0, min_share=knob)
                    else:
                        found, cpu, n_asked = await genlm.read(rows, text.encode(), *knob)
                    spent += cpu
                    if turn == 0:
                        run.distances += (0.5 * np.abs(found - law).sum(axis=1)).tolist()
                        run.asked += n_asked
                if turn:
                    seconds[way].append(spent)
        await genlm.trie.cleanup()

    asyncio.run(rounds())
    for way, run in runs.items():
        run.seconds = statistics.median(seconds[way])
    table = [{"engine": engine, "knob": knob} | run.summary() for (engine, knob), run in runs.items()]
    return {"n_passages": len(PASSAGES), "n_bytes": sum(map(len, exact)), "ways": table}


def by_length(tokenizer: Any, lengths: tuple[int, ...]) -> dict[int, dict[str, float]]:
    """Microseconds a byte beside the model, canonical and marginal, over the last 200 bytes of texts of that length.

    A law that expects the text stands in for the model, because only the work beside it is asked for.
    """
    import tokenloom as tl

    row = np.random.default_rng(1).normal(0.0, 3.0, tokenizer.vocab_size)
    row -= np.logaddexp.reduce(row)
    text = ("The quick brown fox jumps over the lazy dog. " * (max(lengths) // 40)).encode()
    ids = tokenizer.encode_list(text)

    def law(contexts: list[list[int]]) -> NDArray[np.float64]:
        rows = np.repeat(row[None], len(contexts), axis=0)
        for one, context in zip(rows, contexts, strict=True):
            one[ids[len(context)]] = 2.0  # as a logit beside the others' 0: a probability of 0.88
        return rows - np.log(1 + np.exp(2.0))

    found: dict[int, dict[str, float]] = {}
    for length in lengths:
        found[length] = {}
        for target, options in (("canonical", {}), ("marginal", {"max_tv": 0.0, "min_share": 0.01})):
            state = tl.bytelevel.ByteModel(law, tokenizer, target=target, **options).start(text[: length - 400])
            times = []
            for byte in text[length - 400 : length]:
                start = time.process_time_ns()
                state.next_byte()
                state.push(byte)
                times.append(time.process_time_ns() - start)
            found[length][target] = statistics.mean(times[200:]) / 1e3
    return found


def healing(model: Any, tokenizer: Any) -> dict[str, float]:
    """Forward passes and tokens that healing a prompt adds to generating from it."""
    import tokenloom as tl

    read: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    found: dict[str, list[int]] = {"passes": [], "tokens": [], "prompt": []}
    for prompt, text in PASSAGES:
        cut = prompt + text[: len(text) // 2]
        counts = []
        for heal in (False, True):
            read.clear()
            tl.torch.generate(model, tokenizer, cut, max_new_tokens=1, heal=heal)
            counts.append((len(read), sum(read)))
        found["passes"].append(counts[1][0] - counts[0][0])
        found["tokens"].append(counts[1][1] - counts[0][1])
        found["prompt"].append(len(tokenizer.encode(cut)))
    hook.remove()
    return {name: statistics.mean(values) for name, values in found.items()}


def text_of(found: dict[str, Any]) -> str:
    """The tables for readers, in Markdown."""
    laws = found["laws"]
    lines = [
        f"# Byte laws beside genlm-bytes, {found['date']}",
        "",
        f"`{found['command']}`: {found['machine']['processor']}, {found['machine']['n_cores']} cores, load "
        f"{found['machine']['load_average'][0]}; {', '.join(f'{n} {v}' for n, v in found['versions'].items())}.",
        "",
        f"{laws['n_bytes']} bytes of {laws['n_passages']} passages. Total variation from our marginal law at a "
        f"certificate of {EXACT:g}; processor time beside the model, median of {found['n_rounds']} rounds.",
        "",
        "| engine | min_share, or width and threshold | contexts a byte | mean TV | largest TV | ms a byte |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {way['engine']} | {way['knob']} | {way['contexts_per_byte']:.3f} | {way['mean_tv']:.2e} | "
        f"{way['max_tv']:.2e} | {way['ms_per_byte']:.3f} |"
        for way in laws["ways"]
    ]
    lines += ["", "Each of its settings, beside our most exact one that asks for no more:", ""]
    lines += [
        "| width, threshold | contexts: theirs, ours | mean TV: theirs, ours | time: theirs over ours |",
        "|---|---|---|---:|",
    ]
    lines += [
        f"| {pair['beam']} | {pair['contexts'][0]:.3f}, {pair['contexts'][1]:.3f} | {pair['mean_tv'][0]:.2e}, "
        f"{pair['mean_tv'][1]:.2e} | {pair['time_ratio']:.0f}x |"
        for pair in found["pairs"]
    ]
    lines += ["", "| bytes before | canonical, us a byte | marginal, us a byte |", "|---:|---:|---:|"]
    lines += [f"| {n} | {row['canonical']:.0f} | {row['marginal']:.0f} |" for n, row in found["by_length"].items()]
    heal = found["healing"]
    lines += [
        "",
        f"Healing adds {heal['passes']:.2f} forward passes and {heal['tokens']:.1f} tokens to generating from prompts "
        f"of {heal['prompt']:.1f} tokens (means).",
        "",
    ]
    return "\n".join(lines)


def pairs(ways: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each setting of genlm-bytes with ours at no more contexts."""
    found = []
    for theirs in (way for way in ways if way["engine"] == "genlm-bytes"):
        cheap = [
            way
            for way in ways
            if way["engine"] == "tokenloom" and way["contexts_per_byte"] <= theirs["contexts_per_byte"]
        ]
        if cheap:
            best = min(cheap, key=lambda way: way["mean_tv"])
            found.append(
                {
                    "beam": theirs["knob"],
                    "contexts": (theirs["contexts_per_byte"], best["contexts_per_byte"]),
                    "mean_tv": (theirs["mean_tv"], best["mean_tv"]),
                    "time_ratio": theirs["ms_per_byte"] / best["ms_per_byte"],
                }
            )
    return found


def main() -> int:
    """Run, print, and record where asked to."""
    import tokenloom as tl
    import torch

    parser = argparse.ArgumentParser(prog="python -m benches.byte_laws")
    parser.add_argument("--model", type=Path, required=True, help="the .gguf file of SmolLM2-135M-Instruct")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", default="", help="name of the record")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = tl.torch.load(options.model)
    packages = ("genlm-bytes", "genlm-backend", "torch", "transformers")
    found: dict[str, Any] = {
        **heading("byte_laws", packages, MODEL=options.model),
        "n_rounds": options.rounds,
        "by_length": by_length(tokenizer, (1_000, 10_000, 100_000)),
        "healing": healing(model, tokenizer),
        "laws": compare(model, tokenizer, options.rounds),
    }
    found["pairs"] = pairs(found["laws"]["ways"])
    print(text_of(found))
    if options.record:
        write_page(options.record, found, text_of(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
