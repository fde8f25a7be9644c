"""Constraints: masks against the readable twin and JSON validation, ends, dead ends, errors, concurrency."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ConstraintError
from tokenloom.reference import control as twin

PIECES = [
    b"ab",
    b"abc",
    b"bca",
    b'{"',
    b'":',
    b'": ',
    b"true",
    b"null",
    b"},",
    b'"}',
    b"12",
    b"-1",
    b"0.5",
    b"foo",
    b'",',
]
RANKS = {bytes([byte]): byte for byte in range(256)} | {piece: 256 + n for n, piece in enumerate(PIECES)}
EOS = 256 + len(PIECES)
SPECIAL = {"</s>": EOS, "<|tool|>": EOS + 1}


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    return tl.Tokenizer.from_tiktoken("pieces", pat_str=r"\S+|\s+", mergeable_ranks=RANKS, special_tokens=SPECIAL)


def bits(words: np.ndarray[Any, Any] | None) -> set[int]:
    assert words is not None
    assert words.dtype == np.int32
    return set(np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little")).tolist())


PATTERNS = ["(ab|abc)*c", "a{2,4}(b|bc)?", "[^a-c]*ab.", "(a|b|c)*abc(a|b|c){0,3}", "x?(12|-1)+(0\\.5)?", "abcabc"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_regex_masks_equal_the_derivatives(tok: tl.Tokenizer, pattern: str) -> None:
    # Characters beyond ASCII have bytes that are no characters: those ids are left aside.
    tokens = {id: token.decode() for token, id in RANKS.items() if token.isascii()}
    constraint = tl.control.regex(pattern, tok)
    random = np.random.default_rng(7)
    for _ in range(6):
        state, language = constraint.start(), twin.parse(pattern)
        for _ in range(12):
            expected = twin.allowed_tokens(language, tokens)
            allowed = bits(state.mask())
            assert {id for id in allowed if id < 128 or 256 <= id < EOS} == expected
            assert (EOS in allowed) == state.is_accepting() == twin.is_complete(language)
            assert EOS + 1 not in allowed
            probe = random.integers(-3, EOS + 40, 60)
            assert [bool(ok) for ok in state.check_many(probe)] == [int(id) in allowed for id in probe]
            if not expected:
                break
            id = int(random.choice(sorted(expected)))
            state.advance(id)
            language = twin.derive(language, tokens[id])


def schemas() -> dict[str, Any]:
    text = (Path(__file__).parent.parent / "data" / "schemas.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


@pytest.mark.parametrize("name", schemas())
def test_random_walks_satisfy_the_schema(tok: tl.Tokenizer, name: str) -> None:
    schema = schemas()[name]
    constraint = tl.control.json_schema(schema, tok)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    random = np.random.default_rng(3)
    n_complete = 0
    for _ in range(8):
        state = constraint.start()
        for _ in range(150):
            allowed = sorted(id for id in bits(state.mask()) if id < 128 or id >= 256)
            # End soon, and prefer what closes, so that walks come to an end.
            closing = [id for id in allowed if id < EOS and tok.token_bytes(id)[-1:] in b'"}]']
            id = (
                EOS if EOS in allowed else int(random.choice(closing if closing and random.random() < 0.6 else allowed))
            )
            state.advance(id)
            if id == EOS:
                validator.validate(json.loads(state.prefix))
                n_complete += 1
                assert not state.mask().any()  # type: ignore[union-attr]
                break
    assert n_complete >= 4


def test_instances_of_a_schema_are_told_from_others(tok: tl.Tokenizer) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 12}, "s": {"enum": ["ab", "abc"]}},
        "required": ["n"],
        "additionalProperties": False,
    }

    def accepts(text: str) -> bool:
        state = tl.control.json_schema(schema, tok).start()
        for id in tok.encode_list(text):
            if not state.check(id):
                return False
            state.advance(id)
        return state.is_accepting()

    for text in ['{"n":1}', '{"n": 12}', '{"n":3,"s":"abc"}', '{"n":3, "s": "ab"}']:
        jsonschema.validate(json.loads(text), schema)
        assert accepts(text), text
    for text in ['{"n":0}', '{"n":13}', '{"s":"ab"}', '{"n":1,"s":"b"}', '{"n":1,"x":1}', '{"n":1', "[]", '{"n":1}}']:
        assert not accepts(text), text


def test_forced_tokens_are_the_encoders(tok: tl.Tokenizer) -> None:
    state = tl.control.json_schema({"const": {"foo": True, "ab": None}}, tok).start()
    text = b""
    while not state.is_accepting():
        forced = state.forced()
        # White space may always be added: the largest id is none.
        for id in forced if len(forced) else [max(bits(state.mask()))]:
            state.advance(int(id))
        text = state.prefix
    assert json.loads(text) == {"foo": True, "ab": None}
    state = tl.control.regex("true12null", tok).start()
    assert state.forced().tolist() == tok.encode("true12null").tolist()


def test_predicates_see_bytes_and_their_errors_pass(tok: tl.Tokenizer) -> None:
    seen: list[bytes] = []

    def short(prefix: bytes) -> bool:
        seen.append(prefix)
        if prefix.endswith(b"\xff"):
            raise ZeroDivisionError("mine")
        return len(prefix) <= 4

    state = tl.control.predicate(short, tok, complete=lambda prefix: prefix.startswith(b"ab")).start()
    assert state.mask() is None
    assert state.check(256)
    assert not state.check(EOS)
    assert not state.check(EOS + 1)
    assert not state.check(9999)
    state.advance(256)
    assert state.check(EOS)
    assert state.check_many(np.array([97, 257, 258, 259, EOS, 300])).tolist() == [True, False, False, True, True, False]
    with pytest.raises(ZeroDivisionError, match="mine"):
        state.check(255)
    with pytest.raises(ConstraintError) as caught:
        state.advance(257)
    assert (caught.value.prefix, caught.value.step) == (b"ab", 1)
    state.advance(EOS)
    assert state.is_accepting()
    assert not state.check(97)
    state.rollback(2)
    assert state.prefix == b""
    assert state.ids.tolist() == []
    assert b"ab\xff" in seen


def test_conjunctions_are_what_both_allow(tok: tl.Tokenizer) -> None:
    both = (tl.control.regex("(a|b|c)*", tok) & tl.control.regex("ab.*|a{3}", tok)).start()
    one, two = tl.control.regex("(a|b|c)*", tok).start(), tl.control.regex("ab.*|a{3}", tok).start()
    assert bits(both.mask()) == bits(one.mask()) & bits(two.mask()) == {97, 256, 257}
    fork = both.fork()
    both.advance(256)
    assert bits(both.mask()) == {97, 98, 99, 256, 257, 258, EOS}
    both.rollback(1)
    assert bits(both.mask()) == bits(fork.mask())
    with pytest.raises(ConstraintError):
        both.advance(98)
    with pytest.raises(ConstraintError):
        both.rollback(1)
    dead = (tl.control.regex("ab|b", tok) & tl.control.regex("a[^b]|b", tok)).start()
    dead.advance(97)
    with pytest.raises(ConstraintError, match="no token can follow") as caught:
        dead.mask()
    assert (caught.value.prefix, caught.value.step) == (b"a", 1)
    checked = (tl.control.regex("true|null", tok) & tl.control.predicate(lambda p: b"n" not in p, tok)).start()
    assert checked.mask() is None
    assert checked.check_many([RANKS[b"true"], RANKS[b"null"], 116, 110]).tolist() == [True, False, True, False]
    assert checked.forced().tolist() == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda tok: tl.control.json_schema("{", tok), "JSON Schema"),
        (lambda tok: tl.control.json_schema({"type": "nonsense"}, tok), "nonsense"),
        (lambda tok: tl.control.json_schema({"not": {"type": "string"}}, tok), "not"),
        (lambda tok: tl.control.json_schema({"$ref": "http://x.invalid/y"}, tok), "ref"),
        (lambda tok: tl.control.json_schema({"enum": [1], "type": "string"}, tok), "JSON Schema"),
        (lambda tok: tl.control.json_schema({1: {2}}, tok), "JSON"),  # type: ignore[dict-item]
        (lambda tok: tl.control.regex("(a", tok), "regular expression"),
        (lambda tok: tl.control.regex("a(?=b)", tok), "regular expression"),
        (lambda tok: tl.control.lark("start: unknown_rule", tok), "unknown_rule"),
        (lambda tok: tl.control.regex("a", tok, eos=[10_000]), "10000"),
    ],
)
def test_what_cannot_be_compiled_is_named(tok: tl.Tokenizer, make: Any, says: str) -> None:
    with pytest.raises(ConstraintError, match=says):
        make(tok)


def test_lark_grammars_nest(tok: tl.Tokenizer) -> None:
    state = tl.control.lark('start: "(" start ")" | "ab"', tok).start()
    for byte in b"((ab":
        state.advance(byte)
    assert bits(state.mask()) == {ord(")")}
    state.advance(ord(")"))
    assert not state.is_accepting()
    state.advance(ord(")"))
    assert bits(state.mask()) == {EOS}


def test_the_caller_may_choose_the_end(tok: tl.Tokenizer) -> None:
    state = tl.control.regex("ab", tok, eos=[EOS + 1]).start()
    state.advance(256)
    assert bits(state.mask()) == {EOS + 1}
    none = tl.control.regex("ab", tok, eos=()).start()
    none.advance(256)
    assert none.is_accepting()
    assert bits(none.mask()) == set()


def test_grammars_are_shared_by_threads_copied_and_pickled(tok: tl.Tokenizer) -> None:
    constraint = tl.control.json_schema({"type": "array", "items": {"type": "boolean"}}, tok)
    again = [pickle.loads(pickle.dumps(constraint)), copy.deepcopy(constraint)]
    results: list[list[set[int]]] = []

    def walk(constraint: tl.control.Constraint) -> None:
        state = constraint.start()
        masks = []
        for byte in b"[true, false]":
            masks.append(bits(state.mask()))
            state.advance(byte)
        results.append(masks)

    threads = [threading.Thread(target=walk, args=(c,)) for c in [constraint] * 6 + again]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(masks == results[0] for masks in results)
