"""Which trainers are there? ``BpeTrainer`` and ``WordLevelTrainer`` of ``tokenizers.trainers``.

Tokens, merges and ids are those of ``tokenizers``. What cannot be done exactly is refused by name: trainers of other
models, subword prefixes and suffixes (the peer numbers them by the order of a hash table), and BPE over more than 128
different characters that are not cut by ``ByteLevel``. Of characters that occur as often as each other
``limit_alphabet`` keeps the smaller ones; the peer keeps any.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as _Sequence
from typing import TYPE_CHECKING, Any

from tokenloom._core import train as _train
from tokenloom._training import StageFields, Start, Veto
from tokenloom.compat.tokenizers import models
from tokenloom.compat.tokenizers._added import AddedToken, as_added
from tokenloom.compat.tokenizers.pre_tokenizers import ByteLevel
from tokenloom.errors import UnsupportedFeatureError

if TYPE_CHECKING:
    from tokenloom.compat.tokenizers import Tokenizer

__all__ = ["BpeTrainer", "Trainer", "UnigramTrainer", "WordLevelTrainer", "WordPieceTrainer"]


class Trainer:
    """Makes the model of a tokenizer from a corpus."""

    def _train(self, tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[models.Model, list[AddedToken]]:
        raise UnsupportedFeatureError(f"training with {type(self).__name__} is not supported")


class BpeTrainer(Trainer):
    """Byte pair encoding; the arguments are those of ``tokenizers``."""

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        progress_format: str = "indicatif",
        special_tokens: _Sequence[str | AddedToken] = (),
        limit_alphabet: int | None = None,
        initial_alphabet: _Sequence[str] = (),
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        max_token_length: int | None = None,
    ) -> None:
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.show_progress = show_progress
        self.progress_format = progress_format
        self.special_tokens = special_tokens
        self.limit_alphabet = limit_alphabet
        self.initial_alphabet = initial_alphabet
        self.continuing_subword_prefix = continuing_subword_prefix
        self.end_of_word_suffix = end_of_word_suffix
        self.max_token_length = max_token_length

    @property
    def special_tokens(self) -> list[AddedToken]:
        """Tokens that get the first ids."""
        return list(self._special_tokens)

    @special_tokens.setter
    def special_tokens(self, tokens: _Sequence[str | AddedToken]) -> None:
        self._special_tokens = [as_added(token, special=True) for token in tokens]

    @property
    def initial_alphabet(self) -> list[str]:
        """Characters that are tokens whether they occur or not."""
        return list(self._initial_alphabet)

    @initial_alphabet.setter
    def initial_alphabet(self, alphabet: _Sequence[str]) -> None:
        # Of a longer string the first character counts, as in the peer.
        self._initial_alphabet = [text[0] for text in alphabet if text]

    def __repr__(self) -> str:
        return f"BpeTrainer(vocab_size={self.vocab_size}, min_frequency={self.min_frequency})"

    def _train(self, tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[models.Model, list[AddedToken]]:
        model = tokenizer.model
        if not isinstance(model, models.BPE):
            raise UnsupportedFeatureError(f"expected a BPE model for BpeTrainer, found {type(model).__name__}")
        for name in ("continuing_subword_prefix", "end_of_word_suffix"):
            if getattr(self, name) is not None:
                raise UnsupportedFeatureError(f"training with {name} is not supported")
        words = _Words(*_limited(_count(tokenizer, texts), set(self.initial_alphabet), self.limit_alphabet))
        special = [token.content for token in self._special_tokens]
        vocab, merges = words.train(self, special)
        fields = model._fields | {"continuing_subword_prefix": None, "end_of_word_suffix": None}
        return models.BPE(vocab, merges, **fields), self.special_tokens


class _Words:
    """Words and how often they occur, written in bytes whose order is that of their characters."""

    def __init__(self, counts: Mapping[str, int], initial: set[str]) -> None:
        self._counts = counts
        self._initial = initial

    def train(self, trainer: BpeTrainer, special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
        alphabet = sorted(self._initial.union(*self._counts))
        byte_of = _bytes_for(alphabet, trainer.max_token_length)
        if len(set(special)) < len(special) or not set(special).isdisjoint(alphabet):
            raise UnsupportedFeatureError("special tokens that repeat or are single characters are not supported")
        counter = _train.WordCounter([None], None, False, len(os.sched_getaffinity(0)))
        for count, words in self._by_count(byte_of).items():
            counter.add(words, count)
        vocab_size = max(trainer.vocab_size, len(special) + len(alphabet))
        stage = StageFields(vocab_size, trainer.min_frequency, trainer.max_token_length, Veto())
        start = Start(special, bytes(byte_of.values()))
        trained = _train.run_stages(start, [(counter.finish()[0], stage)], [], (1, None), None, None)
        char_of = {byte: char for char, byte in byte_of.items()}
        text_of = dict(enumerate(special))
        for id, token in trained.tokens:
            text_of[id] = "".join(char_of[byte] for byte in token)
        texts = [text_of[id] for id in sorted(text_of)]
        if len(set(texts)) < len(texts):
            raise UnsupportedFeatureError("a special token that training also makes is not supported")
        merges = [(text_of[left], text_of[right]) for left, right, _ in trained.merges]
        return {text: id for id, text in enumerate(texts)}, merges

    def _by_count(self, byte_of: dict[str, int]) -> dict[int, list[str | bytes]]:
        words: dict[int, list[str | bytes]] = {}
        for word, count in self._counts.items():
            words.setdefault(count, []).append(bytes(byte_of[char] for char in word))
        return words


def _limited(counts: Mapping[str, int], initial: set[str], limit: int | None) -> tuple[Mapping[str, int], set[str]]:
    """Words without the characters beyond the ``limit`` most frequent ones; initial ones are left out last."""
    if limit is None:
        return counts, initial
    n_times: Counter[str] = Counter()
    for word, count in counts.items():
        for char in word:
            n_times[char] += count
    order = sorted(initial.union(n_times), key=lambda char: (char not in initial, -n_times[char], char))
    kept = set(order[:limit])
    words: Counter[str] = Counter()
    for word, count in counts.items():
        words["".join(filter(kept.__contains__, word))] += count
    return words, initial & kept


def _bytes_for(alphabet: list[str], max_token_length: int | None) -> dict[str, int]:
    """A byte for each character: its own where all are byte characters, else one in the order of the trainer's ids."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    by_char = dict(zip(ByteLevel.alphabet(), printable + others, strict=True))
    if all(char in by_char for char in alphabet):
        return {char: by_char[char] for char in alphabet}
    if max_token_length is not None:
        raise UnsupportedFeatureError("training with max_token_length is supported for ByteLevel words alone")
    ascii_bytes = [byte for byte in by_char.values() if byte < 0x80]
    if len(alphabet) > len(ascii_bytes):
        raise UnsupportedFeatureError(
            f"training over {len(alphabet)} different characters is not supported without ByteLevel, only over 128"
        )
    return dict(zip(alphabet, ascii_bytes, strict=False))


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for batch in _batches(texts, 512):
        for words in tokenizer._words(batch):
            counts.update(words)
    return counts


