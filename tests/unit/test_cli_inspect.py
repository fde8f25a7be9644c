"""``inspect`` counts right, shows every step, and writes a page that the vocabulary cannot break out of."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import tokenloom as tl
from click.testing import CliRunner
from tokenloom.cli import inspection
from tokenloom.cli.program import program

EVIL = "<script>alert('x')</script>&\"'</span>"


@pytest.fixture
def tok() -> tl.Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257, b"a b": 258}
    # A token that nothing leads to: the pattern cuts between its characters.
    ranks |= {b"a1z": 260}
    return tl.Tokenizer.from_tiktoken(
        "own", pat_str=r"[a-z ]+|\S+|\s+", mergeable_ranks=ranks, special_tokens={EVIL: 300}
    )


@pytest.fixture
def path(tok: tl.Tokenizer, tmp_path: Path) -> str:
    tok.save(tmp_path / "tokenizer.json")
    return str(tmp_path / "tokenizer.json")


def test_counts(tok: tl.Tokenizer) -> None:
    found = inspection.inspect(tok)
    assert (found.n_tokens, found.vocab_size, found.n_special) == (261, 301, 1)
    assert found.n_bytes_covered == 256
    assert found.n_tokens_by_length == {1: 256, 2: 1, 3: 3}
    assert [row["id"] for row in found.not_reached] == [260]
    assert found.n_reached == 259
    assert found.n_with_inner_space == 1
    assert found.n_not_utf8 == 128
    assert [row["text"] for row in found.longest[:3]] == ["abc", "a␣b", "a1z"]


def test_stages_name_the_engine(tok: tl.Tokenizer) -> None:
    stages = tok.stages()
    parts = [stage.part for stage in stages]
    assert list(dict.fromkeys(parts)) == ["added tokens", "pretokenizer", "model", "decoder"]
    assert stages[1].engine == "regular expression engine"
    assert stages[1].action.endswith(r"[a-z ]+|\S+|\s+")


def test_json_holds_everything(tok: tl.Tokenizer, path: str) -> None:
    result = CliRunner().invoke(program, ["inspect", path, "--json", f"abc {EVIL}\n\xe9"])
    record = json.loads(result.output)
    assert record["n_tokens"] == 261
    assert [token["text"] for token in record["sample"]["tokens"]] == ["abc", " ", EVIL, "↵", "<0xC3>", "<0xA9>"]
    assert [token["special"] for token in record["sample"]["tokens"]].index(True) == 2


def test_plain_output_has_no_colours(path: str) -> None:
    result = CliRunner().invoke(program, ["inspect", path, "abcab"])
    assert result.exit_code == 0
    assert "abc|ab" in result.output
    assert "\x1b[" not in result.output
    assert "5 bytes, 2 tokens, 2.50 bytes per token" in result.output


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        assert not any(name in ("src", "href", "onclick") for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_escaped(path: str, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    result = CliRunner().invoke(program, ["inspect", path, f"abc {EVIL} end", "--html", str(target)])
    assert result.exit_code == 0, result.output
    reader = Reader()
    reader.feed(target.read_text(encoding="utf-8"))
    assert not reader.open
    assert "script" not in reader.tags
    assert reader.text.count(EVIL) >= 2
    assert "regular expression engine" in reader.text


def _file(model: dict[str, Any], **parts: Any) -> bytes:
    none = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return json.dumps({"version": "1.0", "added_tokens": [], **none, "model": model, **parts}).encode()


_WORDS = ["[UNK]", "the", "fox", "jump", "##s", "##ed"]
_MARK = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
_BPE = {"type": "BPE", "unk_token": None, "end_of_word_suffix": "</w>"}
INTERPRETED = {
    "WordPiece": (
        _file(
            {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {token: id for id, token in enumerate(_WORDS)},
            },
            pre_tokenizer={"type": "Whitespace"},
        ),
        ["the", "fox", "jump", "##ed"],
    ),
    "Unigram": (
        _file(
            {
                "type": "Unigram",
                "unk_id": 0,
                "vocab": [["<unk>", 0.0], ["\u2581the", -1.0], ["\u2581fox", -2.0], ["\u2581jump", -2.0], ["ed", -3.0]],
            },
            pre_tokenizer=_MARK,
            decoder=_MARK,
        ),
        ["\u2581the", "\u2581fox", "\u2581jump", "ed"],
    ),
    "BPE": (
        _file(
            _BPE | {"vocab": {"t": 0, "h": 1, "e</w>": 2, "th": 3, "the</w>": 4}, "merges": ["t h", "th e</w>"]},
            pre_tokenizer={"type": "Whitespace"},
        ),
        ["the</w>"],
    ),
    "WordLevel": (
        _file({"type": "WordLevel", "unk_token": "?", "vocab": {"the": 0, "fox": 1, "jumped": 2}}),
        None,
    ),
}


@pytest.mark.parametrize("name", INTERPRETED)
def test_files_whose_steps_are_interpreted(name: str, tmp_path: Path) -> None:
    data, tokens = INTERPRETED[name]
    path, page = tmp_path / f"{name}.json", tmp_path / "page.html"
    path.write_bytes(data)
    assert not tl.Tokenizer.from_file(path).is_compiled
    # A model without an unknown token refuses this text, but not to be shown.
    text = "the fox jumped" if tokens is not None else ""
    for arguments in ([], [text], [text, "--json"], [text, "--html", str(page)]):
        result = CliRunner().invoke(program, ["inspect", str(path), *arguments])
        assert result.exit_code == 0, result.output
        assert "--json" in arguments or "--html" in arguments or name in result.output
    record = json.loads(CliRunner().invoke(program, ["inspect", str(path), text, "--json"]).stdout)
    assert [token["text"] for token in record["sample"]["tokens"]] == (tokens or [])
    assert record["n_reached"] is None
    assert sum(record["n_tokens_by_length"].values()) == record["n_tokens"]
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert not reader.open
    assert "interpreted" in reader.text
