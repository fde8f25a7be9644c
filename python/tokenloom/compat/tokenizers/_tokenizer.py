"""How is a whole tokenizer used and changed?"""

from __future__ import annotations

import asyncio
import json
import os
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom._core import pipeline as _core
from tokenloom._core.pipeline import Encoding
from tokenloom.compat.tokenizers import _argument, models
from tokenloom.compat.tokenizers._added import AddedToken, as_added, fields_of, of_fields
from tokenloom.compat.tokenizers._component import Part, as_part, from_json
from tokenloom.compat.tokenizers._written import WrittenEncoder
from tokenloom.compat.tokenizers.decoders import Decoder
from tokenloom.compat.tokenizers.normalizers import Normalizer
from tokenloom.compat.tokenizers.pre_tokenizers import PreTokenizer
from tokenloom.compat.tokenizers.processors import PostProcessor
from tokenloom.compat.tokenizers.trainers import Trainer, texts_of
from tokenloom.errors import MissingDependencyError

_ROLES: dict[str, type[Part]] = {
    "normalizer": Normalizer,
    "pre_tokenizer": PreTokenizer,
    "post_processor": PostProcessor,
    "decoder": Decoder,
}
_STRATEGIES = {"longest_first": "LongestFirst", "only_first": "OnlyFirst", "only_second": "OnlySecond"}


def _direction(name: str) -> str:
    if _argument.text(name) not in ("left", "right"):
        raise ValueError(f"expected direction to be left or right, found {name!r}")
    return name.capitalize()


