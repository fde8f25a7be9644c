"""Many streams at once, drafters of one's own, and what the model says beside the tokens."""

from __future__ import annotations

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DraftError


def streams_of(n: int) -> tuple[tl.draft.Suffix, list[tl.draft.Stream]]:
    drafter = tl.draft.Suffix(min_prob=0.0)
    rng = np.random.default_rng(0)
    return drafter, [drafter.begin(rng.integers(0, 4, 30 + i % 7)) for i in range(n)]


class TestBatch:
    @pytest.mark.parametrize("threads", [1, 2, 7])
    def test_one_call_proposes_what_single_calls_do(self, threads: int) -> None:
        drafter, streams = streams_of(100)
        expected = [stream.propose(9) for stream in streams]
        assert drafter.propose_batch(streams, 9, threads=threads) == expected
        out = tl.draft.TreeBatch.empty(100, 9)
        assert drafter.propose_batch(streams, 64, out=out, threads=threads) is out
        assert [out.tree(row) for row in range(100)] == expected
        for row, tree in enumerate(expected):
            assert out.depths[row].tolist() == [*tree.depths, *[0] * (9 - len(tree))]

    def test_one_call_commits_what_single_calls_do(self) -> None:
        drafter, streams = streams_of(70)
        _, twins = streams_of(70)
        ids = [np.arange(i % 4) for i in range(70)]
        drafter.commit_batch(streams, ids, threads=2)
        for twin, news in zip(twins, ids, strict=True):
            twin.commit(news)
        assert [stream.propose() for stream in streams] == [twin.propose() for twin in twins]
        drafter.commit_batch(streams, tl.Ragged(np.array([5] * 70, np.uint32), np.arange(71)))
        assert {stream.n_tokens - twin.n_tokens for stream, twin in zip(streams, twins, strict=True)} == {1}

    def test_nothing_is_committed_if_one_stream_refuses(self) -> None:
        drafter, streams = streams_of(3)
        before = [stream.n_tokens for stream in streams]
        with pytest.raises(DraftError, match="found -1 at index 0"):
            drafter.commit_batch(streams, [[1], [2], [-1]])
        streams[2].end()
        with pytest.raises(DraftError, match="has ended"):
            drafter.commit_batch(streams, [[1], [2], [3]])
        with pytest.raises(DraftError, match="has ended"):
            drafter.propose_batch(streams)
        with pytest.raises(ArrayError, match="one entry for each of the 3 streams"):
            drafter.commit_batch(streams, [[1]])
        assert [stream.n_tokens for stream in streams] == [*before[:2], 0]
        assert drafter.propose_batch([]) == []
        drafter.commit_batch([], [])

    def test_streams_of_another_drafter(self) -> None:
        drafter, streams = streams_of(2)
        mixed = [streams[0], tl.draft.Suffix(min_prob=0.0).begin([1, 2])]
        calls = (
            lambda: drafter.propose_batch(mixed),
            lambda: drafter.propose_batch(mixed, out=tl.draft.TreeBatch.empty(2, 3)),
            lambda: drafter.commit_batch(mixed, [[1], [1]]),
        )
        for call in calls:
            with pytest.raises(DraftError, match="streams of this drafter, found another's at index 1"):
                call()
        assert [stream.n_tokens for stream in mixed] == [30, 2]

    def test_buffers_that_do_not_fit(self) -> None:
        drafter, streams = streams_of(3)
        with pytest.raises(ArrayError, match="3 rows, as many as streams"):
            drafter.propose_batch(streams, out=tl.draft.TreeBatch.empty(2, 4))
        out = tl.draft.TreeBatch.empty(3, 4)
        with pytest.raises(ArrayError, match=r"out\.probs as a writable C-contiguous array of float32"):
            drafter.propose_batch(streams, out=out._replace(probs=np.zeros((3, 4))))
        with pytest.raises(ArrayError, match="of one width"):
            drafter.propose_batch(streams, out=out._replace(depths=np.zeros((3, 5), np.int32)))
        with pytest.raises(ArrayError, match=r"out\.lengths .* with 1 axes"):
            drafter.propose_batch(streams, out=out._replace(lengths=np.zeros((3, 1), np.int32)))
        assert [len(out.tree(row)) for row in range(3)] == [0, 0, 0]


class TestLikelyTokens:
    """Drafters that learn from the model get what it said; here only what is checked before."""

    def test_shapes_and_values(self) -> None:
        drafter = tl.draft.Suffix(min_prob=0.0)
        stream = drafter.begin([1, 2, 1], np.array([[5, 6], [7, -1], [2, 3]]), np.zeros((3, 2)))
        assert len(stream.propose(2)) == 2
        with pytest.raises(DraftError, match="one row of likely tokens for each row of the draft, 3 in all, found 1"):
            stream.commit([2], [[4, 5]])
        with pytest.raises(ArrayError, match=r"integer\[rows, k\]"):
            stream.commit([2], [4, 5])
        with pytest.raises(ArrayError, match="topk_ids beside topk_logprobs"):
            stream.commit([2], None, [[0.0]])
        with pytest.raises(ArrayError, match="of shape"):
            stream.commit([2], [[4, 5]] * 3, [[0.0]] * 3)
        with pytest.raises(DraftError, match="at most 0, found NaN at index 0"):
            stream.commit([2], [[4]] * 3, [[np.nan]] * 3)
        with pytest.raises(DraftError, match="found -2 at index 1"):
            stream.commit([2], [[4, -2]] * 3)
        assert stream.n_tokens == 3
        stream.commit([2], [[4, 5]] * 3)
        stream.commit([], [[4, 5]], tree=tl.draft.DraftTree([], []))
        assert stream.n_tokens == 4


class TestTrees:
    def test_cutting_takes_what_hangs_below(self) -> None:
        tree = tl.draft.DraftTree([5, 6, 7, 8, 9], [-1, 0, 1, -1, 3], np.linspace(0.1, 0.5, 5))
        cut, kept = tree.cut(np.array([True, False, True, True, True]))
        assert kept.tolist() == [0, 3, 4]
        assert cut.tokens.tolist() == [5, 8, 9]
        assert cut.parents.tolist() == [-1, -1, 1]
        assert cut.depths.tolist() == [1, 1, 2]
        assert (tree.chain_length, cut.chain_length) == (3, 1)
        assert tl.draft.DraftTree.chain([4, 5, 6]).chain_length == 3
        with pytest.raises(DraftError, match="one mark for each of the 5 nodes"):
            tree.cut(np.array([True]))

    def test_mask_words_are_the_mask(self) -> None:
        rng = np.random.default_rng(1)
        parents = [int(rng.integers(-1, i)) if i else -1 for i in range(70)]
        tree = tl.draft.DraftTree(np.arange(70), parents)
        words = tree.mask_words().view(np.uint32)
        bits = (words[:, :, None] >> np.arange(32, dtype=np.uint32)) & 1
        np.testing.assert_array_equal(bits.reshape(71, -1)[:, :71], tree.attention_mask(0))


def test_a_drafter_of_ones_own() -> None:
    class Nothing:
        def begin(self, prompt_ids: object) -> object:
            return prompt_ids

    assert isinstance(Nothing(), tl.draft.Drafter)
    assert isinstance(tl.draft.Suffix(), tl.draft.Drafter)
