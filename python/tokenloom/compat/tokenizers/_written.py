"""How does a tokenizer encode when some of its parts are written in Python?

The steps of the format one after another, over :class:`NormalizedString` and :class:`PreTokenizedString`: added tokens
are cut out, what is left is normalized and cut into words, the compiled model makes tokens of the words, and the
compiled core cuts, finishes and fills the encodings. Time goes to the Python code, one call a text.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tokenloom._core import pipeline as _core
from tokenloom._core.pipeline import Encoding
from tokenloom.compat.tokenizers._texts import NormalizedString, PreTokenizedString
from tokenloom.compat.tokenizers.models import Token

if TYPE_CHECKING:
    from tokenloom.compat.tokenizers import Tokenizer

_NO_SETTINGS = _core.Settings(b"null", b"null", False)


class WrittenEncoder:
    """One state of a tokenizer with parts written in Python.

    Args:
        tokenizer: The tokenizer; what it is changed to later does not matter.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._normalizer = tokenizer.normalizer
        self._pre_tokenizer = tokenizer.pre_tokenizer
        self._assembly = tokenizer._assembly
        self._settings = tokenizer._settings
        self._words = _core.Assembly.of_model(tokenizer._assembly.model)
        self._added: dict[bool, dict[str, tuple[int, Any]]] = {False: {}, True: {}}
        for id, fields in self._assembly.added_tokens():
            content, is_normalized = fields[0], fields[4]
            pattern = self._normalized(content) if is_normalized else content
            if pattern:
                self._added[is_normalized].setdefault(pattern, (id, fields))
        self._patterns = {
            is_normalized: re.compile("|".join(map(re.escape, sorted(found, key=_longest_first)))) if found else None
            for is_normalized, found in self._added.items()
        }

    def _normalized(self, text: str) -> str:
        if self._normalizer is None:
            return text
        changed = NormalizedString(text)
        self._normalizer.normalize(changed)
        return changed.normalized

    def encode(self, items: list[Any], is_pretokenized: bool, add_special_tokens: bool) -> list[Encoding]:
        """The encodings of texts, pairs of texts, or either in words."""
        truncation, padding = self._settings.truncation, json.loads(self._settings.padding)
        settings = _core.Settings(truncation.encode(), b"null", self._settings.encode_special_tokens)
        found = []
        for item in items:
            is_pair = isinstance(item, tuple) and (not is_pretokenized or not all(isinstance(x, str) for x in item))
            texts = item if is_pair else (item,)
            parts = [self._sequence(text, is_pretokenized, type_id) for type_id, text in enumerate(texts)]
            second = parts[1] if is_pair else None
            found.append(self._assembly.post_process(settings, parts[0], second, add_special_tokens))
        if padding is not None:
            _fill(found, padding)
        return found

    def _sequence(self, text: Any, is_pretokenized: bool, type_id: int) -> Encoding:
        if not is_pretokenized:
            return self._cut(text).to_encoding(type_id)
        return Encoding.merge([self._cut(word).to_encoding(type_id, place) for place, word in enumerate(text)], False)

    def words(self, texts: list[str]) -> list[list[str]]:
        """What each text is cut into: its added tokens, and the words that the model is given."""
        return [[part.normalized for part, _ in self._parts(text)._splits] for text in texts]

    def _parts(self, text: str) -> PreTokenizedString:
        cut = PreTokenizedString(text)
        cut._split(lambda _, part: self._extracted(part, False))

        def normalized(_: int, part: NormalizedString) -> Iterator[tuple[NormalizedString, list[Token] | None]]:
            if self._normalizer is not None:
                self._normalizer.normalize(part)
            return self._extracted(part, True)

        cut._split(normalized)
        if self._pre_tokenizer is not None:
            self._pre_tokenizer.pre_tokenize(cut)
        return cut

    def _cut(self, text: str) -> PreTokenizedString:
        cut = self._parts(text)
        words = [part.normalized for part, tokens in cut._splits if tokens is None]
        encodings = iter(
            self._words.encode_batch(
                words, _NO_SETTINGS, is_pretokenized=False, add_special_tokens=False, columns="all", seed=0, threads=1
            )
        )
        cut._splits = [(part, _tokens(next(encodings), part) if ts is None else ts) for part, ts in cut._splits]
        return cut

    def _extracted(
        self, part: NormalizedString, is_normalized: bool
    ) -> Iterator[tuple[NormalizedString, list[Token] | None]]:
        """A part in pieces: those that are added tokens, with their token, and those between them."""
        pattern, text, done = self._patterns[is_normalized], part.normalized, 0
        for match in pattern.finditer(text) if pattern is not None else ():
            id, (_, single_word, lstrip, rstrip, _, special) = self._added[is_normalized][match[0]]
            start, end = match.span()
            if special and self._settings.encode_special_tokens:
                continue
            if single_word and (_is_word(text[start - 1 : start]) or _is_word(text[end : end + 1])):
                continue
            if lstrip:
                start = max(len(text[:start].rstrip()), done)
            if rstrip:
                end = len(text) - len(text[end:].lstrip())
            if done < start:
                yield (part._part(done, start), None)
            value = text[start:end]
            yield (part._part(start, end), [Token(id, value, (0, len(value.encode())))])
            done = end
        if done < len(text):
            yield (part._part(done, len(text)), None)


def _longest_first(pattern: str) -> tuple[int, str]:
    return (-len(pattern.encode()), pattern)


def _is_word(char: str) -> bool:
    category = unicodedata.category(char) if char else "Zs"
    return category[0] in "LMN" or category == "Pc"


def _tokens(encoding: Encoding, part: NormalizedString) -> list[Token]:
    chars = part._chars
    spans = [
        (len("".join(chars[:start]).encode()), len("".join(chars[:end]).encode())) for start, end in encoding.offsets
    ]
    return [Token(*token) for token in zip(encoding.ids, encoding.tokens, spans, strict=True)]


def _fill(encodings: list[Encoding], padding: dict[str, Any]) -> None:
    """Fill encodings up to one length."""
    strategy, multiple = padding["strategy"], padding["pad_to_multiple_of"]
    length = max((len(encoding) for encoding in encodings), default=0)
    length = length if strategy == "BatchLongest" else strategy["Fixed"]
    if multiple:
        length += -length % multiple
    for encoding in encodings:
        encoding.pad(
            length,
            direction=padding["direction"].lower(),
            pad_id=padding["pad_id"],
            pad_type_id=padding["pad_type_id"],
            pad_token=padding["pad_token"],
        )
