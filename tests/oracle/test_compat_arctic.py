"""``compat.arctic`` against arctic-inference: calls, errors, bounds, and what vLLM's suffix proposer does with it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from arctic_inference.suffix_decoding import SuffixDecodingCache as Theirs
from tokenloom.compat.arctic import SuffixDecodingCache as Ours

DATA = Path(__file__).parents[1] / "data"


class VllmSuffixProposer:
    """What vLLM's proposer (v1/spec_decode/suffix_decoding.py, 2026) does with the cache, call by call."""

    def __init__(self, cache: Any, depth: int, n_drafted: int, max_len: int) -> None:
        self.cache, self.depth, self.n_drafted, self.max_len = cache, depth, n_drafted, max_len

    def propose(self, batch: Any, sampled: list[list[int]]) -> list[list[int]]:
        drafts = []
        for i, new in enumerate(sampled):
            n = int(batch.num_tokens_no_spec[i])
            if not new or n >= self.max_len:
                drafts.append([])
                continue
            name = batch.req_ids[i]
            if name not in self.cache.active_requests:
                if name in self.cache.cached_requests:
                    self.cache.evict_cached_response(name)
                self.cache.start_request(name, batch.token_ids_cpu[i, : batch.num_prompt_tokens[i]])
            self.cache.add_active_response(name, new)
            draft = self.cache.speculate(
                name,
                batch.token_ids_cpu[i, max(0, n - self.depth) : n],
                max_spec_tokens=min(self.n_drafted, self.max_len - n - 1),
                max_spec_factor=1.0,
                min_token_prob=0.1,
            )
            drafts.append(draft.token_ids)
        for name in self.cache.active_requests - {name: i for i, name in enumerate(batch.req_ids)}.keys():
            self.cache.stop_request(name)
        return drafts


def serve(
    cache: Any, requests: dict[str, tuple[list[int], list[int]]], width: int = 3
) -> tuple[int, int, int, list[Any]]:
    """Answer requests in a batch that others join as some end; tokens, steps, drafted tokens, the cache's states."""
    proposer = VllmSuffixProposer(cache, 24, 8, 600)
    table, waiting, running, log = np.zeros((width, 600), np.int32), list(requests), [], []
    n_steps = n_tokens = n_drafted = 0
    while waiting or running:
        while waiting and len(running) < width:
            running.append({"name": waiting.pop(0), "done": 0, "draft": []})
        sampled = []
        for row, at in enumerate(running):
            prompt, answer = requests[at["name"]]
            n_right = 0
            while n_right < len(at["draft"]) and at["done"] + n_right < len(answer) - 1:
                if at["draft"][n_right] != answer[at["done"] + n_right]:
                    break
                n_right += 1
            new = answer[at["done"] : at["done"] + n_right + 1]
            at["done"] += len(new)
            text = prompt + answer[: at["done"]]
            table[row, : len(text)] = text
            sampled.append(new)
            n_steps, n_tokens = n_steps + 1, n_tokens + len(new)
        batch = SimpleNamespace(
            req_ids=[at["name"] for at in running],
            num_tokens_no_spec=np.array([len(requests[at["name"]][0]) + at["done"] for at in running]),
            num_prompt_tokens=np.array([len(requests[at["name"]][0]) for at in running]),
            token_ids_cpu=table,
        )
        for at, draft in zip(running, proposer.propose(batch, sampled), strict=True):
            at["draft"] = draft
            n_drafted += len(draft)
        log.append((sorted(cache.active_requests), list(cache.cached_requests)))
        running = [at for at in running if at["done"] < len(requests[at["name"]][1])]
    return n_tokens, n_steps, n_drafted, log