class Tokenizer:
    """A tokenizer in the terms of ``tokenizers``: the same methods, arguments, results and files.

    Each change makes a new immutable core and puts it in place at once. Calls in other threads go on with the one they
    began with, so no call ever fails because of another.

    Args:
        model: The model; parts are set as attributes.
    """

    _assembly: _core.Assembly
    _settings: _core.Settings
    _lock: threading.RLock
    _parts: dict[str, Part | None]
    _model: models.Model | None

    def __init__(self, model: Any) -> None:
        self._start(_core.Assembly.of_model(models.as_model(model)._held), _core.Settings(b"null", b"null", False))
        self.model = model

    def _start(self, assembly: _core.Assembly, settings: _core.Settings) -> None:
        self._lock = threading.RLock()
        self._assembly = assembly
        self._settings = settings
        self._parts = {}
        self._model = None

    @classmethod
    def _load(cls, data: bytes) -> Any:
        self = cls.__new__(cls)
        self._start(*_core.Assembly.from_json(data))
        return self

    # Files

    @staticmethod
    def from_str(json: str) -> Tokenizer:
        """The tokenizer of the text of a ``tokenizer.json``."""
        tokenizer: Tokenizer = Tokenizer._load(_argument.text(json).encode())
        return tokenizer

    @staticmethod
    def from_file(path: str | os.PathLike[str]) -> Tokenizer:
        """The tokenizer of a ``tokenizer.json``."""
        tokenizer: Tokenizer = Tokenizer._load(Path(path).read_bytes())
        return tokenizer

    @staticmethod
    def from_buffer(buffer: bytes) -> Tokenizer:
        """The tokenizer of the bytes of a ``tokenizer.json``."""
        tokenizer: Tokenizer = Tokenizer._load(bytes(memoryview(buffer)))
        return tokenizer

    @staticmethod
    def from_pretrained(identifier: str, revision: str = "main", token: str | None = None) -> Tokenizer:
        """The tokenizer of a local folder, or of a model hub through ``huggingface_hub``."""
        folder = Path(identifier)
        if folder.is_dir():
            return Tokenizer.from_file(folder / "tokenizer.json")
        try:
            from huggingface_hub import hf_hub_download
        except ImportError:
            raise MissingDependencyError("install huggingface_hub to load from a model hub") from None
        return Tokenizer.from_file(
            hf_hub_download(repo_id=identifier, filename="tokenizer.json", revision=revision, token=token)
        )

    def to_str(self, pretty: bool = False) -> str:
        """The text of the ``tokenizer.json``."""
        for part in self._parts.values():
            if part is not None and part._is_written:
                part.__getstate__()
        return self._assembly.to_json(self._settings, pretty)

    def save(self, path: str | os.PathLike[str], pretty: bool = True) -> None:
        """Write the ``tokenizer.json``."""
        Path(path).write_text(self.to_str(pretty), encoding="utf-8", newline="")

    def __getstate__(self) -> bytes:
        return self.to_str().encode()

    def __setstate__(self, state: bytes) -> None:
        self._start(*_core.Assembly.from_json(state))

    def __reduce__(self) -> tuple[Any, ...]:
        return (_restore, (type(self), self.__getstate__(), self.encode_special_tokens))

    def __copy__(self) -> Any:
        return self.__deepcopy__({})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        # The core is immutable, so both start with the same one; part objects are made anew. There are no copies of
        # parts written in Python, which is for the writer of the JSON to say.
        if any(part is not None and part._is_written for part in self._parts.values()):
            self.to_str()
        other = type(self).__new__(type(self))
        other._start(self._assembly, self._settings)
        return other

    def __repr__(self) -> str:
        parts = ", ".join(f"{role}={getattr(self, role)!r}" for role in _ROLES)
        settings = f"truncation={self.truncation}, padding={self.padding}"
        n_added = len(self._assembly.added_tokens())
        return f"Tokenizer({settings}, {n_added} added tokens, {parts}, model={self.model!r})"

    # Parts

    def _part(self, role: str) -> Any:
        with self._lock:
            if role not in self._parts:
                self._put(role, from_json(_ROLES[role], self._assembly.part(role)))
            return self._parts[role]

    def _put(self, role: str, part: Part | None) -> None:
        old = self._parts.get(role)
        if old is not None:
            old._holders.discard(self)
        if part is not None:
            part._holders.add(self)
        self._parts[role] = part

    def _set_part(self, role: str, found: Any) -> None:
        part = None if found is None else as_part(_ROLES[role], found)
        with self._lock:
            self._assembly = self._assembly.with_part(role, _state(part))
            self._put(role, part)

    def _part_changed(self, part: Part) -> None:
        with self._lock:
            if isinstance(part, models.Model):
                self._assembly = self._assembly.with_model(part._held)
            else:
                self._assembly = self._assembly.with_part(part._role, _state(part))

    @property
    def normalizer(self) -> Any:
        """The normalizer, or ``None``."""
        return self._part("normalizer")

    @normalizer.setter
    def normalizer(self, normalizer: Any) -> None:
        self._set_part("normalizer", normalizer)

    @property
    def pre_tokenizer(self) -> Any:
        """The pretokenizer, or ``None``."""
        return self._part("pre_tokenizer")

    @pre_tokenizer.setter
    def pre_tokenizer(self, pre_tokenizer: Any) -> None:
        self._set_part("pre_tokenizer", pre_tokenizer)

    @property
    def post_processor(self) -> Any:
        """The post-processor, or ``None``."""
        return self._part("post_processor")

    @post_processor.setter
    def post_processor(self, post_processor: Any) -> None:
        self._set_part("post_processor", post_processor)

    @property
    def decoder(self) -> Any:
        """The decoder, or ``None``."""
        return self._part("decoder")

    @decoder.setter
    def decoder(self, decoder: Any) -> None:
        self._set_part("decoder", decoder)

    @property
    def model(self) -> Any:
        """The model."""
        with self._lock:
            if self._model is None:
                self._model = models.wrap(self._assembly.model)
                self._model._holders.add(self)
            return self._model

    @model.setter
    def model(self, model: Any) -> None:
        found = models.as_model(model)
        with self._lock:
            self._assembly = self._assembly.with_model(found._held)
            if self._model is not None:
                self._model._holders.discard(self)
            self._model = found
            found._holders.add(self)

    # Settings

    def _set(self, **changed: Any) -> None:
        with self._lock:
            now = self._settings
            found = {"truncation": now.truncation, "padding": now.padding, **changed}
            special = found.pop("encode_special_tokens", now.encode_special_tokens)
            settings = _core.Settings(found["truncation"].encode(), found["padding"].encode(), special)
            self._assembly.check_truncation(settings)
            self._settings = settings

    @property
    def truncation(self) -> dict[str, Any] | None:
        """What :meth:`enable_truncation` was given, or ``None``."""
        found = json.loads(self._settings.truncation)
        if found is None:
            return None
        names = {stored: name for name, stored in _STRATEGIES.items()}
        return {
            "max_length": found["max_length"],
            "stride": found["stride"],
            "strategy": names[found["strategy"]],
            "direction": found["direction"].lower(),
        }

    def enable_truncation(
        self,
        max_length: int,
        stride: int = 0,
        strategy: str = "longest_first",
        direction: str = "right",
        **options: Any,
    ) -> None:
        """Cut every encoding.

        Args:
            max_length: The most ids, special tokens included.
            stride: Ids that two consecutive overflowing parts share.
            strategy: ``"longest_first"``, ``"only_first"`` or ``"only_second"``.
            direction: The end that is cut off.
            **options: Others are not known: a warning.

        Raises:
            ValueError: A value is not known, or ``stride`` is above what ``max_length`` leaves beside special tokens.
        """
        _argument.unknown(options)
        if _argument.text(strategy) not in _STRATEGIES:
            raise ValueError(f"expected strategy to be one of {', '.join(_STRATEGIES)}, found {strategy!r}")
        found = {
            "direction": _direction(direction),
            "max_length": _argument.count(max_length),
            "strategy": _STRATEGIES[strategy],
            "stride": _argument.count(stride),
        }
        self._set(truncation=json.dumps(found))

    def no_truncation(self) -> None:
        """Cut nothing."""
        self._set(truncation="null")

    @property
    def padding(self) -> dict[str, Any] | None:
        """What :meth:`enable_padding` was given, or ``None``."""
        found = json.loads(self._settings.padding)
        if found is None:
            return None
        strategy = found["strategy"]
        return {
            "length": None if strategy == "BatchLongest" else strategy["Fixed"],
            "pad_to_multiple_of": found["pad_to_multiple_of"],
            "pad_id": found["pad_id"],
            "pad_token": found["pad_token"],
            "pad_type_id": found["pad_type_id"],
            "direction": found["direction"].lower(),
        }

    def enable_padding(
        self,
        direction: str = "right",
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
        pad_to_multiple_of: int | None = None,
        **options: Any,
    ) -> None:
        """Fill every encoding up to the longest of its batch, or up to ``length``.

        Args:
            direction: The end that is filled.
            pad_id: The id that fills.
            pad_type_id: Its type id.
            pad_token: Its token string.
            length: The length; that of the longest of the batch by default.
            pad_to_multiple_of: The length is rounded up to a multiple of this.
            **options: ``max_length`` is an old name of ``length``. Others are not known: a warning.
        """
        length = options.pop("max_length", length)
        _argument.unknown(options)
        found = {
            "strategy": "BatchLongest" if length is None else {"Fixed": _argument.count(length)},
            "direction": _direction(direction),
            "pad_to_multiple_of": None if pad_to_multiple_of is None else _argument.count(pad_to_multiple_of),
            "pad_id": _argument.token_id(pad_id),
            "pad_type_id": _argument.token_id(pad_type_id),
            "pad_token": _argument.text(pad_token),
        }
        self._set(padding=json.dumps(found))

    def no_padding(self) -> None:
        """Fill nothing."""
        self._set(padding="null")

    @property
    def encode_special_tokens(self) -> bool:
        """Special tokens in texts are ordinary text."""
        return self._settings.encode_special_tokens

    @encode_special_tokens.setter
    def encode_special_tokens(self, value: bool) -> None:
        self._set(encode_special_tokens=bool(value))

    # Vocabulary

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or ``None``."""
        return self._assembly.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or ``None``."""
        if self._is_written("normalizer"):
            fields = dict(self._assembly.added_tokens()).get(id)
            if fields is not None and fields[4]:
                return str(self.normalizer.normalize_str(fields[0]))
        return self._assembly.id_to_token(id)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Ids by token."""
        return self._assembly.vocab(with_added_tokens)

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """How many tokens there are."""
        return self._assembly.vocab_size(with_added_tokens)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added tokens by id."""
        return {id: of_fields(fields) for id, fields in self._assembly.added_tokens()}

    def add_tokens(self, tokens: Sequence[str | AddedToken]) -> int:
        """Add tokens, and say how many are new or changed. One that the model knows keeps the model's id."""
        return self._add(tokens, special=False)

    def add_special_tokens(self, tokens: Sequence[str | AddedToken]) -> int:
        """Add special tokens, and say how many are new or changed."""
        return self._add(tokens, special=True)

    def _add(self, tokens: Sequence[str | AddedToken], special: bool) -> int:
        if not isinstance(tokens, list | tuple):
            raise TypeError(f"expected a list of str or AddedToken, found {type(tokens).__name__}")
        found = [fields_of(as_added(token, special)) for token in tokens]
        with self._lock:
            self._assembly, n_added = self._assembly.with_added_tokens(found)
        return n_added

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many special tokens the post-processor puts around a sequence or a pair."""
        return self._assembly.n_added_tokens(is_pair)

    # Encoding and decoding

    def _is_written(self, *roles: str) -> bool:
        """Whether one of these parts is written in Python."""
        parts = (self._parts.get(role) for role in roles)
        return any(part is not None and part._is_written for part in parts)

    def _encode(
        self, items: list[Any], is_pretokenized: bool, add_special_tokens: bool, columns: str
    ) -> list[Encoding]:
        if self._is_written("normalizer", "pre_tokenizer"):
            return WrittenEncoder(self).encode(items, is_pretokenized, add_special_tokens)
        threads = len(os.sched_getaffinity(0)) if len(items) > 1 else 1
        return self._assembly.encode_batch(
            items,
            self._settings,
            is_pretokenized=is_pretokenized,
            add_special_tokens=add_special_tokens,
            columns=columns,
            seed=random.getrandbits(64),
            threads=threads,
        )

    def encode(
        self, sequence: Any, pair: Any = None, is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> Encoding:
        """Encode a text, a pair of texts, or their words.

        Args:
            sequence: The first text; a list of words where ``is_pretokenized``.
            pair: The second one.
            is_pretokenized: The texts are cut into words already.
            add_special_tokens: Put special tokens around.

        Raises:
            TypeError: An input is no text.
            ValueError: It cannot be cut as :meth:`enable_truncation` asks.
        """
        kind = (list, tuple) if is_pretokenized else str
        texts = [_words(text) if is_pretokenized else text for text in (sequence, *(() if pair is None else (pair,)))]
        for text in texts:
            if not isinstance(text, kind) or (is_pretokenized and not all(isinstance(word, str) for word in text)):
                expected = "a list or tuple of str" if is_pretokenized else "a str"
                raise TypeError(f"expected {expected}, found {type(text).__name__}")
        item = texts[0] if pair is None else tuple(texts)
        return self._encode([item], is_pretokenized, add_special_tokens, "ids")[0]

    def encode_batch(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """Encode texts and pairs of texts; see :meth:`encode`."""
        return self._encode(_items(input, is_pretokenized), is_pretokenized, add_special_tokens, "ids")

    def encode_batch_fast(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """As :meth:`encode_batch`, without token strings, words and offsets of the texts."""
        return self._encode(_items(input, is_pretokenized), is_pretokenized, add_special_tokens, "blank")

    async def async_encode(
        self, sequence: Any, pair: Any = None, is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> Encoding:
        """:meth:`encode` in a thread."""
        return await asyncio.to_thread(self.encode, sequence, pair, is_pretokenized, add_special_tokens)

    async def async_encode_batch(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """:meth:`encode_batch` in a thread."""
        return await asyncio.to_thread(self.encode_batch, input, is_pretokenized, add_special_tokens)

    async def async_encode_batch_fast(
        self, input: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """:meth:`encode_batch_fast` in a thread."""
        return await asyncio.to_thread(self.encode_batch_fast, input, is_pretokenized, add_special_tokens)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids; ids that are no tokens are left out."""
        return self.decode_batch([ids], skip_special_tokens)[0]

    def decode_batch(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        """The texts of several sequences of ids."""
        if self._is_written("decoder", "normalizer"):
            special = {fields[0] for _, fields in self._assembly.added_tokens() if fields[5] and skip_special_tokens}
            rows = [[token for id in ids if (token := self.id_to_token(id)) is not None] for ids in sequences]
            rows = [[token for token in row if token not in special] for row in rows]
            return [" ".join(row) if self.decoder is None else self.decoder.decode(row) for row in rows]
        return self._assembly.decode_batch(sequences, skip_special_tokens)

    async def async_decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """:meth:`decode_batch` in a thread."""
        return await asyncio.to_thread(self.decode_batch, sequences, skip_special_tokens)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Cut, finish and fill an encoding or a pair of them."""
        return self._assembly.post_process(self._settings, encoding, pair, add_special_tokens)

    # Training

    def _words(self, texts: list[str]) -> list[list[str]]:
        if self._is_written("normalizer", "pre_tokenizer"):
            return WrittenEncoder(self).words(texts)
        return self._assembly.words(texts, self._settings.encode_special_tokens)

    def train(self, files: Sequence[str], trainer: Trainer | None = None) -> None:
        """Train the model on files, line by line."""
        if isinstance(files, str):
            raise TypeError("expected a list of paths, found a str")

        def lines() -> Iterator[str]:
            for path in files:
                with open(path, encoding="utf-8", newline="\n") as file:
                    yield from file

        self.train_from_iterator(lines(), trainer)

    def train_from_iterator(
        self, iterator: Iterable[Any], trainer: Trainer | None = None, length: int | None = None
    ) -> None:
        """Train the model on texts, or on batches of them.

        Raises:
            UnsupportedFeatureError: The trainer is for another kind of model.
            TrainError: The corpus and the settings contradict each other.
        """
        if trainer is None:
            trainer = self.model.get_trainer()
        if not isinstance(trainer, Trainer):
            raise TypeError(f"expected a Trainer, found {type(trainer).__name__}")
        model, special = trainer._train(self, texts_of(iterator))
        with self._lock:
            self.model = model
            self.add_special_tokens(special)


def _state(part: Part | None) -> bytes:
    """What the compiled core is told of a part: nothing of one that is written in Python."""
    return b"null" if part is None or part._is_written else part.__getstate__()


def _restore(cls: type[Tokenizer], state: bytes, encode_special_tokens: bool) -> Tokenizer:
    self: Tokenizer = cls._load(state)
    if encode_special_tokens:
        self.encode_special_tokens = True
    return self


def _words(text: Any) -> Any:
    """Words that came as an array as a list."""
    return text.tolist() if isinstance(text, np.ndarray) else text


def _items(input: Any, is_pretokenized: bool) -> list[Any]:
    # Columns of data frames and data sets are lists here, too: what has elements by number.
    if isinstance(input, str | bytes | dict) or not hasattr(type(input), "__getitem__"):
        raise TypeError(f"expected a list of inputs, found {type(input).__name__}")
    if not is_pretokenized:
        return input if isinstance(input, list) else list(input)
    items = []
    for item in input:
        is_pair = isinstance(item, list | tuple) and len(item) == 2 and not isinstance(item[0], str)
        items.append(tuple(map(_words, item)) if is_pair else _words(item))
    return items