class WordLevelTrainer(Trainer):
    """The most frequent words; the arguments are those of ``tokenizers``."""

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        special_tokens: _Sequence[str | AddedToken] = (),
    ) -> None:
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.show_progress = show_progress
        self.special_tokens = [as_added(token, special=True) for token in special_tokens]

    def __repr__(self) -> str:
        return f"WordLevelTrainer(vocab_size={self.vocab_size}, min_frequency={self.min_frequency})"

    def _train(self, tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[models.Model, list[AddedToken]]:
        model = tokenizer.model
        if not isinstance(model, models.WordLevel):
            raise UnsupportedFeatureError(
                f"expected a WordLevel model for WordLevelTrainer, found {type(model).__name__}"
            )
        counts = _count(tokenizer, texts)
        frequent = sorted((-count, word) for word, count in counts.items() if count >= self.min_frequency)
        tokens = [token.content for token in self.special_tokens] + [word for _, word in frequent]
        vocab = {token: id for id, token in enumerate(tokens[: self.vocab_size])}
        return models.WordLevel(vocab, model.unk_token), list(self.special_tokens)


class _Refused(Trainer):
    def __init__(self, **options: Any) -> None:
        raise UnsupportedFeatureError(f"{type(self).__name__} is not supported; BpeTrainer and WordLevelTrainer are")


class UnigramTrainer(_Refused):
    """Not supported."""


class WordPieceTrainer(_Refused):
    """Not supported."""


def for_model(name: str) -> Trainer:
    """The trainer of a kind of model."""
    if name == "WordLevel":
        return WordLevelTrainer()
    if name != "BPE":
        raise UnsupportedFeatureError(f"training a {name} model is not supported; BPE and WordLevel are")
    return BpeTrainer()