@pytest.fixture(scope="module")
def requests(asset: Callable[[str], Path]) -> dict[str, tuple[list[int], list[int]]]:
    """Words as tokens: translations and answers that quote their questions."""
    lines = (DATA / "spec_bench_56.jsonl").read_text("utf-8").splitlines()
    known: dict[str, int] = {}
    found = {}
    for index, line in enumerate(lines[:40]):
        words = [known.setdefault(word, len(known)) for word in json.loads(line)["text"].split()]
        half = len(words) // 2
        found[f"request {index}"] = (words[:half], words[half:] + words[: half // 2])
    return found


def test_a_server_can_use_either(requests: dict[str, tuple[list[int], list[int]]]) -> None:
    (*ours, our_log), (*theirs, their_log) = serve(Ours(24, 10), requests), serve(Theirs(24, 10), requests)
    for log in (our_log, their_log):
        for active, cached in log:
            started = [name for name in requests if name in cached or name in active]
            assert cached == started[-10:], "first in, first out"
            assert len(active) <= 3
        assert log[-1][1] == list(requests)[-10:]
    # Ours drafts less where little is known: of what it drafts more is right, and nearly as many tokens come a step.
    found = {}
    for name, (n_tokens, n_steps, n_drafted) in {"ours": ours, "arctic-inference": theirs}.items():
        found[name] = n_tokens / n_steps, (n_tokens - n_steps) / n_drafted
        print(f"{name}: {found[name][0]:.3f} tokens per step, {found[name][1]:.3f} of the drafted ones stay")
    assert found["ours"][0] >= 0.99 * found["arctic-inference"][0]
    assert found["ours"][1] >= found["arctic-inference"][1]


@pytest.mark.parametrize("make", [Ours, Theirs], ids=["ours", "theirs"])
def test_errors_are_value_errors(make: Any) -> None:
    with pytest.raises(ValueError, match="max_cached_requests"):
        make(64, 2**31)
    cache = make()
    assert (cache.max_tree_depth, cache.max_cached_requests) == (64, -1)
    cache.start_request("a", [1, 2, 3])
    for call in (
        lambda: cache.start_request("a", [1]),
        lambda: cache.stop_request("b"),
        lambda: cache.add_active_response("b", [1]),
        lambda: cache.speculate("b", [1], max_spec_tokens=4),
        lambda: cache.evict_cached_response("b"),
        lambda: cache.add_active_response("a", np.array([1], dtype=np.int64)),
        lambda: cache.add_active_response("a", np.array([[1]], dtype=np.int32)),
        lambda: cache.add_active_response("a", np.arange(6, dtype=np.int32)[::2]),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 (each side has its own words)
            call()
    assert cache.active_requests == {"a"}
    assert cache.cached_requests == {"a"}


@pytest.mark.parametrize("make", [Ours, Theirs], ids=["ours", "theirs"])
def test_names_come_and_go_first_in_first_out(make: Any) -> None:
    cache = make(max_cached_requests=2)
    for name in "abc":
        cache.start_request(name, [1, 2])
        cache.add_active_response(name, [3])
        cache.stop_request(name)
    assert list(cache.cached_requests) == ["b", "c"]
    assert not cache.active_requests
    cache.start_request("b", [1])
    assert list(cache.cached_requests) == ["c", "b"]
    none = make(max_cached_requests=0)
    none.start_request("a", [1, 2])
    assert not none.cached_requests


@pytest.mark.parametrize("make", [Ours, Theirs], ids=["ours", "theirs"])
def test_drafts_keep_the_bounds(make: Any) -> None:
    rng = random.Random(4)
    cache = make(16)
    text = [rng.randrange(6) for _ in range(120)]
    cache.start_request(0, np.array(text[:60], dtype=np.int32))
    for at in range(60, 120):
        cache.add_active_response(0, text[at : at + 1])
        options: dict[str, Any] = {
            "max_spec_tokens": rng.randrange(1, 20),
            "max_spec_factor": rng.choice([0.5, 1.0, 2.0]),
            "max_spec_offset": rng.choice([-1.0, 0.0, 2.0]),
            "min_token_prob": rng.choice([0.05, 0.2, 0.5]),
            "use_tree_spec": rng.random() < 0.5,
        }
        draft = cache.speculate(0, text[max(0, at - 20) : at + 1], **options)
        assert len(draft.token_ids) <= options["max_spec_tokens"]
        limit = options["max_spec_factor"] * draft.match_len + options["max_spec_offset"]
        assert len(draft.token_ids) <= max(int(limit + 1e-6), 0)
        assert len(draft.token_ids) == len(draft.parents) == len(draft.probs)
        assert all(prob >= options["min_token_prob"] - 1e-6 for prob in draft.probs)
        assert all(parent < node for node, parent in enumerate(draft.parents))
        assert draft.score == pytest.approx(sum(draft.probs), abs=1e-4)
        if not options["use_tree_spec"]:
            assert draft.parents == list(range(-1, len(draft.parents) - 1))


@pytest.mark.parametrize("make", [Ours, Theirs], ids=["ours", "theirs"])
def test_the_factor_limits_drafts_from_other_answers(make: Any) -> None:
    cache = make()
    cache.start_request("a", [1])
    cache.add_active_response("a", [*range(10, 20)])
    cache.stop_request("a")
    cache.start_request("b", [99, 11, 12])

    def lengths(**options: float) -> list[int]:
        drafts = [
            cache.speculate("b", [99, 11, 12], 8, max_spec_factor=factor, min_token_prob=0.0001, **options)
            for factor in (0, 0.5, 1)
        ]
        assert {draft.match_len for draft in drafts} == {2}
        return [len(draft.token_ids) for draft in drafts]

    assert lengths() == [0, 1, 2]
    assert lengths(max_spec_offset=1.0) == [1, 2, 2] if make is Ours else [1, 2, 3]
    assert cache.speculate("b", [98, 97], 8, max_spec_offset=5.0).token_ids == [], "no match, no draft"


@pytest.mark.parametrize("make", [Ours, Theirs], ids=["ours", "theirs"])
def test_arguments_of_wrong_types(make: Any) -> None:
    cache = make()
    cache.start_request("a", [1, 2, 3, 1, 2])
    for wrong in ([1.5], "12", [2**31], [2**40], iter([1]), None, {1, 2}):
        for call in (
            lambda wrong=wrong: cache.start_request(repr(wrong), wrong),
            lambda wrong=wrong: cache.add_active_response("a", wrong),
            lambda wrong=wrong: cache.speculate("a", wrong, 8),
        ):
            with pytest.raises(TypeError):
                call()
    for n_tokens in (1.5, 1 + 1j):
        with pytest.raises(TypeError):
            cache.speculate("a", [1, 2], n_tokens)
    assert make is Theirs or cache.active_requests == {"a"}, "theirs begins a request whose prompt it refuses"
    assert cache.speculate("a", [1, 2], 8, min_token_prob=float("nan")).token_ids == []
    deep = make(100_000)
    deep.start_request("a", [1, 2, 3, 1, 2])
    assert deep.max_tree_depth == 100_000
    assert deep.speculate("a", [1, 2], 8).token_ids[:1] == [3]


def test_limits_that_are_no_numbers() -> None:
    cache = Ours()
    cache.start_request("a", [1, 2, 3, 1, 2])
    for factor, offset in ((np.nan, 0.0), (0.0, np.nan), (np.inf, -np.inf)):
        with pytest.raises(tl.errors.DraftError, match="numbers as max_spec_factor and max_spec_offset, found"):
            cache.speculate("a", [1, 2], 8, factor, offset)
    assert cache.speculate("a", [1, 2], 2, np.inf, min_token_prob=0.01).token_ids == [3, 1]
    assert cache.speculate("a", [1, 2], 2, -np.inf, min_token_prob=0.01).token_ids == []


def test_context_decides_even_where_it_is_not_the_end_of_the_text() -> None:
    caches = Ours(), Theirs()
    for cache in caches:
        cache.start_request("a", [1, 2, 3, 4, 5, 6, 7, 8])
        assert cache.speculate("a", [2, 3, 4], max_spec_tokens=2, min_token_prob=0.01).token_ids[:1] == [5]
        cache.add_active_response("a", np.array([3, 4], dtype=np.int32))
        draft = cache.speculate("a", np.array([3, 4], dtype=np.int32), max_spec_tokens=2, min_token_prob=0.01)
        assert draft.token_ids[0] == 5, "theirs never matches the whole context, and so drafts one token less"
        assert cache.speculate("a", [], max_spec_tokens=2).token_ids == []
        assert cache.speculate("a", [3, 4], max_spec_tokens=0).token_ids == []
    assert Ours().max_tree_depth == 64
    assert caches[0].speculate("a", [2, 3, 4], min_token_prob=0.01).token_ids[:1] == [5], "no limit given: the depth"


def test_answers_are_shared_and_prompts_are_not() -> None:
    cache = Ours()
    cache.start_request("a", [50, 51, 52, 53])
    cache.add_active_response("a", [60, 61, 62, 63, 64])
    cache.stop_request("a")
    cache.start_request("b", [70, 60, 61, 62])
    assert cache.speculate("b", [60, 61, 62], max_spec_tokens=2, min_token_prob=0.01).token_ids == [63, 64]
    cache.start_request("c", [70, 50, 51, 52])
    assert cache.speculate("c", [50, 51, 52], max_spec_tokens=2).token_ids == []
    assert tl.compat.arctic.SuffixDecodingCache is Ours


@pytest.mark.parametrize("is_installed", [True, False])
def test_the_guide_registers_with_and_without_the_original(is_installed: bool) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "serving-drafts.md").read_text("utf-8")
    [block] = [part.split("```")[0] for part in guide.split("```python\n")[1:] if "def register" in part]
    hide = "import importlib.util as util; find = util.find_spec\n"
    hide += "util.find_spec = lambda name: find(name) if name in sys.modules else None\n"
    program = "import sys\n" + ("" if is_installed else hide) + block + "register()\n"
    if is_installed:
        program += "import arctic_inference.envs\nassert arctic_inference.__file__\n"
    program += "assert SuffixDecodingCache is tokenloom.compat.arctic.SuffixDecodingCache\n"
    subprocess.run([sys.executable, "-c", program], check=True)
