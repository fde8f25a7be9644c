"""Which trainers are there? Those of ``tokenizers.trainers``, with its arguments and attributes.

Tokens, merges, scores and ids are those of ``tokenizers``, as far as it gives the same ones in every run. Where they
depend on the order of a hash table there, words come in the order of their strings here: the ids of characters with
a prefix or suffix (and merges of equal counts, whose order follows ids), the last bits of Unigram scores and pieces of
equal loss, and the characters of equal counts that ``limit_alphabet`` keeps.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as _Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from tokenloom._core import train as _train
from tokenloom.compat.tokenizers import models
from tokenloom.compat.tokenizers._added import AddedToken, as_added
from tokenloom.compat.tokenizers._argument import count, flag, real, strings, text, token_id, unknown
from tokenloom.errors import TrainError, UnsupportedFeatureError

if TYPE_CHECKING:
    from tokenloom.compat.tokenizers import Tokenizer

__all__ = ["BpeTrainer", "ParityBpeTrainer", "Trainer", "UnigramTrainer", "WordLevelTrainer", "WordPieceTrainer"]


T = TypeVar("T")


class _Setting(Generic[T]):
    """An attribute of which ``kind`` says what may be stored."""

    def __init__(self, kind: Callable[[Any], T]) -> None:
        self.kind = kind

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, trainer: Any, owner: type) -> T:
        return self if trainer is None else trainer.__dict__[self.name]  # type: ignore[return-value]

    def __set__(self, trainer: Any, value: Any) -> None:
        trainer.__dict__[self.name] = self.kind(value)


def _count_or_none(value: Any) -> int | None:
    return None if value is None else count(value)


def _text_or_none(value: Any) -> str | None:
    return None if value is None else text(value)


def _format(value: Any) -> str:
    return text(value) if value in ("indicatif", "json", "silent") else "indicatif"


class Trainer:
    """Makes the model of a tokenizer from a corpus."""

    _model: type[models.Model] = models.Model
    vocab_size = _Setting(count)
    show_progress = _Setting(flag)
    _n_words = 0

    @property
    def special_tokens(self) -> list[AddedToken]:
        """Tokens that get the first ids."""
        return list(self._special_tokens)

    @special_tokens.setter
    def special_tokens(self, tokens: _Sequence[str | AddedToken]) -> None:
        if isinstance(tokens, str):
            raise TypeError("expected a list of special tokens, found a str")
        self._special_tokens = [as_added(token, special=True) for token in tokens]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"

    def _train(self, tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[models.Model, list[AddedToken]]:
        model = tokenizer.model
        if not isinstance(model, self._model):
            expected, found = self._model.__name__, type(model).__name__
            raise UnsupportedFeatureError(f"expected a {expected} model for {type(self).__name__}, found {found}")
        words = _counted(tokenizer, texts)
        self._n_words = len(words)
        return self._trained(model, words), self.special_tokens

    def _trained(self, model: Any, words: list[tuple[str, int]]) -> models.Model:
        raise UnsupportedFeatureError(f"training with {type(self).__name__} is not supported")


def _counted(tokenizer: Tokenizer, texts: Iterable[str]) -> list[tuple[str, int]]:
    words: Counter[str] = Counter()
    for batch in _batches(texts, 512):
        for cut in tokenizer._words(batch):
            words.update(cut)
    return list(words.items())


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


class _AlphabetTrainer(Trainer):
    @property
    def initial_alphabet(self) -> list[str]:
        """Characters that are tokens whether they occur or not."""
        return list(self._initial_alphabet)

    @initial_alphabet.setter
    def initial_alphabet(self, alphabet: _Sequence[str]) -> None:
        if isinstance(alphabet, str):
            raise TypeError("expected a list of characters, found a str")
        # Of a longer string the first character counts, as in the peer.
        self._initial_alphabet = [text[0] for text in alphabet if text]


class _CharacterTrainer(_AlphabetTrainer):
    """Byte pair encoding over characters."""

    min_frequency = _Setting(count)
    limit_alphabet = _Setting(_count_or_none)
    continuing_subword_prefix = _Setting(_text_or_none)
    end_of_word_suffix = _Setting(_text_or_none)
    max_token_length = _Setting(_count_or_none)

    def _merged(self, words: list[tuple[str, int]]) -> tuple[dict[str, int], list[tuple[str, str]]]:
        special = [token.content for token in self._special_tokens]
        texts, merges = _train.train_characters(words, self.vocab_size, special, self)
        return {text: id for id, text in enumerate(texts)}, [(texts[left], texts[right]) for left, right in merges]


class BpeTrainer(_CharacterTrainer):
    """Byte pair encoding; the arguments are those of ``tokenizers``."""

    _model = models.BPE
    progress_format = _Setting(_format)

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
        **options: Any,
    ) -> None:
        unknown(options)
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

    def get_word_count(self) -> int:
        """How many different words the corpus had that was trained on last."""
        return self._n_words

    def _trained(self, model: models.BPE, words: list[tuple[str, int]]) -> models.BPE:
        affixes = {name: getattr(self, name) for name in ("continuing_subword_prefix", "end_of_word_suffix")}
        return models.BPE(*self._merged(words), **model._fields | affixes)


def _variant(name: Any) -> str:
    if text(name) not in ("base", "window"):
        raise ValueError(f"expected variant to be base or window, found {name!r}")
    return str(name)


def _character(value: Any) -> str:
    if len(text(value)) != 1:
        raise ValueError(f"expected a string of length 1, found {value!r}")
    return str(value)


class ParityBpeTrainer:
    """Byte pair encoding that is fair to several languages; the arguments are those of ``tokenizers``.

    Each step merges the pair that is most frequent in the language that is compressed least (Foroutan et al. 2025).
    """

    num_merges = _Setting(count)
    variant = _Setting(_variant)
    min_frequency = _Setting(count)
    global_merges = _Setting(count)
    window_size = _Setting(count)
    alpha = _Setting(real)
    total_symbols = _Setting(flag)
    show_progress = _Setting(flag)
    limit_alphabet = _Setting(_count_or_none)
    continuing_subword_prefix = _Setting(_text_or_none)
    end_of_word_suffix = _Setting(_text_or_none)
    max_token_length = _Setting(_count_or_none)

    def __init__(
        self,
        num_merges: int = 32000,
        variant: str = "base",
        min_frequency: int = 0,
        ratio: _Sequence[float] | None = None,
        global_merges: int = 0,
        window_size: int = 100,
        alpha: float = 2.0,
        total_symbols: bool = False,
        special_tokens: _Sequence[str | AddedToken] | None = None,
        show_progress: bool = True,
        limit_alphabet: int | None = None,
        initial_alphabet: _Sequence[str] | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        max_token_length: int | None = None,
    ) -> None:
        self.num_merges = num_merges
        self.variant = variant
        self.min_frequency = min_frequency
        self._ratio = None if ratio is None else [real(rate) for rate in ratio]
        self.global_merges = global_merges
        self.window_size = window_size
        self.alpha = alpha
        self.total_symbols = total_symbols
        self.special_tokens = [as_added(token, special=True) for token in special_tokens or ()]
        self.show_progress = show_progress
        self.limit_alphabet = limit_alphabet
        self.initial_alphabet = [_character(character) for character in strings(initial_alphabet or ())]
        self.continuing_subword_prefix = continuing_subword_prefix
        self.end_of_word_suffix = end_of_word_suffix
        self.max_token_length = max_token_length

    def __repr__(self) -> str:
        return f"ParityBpeTrainer(num_merges={self.num_merges}, variant={self.variant!r})"

    def train_from_iterator(
        self,
        tokenizer: Tokenizer,
        train_iterators: _Sequence[Iterable[Any]],
        dev_iterators: _Sequence[Iterable[Any]] | None = None,
        ratio: _Sequence[float] | None = None,
    ) -> None:
        """Train a tokenizer whose model is a ``BPE``.

        Args:
            tokenizer: Its normalizer and pretokenizer cut the texts.
            train_iterators: For each language, texts or batches of them.
            dev_iterators: Likewise texts that say the same in each language: which language is compressed least.
            ratio: Without these, the rate of each language in comparison to the others.

        Raises:
            UnsupportedFeatureError: The model is of another kind.
            TrainError: The arguments contradict each other.
        """
        if not isinstance(tokenizer.model, models.BPE):
            raise UnsupportedFeatureError(f"expected a BPE model, found {type(tokenizer.model).__name__}")
        rates = self._ratio if ratio is None else [real(rate) for rate in ratio]
        self._check(len(train_iterators), None if dev_iterators is None else len(dev_iterators), rates)
        languages = [_counted(tokenizer, texts_of(iterator)) for iterator in train_iterators]
        parallel = [_counted(tokenizer, texts_of(iterator)) for iterator in dev_iterators or ()]
        special = [token.content for token in self.special_tokens]
        targets = None if parallel else rates
        texts, pairs = _train.train_parity(languages, parallel, targets, special, self, self)
        merges = [(texts[left], texts[right]) for left, right in pairs]
        affixes = {name: getattr(self, name) for name in ("continuing_subword_prefix", "end_of_word_suffix")}
        fields = tokenizer.model._fields | affixes
        tokenizer.model = models.BPE({token: id for id, token in enumerate(texts)}, merges, **fields)
        tokenizer.add_special_tokens(self.special_tokens)

    def _check(self, n_languages: int, n_parallel: int | None, rates: list[float] | None) -> None:
        if n_languages == 0:
            raise TrainError("expected a corpus for each language, found none")
        if n_parallel not in (None, n_languages):
            raise TrainError(f"expected {n_languages} dev_iterators, as there are corpora, found {n_parallel}")
        if rates is not None and not n_parallel:
            if len(rates) != n_languages:
                raise TrainError(f"expected {n_languages} values of ratio, as there are corpora, found {len(rates)}")
            if not all(0 < rate < math.inf for rate in rates):
                raise TrainError(f"expected every ratio to be above 0, found {rates}")
        if self.variant == "window" and (self.window_size == 0 or not 0 < self.alpha < math.inf):
            raise TrainError(
                f"expected window_size and alpha above 0 with a window, found {self.window_size} and {self.alpha}"
            )


def texts_of(items: Iterable[Any]) -> Iterator[str]:
    """Texts, which may come in batches."""
    return (text for item in items for text in ([item] if isinstance(item, str) else item))


class WordPieceTrainer(_CharacterTrainer):
    """The vocabulary of byte pair encoding, for longest matches; the arguments are those of ``tokenizers``."""

    _model = models.WordPiece

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        special_tokens: _Sequence[str | AddedToken] = (),
        limit_alphabet: int | None = None,
        initial_alphabet: _Sequence[str] = (),
        continuing_subword_prefix: str | None = "##",
        end_of_word_suffix: str | None = None,
        **options: Any,
    ) -> None:
        unknown(options)
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.show_progress = show_progress
        self.special_tokens = special_tokens
        self.limit_alphabet = limit_alphabet
        self.initial_alphabet = initial_alphabet
        self.continuing_subword_prefix = continuing_subword_prefix
        self.end_of_word_suffix = end_of_word_suffix
        self.max_token_length = None

    def _trained(self, model: models.WordPiece, words: list[tuple[str, int]]) -> models.WordPiece:
        prefix = "##" if self.continuing_subword_prefix is None else self.continuing_subword_prefix
        return models.WordPiece(self._merged(words)[0], **model._fields | {"continuing_subword_prefix": prefix})


class WordLevelTrainer(Trainer):
    """The most frequent words; the arguments are those of ``tokenizers``."""

    _model = models.WordLevel
    min_frequency = _Setting(count)

    def __init__(
        self,
        *,
        vocab_size: int = 30000,
        min_frequency: int = 0,
        show_progress: bool = True,
        special_tokens: _Sequence[str | AddedToken] = (),
        **options: Any,
    ) -> None:
        unknown(options)
        self.vocab_size = vocab_size
        self.min_frequency = min_frequency
        self.show_progress = show_progress
        self.special_tokens = special_tokens

    def _trained(self, model: models.WordLevel, words: list[tuple[str, int]]) -> models.WordLevel:
        frequent = sorted((-count, word) for word, count in words if count >= self.min_frequency)
        tokens = [token.content for token in self._special_tokens] + [word for _, word in frequent]
        vocab = {token: id for id, token in enumerate(tokens[: self.vocab_size])}
        return models.WordLevel(vocab, model.unk_token)


class UnigramTrainer(_AlphabetTrainer):
    """The pieces that make a corpus most likely; the arguments are those of ``tokenizers``."""

    _model = models.Unigram
    vocab_size = _Setting(token_id)
    shrinking_factor = _Setting(real)
    unk_token = _Setting(_text_or_none)
    max_piece_length = _Setting(count)
    n_sub_iterations = _Setting(count)
    seed_size = _Setting(count)

    def __init__(
        self,
        *,
        vocab_size: int = 8000,
        show_progress: bool = True,
        special_tokens: _Sequence[str | AddedToken] = (),
        initial_alphabet: _Sequence[str] = (),
        shrinking_factor: float = 0.75,
        unk_token: str | None = None,
        max_piece_length: int = 16,
        n_sub_iterations: int = 2,
        seed_size: int = 1_000_000,
        **options: Any,
    ) -> None:
        unknown(options)
        self.vocab_size = vocab_size
        self.show_progress = show_progress
        self.special_tokens = special_tokens
        self.initial_alphabet = initial_alphabet
        self.shrinking_factor = shrinking_factor
        self.unk_token = unk_token
        self.max_piece_length = max_piece_length
        self.n_sub_iterations = n_sub_iterations
        self.seed_size = seed_size

    def _pieces(self, words: list[tuple[str, int]]) -> tuple[list[tuple[str, float]], int | None]:
        special = [token.content for token in self._special_tokens]
        return _train.train_unigram(words, special, self, len(os.sched_getaffinity(0)))

    def _trained(self, model: models.Unigram, words: list[tuple[str, int]]) -> models.Unigram:
        return models.Unigram(*self._pieces(words))


def for_model(name: str) -> Trainer:
    """The trainer of a kind of model."""
    trainers: dict[str, type[Trainer]] = {
        "BPE": BpeTrainer,
        "Unigram": UnigramTrainer,
        "WordLevel": WordLevelTrainer,
        "WordPiece": WordPieceTrainer,
    }
    return trainers[name]()
