"""How does code written in Python change a text and cut it into words?

:class:`NormalizedString` and :class:`PreTokenizedString` of ``tokenizers``, on which parts written in Python work. Each
character of a changed text stands for a span of the original. What is inserted stands for what is before it, at the
start for nothing; a change of a text touches the characters that stand for something, as in the peer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tokenloom._core import pipeline as _core
from tokenloom._core.pipeline import Encoding
from tokenloom.compat.tokenizers._component import Regex, behavior_of, pattern_of
from tokenloom.compat.tokenizers.models import Token
from tokenloom.errors import TokenloomError

Span = tuple[int, int]
Change = tuple[str, int]


class NormalizedString:
    """A text that is changed, and the original that it comes from.

    Args:
        sequence: The text.
    """

    _original: str
    _chars: list[str]
    _spans: list[Span]
    """What each character stands for, in characters of the original."""
    _shift: int
    """Where the original starts in the text that it was cut from."""

    def __init__(self, sequence: str) -> None:
        self._set(sequence, list(sequence), [(at, at + 1) for at in range(len(sequence))], 0)

    def _set(self, original: str, chars: list[str], spans: list[Span], shift: int) -> NormalizedString:
        self._original, self._chars, self._spans, self._shift = original, chars, spans, shift
        return self

    def _copy(self) -> NormalizedString:
        return _made(self._original, self._chars, self._spans, self._shift)

    @property
    def normalized(self) -> str:
        """The text as it is now."""
        return "".join(self._chars)

    @property
    def original(self) -> str:
        """The text as it was."""
        return self._original

    def __str__(self) -> str:
        return self.normalized

    def __repr__(self) -> str:
        return f'NormalizedString(original="{self._original}", normalized="{self.normalized}")'

    # Changes

    def _reach(self) -> Span | None:
        """The characters that stand for the whole original: what a change of the text changes."""
        if not self._original:
            return (0, 0)
        n_reached = 0
        while n_reached < len(self._spans) and self._spans[n_reached][1] <= len(self._original):
            n_reached += 1
        standing = (at for at in range(n_reached) if self._spans[at][0] < self._spans[at][1])
        start = next(standing, n_reached if n_reached else None)
        return None if start is None else (start, n_reached)

    def _transform(self, changes: Iterable[Change], n_removed: int = 0, part: Span | None = None) -> None:
        """Replace a part; a change is a character and 1 where it is new, else minus how many behind it go."""
        found = part if part is not None else self._reach()
        if found is None:
            return
        start, end = found
        at = min(start + n_removed, end)
        chars, spans = [], []
        for char, change in changes:
            chars.append(char)
            if change > 0:
                spans.append(self._spans[at - 1] if at else (0, 0))
            elif at < len(self._spans):
                spans.append(self._spans[at])
                at = min(at + 1 - change, max(end, at))
            else:
                raise TokenloomError("a change replaces more characters than there are that stand for something")
        self._chars = [*self._chars[:start], *chars, *self._chars[end:]]
        self._spans = [*self._spans[:start], *spans, *self._spans[end:]]

    def _apply(self, normalizer: bytes) -> None:
        """Change the text by a compiled normalizer, given as JSON."""
        self._compose(*_core.normalize_aligned(normalizer, self.normalized))

    def _compose(self, text: str, spans: list[Span]) -> None:
        self._spans = [self._span_of(span) for span in spans]
        self._chars = list(text)

    def _span_of(self, span: Span) -> Span:
        start, end = span
        return (self._spans[start][0], self._spans[end - 1][1]) if start < end else (0, 0)

    def nfd(self) -> None:
        """Decompose canonically."""
        self._apply(b'{"type":"NFD"}')

    def nfkd(self) -> None:
        """Decompose by compatibility."""
        self._apply(b'{"type":"NFKD"}')

    def nfc(self) -> None:
        """Compose canonically."""
        self._apply(b'{"type":"NFC"}')

    def nfkc(self) -> None:
        """Compose by compatibility."""
        self._apply(b'{"type":"NFKC"}')

    def lowercase(self) -> None:
        """Turn to lower case."""
        self._apply(b'{"type":"Lowercase"}')

    def uppercase(self) -> None:
        """Turn to upper case."""
        self._transform((new, int(place > 0)) for char in self._chars for place, new in enumerate(char.upper()))

    def prepend(self, s: str) -> None:
        """Put a string before a text that is not empty."""
        if self._chars:
            inserted = [(char, int(place > 0)) for place, char in enumerate(s)]
            self._transform([*inserted, (self._chars[0], 1)], part=(0, 1))

    def append(self, s: str) -> None:
        """Put a string behind the text."""
        last = [(self._chars[-1], 0)] if self._chars else []
        n_chars = len(self._chars)
        self._transform([*last, *((char, 1) for char in s)], part=(n_chars - len(last), n_chars))

    def lstrip(self) -> None:
        """Remove white space at the start."""
        self._apply(b'{"type":"Strip","strip_left":true,"strip_right":false}')

    def rstrip(self) -> None:
        """Remove white space at the end."""
        self._apply(b'{"type":"Strip","strip_left":false,"strip_right":true}')

    def strip(self) -> None:
        """Remove white space at both ends."""
        self._apply(b'{"type":"Strip","strip_left":true,"strip_right":true}')

    def clear(self) -> None:
        """Remove all of the text."""
        self._transform([], len(self._chars))

    def filter(self, func: Callable[[str], bool]) -> None:
        """Keep the characters for which ``func`` is true."""
        changes: list[Change] = []
        n_first = 0
        for char in self._chars:
            if func(char):
                changes.append((char, 0))
            elif changes:
                changes[-1] = (changes[-1][0], changes[-1][1] - 1)
            else:
                n_first += 1
        self._transform(changes, n_first if changes else 0)

    def map(self, func: Callable[[str], str]) -> None:
        """Replace each character by the first one of what ``func`` gives for it."""
        self._transform([(func(char)[0], 0) for char in self._chars])

    def for_each(self, func: Callable[[str], Any]) -> None:
        """Call ``func`` for each character."""
        for char in self._chars:
            func(char)

    def replace(self, pattern: str | Regex, content: str) -> None:
        """Replace each match of a pattern."""
        made = _made(self._original, [], [], self._shift)
        for (start, end), is_match in _parts(pattern, self.normalized):
            chars = content if is_match else self._chars[start:end]
            before = self._spans[end - 1] if end else (0, 0)
            made._chars += chars
            made._spans += [before] * len(content) if is_match else self._spans[start:end]
        self._set(made._original, made._chars, made._spans, made._shift)

    # Parts

    def split(self, pattern: str | Regex, behavior: Any) -> list[NormalizedString]:
        """Cut at the matches of a pattern; ``behavior`` is what is done with them."""
        parts = _parts(pattern, self.normalized)
        spans = [span for span, _ in parts]
        match behavior_of(behavior):
            case "Removed":
                spans = [span for span, is_match in parts if not is_match]
            case "Contiguous":
                spans = _joined(parts, lambda is_match, before: is_match == before)
            case "MergedWithPrevious":
                spans = _joined(parts, lambda is_match, before: is_match and not before)
            case "MergedWithNext":
                spans = _joined(parts[::-1], lambda is_match, before: is_match and not before)[::-1]
        return [self._part(*span) for span in spans]

    def _part(self, start: int, end: int) -> NormalizedString:
        first, last = self._span_of((start, end)) if start < end else (start, start)
        spans = [(begin - first, stop - first) for begin, stop in self._spans[start:end]]
        return _made(self._original[first:last], self._chars[start:end], spans, self._shift + first)

    def slice(self, range: Any) -> NormalizedString | None:
        """A part: a ``slice``, a pair of places or a place, in characters; ``None`` where there is nothing."""
        # The peer counts what is left out or negative from the number of bytes.
        n_bytes = len(self.normalized.encode())
        match range:
            case int():
                if -range > n_bytes:
                    raise ValueError(f"expected a place of {n_bytes} bytes, found {range}")
                start = range if range >= 0 else n_bytes + range
                end = start + 1
            case (int(start), int(end)):
                pass
            case slice():
                start, end, _ = range.indices(n_bytes)
            case _:
                raise TypeError(f"expected an int, a pair or a slice, found {type(range).__name__}")
        if end < start or (start >= len(self._chars) and (start, end) != (0, 0)):
            return None
        return self._part(start, min(end, len(self._chars)))

    __getitem__ = slice


def _made(original: str, chars: list[str], spans: list[Span], shift: int) -> NormalizedString:
    return NormalizedString.__new__(NormalizedString)._set(original, chars, spans, shift)


def _parts(pattern: str | Regex, text: str) -> list[tuple[Span, bool]]:
    """The parts of a text that are matches and those that are none."""
    if pattern == "" or not text:
        return [((0, len(text)), False)]
    searched = {"type": "Replace", "pattern": pattern_of(pattern), "content": ""}
    return _core.parts_by_pattern(json.dumps(searched).encode(), text)


def _joined(parts: list[tuple[Span, bool]], joins: Callable[[bool, bool], bool]) -> list[Span]:
    """Join each part to the one before where ``joins`` says so of both being matches or not."""
    spans: list[Span] = []
    before = False
    for (start, end), is_match in parts:
        if spans and joins(is_match, before):
            spans[-1] = (min(spans[-1][0], start), max(spans[-1][1], end))
        else:
            spans.append((start, end))
        before = is_match
    return spans


class PreTokenizedString:
    """A text in parts, each with its tokens once it has any.

    Args:
        sequence: The text.
    """

    _original: str
    _splits: list[tuple[NormalizedString, list[Token] | None]]

    def __init__(self, sequence: str) -> None:
        self._original = sequence
        self._splits = [(NormalizedString(sequence), None)]

    def _split(self, parts: Callable[[int, NormalizedString], Iterable[Any]]) -> None:
        made: list[tuple[NormalizedString, list[Token] | None]] = []
        for place, (text, tokens) in enumerate(self._splits):
            if tokens is not None:
                made.append((text, tokens))
                continue
            for part in parts(place, text):
                found = part if isinstance(part, tuple) else (part, None)
                if not isinstance(found[0], NormalizedString):
                    raise TypeError(f"expected NormalizedString, found {type(part).__name__}")
                if found[0]._chars:
                    made.append(found)
        self._splits = made

    def split(self, func: Callable[[int, NormalizedString], Iterable[NormalizedString]]) -> None:
        """Replace each part that has no tokens by what ``func`` gives for its number and the part."""
        self._split(lambda place, text: func(place, text._copy()))

    def normalize(self, func: Callable[[NormalizedString], Any]) -> None:
        """Let ``func`` change each part that has no tokens."""
        for text, tokens in self._splits:
            if tokens is None:
                func(text)

    def tokenize(self, func: Callable[[str], list[Any]]) -> None:
        """Give each part that has no tokens what ``func`` makes of its text."""
        self._splits = [
            (text, [Token(*token.as_tuple()) for token in func(text.normalized)] if tokens is None else tokens)
            for text, tokens in self._splits
        ]

    def _apply(self, pre_tokenizer: bytes) -> None:
        """Cut the parts by a compiled pretokenizer, given as JSON."""

        def parts(_: int, text: NormalizedString) -> Iterator[NormalizedString]:
            for word, spans, whole in _core.pre_tokenize_aligned(pre_tokenizer, text.normalized, text._shift == 0):
                part = text._part(*whole)
                start = whole[0]
                part._compose(word, [(max(first - start, 0), max(last - start, 0)) for first, last in spans])
                yield part

        self._split(parts)

    def get_splits(
        self, offset_referential: Any = "original", offset_type: Any = "char"
    ) -> list[tuple[str, Span, list[Token] | None]]:
        """The parts: text, offsets and tokens."""
        referential, unit = (str(getattr(name, "value", name)) for name in (offset_referential, offset_type))
        if referential not in ("original", "normalized"):
            raise ValueError(f"expected offset_referential to be original or normalized, found {referential!r}")
        if unit not in ("char", "byte"):
            raise ValueError(f"expected offset_type to be char or byte, found {unit!r}")
        found, done = [], 0
        for text, tokens in self._splits:
            if referential == "original":
                start, end = text._shift, text._shift + len(text._original)
                offsets = (_n_bytes(self._original[:start]), _n_bytes(self._original[:end]))
            else:
                offsets = (done, done + _n_bytes(text.normalized))
                done = offsets[1]
            shown = self._in_chars(offsets) if unit == "char" else offsets
            found.append((text.normalized, shown, tokens))
        return found

    def _in_chars(self, offsets: Span) -> Span:
        """Bytes of the original in characters; a span that starts at its end or beyond stays as it is."""
        data = self._original.encode()
        start, end = offsets
        if start >= len(data):
            return offsets
        first = _char_at(data, start)
        if end < len(data):
            return (first, _char_at(data, end))
        return (first, (_char_at(data, end - 1) if 0 < end <= len(data) else first + 1) + 1)

    def to_encoding(self, type_id: int = 0, word_idx: int | None = None) -> Encoding:
        """The tokens of all parts as an encoding.

        Raises:
            TokenloomError: A part has no tokens yet.
        """
        ids, strings, words, offsets = [], [], [], []
        for place, (text, tokens) in enumerate(self._splits):
            if tokens is None:
                raise TokenloomError("a part has no tokens; call tokenize first")
            for token in tokens:
                ids.append(token.id)
                strings.append(token.value)
                words.append(place if word_idx is None else word_idx)
                offsets.append(self._offsets(text, token.offsets))
        n_tokens = len(ids)
        columns = (ids, [type_id] * n_tokens, strings, words, offsets, [False] * n_tokens, [True] * n_tokens)
        return Encoding._from_state((columns, [], []))

    def _offsets(self, text: NormalizedString, offsets: Span) -> Span:
        """What bytes of a part stand for, in characters of the original."""
        start, end = offsets
        data = text.normalized.encode()
        at_start = _n_bytes(self._original[: text._shift])
        if start == end:
            return self._in_chars((at_start + start, at_start + end))
        if end > len(data) or start > end:
            return self._in_chars(offsets)
        first, last = text._spans[_char_at(data, start)][0], text._spans[_char_at(data, end - 1)][1]
        span = (self._original[: text._shift + first], self._original[: text._shift + last])
        return self._in_chars((_n_bytes(span[0]), _n_bytes(span[1])))


def _n_bytes(text: str) -> int:
    return len(text.encode())


def _char_at(data: bytes, at: int) -> int:
    """The number of the character that a byte is part of."""
    return sum(byte & 0xC0 != 0x80 for byte in data[: at + 1]) - 1
