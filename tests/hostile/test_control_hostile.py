"""Schemas, patterns and grammars made to hang or to fill memory: an error that says why, or masks at once."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import numpy as np
import pytest
import tokenloom as tl
from tokenloom.errors import ConstraintError

RANKS = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"12": 257, b" " * 1024: 258}


@pytest.fixture(scope="module")
def tok() -> tl.Tokenizer:
    return tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+|\s+", mergeable_ranks=RANKS, special_tokens={"</s>": 259})


def doubling(word: str) -> dict[str, Any]:
    """Forty definitions, each of which names the next one twice: 2^40 paths."""
    refs = {f"d{n}": {word: [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$defs": {**refs, "d40": {"type": "null"}}, "$ref": "#/$defs/d0"}


def chain(n: int, link: Any) -> dict[str, Any]:
    """Definitions of which each names the next one."""
    refs = {f"d{at}": link({"$ref": f"#/$defs/d{at + 1}"}) for at in range(n)}
    return {"$defs": {**refs, f"d{n}": {"type": "null"}}, "$ref": "#/$defs/d0"}


SCHEMAS: dict[str, Any] = {
    "a chain of members": chain(3000, lambda ref: {"type": "object", "properties": {"x": ref}, "required": ["x"]}),
    "a chain of items": chain(20_000, lambda ref: {"type": "array", "items": ref}),
    "a chain of alternatives": chain(8000, lambda ref: {"anyOf": [ref, {"type": "null"}]}),
    "a chain of conjunctions": chain(3000, lambda ref: {"allOf": [ref]}),
    "many branches": {"oneOf": [{"const": n} for n in range(100_000)]},
    "many objects": {"oneOf": [{"type": "object", "required": [f"k{n}"]} for n in range(3000)]},
    "no end": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
    "long strings": {"type": "string", "minLength": 10**6, "maxLength": 10**9},
    "long arrays": {"type": "array", "items": {"type": "integer"}, "minItems": 10**6, "maxItems": 10**9},
    "nested repeats": {"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"},
    "many values": {"enum": [f"item {n}" for n in range(100_000)]},
    "deep": '{"type":"object","properties":{"a":' * 5000 + "{}" + "}}" * 5000,
    "a product of alternatives": {"allOf": [{"anyOf": [{"minimum": n}, {"maximum": -n}]} for n in range(25)]},
    "a reference to itself": {"$ref": "#"},
    "references in a ring": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "doubling alternatives": doubling("anyOf"),
    "doubling conjunctions": doubling("allOf"),
    "a huge multiple": {"type": "integer", "multipleOf": 86_400_000},
    "multiples that meet": {"allOf": [{"type": "integer", "multipleOf": prime} for prime in (9973, 9967, 9949, 9941)]},
    "multiples that wrap around": {"allOf": [{"type": "integer", "multipleOf": n} for n in (65_536, 65_537)]},
    "huge bounds": {"type": "integer", "minimum": -(10**300), "maximum": 10**300},
    "many members": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(9000)}},
    "required members without a schema": {"type": "object", "required": [f"r{n}" for n in range(500)]},
}
PATTERNS = {
    "nested repeats": "((a{1,1000}){1,1000}){1,1000}",
    "an exponential automaton": "(a|b)*a(a|b){40}",
    "a million repeats": "(a{1000}){1000}",
    "repeats of nothing": "((a*)*)*b|(x+x+)+y|(a?){5000}a{5000}",
    "nothing": r"[^\x00-\x{10FFFF}]",
    "a long word": "a" * 200_000,
    "many words": "|".join(f"{n * 7919:x}" for n in range(20_000)),
    "unicode classes": r"(\p{L}{1,50}\p{N}{1,50}\W{1,50}){1,200}",
    "brackets": "(" * 50_000,
}
GRAMMARS = {
    "ambiguous": 'start: e\ne: e "+" e | e e | "a" | "(" e ")"',
    "nothing but itself": 'start: start start | "a" |',
    "doubling": "start: r0\n" + "\n".join(f'r{n}: r{n + 1} r{n + 1} | "a"' for n in range(1500)) + '\nr1500: "b"',
    "an exponential automaton": "start: A\nA: /(a|b)*a(a|b){40}/",
    "brackets": "start: " + "(" * 50_000,
    "a schema with a chain": "start: %json "
    + json.dumps(chain(3000, lambda ref: {"type": "object", "properties": {"x": ref}, "required": ["x"]})),
    "a schema with a huge multiple": 'start: %json {"type": "integer", "multipleOf": 86400000}',
    "rules in a ring": "start: x\nx: y\ny: x",
    "a chain of rules": "start: r0\n" + "\n".join(f'r{n}: "a" r{n + 1}' for n in range(20_000)) + '\nr20000: "b"',
    "a longer chain of rules": "start: r0\n"
    + "\n".join(f'r{n}: "a" r{n + 1}' for n in range(70_000))
    + '\nr70000: "b"',
}
CASES = [
    *(("json_schema", name, source) for name, source in SCHEMAS.items()),
    *(("regex", name, source) for name, source in PATTERNS.items()),
    *(("lark", name, source) for name, source in GRAMMARS.items()),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("kind", "name", "source"), CASES, ids=[f"{kind}: {name}" for kind, name, _ in CASES])
def test_nothing_hangs(tok: tl.Tokenizer, kind: str, name: str, source: Any) -> None:
    start, random = time.process_time(), np.random.default_rng(1)
    try:
        state = getattr(tl.control, kind)(source, tok).start()
        for _ in range(40):
            allowed = np.flatnonzero(np.unpackbits(state.mask().view(np.uint8), bitorder="little"))
            if len(allowed) == 0:
                break
            state.advance(int(random.choice(allowed)))
    except ConstraintError as error:
        message = str(error)
        assert len(message) < 500
        assert re.search(r"compiled|nested|no token can follow|walked on", message), message
    # No bound on speed: minutes would be a hang.
    assert time.process_time() - start < 50


def test_recursion_without_a_way_out(tok: tl.Tokenizer) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    endless: list[dict[str, Any]] = [
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"$ref": "#"},
        {"type": "array", "items": {"$ref": "#"}, "minItems": 1},
        {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}], "$defs": {"node": node}},
    ]
    for schema in endless:
        with pytest.raises(ConstraintError, match="can be begun but never ended"):
            tl.control.json_schema(schema, tok)
    node["required"] = []
    tl.control.json_schema(endless[-1], tok)
    with pytest.raises(ConstraintError, match="its rule list can be begun but never ended"):
        tl.control.lark('start: "[" list? "]"\nlist: "x" list', tok)


def test_automata_have_limits(tok: tl.Tokenizer) -> None:
    with pytest.raises(ConstraintError, match="at most 65536 states"):
        tl.control.table(np.full((65_537, 256), -1), np.ones(65_537, dtype=bool), tok)
    with pytest.raises(ConstraintError, match="at most 262144 bytes"):
        tl.control.phrases(tok, banned=["x" * 300_000])
    with pytest.raises(ConstraintError, match="at most 65536 items"):
        tl.control.choose([str(n) for n in range(70_000)], tok)
    with pytest.raises(ConstraintError, match="found 5000000"):
        tl.control.copy_from(b"x" * 5_000_000, tok)
    # A chain: the most rounds of refinement for its states.
    chain = np.full((600, 256), -1)
    chain[np.arange(599), 97] = np.arange(1, 600)
    state = tl.control.table(chain, np.arange(600) == 599, tok).start()
    for _ in range(598):
        state.advance(97)
    assert not state.is_accepting()
    state.advance(97)
    assert state.is_accepting()
