"""Do public objects give the same answers from threads, after `fork`, through pickle and as copies?

One line a class in `SUBJECTS`: how it is made, and a probe whose result must not change. A class is shared by threads
and inherited by a forked child as it is; pickle and deepcopy must give an equal twin.
"""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import pytest
import tokenloom as tl

TEXT = "she sells sea shells by the sea shore; the shells she sells are sea shells for sure. "


class Subject(NamedTuple):
    make: Callable[[], Any]
    probe: Callable[[Any], Any]


@cache
def tokenizer() -> tl.Tokenizer:
    trained: tl.Tokenizer = tl.train.bpe([TEXT * 20], vocab_size=300, progress=False)
    return trained


def suffix() -> tl.draft.Suffix:
    drafter = tl.draft.Suffix(max_depth=16)
    next_token(drafter)
    return drafter


def encode_and_decode(tok: tl.Tokenizer) -> Any:
    batch = tok.encode_batch([TEXT * 50, "", "shells"] * 20, threads=2)
    return [ids.tolist() for ids in batch], tok.decode(tok.encode(TEXT)), tok.special_tokens


def next_token(drafter: tl.draft.Suffix) -> Any:
    """Every probe teaches the same text once more, so the first guess stays what it was."""
    ids = tokenizer().encode(TEXT)
    with drafter.begin(ids[:12]) as stream:
        tree = stream.propose(budget=1)
        stream.commit(ids[12:])
    return tree.tokens.tolist()


def draw(params: tl.sample.Params) -> Any:
    logits = np.random.default_rng(3).normal(size=(4, 1000)).astype(np.float32)
    return tl.sample.sample(logits, params, seeds=[1, 2, 3, 4], positions=[0, 1, 2, 3]).tokens.tolist()


def noise(rng: tl.Rng) -> Any:
    return tl.sample.waiting_times(rng, 5).tolist(), rng.uniform(token=2)


def rows(tree: tl.draft.DraftTree) -> Any:
    return tree.tokens.tolist(), tree.parents.tolist(), tree.depths.tolist(), tree.probs.tolist()


SUBJECTS = {
    "Tokenizer": Subject(tokenizer, encode_and_decode),
    "Ragged": Subject(lambda: tokenizer().encode_batch(["a", "", TEXT]), lambda r: [ids.tolist() for ids in r]),
    "Params": Subject(lambda: tl.sample.Params(temperature=0.7, top_p=0.9, min_p=0.01), draw),
    "Rng": Subject(lambda: tl.Rng(7, 3), noise),
    "Suffix": Subject(suffix, next_token),
    "DraftTree": Subject(lambda: tl.draft.DraftTree([5, 6, 7], [-1, 0, 0]), rows),
}


def _answer(name: str, subject: Any, pipe: Connection) -> None:
    pipe.send(SUBJECTS[name].probe(subject))


@pytest.mark.parametrize("name", SUBJECTS)
def test_pickle_and_deepcopy_give_an_equal_twin(name: str) -> None:
    make, probe = SUBJECTS[name]
    subject = make()
    expected = probe(subject)
    assert expected
    assert probe(pickle.loads(pickle.dumps(subject))) == expected
    assert probe(copy.deepcopy(subject)) == expected
    assert probe(copy.copy(subject)) == expected


@pytest.mark.parametrize("name", SUBJECTS)
def test_threads_share_one_object(name: str) -> None:
    make, probe = SUBJECTS[name]
    subject = make()
    expected = probe(subject)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: probe(subject), range(32))) == [expected] * 32


@pytest.mark.parametrize("name", SUBJECTS)
def test_forked_child_uses_its_parents_object(name: str) -> None:
    make, probe = SUBJECTS[name]
    subject = make()
    expected = probe(subject)  # any pool of threads is started before the fork, so that a child that relied on it hangs
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(name, subject, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns about every fork beside threads
        child.start()
    try:
        assert receiver.poll(60), "the forked child hangs"
        assert receiver.recv() == expected
    finally:
        child.kill()
        child.join()
