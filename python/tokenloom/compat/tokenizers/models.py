"""Which models are there? The classes of ``tokenizers.models``, with its arguments and attributes."""

from __future__ import annotations

import json
import warnings
import weakref
from collections.abc import Mapping
from collections.abc import Sequence as _Sequence
from pathlib import Path
from typing import Any, ClassVar

from tokenloom._core import pipeline as _core
from tokenloom.compat.tokenizers._argument import count, flag, ids_by_token, real, text
from tokenloom.compat.tokenizers._component import Field, Part
from tokenloom.errors import UnsupportedFeatureError, VocabError

__all__ = ["BPE", "Model", "Unigram", "WordLevel", "WordPiece"]


class Token:
    """A token of a word: its id, its string, and its start and end in the word, in bytes."""

    id: int = 0
    value: str = ""
    offsets: tuple[int, int] = (0, 0)

    def __init__(self, id: int, value: str, offsets: tuple[int, int]) -> None:
        self.id = id
        self.value = value
        self.offsets = offsets

    def as_tuple(self) -> tuple[int, str, tuple[int, int]]:
        """``(id, value, offsets)``."""
        return (self.id, self.value, self.offsets)


class Model(Part):
    """Cuts words into tokens. The token lists stay in the compiled core; the other fields are attributes."""

    _role = "model"
    _lists: ClassVar[tuple[str, ...]] = ("vocab",)
    _held: _core.Model

    def _make(self, vocab: Any, merges: Any = None, **fields: Any) -> None:
        lists = {"vocab": vocab} if merges is None else {"vocab": vocab, "merges": merges}
        found = {"type": self._json_type, **fields, **lists}
        self._hold(_core.Model.from_json(json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass")))

    def _hold(self, core: _core.Model) -> None:
        self._held = core
        found = json.loads(core.options_json())
        self._fields = {key: value for key, value in found.items() if key not in ("type", *self._lists)}
        self._holders = weakref.WeakSet()

    def _change(self, **fields: Any) -> None:
        empty: dict[str, Any] = {name: [] for name in self._lists}
        empty["vocab"] = {}
        found = {"type": self._json_type, **self._fields, **fields, **empty}
        self._held = self._held.with_options(json.dumps(found, ensure_ascii=False).encode())
        self._fields = {**self._fields, **fields}
        self._tell()

    def __getstate__(self) -> bytes:
        """The model as JSON, lists included."""
        return self._held.to_json().encode()

    def __setstate__(self, state: bytes) -> None:
        self._hold(_core.Model.from_json(state))

    def __repr__(self) -> str:
        fields = ", ".join(f"{key}={value!r}" for key, value in self._fields.items())
        return f"{type(self).__name__}({fields}{', ' if fields else ''}{len(self._held)} tokens)"

    __str__ = __repr__

    def token_to_id(self, token: str) -> int | None:
        """The id of a token."""
        return self._held.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The token of an id."""
        return self._held.id_to_token(id)

    def tokenize(self, sequence: str) -> list[Token]:
        """The tokens of a word."""
        return [Token(*token) for token in self._held.tokenize(sequence)]

    def get_trainer(self) -> Any:
        """A trainer for this kind of model, with its defaults."""
        from tokenloom.compat.tokenizers import trainers

        return trainers.for_model(type(self).__name__)

    def save(self, folder: str, prefix: str | None = None, name: str | None = None) -> list[str]:
        """Write the lists of the model to files in ``folder``, and say which."""
        path = self._path(folder, prefix or name, "vocab.json")
        path.write_text(json.dumps(self._vocab(), ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        return [str(path)]

    def _path(self, folder: str, prefix: str | None, name: str) -> Path:
        return Path(folder) / (f"{prefix}-{name}" if prefix else name)

    def _vocab(self) -> dict[str, int]:
        vocab: dict[str, int] = json.loads(self._held.to_json())["vocab"]
        return dict(sorted(vocab.items(), key=lambda entry: entry[1]))


def wrap(core: _core.Model) -> Model:
    """The model object for a core's model."""
    cls = Model._types[json.loads(core.options_json())["type"]]
    model = cls.__new__(cls)
    assert isinstance(model, Model)
    model._hold(core)
    return model


def as_model(found: Any) -> Model:
    """A model of ours, or ours for one of ``tokenizers``."""
    if isinstance(found, Model):
        if not hasattr(found, "_held"):
            raise TypeError("expected a model of a kind, found a bare Model")
        return found
    if type(found).__module__.split(".")[0] != "tokenizers" or not hasattr(found, "tokenize"):
        raise TypeError(f"expected a Model, found {type(found).__name__}")
    for name in ("alpha", "nbest_size"):
        if getattr(found, name, None) is not None:
            raise UnsupportedFeatureError(f"sampling from a Unigram model ({name}) is not supported")
    state = found.__getstate__()
    return wrap(with_exact_scores(_core.Model.from_json(state), json.loads(state)))


def with_exact_scores(core: _core.Model, found: Mapping[str, Any]) -> _core.Model:
    """The model with the scores of its JSON as Python reads them: exactly."""
    return core.with_scores([score for _, score in found["vocab"]]) if found["type"] == "Unigram" else core


def _given(options: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    for name in options.keys() - known.keys():
        warnings.warn(f"option {name} is not known and has no effect", stacklevel=3)
    return {name: options.get(name, default) for name, default in known.items()}


def _text(value: Any) -> str | None:
    return None if value is None else text(value)


def _probability(value: Any) -> float | None:
    return None if value is None else real(value)


class BPE(Model):
    """Byte pair encoding over characters.

    Args:
        vocab: Ids by token, or the path of a ``vocab.json``.
        merges: Pairs of tokens in rank order, or the path of a ``merges.txt``.
        **options: ``dropout``, ``unk_token``, ``continuing_subword_prefix``, ``end_of_word_suffix``, ``fuse_unk``,
            ``byte_fallback``, ``ignore_merges``; ``cache_capacity`` is accepted and has no effect.

    Raises:
        ValueError: One of ``vocab`` and ``merges`` is missing, or they contradict each other.
    """

    _json_type = "BPE"
    _lists = ("vocab", "merges")
    dropout = Field(_probability)
    unk_token = Field(_text)
    continuing_subword_prefix = Field(_text)
    end_of_word_suffix = Field(_text)
    fuse_unk = Field(flag)
    byte_fallback = Field(flag)
    ignore_merges = Field(flag)

    def __init__(
        self,
        vocab: dict[str, int] | str | None = None,
        merges: _Sequence[tuple[str, str]] | str | None = None,
        **options: Any,
    ) -> None:
        if (vocab is None) != (merges is None):
            raise ValueError("expected vocab and merges to be both specified")
        if isinstance(vocab, str) != isinstance(merges, str):
            raise ValueError("expected vocab and merges to be both from memory or both paths")
        if isinstance(vocab, str) and isinstance(merges, str):
            vocab, merges = self.read_file(vocab, merges)
        known = dict.fromkeys(("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"))
        flags = dict.fromkeys(("fuse_unk", "byte_fallback", "ignore_merges"), False)
        count(options.pop("cache_capacity", 0))
        fields = _given(options, {**known, **flags})
        fields = {name: flag(value) if name in flags else value for name, value in fields.items()}
        fields["dropout"] = _probability(fields["dropout"])
        fields.update({name: _text(fields[name]) for name in known if name != "dropout"})
        self._make(ids_by_token(vocab or {}), [_pair(pair) for pair in merges or ()], **fields)

    @staticmethod
    def read_file(vocab: str, merges: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
        """The contents of a ``vocab.json`` and a ``merges.txt``."""
        pairs = []
        for number, line in enumerate(Path(merges).read_text(encoding="utf-8").split("\n")):
            line = line.removesuffix("\r")
            if not line or line.startswith("#version"):
                continue
            parts = line.split(" ")
            if len(parts) != 2:
                raise VocabError(f"expected two tokens in line {number + 1} of the merges, found {len(parts)}")
            pairs.append((parts[0], parts[1]))
        return _read_ids(vocab), pairs

    @classmethod
    def from_file(cls, vocab: str, merges: str, **options: Any) -> BPE:
        """The model of a ``vocab.json`` and a ``merges.txt``."""
        return cls(*cls.read_file(vocab, merges), **options)

    def save(self, folder: str, prefix: str | None = None, name: str | None = None) -> list[str]:
        """Write ``vocab.json`` and ``merges.txt``."""
        merges = json.loads(self._held.to_json())["merges"]
        path = self._path(folder, prefix or name, "merges.txt")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [*super().save(folder, prefix, name), str(path)]

    def _clear_cache(self) -> None:
        """Nothing: results do not depend on a cache."""

    def _resize_cache(self, capacity: int) -> None:
        """Nothing: the cache is bounded by bytes."""


def _pair(pair: Any) -> list[str]:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
        raise TypeError(f"expected a merge as a tuple of two str, found {pair!r}")
    return list(pair)


def _read_ids(path: str) -> dict[str, int]:
    vocab: dict[str, int] = json.loads(Path(path).read_text(encoding="utf-8"))
    return vocab


class WordPiece(Model):
    """Longest match with a prefix for the inside of words.

    Args:
        vocab: Ids by token, or the path of a ``vocab.txt`` with a token a line.
        **options: ``unk_token``, ``max_input_chars_per_word``, ``continuing_subword_prefix``.
    """

    _json_type = "WordPiece"
    unk_token = Field(text)
    continuing_subword_prefix = Field(text)
    max_input_chars_per_word = Field(count)

    def __init__(self, vocab: dict[str, int] | str | None = None, **options: Any) -> None:
        known = {"unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
        fields = _given(options, known)
        fields = {name: (count if isinstance(known[name], int) else text)(value) for name, value in fields.items()}
        self._make(self.read_file(vocab) if isinstance(vocab, str) else ids_by_token(vocab or {}), **fields)

    @staticmethod
    def read_file(vocab: str) -> dict[str, int]:
        """The contents of a ``vocab.txt``."""
        lines = Path(vocab).read_text(encoding="utf-8").split("\n")
        return {line.rstrip(): id for id, line in enumerate(lines[:-1] if lines[-1] == "" else lines)}

    @classmethod
    def from_file(cls, vocab: str, **options: Any) -> WordPiece:
        """The model of a ``vocab.txt``."""
        return cls(cls.read_file(vocab), **options)

    def save(self, folder: str, prefix: str | None = None, name: str | None = None) -> list[str]:
        """Write ``vocab.txt``."""
        path = self._path(folder, prefix or name, "vocab.txt")
        path.write_text("".join(f"{token}\n" for token in self._vocab()), encoding="utf-8")
        return [str(path)]


class WordLevel(Model):
    """Whole words.

    Args:
        vocab: Ids by token, or the path of a ``vocab.json``.
        unk_token: What any other word becomes.
    """

    _json_type = "WordLevel"
    unk_token = Field(text)

    def __init__(self, vocab: dict[str, int] | str | None = None, unk_token: str | None = None) -> None:
        ids = self.read_file(vocab) if isinstance(vocab, str) else ids_by_token(vocab or {})
        self._make(ids, unk_token="<unk>" if unk_token is None else text(unk_token))

    @staticmethod
    def read_file(vocab: str) -> dict[str, int]:
        """The contents of a ``vocab.json``."""
        return _read_ids(vocab)

    @classmethod
    def from_file(cls, vocab: str, unk_token: str | None = None) -> WordLevel:
        """The model of a ``vocab.json``."""
        return cls(cls.read_file(vocab), unk_token)


def _listed(vocab: Any) -> Any:
    if isinstance(vocab, str | dict):
        raise TypeError(f"expected a list of tokens and scores, found {type(vocab).__name__}")
    return vocab


def _scored(piece: Any) -> tuple[str, float]:
    if not isinstance(piece, tuple | list) or len(piece) != 2:
        raise TypeError(f"expected a token and its score, found {piece!r}")
    return text(piece[0]), real(piece[1])


class Unigram(Model):
    """The most probable segmentation.

    Args:
        vocab: Tokens and their log-probabilities; ids are places in the list.
        unk_id: What unknown characters become.
        byte_fallback: They become the tokens of their bytes instead, where there are all of them.
        alpha: Refused, as sampling is not supported.
        nbest_size: Likewise.
    """

    _json_type = "Unigram"

    def __init__(
        self,
        vocab: _Sequence[tuple[str, float]] | None = None,
        unk_id: int | None = None,
        byte_fallback: bool | None = None,
        alpha: float | None = None,
        nbest_size: int | None = None,
    ) -> None:
        if vocab is None and unk_id is not None:
            raise ValueError("expected vocab and unk_id to be both specified")
        if alpha is not None or nbest_size is not None:
            raise UnsupportedFeatureError("sampling from a Unigram model (alpha, nbest_size) is not supported")
        pairs = [("<unk>", 0.0)] if vocab is None else [_scored(piece) for piece in _listed(vocab)]
        unknown = 0 if vocab is None else unk_id
        fields = {
            "unk_id": None if unknown is None else count(unknown),
            "byte_fallback": vocab is not None and byte_fallback is not None and flag(byte_fallback),
        }
        self._make([[piece, score] for piece, score in pairs], **fields)
        self._hold(self._held.with_scores([score for _, score in pairs]))

    alpha = None
    nbest_size = None

    def save(self, folder: str, prefix: str | None = None, name: str | None = None) -> list[str]:
        """Write ``unigram.json``."""
        path = self._path(folder, prefix or name, "unigram.json")
        path.write_text(self._held.to_json(), encoding="utf-8")
        return [str(path)]

    def _clear_cache(self) -> None:
        """Nothing: results do not depend on a cache."""

    def _resize_cache(self, capacity: int) -> None:
        """Nothing: results do not depend on a cache."""
