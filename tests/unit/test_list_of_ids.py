"""Is a list of ids a list like any other: counted, changed, and freed where Python's allocator checks it?"""

import gc
import os
import subprocess
import sys

import pytest
import tokenloom as tl

RANKS = {bytes([b]): b for b in range(256)} | {b"ab": 1256, b"abc": 1257}  # above the numbers that Python keeps


@pytest.fixture(scope="module")
def tok():
    return tl.Tokenizer.from_tiktoken("t", pat_str=tl.patterns.CL100K, mergeable_ranks=RANKS, special_tokens={})


def test_references_are_counted_and_given_back(tok):
    abc = tok.encode_list("abc")[0]
    before = sys.getrefcount(abc)
    lists = [tok.encode_list("abc" * 100) for _ in range(10)] + tok.encode_batch_list(["abcabc"] * 5)
    assert sys.getrefcount(abc) == before + 10 * 100 + 5 * 2
    del lists
    assert sys.getrefcount(abc) == before


@pytest.mark.parametrize("n", [0, 1, 2, 63, 64, 65, 5000, 700_000])
def test_it_changes_as_any_other(tok, n):
    ids = tok.encode_list("abc" * n)
    other = [1257] * n
    assert type(ids) is list
    assert ids == other
    assert gc.is_tracked(ids)
    assert sys.getsizeof(ids) <= 1.2 * sys.getsizeof(other) + 64
    for changed in (ids, other):
        changed.append(7)
        changed[0:1] = [1, 2, 3]
        changed.extend(range(1000))
        changed.sort()
        del changed[:5]
    assert ids == other


def test_pythons_checking_allocator_finds_nothing():
    program = (
        "import tokenloom as tl; from test_list_of_ids import RANKS;"
        "t = tl.Tokenizer.from_tiktoken('t', pat_str=tl.patterns.CL100K, mergeable_ranks=RANKS, special_tokens={});"
        "lists = [t.encode_list('abc' * n) for n in (0, 1, 3, 100, 40_000)];"
        "[ids.append(1) for ids in lists]; del lists[2]; print(sum(map(len, lists)))"
    )
    here = os.path.dirname(__file__)
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program],
        env=os.environ | {"PYTHONMALLOC": "debug"},
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout.strip()) == (0, "40105"), run.stderr
