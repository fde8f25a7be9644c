"""The other drafters: what each drafts, and that all keep the protocol."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DraftError, FormatError

DRAFTERS: dict[str, Callable[[], tl.draft.Drafter]] = {
    "suffix": tl.draft.Suffix,
    "ngram": tl.draft.Ngram,
    "trie": tl.draft.Trie,
    "recycling": lambda: tl.draft.Recycling(rows=512),
    "spine": lambda: tl.draft.Spine(rows=512),
    "callback": lambda: tl.draft.Callback(lambda ids, budget: list(range(min(budget, 3)))),
    "merged": lambda: tl.draft.Merged(
        [
            tl.draft.Suffix(),
            tl.draft.Ngram(),
            tl.draft.Trie(),
            tl.draft.Recycling(rows=512),
            tl.draft.Callback(lambda ids, budget: [1, 2]),
        ]
    ),
}


def words(seed: int, n_tokens: int) -> list[int]:
    """Text that repeats itself now and then."""
    rng = np.random.default_rng(seed)
    text: list[int] = []
    while len(text) < n_tokens:
        start = int(rng.integers(0, len(text))) if text and rng.random() < 0.5 else None
        text += rng.integers(0, 30, 4).tolist() if start is None else text[start : start + 6]
    return text[:n_tokens]


@pytest.mark.parametrize("kind", DRAFTERS)
class TestProtocol:
    def test_a_whole_life(self, kind: str) -> None:
        drafter = DRAFTERS[kind]()
        for seed in range(3):
            text = words(seed, 200)
            stream = drafter.begin(text[:50])
            for at in range(50, 200, 3):
                for chain in (False, True):
                    tree = stream.propose(budget=7, chain=chain)
                    assert len(tree) <= 7
                    assert not chain or tree.chain_length == len(tree)
                    assert ((tree.probs >= 0) & (tree.probs <= 1)).all()
                    siblings = list(zip(tree.parents.tolist(), tree.tokens.tolist(), strict=True))
                    assert len(set(siblings)) == len(siblings)
                tree = stream.propose(budget=7)
                top = np.random.default_rng(at).integers(0, 30, (len(tree) + 1, 4))
                stream.commit(text[at : at + 3], top if at % 2 else None)
            assert stream.n_tokens == 50 + 3 * 50
            stream.end()
            stream.end()
            with pytest.raises(DraftError, match="the stream has ended"):
                stream.propose()
            with pytest.raises(DraftError, match="the stream has ended"):
                stream.commit([1])

    def test_edges(self, kind: str) -> None:
        drafter = DRAFTERS[kind]()
        for prompt in ([], [5], [2**31 - 1, 0, 2**31 - 1]):
            with drafter.begin(prompt) as stream:
                assert len(stream.propose(budget=0)) == 0
                assert len(stream.propose(budget=2**40)) <= 4096
                with pytest.raises(DraftError, match="at least 0 tokens"):
                    stream.propose(budget=-1)
                stream.commit([])
                stream.commit(stream.propose().tokens)

    def test_streams_leave_nothing_behind(self, kind: str) -> None:
        drafter = DRAFTERS[kind]()
        n_bytes = []
        for i in range(3000):
            with drafter.begin([i % 7, i % 5, 3]) as stream:
                if i % 100 == 0:
                    stream.propose()
            if i in (1000, 2999):
                n_bytes.append(getattr(drafter, "n_bytes", 0) - 8 * getattr(drafter, "n_tokens", 0))
        assert n_bytes[0] == n_bytes[1]

    def test_copies(self, kind: str) -> None:
        drafter = DRAFTERS[kind]()
        # A lambda has no name to be pickled by.
        copies = [copy.deepcopy(drafter)] if kind in ("callback", "merged") else [pickle.loads(pickle.dumps(drafter))]
        for twin in [*copies, copy.deepcopy(drafter)]:
            # What is learned from this text is not shared.
            drafter = DRAFTERS[kind]()
            assert repr(twin)[:20] == repr(drafter)[:20]
            assert twin.begin([1, 2, 3, 1, 2]).propose(3) == drafter.begin([1, 2, 3, 1, 2]).propose(3)


class TestNgram:
    def test_longest_then_latest(self) -> None:
        propose = tl.draft.Ngram(length=2).begin([1, 2, 3, 4, 9, 2, 3, 7, 1, 2, 3]).propose
        assert propose().tokens.tolist() == [4, 9]
        assert tl.draft.Ngram(length=1).begin([1, 2, 7, 1, 2, 8, 1, 2]).propose().tokens.tolist() == [8]

    def test_min_match(self) -> None:
        ids = [1, 2, 3, 9, 3]
        assert len(tl.draft.Ngram(min_match=2).begin(ids).propose()) == 0
        assert len(tl.draft.Ngram(min_match=1).begin(ids).propose()) == 10
        with pytest.raises(DraftError, match="a min_match from 1 to 2, found 3"):
            tl.draft.Ngram(min_match=3, max_match=2)


class TestTrie:
    def test_branches_by_frequency(self) -> None:
        tree = tl.draft.Trie().begin([1, 2, 7, 7, 1, 2, 8, 1, 2, 8, 5, 1, 2]).propose(budget=4)
        children = {t: p for t, p, up in zip(tree.tokens, tree.probs, tree.parents, strict=True) if up == -1}
        assert children == {8: pytest.approx(2 / 3), 7: pytest.approx(1 / 3)}
        assert tree.tokens[0] == 8

    def test_a_new_pair_falls_back_to_the_last_token(self) -> None:
        assert tl.draft.Trie().begin([4, 2, 6, 9, 2]).propose(budget=1).tokens.tolist() == [6]

    def test_the_text_itself_outweighs_others(self) -> None:
        drafter = tl.draft.Trie()
        for _ in range(3):
            drafter.begin([1, 2, 5]).end()
        stream = drafter.begin([1, 2, 6, 1, 2])
        assert stream.propose(budget=2).tokens.tolist() == [6, 1]
        assert sorted(stream.propose(budget=5).tokens[stream.propose(budget=5).depths == 1].tolist()) == [5, 6]

    def test_branches_end(self) -> None:
        assert tl.draft.Trie(branch_length=3).begin([1] * 20).propose().depths.max() == 3


class TestRecycling:
    def test_rows_of_rejected_nodes_are_harvested(self) -> None:
        drafter = tl.draft.Recycling(rows=64, min_prob=0.0)
        stream = drafter.begin([1, 2], topk_ids=[[2, 3], [4, 5]])
        tree = stream.propose(budget=2)
        assert tree.tokens.tolist() == [4, 5]
        stream.commit([9], topk_ids=[[9, 4], [20, 21], [30, 31]])
        # Behind the rejected 4 the model said 20; another stream of the drafter knows.
        assert drafter.begin([4]).propose(budget=2).tokens.tolist() == [20, 21]

    def test_the_last_writer_wins(self) -> None:
        stream = tl.draft.Recycling(rows=64, min_prob=0.0).begin([7])
        two = tl.draft.DraftTree([3, 3], [-1, -1])
        stream.commit([1], topk_ids=[[1], [40], [41]], tree=two)
        stream.commit([3])
        assert stream.propose(budget=1).tokens.tolist() == [41]

    def test_what_comes_is_learned_where_nothing_is_said(self) -> None:
        stream = tl.draft.Recycling(rows=64).begin([1, 2, 1, 3, 1])
        assert stream.propose(budget=2).tokens.tolist()[0] == 3

    def test_memory_is_fixed(self) -> None:
        drafter = tl.draft.Recycling(rows=100)
        n_bytes = drafter.n_bytes
        drafter.begin(np.arange(10_000)).end()
        assert drafter.n_bytes == n_bytes == 100 * 176
        with pytest.raises(DraftError, match="rows, found 0"):
            tl.draft.Recycling(rows=0)


class TestSpine:
    def test_a_trusted_copy_takes_the_budget(self) -> None:
        text = [*range(20), 99, *range(20), 98, *range(10)]
        tree = tl.draft.Spine(rows=512).begin(text).propose(budget=200)
        assert tree.tokens[:10].tolist() == list(range(10, 20))
        assert len(tree) <= 100

    def test_branches_hang_beside_the_copy(self) -> None:
        text = [1, 2, 3, 4, 5, 6, 1, 2, 3]
        stream = tl.draft.Spine(rows=512).begin(text, topk_ids=[[t + 1, t + 50] for t in text])
        tree = stream.propose(budget=20)
        assert tree.tokens[: tree.chain_length].tolist()[:3] == [4, 5, 6]
        assert 53 in tree.tokens[tree.depths == 1]
        assert (tree.depths > 1).sum() > tree.chain_length


class TestCallback:
    def test_trees_chains_and_probabilities(self) -> None:
        tree = tl.draft.DraftTree([4, 5, 6], [-1, -1, 1])
        assert tl.draft.Callback(lambda ids, budget: tree).begin([1]).propose() == tree
        assert len(tl.draft.Callback(lambda ids, budget: tree).begin([1]).propose(2)) == 2
        found = tl.draft.Callback(lambda ids, budget: ([7, 8], [0.5, 0.25])).begin([1]).propose()
        assert found.probs.tolist() == [0.5, 0.25]
        with pytest.raises(DraftError):
            tl.draft.Callback(lambda ids, budget: [-1]).begin([1]).propose()

    @pytest.mark.parametrize(
        "ids", [[-1], [1.5], np.array([2**31], np.uint32), np.array([1.0]), [[1, 2]], [2**31], [10**30], "12"]
    )
    def test_ids_are_those_of_other_drafters(self, ids: object) -> None:
        errors = []
        for drafter in (tl.draft.Callback(lambda ids, budget: [1]), tl.draft.Ngram()):
            for use in (drafter.begin, (stream := drafter.begin([1])).commit):
                with pytest.raises((ArrayError, DraftError)) as caught:
                    use(ids)
                errors.append((type(caught.value), str(caught.value)))
            assert stream.n_tokens == 1
        assert errors == errors[:1] * 4

    def test_a_function_cannot_rewrite_the_text(self) -> None:
        def rewrite(ids: np.ndarray, budget: int) -> list[int]:
            ids[:] = 0
            return [1]

        stream = tl.draft.Callback(rewrite).begin([5, 6])
        for _ in range(2):
            with pytest.raises(ValueError, match="read-only"):
                stream.propose()
            stream.commit([7])

    def test_batches(self) -> None:
        drafter = tl.draft.Callback(lambda ids, budget: (ids[-3:], [0.5] * len(ids[-3:])))
        streams = [drafter.begin(range(5, 5 + n)) for n in (4, 1, 7)]
        singles = [stream.propose(2) for stream in streams]
        assert drafter.propose_batch(streams, 2) == singles
        out = tl.draft.TreeBatch.empty(3, 2)
        assert drafter.propose_batch(streams, 9, chain=True, out=out, threads=2) is out
        assert [out.tree(row) for row in range(3)] == singles
        assert out.tokens.tolist() == [[6, 7], [5, -1], [9, 10]]
        drafter.commit_batch(streams, [[1], [], np.array([2, 3])], threads=2)
        assert [stream.n_tokens for stream in streams] == [5, 1, 9]
        for wrong, error, message in (
            ([[1], [2]], ArrayError, "one entry for each of the 3 streams, found 2"),
            ([[1], [2], [-1]], DraftError, "found -1 at index 0"),
        ):
            with pytest.raises(error, match=message):
                drafter.commit_batch(streams, wrong)
        assert [stream.n_tokens for stream in streams] == [5, 1, 9]
        with pytest.raises(ArrayError, match="3 rows, as many as streams"):
            drafter.propose_batch(streams, out=tl.draft.TreeBatch.empty(2, 4))
        other = tl.draft.Callback(lambda ids, budget: [1]).begin([1])
        for stream in (other, tl.draft.Ngram().begin([1])):
            with pytest.raises(DraftError, match="another's at index 1"):
                drafter.propose_batch([streams[0], stream])
            with pytest.raises(DraftError, match="another's at index 0"):
                drafter.commit_batch([stream], [[1]])
        assert drafter.propose_batch([]) == []

    def test_nested_exits_and_a_stop(self) -> None:
        asked: Iterator[float] = iter([0.9, 0.2, 0.9, 0.2])
        drafter = tl.draft.Callback.stepwise(
            [(lambda ids: (1, next(asked)), 0.5), (lambda ids: (2, 0.6 if len(ids) < 4 else 0.1), 0.0)], stop=0.4
        )
        tree = drafter.begin([0]).propose()
        assert tree.tokens.tolist() == [1, 2, 1]
        np.testing.assert_allclose(tree.probs, [0.9, 0.6, 0.9], atol=1e-6)
        with pytest.raises(DraftError, match="at least one exit"):
            tl.draft.Callback.stepwise([])


class TestMerged:
    def test_every_source_is_heard(self) -> None:
        drafter = tl.draft.Merged(
            [tl.draft.Suffix(), tl.draft.Callback(lambda ids, budget: ([77], [0.9]))], min_prob=0.01
        )
        stream = drafter.begin([1, 2, 3, 1, 2])
        assert set(stream.propose(8).tokens[stream.propose(8).depths == 1].tolist()) == {3, 77}
        assert drafter.propose_batch([stream], 8) == [stream.propose(8)]
        drafter.commit_batch([stream], [[3]])
        assert stream.n_tokens == 6

    def test_a_source_that_is_always_wrong_loses_its_say(self) -> None:
        liar = tl.draft.Callback(lambda ids, budget: ([77], [1.0]))
        drafter = tl.draft.Merged([tl.draft.Suffix(), liar], min_prob=0.001)
        probs = []
        for _ in range(40):
            with drafter.begin([1, 2, 3]) as stream:
                tree = stream.propose(4)
                probs.append(float(tree.probs[tree.tokens == 77].max(initial=0.0)))
                stream.commit([4])
        assert probs[0] > 0.4
        assert probs[-1] < probs[0] / 10

    def test_a_source_that_is_right_is_believed(self) -> None:
        modest = tl.draft.Callback(lambda ids, budget: ([77], [1.0]))
        drafter = tl.draft.Merged([tl.draft.Suffix(), modest], min_prob=0.001)
        probs = []
        for _ in range(40):
            with drafter.begin([1, 2, 3]) as stream:
                probs.append(float(stream.propose(4).probs[0]))
                stream.commit([77])
        assert probs[0] == pytest.approx(0.5)
        assert probs[-1] > 0.9

    def test_only_drafters_are_merged(self) -> None:
        with pytest.raises(DraftError, match="found none"):
            tl.draft.Merged([])
        with pytest.raises(DraftError, match="found int"):
            tl.draft.Merged([tl.draft.Suffix(), 5])  # type: ignore[list-item]

    def test_each_drafter_is_merged_once(self) -> None:
        for drafter in (tl.draft.Suffix(), tl.draft.Callback(lambda ids, budget: [1])):
            with pytest.raises(DraftError, match="each drafter at most once, found one twice in"):
                tl.draft.Merged([drafter, tl.draft.Ngram(), drafter])
            with pytest.raises(DraftError, match="other than Merged, found one"):
                tl.draft.Merged([tl.draft.Merged([drafter]), tl.draft.Ngram()])
        assert len(tl.draft.Merged([tl.draft.Suffix(), tl.draft.Suffix()]).drafters) == 2

    def test_pickle(self) -> None:
        drafter = tl.draft.Merged([tl.draft.Suffix(max_depth=9)])
        assert repr(pickle.loads(pickle.dumps(drafter))) == repr(drafter)

    def test_what_was_learned_of_the_sources_is_pickled(self) -> None:
        drafter = tl.draft.Merged([tl.draft.Suffix()], min_prob=0.001)
        for _ in range(40):
            with drafter.begin([1, 2, 3, 1, 2]) as stream:
                stream.propose(4)
                stream.commit([4])
        copied = pickle.loads(pickle.dumps(drafter))
        ids = [7, 8, 9, 7, 8]
        assert copied.begin(ids).propose(2) == drafter.begin(ids).propose(2)
        assert (
            copied.begin(ids).propose(2).probs[0] < tl.draft.Merged([tl.draft.Suffix()]).begin(ids).propose(2).probs[0]
        )
        for wrong in ([1.0], [-1.0] * 952, [float("nan")] * 952):
            with pytest.raises(DraftError, match="expected 952 counters"):
                drafter._drafter.learn_from(np.array(wrong, np.float32))
        with pytest.raises(DraftError, match="expected 0 counters"):
            tl.draft.Ngram()._drafter.learn_from(np.ones(2, np.float32))


class TestCost:
    def test_the_best_number_of_nodes(self) -> None:
        flat = tl.draft.CostCurve([1, 8, 9, 16], [1.0, 1.0, 2.0, 2.0])
        probs = np.sort(np.random.default_rng(0).random(15).astype(np.float32))[::-1].tolist()
        rates = [(1 + sum(probs[:n])) / flat.at(n + 1) for n in range(16)]
        assert flat.n_paying(probs) == int(np.argmax(rates))
        assert flat.n_paying([]) == 0
        assert tl.draft.CostCurve([1, 2], [1.0, 2.0]).n_paying([0.9, 0.8]) == 0

    def test_drafting_is_off_where_it_does_not_pay(self) -> None:
        steep = tl.draft.CostCurve([1, 2], [1.0, 10.0])
        ids = [1, 2, 3, 1, 2, 3, 1, 2]
        assert len(tl.draft.Suffix(cost=steep).begin(ids).propose()) == 0
        assert len(tl.draft.Suffix(cost=steep._replace(seconds=[1.0, 1.001])).begin(ids).propose()) > 0
        assert len(tl.draft.Merged([tl.draft.Suffix()], cost=steep).begin(ids).propose()) == 0

    def test_curves_are_measured_kept_and_checked(self, tmp_path: Path) -> None:
        curve = tl.draft.CostCurve.measure(lambda n_rows: sum(range(n_rows * 10)), rows=(1, 4, 8), n_rounds=2)
        curve.save(tmp_path / "curve.json")
        assert tl.draft.CostCurve.load(tmp_path / "curve.json") == curve
        (tmp_path / "other.json").write_text("[1]")
        with pytest.raises(FormatError, match="a cost curve"):
            tl.draft.CostCurve.load(tmp_path / "other.json")
        for rows, seconds in (([2], [1.0]), ([1, 1], [1.0, 1.0]), ([1], [0.0]), ([], []), ([1], [1.0, 2.0])):
            with pytest.raises(DraftError, match="rows ascending from 1"):
                tl.draft.Suffix(cost=tl.draft.CostCurve(rows, seconds))
