"""The suffix drafter and draft trees."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ArrayError, DraftError, LimitError


def committed(drafter: tl.draft.Suffix, ids: list[int]) -> None:
    drafter.begin(ids).end()


class TestProposals:
    def test_repeats_what_followed_the_longest_match(self) -> None:
        stream = tl.draft.Suffix().begin([1, 2, 3, 4, 9, 2, 3, 7, 1, 2, 3])
        tree = stream.propose(budget=2)
        assert tree.tokens.tolist() == [4, 9]
        assert tree.parents.tolist() == [-1, 0]
        assert tree.depths.tolist() == [1, 2]
        assert ((tree.probs > 0.3) & (tree.probs < 1)).all()

    def test_the_latest_continuation_wins_a_tie(self) -> None:
        stream = tl.draft.Suffix().begin([1, 2, 7, 1, 2, 8, 1, 2])
        assert stream.propose(budget=1).tokens.tolist() == [8]

    def test_agreement_makes_a_draft_more_probable(self) -> None:
        drafter = tl.draft.Suffix(min_prob=0.0)
        once = drafter.begin([1, 2, 1]).propose(1).probs[0]
        often = drafter.begin([1, 2] * 5 + [1]).propose(1).probs[0]
        torn = drafter.begin([1, 2, 5, 1, 3, 6, 1]).propose(1).probs[0]
        assert torn < once < often < 1

    def test_min_prob_cuts_the_chain(self) -> None:
        ids = [1, 2, 3, 4, 5, 6, 7, 8, 1]
        lengths = [len(tl.draft.Suffix(min_prob=p).begin(ids).propose()) for p in (0.0, 0.1, 0.9)]
        assert lengths[0] > lengths[1] > lengths[2] == 0
        chain = tl.draft.Suffix(min_prob=0.1).begin(ids).propose().probs
        assert np.prod(chain, dtype=np.float64) >= 0.1

    def test_budget_and_empty_streams(self) -> None:
        drafter = tl.draft.Suffix()
        stream = drafter.begin([1, 2, 1])
        assert len(stream.propose(budget=0)) == 0
        assert len(drafter.begin([]).propose()) == 0
        assert len(drafter.begin([5]).propose()) == 0
        assert len(stream.propose(budget=2**40)) < 200

    def test_committed_tokens_count_from_then_on(self) -> None:
        stream = tl.draft.Suffix().begin([])
        stream.commit(np.array([4, 5, 6], dtype=np.int32))
        stream.commit(np.array([], dtype=np.int64))
        stream.commit((4,))
        assert stream.n_tokens == 4
        assert stream.propose(2).tokens.tolist() == [5, 6]
        assert stream.occurrence() == (1, 1, 1)

    def test_max_depth_bounds_the_match(self) -> None:
        stream = tl.draft.Suffix(max_depth=3).begin([1] * 10)
        assert stream.occurrence() == (3, 7, 9)


class TestHistory:
    def test_a_second_request_profits_from_the_first(self) -> None:
        drafter = tl.draft.Suffix(min_prob=0.02)
        committed(drafter, [1, 2, 3, 4, 5, 6])
        stream = drafter.begin([9, 1, 2, 3])
        assert stream.propose(2).tokens.tolist() == [4, 5]
        assert len(tl.draft.Suffix(max_bytes=0).begin([9, 1, 2, 3]).propose()) == 0

    def test_matches_in_both_texts_are_measured(self) -> None:
        drafter = tl.draft.Suffix()
        stream = drafter.begin([9, 1, 2, 3, 7, 2, 3])
        assert stream.n_matched() == 2
        drafter.begin([8, 1, 7, 2, 3, 4]).end()
        drafter.begin([5, 3, 7, 2, 3]).end()
        # The longest match ends its text: nothing followed.
        assert stream.n_matched() == 3
        assert drafter.begin([6]).n_matched() == tl.draft.Recycling().begin([6, 6]).n_matched() == 0
        assert tl.draft.Ngram().begin([1, 2, 1, 2]).n_matched() == 2
        stream.end()
        with pytest.raises(DraftError, match="has ended"):
            stream.n_matched()

    def test_nothing_crosses_the_end_of_a_stream(self) -> None:
        drafter = tl.draft.Suffix(min_prob=0.0)
        committed(drafter, [1, 2, 3])
        committed(drafter, [7, 8, 9])
        assert drafter.begin([2, 3]).propose().tokens.tolist() == []
        assert drafter.begin([0, 7]).propose().tokens.tolist() == [8, 9]

    def test_open_streams_see_streams_that_end_later(self) -> None:
        drafter = tl.draft.Suffix()
        stream = drafter.begin([1, 2, 3])
        assert len(stream.propose()) == 0
        committed(drafter, [1, 2, 3, 4])
        assert stream.propose().tokens.tolist() == [4]

    def test_the_budget_is_kept_and_the_newest_text_stays(self) -> None:
        drafter = tl.draft.Suffix(max_bytes=400_000)
        rng = np.random.default_rng(0)
        for _ in range(40):
            last = rng.integers(0, 1000, 1000)
            drafter.begin(last).end()
            assert drafter.n_bytes <= 400_000
        assert drafter.n_tokens > 1000
        assert drafter.begin(last[:20]).propose(5, chain=True).tokens.tolist() == last[20:25].tolist()

    def test_ten_thousand_streams_leave_nothing_behind(self) -> None:
        drafter = tl.draft.Suffix(max_bytes=100_000)
        for i in range(10_000):
            stream = drafter.begin([i % 97, i % 89, 3])
            stream.propose()
            stream.end()
            assert stream.n_bytes == 0
        assert drafter.n_bytes <= 100_000


class TestLinearity:
    """Bytes a token and time a token do not depend on how regular the text is; a quadratic step would not finish."""

    @pytest.mark.parametrize("kind", ["equal", "fibonacci", "periodic", "blocks", "random"])
    def test_adversarial_streams(self, kind: str) -> None:
        n = 200_000
        if kind == "fibonacci":
            a, b = [0], [0, 1]
            while len(b) < n:
                a, b = b, b + a
            ids = b[:n]
        else:
            ids = {
                "equal": np.zeros(n, dtype=np.int32),
                "periodic": np.arange(n) % 1000,
                "blocks": np.repeat(np.arange(n // 500) % 2, 500),
                "random": np.random.default_rng(1).integers(0, 50_000, n),
            }[kind]
        drafter = tl.draft.Suffix()
        stream = drafter.begin(ids)
        assert stream.n_tokens == len(ids)
        assert stream.n_bytes < 130 * n
        for _ in range(200):
            stream.commit(stream.propose(budget=64).tokens)
        stream.end()


class TestBadInput:
    @pytest.mark.parametrize(
        ("ids", "error"),
        [
            ([1, -1], DraftError),
            ([2**31], DraftError),
            ([2**70], ArrayError),
            ([1.5], ArrayError),
            (np.array([1.0]), ArrayError),
            (np.array([[1, 2]]), ArrayError),
            ("12", ArrayError),
            (None, ArrayError),
        ],
    )
    def test_token_ids(self, ids: object, error: type[Exception]) -> None:
        drafter = tl.draft.Suffix()
        stream = drafter.begin([1])
        with pytest.raises(error):
            drafter.begin(ids)  # type: ignore[arg-type]
        with pytest.raises(error):
            stream.commit(ids)  # type: ignore[arg-type]
        assert stream.n_tokens == 1

    def test_a_rejected_commit_changes_nothing(self) -> None:
        stream = tl.draft.Suffix().begin([1, 2])
        with pytest.raises(DraftError, match="from 0 to 2147483647, found -7 at index 2"):
            stream.commit([3, 4, -7])
        assert stream.n_tokens == 2

    def test_an_ended_stream(self) -> None:
        drafter = tl.draft.Suffix()
        with drafter.begin([1, 2, 1]) as stream:
            assert len(stream.propose()) > 0
        stream.end()
        assert drafter.n_tokens == 4
        for use in (stream.propose, lambda: stream.commit([1]), stream.occurrence):
            with pytest.raises(DraftError, match="the stream has ended"):
                use()

    @pytest.mark.parametrize(
        "arguments", [{"max_depth": 0}, {"max_depth": 2**17}, {"min_prob": 1.5}, {"min_prob": np.nan}]
    )
    def test_options(self, arguments: dict[str, float]) -> None:
        with pytest.raises(DraftError, match=f"expected a {next(iter(arguments))} from"):
            tl.draft.Suffix(**arguments)  # type: ignore[arg-type]

    def test_numbers_of_any_size(self) -> None:
        stream = tl.draft.Suffix(max_bytes=2**80).begin([1, 2, 1])
        assert stream.propose(budget=2**80) == stream.propose()
        with pytest.raises(DraftError, match="budget of at least 0 tokens"):
            stream.propose(budget=-(2**80))
        for make, name in ((tl.draft.Suffix, "max_bytes"), (tl.draft.Ngram, "length"), (tl.draft.Spine, "rows")):
            with pytest.raises(DraftError, match=f"{name} of at least 0, found -1"):
                make(**{name: -1})

    def test_negative_budget(self) -> None:
        with pytest.raises(DraftError, match="budget of at least 0 tokens, found -1"):
            tl.draft.Suffix().begin([1]).propose(-1)


class TestTree:
    def test_masks_and_positions_share_the_rows_of_the_logits(self) -> None:
        tree = tl.draft.DraftTree([5, 6, 7], [-1, 0, 0])
        assert tree.depths.tolist() == [1, 2, 2]
        assert tree.probs.tolist() == [1, 1, 1]
        assert tree.position_ids(10).tolist() == [10, 11, 12, 12]
        expected = [[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 0, 1]]
        assert tree.attention_mask(2).astype(int).tolist() == expected
        assert tl.draft.DraftTree([], []).attention_mask(0).tolist() == [[True]]

    @pytest.mark.parametrize("past", [10**12, 2**62, 2**63 - 1, 10**30])
    def test_a_past_of_any_length(self, past: int) -> None:
        tree = tl.draft.DraftTree([5, 6, 7], [-1, 0, 0])
        with pytest.raises(LimitError, match="bytes of a mask of at most 2147483648, found") as caught:
            tree.attention_mask(past)
        assert caught.value.limit == 2**31
        assert caught.value.value > 2**31
        with pytest.raises(LimitError, match="tokens before the draft of at most 2147483647, found"):
            tree.position_ids(past)
        for call in (tree.attention_mask, tree.position_ids):
            with pytest.raises(DraftError, match="past of at least 0, found -1"):
                call(-1)
        assert tree.position_ids(2**31 - 1)[1] == 2**31

    def test_a_tree_of_any_size(self) -> None:
        tree = tl.draft.DraftTree.chain(np.arange(2**18))
        for call in (tree.mask_words, lambda: tree.attention_mask(0), lambda: tl.draft.with_slots(tree, 1)):
            with pytest.raises(LimitError, match="bytes of a mask"):
                call()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (([1, 2], [-1]), "one parent for each of the 2 nodes, found 1"),
            (([1], [-1], np.ones(2)), "one probability for each of the 1 nodes, found 2"),
            (([1, 2], [1, 0]), "the parent of node 0 to be -1 or an earlier node, found 1"),
            (([1], [0]), "the parent of node 0"),
            (([1], [-2]), "found -2"),
            (([-1], [-1]), "token ids from 0 to 2147483647, found -1"),
            (([1], [-1], np.array([np.nan])), "probabilities from 0 to 1, found NaN"),
            (([1], [-1], np.array([1.5], dtype=np.float32)), "found 1.5"),
        ],
    )
    def test_bad_trees(self, arguments: tuple[object, ...], message: str) -> None:
        with pytest.raises(DraftError, match=message):
            tl.draft.DraftTree(*arguments)  # type: ignore[arg-type]

    def test_equality_and_copies(self) -> None:
        tree = tl.draft.DraftTree([5, 6], [-1, 0], np.array([0.5, 0.25]))
        assert pickle.loads(pickle.dumps(tree)) == tree == copy.deepcopy(tree)
        assert tree != tl.draft.DraftTree([5, 6], [-1, -1])
        assert repr(tree) == "DraftTree(tokens=[5, 6], parents=[-1, 0])"


class TestSharing:
    def test_pickle_and_deepcopy_keep_the_history(self) -> None:
        drafter = tl.draft.Suffix(max_depth=8, max_bytes=10**6, min_prob=0.05)
        committed(drafter, [1, 2, 3, 4])
        committed(drafter, [])
        committed(drafter, [7, 1, 2, 9])
        for twin in (pickle.loads(pickle.dumps(drafter)), copy.deepcopy(drafter)):
            assert repr(twin) == repr(drafter) == "Suffix(max_depth=8, max_bytes=1000000, min_prob=0.05)"
            assert twin.n_tokens == drafter.n_tokens == 11
            for prompt in ([1, 2], [7], [0, 1, 2, 3]):
                assert twin.begin(prompt).propose() == drafter.begin(prompt).propose()
        with pytest.raises(TypeError):
            pickle.dumps(drafter.begin([1]))

    def test_threads(self) -> None:
        drafter = tl.draft.Suffix()
        shared = drafter.begin([1, 2, 3])
        errors: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                for i in range(30):
                    ids = np.random.default_rng(seed * 100 + i).integers(0, 5, 400)
                    stream = drafter.begin(ids[:300])
                    for token in ids[300:320]:
                        stream.propose()
                        stream.commit([int(token)])
                    shared.commit(ids[:5])
                    shared.propose()
                    stream.end()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert shared.n_tokens == 3 + 4 * 30 * 5
        assert drafter.n_tokens == 4 * 30 * 321
        documents = [document for segment in drafter._drafter.segments() for document in segment]
        assert [len(document) for document in documents] == [320] * 120

    @pytest.mark.filterwarnings("ignore:This process.*fork:DeprecationWarning")
    def test_fork_while_others_write(self) -> None:
        drafter = tl.draft.Suffix()
        is_done = threading.Event()

        def write() -> None:
            ids = np.random.default_rng(0).integers(0, 50, 5000)
            while not is_done.is_set():
                drafter.begin(ids).end()

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(20):
                child = os.fork()
                if child == 0:
                    stream = drafter.begin([1, 2, 1])
                    stream.propose()
                    stream.end()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            is_done.set()
            thread.join()
