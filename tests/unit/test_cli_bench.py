"""``tokenloom bench draft`` and the replay behind it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenloom as tl
from click.testing import CliRunner
from tokenloom.cli.program import program
from tokenloom.draft import Record, Replayed, replay


def records() -> list[Record]:
    rng = np.random.default_rng(0)
    phrases = [rng.integers(0, 500, 8) for _ in range(12)]
    text = [np.concatenate([phrases[i] for i in rng.integers(0, 12, 10)]) for _ in range(8)]
    return [Record(ids[:40], ids[40:], "even" if i % 2 else "odd") for i, ids in enumerate(text)]


class TestReplay:
    def test_counts_add_up(self) -> None:
        found = replay(tl.draft.Suffix(), records())
        assert found.n_tokens == 8 * 40
        assert sum(counts.n_tokens for counts in found.categories.values()) == 320
        assert sum(found.sizes.values()) == found.n_steps < 200
        assert sum(n * size for size, n in found.sizes.items()) == found.n_drafted
        assert 0 <= found.calibration_error < 0.5
        assert found.n_bytes > 0

    def test_no_draft_is_one_token_a_step(self) -> None:
        found = replay(tl.draft.Callback(lambda ids, budget: []), records())
        assert (found.tokens_per_step, found.drafted_per_step) == (1.0, 0.0)
        assert found.speedup(tl.draft.CostCurve([1, 2], [1.0, 2.0])) == pytest.approx(1.0, rel=0.01)

    def test_a_drafter_that_knows_the_answer(self) -> None:
        [record] = records()[:1]
        answer = np.asarray(record.answer)
        drafter = tl.draft.Callback(lambda ids, budget: answer[len(ids) - 40 :][:budget])
        found = replay(drafter, [record], budget=9)
        assert (found.n_steps, found.n_tokens, found.n_drafted) == (4, 40, 36)
        assert found.speedup(tl.draft.CostCurve([1, 100], [1.0, 1.0])) == pytest.approx(10.0, rel=0.01)

    def test_time_of_the_drafter_counts(self) -> None:
        found = Replayed(n_tokens=40, n_steps=20, n_drafted=20, sizes={1: 20}, propose_seconds=1.0, commit_seconds=0.02)
        milliseconds = tl.draft.CostCurve([1, 2], [0.001, 0.001])
        assert found.speedup(milliseconds) == pytest.approx(0.04 / 1.04)
        assert found.speedup(tl.draft.CostCurve([1, 2], [1.0, 1.0])) == pytest.approx(40 / 21.02)

    def test_recorded_likely_tokens_reach_the_drafter(self) -> None:
        # The model says at each token what it says next; the text never repeats.
        answer = np.arange(100, 140)
        top = np.stack([answer, answer + 1000], axis=1)
        one = Record([1], answer, topk_ids=top, topk_logprobs=np.log(np.full((40, 2), 0.5, np.float32)))
        drafter = tl.draft.Recycling(rows=4096, min_prob=0.01)
        replay(drafter, [one])
        assert drafter.begin([105]).propose(2).tokens.tolist() == [106, 1106]
        said = one._replace(prompt_topk_ids=np.array([[7, 8]]), prompt_topk_logprobs=np.zeros((1, 2), np.float32))
        drafter = tl.draft.Recycling(rows=4096, min_prob=0.01)
        replay(drafter, [said._replace(answer=[9], topk_ids=None, topk_logprobs=None)])
        # The answer, of which nothing is said, goes before what was said behind the prompt.
        assert drafter.begin([1]).propose(3).tokens.tolist()[1:] == [7, 8]

    def test_what_is_learned_of_the_sources_promises_no_more_than_comes(self) -> None:
        """Loops in free text: steps behind right ones are easy, and must not vouch for paths that begin wrong."""
        rng = np.random.default_rng(3)
        texts = []
        for _ in range(80):
            before, loop, behind = (rng.zipf(1.4, n).clip(max=80) for n in (80, 10, 40))
            texts.append(np.concatenate([before, *[loop] * 5, behind]))
        merged = tl.draft.Merged([tl.draft.Suffix(), tl.draft.Recycling(rows=512)], min_prob=0.3)
        found = replay(merged, [Record(text[:40], text[40:]) for text in texts])
        assert found.calibration_error < 0.1


class TestCommand:
    def test_table_and_json(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace.jsonl"
        rows = [{"prompt": list(map(int, r.prompt)), "output": list(map(int, r.answer))} for r in records()]
        trace.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
        result = CliRunner().invoke(program, ["bench", "draft", "--trace", str(trace)])
        assert result.exit_code == 0, result.output
        assert "rows are cheap: take tl.draft." in result.output
        tl.draft.CostCurve([1, 2], [1.0, 50.0]).save(tmp_path / "steep.json")
        arguments = ["--trace", str(trace), "--json", "--cost", str(tmp_path / "steep.json")]
        result = CliRunner().invoke(program, ["bench", "draft", *arguments])
        said = json.loads(result.output)
        assert said["best"] == {"steep.json": None}
        assert said["rows"]["Suffix()"]["tokens_per_step"] > 1.5
        assert set(said["rows"]["Suffix()"]["categories"]) == {"all"}

    def test_text_needs_a_tokenizer(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace.jsonl"
        trace.write_text(json.dumps({"prompt": "the the", "answer": "the the the"}))
        result = CliRunner().invoke(program, ["bench", "draft", "--trace", str(trace)])
        assert result.exit_code == 2
        assert "give --tokenizer" in result.output
        tokenizer = tl.train.bpe(["the the then"], vocab_size=258, progress=False)
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        arguments = ["--trace", str(trace), "--tokenizer", str(tmp_path / "tokenizer.json"), "--json"]
        result = CliRunner().invoke(program, ["bench", "draft", *arguments])
        assert result.exit_code == 0, result.output

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            (b"{", "Expecting"),
            (b"[]", "found list"),
            (b"5", "found int"),
            (b'{"prompt": [1]}', "a prompt and an answer, found prompt"),
            (b'{"answer": [1]}', "a prompt and an answer, found answer"),
            (b'{"prompt": [1, -2], "answer": [3]}', "found [1, -2]"),
            (b'{"prompt": [1, 2.5], "answer": [3]}', "found [1, 2.5]"),
            (b'{"prompt": [1], "answer": [3000000000]}', "found [3000000000]"),
            (b'{"prompt": {}, "answer": [3]}', "found {}"),
            (b'"\xff"', "codec"),
        ],
    )
    def test_other_files(self, tmp_path: Path, line: bytes, said: str) -> None:
        trace = tmp_path / "trace.jsonl"
        trace.write_bytes(b'{"prompt": [1], "answer": [2]}\n\n' + line)
        result = CliRunner().invoke(program, ["bench", "draft", "--trace", str(trace)])
        assert isinstance(result.exception, tl.errors.FormatError)
        assert "line 3" in str(result.exception)
        assert said in str(result.exception)
        trace.write_bytes(b"\n")
        result = CliRunner().invoke(program, ["bench", "draft", "--trace", str(trace)])
        assert "found none" in str(result.exception)

    @pytest.mark.parametrize(
        ("top", "said"),
        [
            ({"topk_ids": [3, 4]}, "topk_ids as one row for each of 2 tokens"),
            ({"topk_ids": []}, "of 2 tokens, all of one width, of token ids, -1 for none, found []"),
            ({"topk_ids": "abc"}, "found abc"),
            ({"topk_ids": [[1], "a"]}, "found [[1], 'a']"),
            ({"topk_ids": [[], []]}, "found [[], []]"),
            ({"topk_ids": [[1], [2, 3]]}, "found [[1], [2, 3]]"),
            ({"topk_ids": [[1], [2.0]]}, "found [[1], [2.0]]"),
            ({"topk_ids": [[1], [-2]]}, "found [[1], [-2]]"),
            ({"topk_ids": [[1], [2**31]]}, "found [[1], [2147483648]]"),
            ({"topk_ids": [[1]]}, "of 2 tokens"),
            ({"topk_ids": [[1]] * 3}, "of 2 tokens"),
            ({"topk_ids": [[1], [2]], "topk_logprobs": [[0], [-1, -2]]}, "topk_logprobs as one row"),
            ({"topk_ids": [[1], [2]], "topk_logprobs": [[0], [float("nan")]]}, "at most 0, found [[0], [nan]]"),
            ({"topk_ids": [[1], [2]], "topk_logprobs": [[0], [0.5]]}, "at most 0"),
            ({"topk_logprobs": [[0], [0]]}, "topk_ids beside topk_logprobs"),
            ({"prompt_topk_logprobs": [[0]]}, "prompt_topk_ids beside prompt_topk_logprobs"),
            ({"topk_ids": [[1], [2]], "topk_logprobs": [[0], [-(10**400)]]}, "too large to convert to float"),
            ({"prompt_topk_ids": [[1], [2]]}, "prompt_topk_ids as one row for each of 1 tokens"),
            ({"category": "\ud800"}, "surrogates not allowed"),
        ],
    )
    def test_likely_tokens_that_do_not_fit(self, tmp_path: Path, top: dict[str, object], said: str) -> None:
        trace = tmp_path / "trace.jsonl"
        trace.write_text(json.dumps({"prompt": [1], "answer": [2, 3], **top}))
        result = CliRunner().invoke(program, ["bench", "draft", "--trace", str(trace)])
        assert isinstance(result.exception, tl.errors.FormatError)
        assert "line 1" in str(result.exception)
        assert said in str(result.exception)

    def test_names_are_no_markup(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace.jsonl"
        top = {"topk_ids": [[3, -1]], "topk_logprobs": [[-0.1, -1e9]], "prompt_topk_ids": []}
        rows = [{"prompt": [], "answer": [2], "category": name, **top} for name in ("[/]", "[red]x", "a\\")]
        trace.write_text("\n".join(map(json.dumps, rows)))
        (curve := tmp_path / "[bold].json").write_text(json.dumps({"rows": [1, 2], "seconds": [1, 1.1]}))
        arguments = ["bench", "draft", "--trace", str(trace), "--cost", str(curve)]
        result = CliRunner().invoke(program, arguments)
        assert result.exit_code == 0, result.exception
        assert "[/] " in result.output
        assert "[red]x" in result.output
        assert "[bold].json: do not draft" in result.output

    def test_no_name_is_cut_on_a_narrow_terminal(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace.jsonl"
        # A line separator inside a text ends no line of JSON.
        rows = [{"prompt": "a\u2028b", "answer": "a\u2028b"}, {"prompt": "a", "answer": "b", "category": "short"}]
        trace.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
        tl.train.bpe(["a b"], vocab_size=257, progress=False).save(str(tmp_path / "tokenizer.json"))
        arguments = ["bench", "draft", "--trace", str(trace), "--tokenizer", str(tmp_path / "tokenizer.json")]
        result = CliRunner().invoke(program, arguments, env={"COLUMNS": "80"})
        assert result.output.count("Merged([Suffix(), Recycling()]) ") == 3
        assert "none" in result.output
