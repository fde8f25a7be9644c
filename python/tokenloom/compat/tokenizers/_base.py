"""What do the tokenizers of ``tokenizers.implementations`` have in common?

A :class:`~tokenloom.compat.tokenizers.Tokenizer` inside, to which calls are handed on. The order of arguments, and what
``None`` does, is that library's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tokenloom.compat.tokenizers import AddedToken, Encoding, Tokenizer, decoders, pre_tokenizers, trainers

Tokens = Sequence[str | AddedToken]


def _part(name: str, doc: str) -> Any:
    """A property that is an attribute of the tokenizer inside."""

    def get(self: BaseTokenizer) -> Any:
        return getattr(self._tokenizer, name)

    def put(self: BaseTokenizer, part: Any) -> None:
        setattr(self._tokenizer, name, part)

    return property(get, put, doc=doc)


def _given(value: Any, what: str) -> Any:
    if value is None:
        raise ValueError(f"expected {what}, found None")
    return value


class BaseTokenizer:
    """A tokenizer, and the arguments it was made of.

    Args:
        tokenizer: What does the work.
        parameters: Shown by ``repr``.
    """

    def __init__(self, tokenizer: Tokenizer, parameters: dict[str, Any] | None = None) -> None:
        self._tokenizer = tokenizer
        self._parameters = {} if parameters is None else parameters

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self._parameters.items())
        return f"Tokenizer(vocabulary_size={self._tokenizer.get_vocab_size()}, {shown})"

    model = _part("model", "The model.")
    normalizer = _part("normalizer", "The normalizer, or ``None``.")
    pre_tokenizer = _part("pre_tokenizer", "The pretokenizer, or ``None``.")
    post_processor = _part("post_processor", "The post-processor, or ``None``.")
    decoder = _part("decoder", "The decoder, or ``None``.")

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """How many special tokens are put around a sequence or a pair."""
        return self._tokenizer.num_special_tokens_to_add(is_pair)

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Ids by token."""
        return self._tokenizer.get_vocab(with_added_tokens)

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added tokens by id."""
        return self._tokenizer.get_added_tokens_decoder()

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """How many tokens there are."""
        return self._tokenizer.get_vocab_size(with_added_tokens)

    def enable_padding(
        self,
        direction: str = "right",
        pad_to_multiple_of: int | None = None,
        pad_id: int = 0,
        pad_type_id: int = 0,
        pad_token: str = "[PAD]",
        length: int | None = None,
    ) -> None:
        """Fill every encoding; ``pad_to_multiple_of`` is the second argument here."""
        self._tokenizer.enable_padding(direction, pad_id, pad_type_id, pad_token, length, pad_to_multiple_of)

    def no_padding(self) -> None:
        """Fill nothing."""
        self._tokenizer.no_padding()

    @property
    def padding(self) -> dict[str, Any] | None:
        """What :meth:`enable_padding` was given, or ``None``."""
        return self._tokenizer.padding

    def enable_truncation(self, max_length: int, stride: int = 0, strategy: str = "longest_first") -> None:
        """Cut every encoding at its right end."""
        self._tokenizer.enable_truncation(max_length, stride, strategy)

    def no_truncation(self) -> None:
        """Cut nothing."""
        self._tokenizer.no_truncation()

    @property
    def truncation(self) -> dict[str, Any] | None:
        """What :meth:`enable_truncation` was given, or ``None``."""
        return self._tokenizer.truncation

    def add_tokens(self, tokens: Tokens) -> int:
        """Add tokens, and say how many are new or changed."""
        return self._tokenizer.add_tokens(tokens)

    def add_special_tokens(self, special_tokens: Tokens) -> int:
        """Add special tokens, and say how many are new or changed."""
        return self._tokenizer.add_special_tokens(special_tokens)

    def normalize(self, sequence: str) -> str:
        """The normalized text."""
        text: str = self._tokenizer.normalizer.normalize_str(sequence)
        return text

    def encode(
        self, sequence: Any, pair: Any = None, is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> Encoding:
        """Encode a text or a pair; see :meth:`Tokenizer.encode`."""
        return self._tokenizer.encode(_given(sequence, "a text"), pair, is_pretokenized, add_special_tokens)

    def encode_batch(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """Encode texts and pairs."""
        return self._tokenizer.encode_batch(_given(inputs, "texts"), is_pretokenized, add_special_tokens)

    async def async_encode_batch(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """:meth:`encode_batch` in a thread."""
        return await self._tokenizer.async_encode_batch(_given(inputs, "texts"), is_pretokenized, add_special_tokens)

    async def async_encode_batch_fast(
        self, inputs: Sequence[Any], is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> list[Encoding]:
        """:meth:`Tokenizer.encode_batch_fast` in a thread."""
        texts = _given(inputs, "texts")
        return await self._tokenizer.async_encode_batch_fast(texts, is_pretokenized, add_special_tokens)

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """The text of ids."""
        return self._tokenizer.decode(_given(ids, "ids"), skip_special_tokens)

    def decode_batch(self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True) -> list[str]:
        """The texts of several sequences of ids."""
        return self._tokenizer.decode_batch(_given(sequences, "ids"), skip_special_tokens)

    async def async_decode_batch(
        self, sequences: Sequence[Sequence[int]], skip_special_tokens: bool = True
    ) -> list[str]:
        """:meth:`decode_batch` in a thread."""
        return await self._tokenizer.async_decode_batch(_given(sequences, "ids"), skip_special_tokens)

    def token_to_id(self, token: str) -> int | None:
        """The id of a token, or ``None``."""
        return self._tokenizer.token_to_id(token)

    def id_to_token(self, id: int) -> str | None:
        """The token of an id, or ``None``."""
        return self._tokenizer.id_to_token(id)

    def save_model(self, directory: str, prefix: str | None = None) -> list[str]:
        """Write the lists of the model to files in a folder, and say which."""
        paths: list[str] = self._tokenizer.model.save(directory, prefix=prefix)
        return paths

    def save(self, path: str, pretty: bool = True) -> None:
        """Write the ``tokenizer.json``."""
        self._tokenizer.save(path, pretty)

    def to_str(self, pretty: bool = False) -> str:
        """The text of the ``tokenizer.json``."""
        return self._tokenizer.to_str(pretty)

    def post_process(
        self, encoding: Encoding, pair: Encoding | None = None, add_special_tokens: bool = True
    ) -> Encoding:
        """Cut, finish and fill an encoding or a pair of them."""
        return self._tokenizer.post_process(encoding, pair, add_special_tokens)

    def _train(self, files: str | Sequence[str], trainer: trainers.Trainer) -> None:
        self._tokenizer.train([files] if isinstance(files, str) else files, trainer)

    def _train_iterator(self, iterator: Iterable[Any], trainer: trainers.Trainer, length: int | None) -> None:
        self._tokenizer.train_from_iterator(iterator, trainer, length)

    def _know(self, *tokens: str | AddedToken) -> None:
        """Make special tokens of those that are in the vocabulary."""
        for token in map(str, tokens):
            if self._tokenizer.token_to_id(token) is not None:
                self._tokenizer.add_special_tokens([token])

    def _replace_spaces(self, replacement: str, add_prefix_space: bool) -> None:
        scheme = "always" if add_prefix_space else "never"
        self.pre_tokenizer = pre_tokenizers.Metaspace(replacement, scheme)
        self.decoder = decoders.Metaspace(replacement, scheme)
