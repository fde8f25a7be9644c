"""Which tokenizers come in one piece? The classes of ``tokenizers.implementations``.

Each puts a :class:`~tokenloom.compat.tokenizers.Tokenizer` together from parts that belong together. Arguments, their
order and their defaults are those of that library.

Example:
    >>> from tokenloom.compat.tokenizers.implementations import ByteLevelBPETokenizer
    >>> tok = ByteLevelBPETokenizer()
    >>> tok.train_from_iterator(["low lower lowest"] * 3, vocab_size=260)
    >>> tok.encode("low lower").tokens
    ['low', 'Ġlowe', 'r']
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenloom._core import formats as _formats
from tokenloom.compat.tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tokenloom.compat.tokenizers._base import BaseTokenizer, Tokens

__all__ = [
    "BaseTokenizer",
    "BertWordPieceTokenizer",
    "ByteLevelBPETokenizer",
    "CharBPETokenizer",
    "SentencePieceBPETokenizer",
    "SentencePieceUnigramTokenizer",
]

Vocab = dict[str, int] | str
Merges = Sequence[tuple[str, str]] | str
_BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def _normalizer(unicode_form: str | None, *parts: Any) -> Any:
    """The parts that there are: none, one, or a sequence of them."""
    found = [normalizers.unicode_normalizer_from_str(unicode_form)] if unicode_form else []
    found += [part for part in parts if part is not None]
    return normalizers.Sequence(found) if len(found) > 1 else next(iter(found), None)


class ByteLevelBPETokenizer(BaseTokenizer):
    """GPT-2's: byte pair encoding of bytes."""

    def __init__(
        self,
        vocab: Vocab | None = None,
        merges: Merges | None = None,
        add_prefix_space: bool = False,
        lowercase: bool = False,
        dropout: float | None = None,
        unicode_normalizer: str | None = None,
        continuing_subword_prefix: str | None = None,
        end_of_word_suffix: str | None = None,
        trim_offsets: bool = False,
    ) -> None:
        model = models.BPE()
        if vocab is not None and merges is not None:
            prefix, suffix = continuing_subword_prefix or "", end_of_word_suffix or ""
            model = models.BPE(
                vocab, merges, dropout=dropout, continuing_subword_prefix=prefix, end_of_word_suffix=suffix
            )
        parameters = {
            "model": "ByteLevelBPE",
            "add_prefix_space": add_prefix_space,
            "lowercase": lowercase,
            "dropout": dropout,
            "unicode_normalizer": unicode_normalizer,
            "continuing_subword_prefix": continuing_subword_prefix,
            "end_of_word_suffix": end_of_word_suffix,
            "trim_offsets": trim_offsets,
        }
        super().__init__(Tokenizer(model), parameters)
        self.normalizer = _normalizer(unicode_normalizer, normalizers.Lowercase() if lowercase else None)
        self.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
        self.decoder = decoders.ByteLevel()
        self.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **kwargs: Any) -> ByteLevelBPETokenizer:
        """The tokenizer of a ``vocab.json`` and a ``merges.txt``."""
        return ByteLevelBPETokenizer(*models.BPE.read_file(vocab_filename, merges_filename), **kwargs)

    @staticmethod
    def _trainer(**options: Any) -> trainers.Trainer:
        return trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **options)

    def train(
        self,
        files: str | Sequence[str],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        show_progress: bool = True,
        special_tokens: Tokens = (),
    ) -> None:
        """Train the model on files, line by line."""
        trainer = self._trainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            show_progress=show_progress,
            special_tokens=special_tokens,
        )
        self._train(files, trainer)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        show_progress: bool = True,
        special_tokens: Tokens = (),
        length: int | None = None,
    ) -> None:
        """Train the model on texts, or on batches of them."""
        trainer = self._trainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            show_progress=show_progress,
            special_tokens=special_tokens,
        )
        self._train_iterator(iterator, trainer, length)


class CharBPETokenizer(BaseTokenizer):
    """GPT's: byte pair encoding of characters, with a suffix at the end of words."""

    def __init__(
        self,
        vocab: Vocab | None = None,
        merges: Merges | None = None,
        unk_token: str | AddedToken = "<unk>",
        suffix: str = "</w>",
        dropout: float | None = None,
        lowercase: bool = False,
        unicode_normalizer: str | None = None,
        bert_normalizer: bool = True,
        split_on_whitespace_only: bool = False,
    ) -> None:
        lists = (vocab, merges) if vocab is not None and merges is not None else ()
        model = models.BPE(*lists, dropout=dropout, unk_token=str(unk_token), end_of_word_suffix=suffix)
        parameters = {
            "model": "BPE",
            "unk_token": unk_token,
            "suffix": suffix,
            "dropout": dropout,
            "lowercase": lowercase,
            "unicode_normalizer": unicode_normalizer,
            "bert_normalizer": bert_normalizer,
            "split_on_whitespace_only": split_on_whitespace_only,
        }
        super().__init__(Tokenizer(model), parameters)
        self._know(unk_token)
        bert = normalizers.BertNormalizer(lowercase=False) if bert_normalizer else None
        self.normalizer = _normalizer(unicode_normalizer, bert, normalizers.Lowercase() if lowercase else None)
        splits = pre_tokenizers.WhitespaceSplit if split_on_whitespace_only else pre_tokenizers.BertPreTokenizer
        self.pre_tokenizer = splits()
        self.decoder = decoders.BPEDecoder(suffix)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **kwargs: Any) -> CharBPETokenizer:
        """The tokenizer of a ``vocab.json`` and a ``merges.txt``."""
        return CharBPETokenizer(*models.BPE.read_file(vocab_filename, merges_filename), **kwargs)

    def train(
        self,
        files: str | Sequence[str],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        special_tokens: Tokens = ("<unk>",),
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        suffix: str | None = "</w>",
        show_progress: bool = True,
    ) -> None:
        """Train the model on files, line by line."""
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            end_of_word_suffix=suffix,
            show_progress=show_progress,
        )
        self._train(files, trainer)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        special_tokens: Tokens = ("<unk>",),
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        suffix: str | None = "</w>",
        show_progress: bool = True,
        length: int | None = None,
    ) -> None:
        """Train the model on texts, or on batches of them."""
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            end_of_word_suffix=suffix,
            show_progress=show_progress,
        )
        self._train_iterator(iterator, trainer, length)


class SentencePieceBPETokenizer(BaseTokenizer):
    """Byte pair encoding of characters, spaces as ``replacement``."""

    def __init__(
        self,
        vocab: Vocab | None = None,
        merges: Merges | None = None,
        unk_token: str | AddedToken = "<unk>",
        replacement: str = "▁",
        add_prefix_space: bool = True,
        dropout: float | None = None,
        fuse_unk: bool = False,
    ) -> None:
        lists = (vocab, merges) if vocab is not None and merges is not None else ()
        model = models.BPE(*lists, dropout=dropout, unk_token=unk_token, fuse_unk=fuse_unk)
        parameters = {
            "model": "SentencePieceBPE",
            "unk_token": unk_token,
            "replacement": replacement,
            "add_prefix_space": add_prefix_space,
            "dropout": dropout,
        }
        super().__init__(Tokenizer(model), parameters)
        self._know(unk_token)
        self.normalizer = normalizers.NFKC()
        self._replace_spaces(replacement, add_prefix_space)

    @staticmethod
    def from_file(vocab_filename: str, merges_filename: str, **kwargs: Any) -> SentencePieceBPETokenizer:
        """The tokenizer of a ``vocab.json`` and a ``merges.txt``."""
        return SentencePieceBPETokenizer(*models.BPE.read_file(vocab_filename, merges_filename), **kwargs)

    def train(
        self,
        files: str | Sequence[str],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        special_tokens: Tokens = ("<unk>",),
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        show_progress: bool = True,
    ) -> None:
        """Train the model on files, line by line."""
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            show_progress=show_progress,
        )
        self._train(files, trainer)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        special_tokens: Tokens = ("<unk>",),
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        show_progress: bool = True,
        length: int | None = None,
    ) -> None:
        """Train the model on texts, or on batches of them."""
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            special_tokens=special_tokens,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            show_progress=show_progress,
        )
        self._train_iterator(iterator, trainer, length)


class SentencePieceUnigramTokenizer(BaseTokenizer):
    """The most probable pieces, spaces as ``replacement``."""

    def __init__(
        self,
        vocab: Sequence[tuple[str, float]] | None = None,
        replacement: str = "▁",
        add_prefix_space: bool = True,
    ) -> None:
        parameters = {
            "model": "SentencePieceUnigram",
            "replacement": replacement,
            "add_prefix_space": add_prefix_space,
        }
        super().__init__(Tokenizer(models.Unigram(vocab)), parameters)
        spaces = normalizers.Replace(Regex(" {2,}"), " ")
        self.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
        self._replace_spaces(replacement, add_prefix_space)

    def train(
        self,
        files: str | Sequence[str],
        vocab_size: int = 8000,
        show_progress: bool = True,
        special_tokens: Tokens | None = None,
        initial_alphabet: Sequence[str] | None = None,
        unk_token: str | None = None,
    ) -> None:
        """Train the model on files, line by line."""
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size,
            show_progress=show_progress,
            special_tokens=special_tokens or (),
            initial_alphabet=initial_alphabet or (),
            unk_token=unk_token,
        )
        self._train(files, trainer)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        vocab_size: int = 8000,
        show_progress: bool = True,
        special_tokens: Tokens | None = None,
        initial_alphabet: Sequence[str] | None = None,
        unk_token: str | None = None,
        length: int | None = None,
    ) -> None:
        """Train the model on texts, or on batches of them."""
        trainer = trainers.UnigramTrainer(
            vocab_size=vocab_size,
            show_progress=show_progress,
            special_tokens=special_tokens or (),
            initial_alphabet=initial_alphabet or (),
            unk_token=unk_token,
        )
        self._train_iterator(iterator, trainer, length)

    @staticmethod
    def from_spm(filename: str) -> SentencePieceUnigramTokenizer:
        """The tokenizer of a Unigram ``.model``; nothing else needs to be installed.

        Raises:
            FormatError: The file is none, or of another algorithm.
        """
        pieces, unknown, byte_fallback, charsmap = _formats.parse_unigram_pieces(Path(filename).read_bytes())
        self = SentencePieceUnigramTokenizer.__new__(SentencePieceUnigramTokenizer)
        model = models.Unigram(pieces, unknown, byte_fallback)
        BaseTokenizer.__init__(self, Tokenizer(model), {"model": "SentencePieceUnigram"})
        steps: list[Any] = [normalizers.Precompiled(charsmap)] if charsmap else []
        self.normalizer = normalizers.Sequence([*steps, normalizers.Replace(Regex(" {2,}"), " ")])
        self._replace_spaces("▁", True)
        return self


class BertWordPieceTokenizer(BaseTokenizer):
    """BERT's: the longest pieces first."""

    def __init__(
        self,
        vocab: Vocab | None = None,
        unk_token: str | AddedToken = "[UNK]",
        sep_token: str | AddedToken = "[SEP]",
        cls_token: str | AddedToken = "[CLS]",
        pad_token: str | AddedToken = "[PAD]",
        mask_token: str | AddedToken = "[MASK]",
        clean_text: bool = True,
        handle_chinese_chars: bool = True,
        strip_accents: bool | None = None,
        lowercase: bool = True,
        wordpieces_prefix: str = "##",
    ) -> None:
        parameters = {
            "model": "BertWordPiece",
            "unk_token": unk_token,
            "sep_token": sep_token,
            "cls_token": cls_token,
            "pad_token": pad_token,
            "mask_token": mask_token,
            "clean_text": clean_text,
            "handle_chinese_chars": handle_chinese_chars,
            "strip_accents": strip_accents,
            "lowercase": lowercase,
            "wordpieces_prefix": wordpieces_prefix,
        }
        super().__init__(Tokenizer(models.WordPiece(vocab, unk_token=str(unk_token))), parameters)
        self._know(unk_token, sep_token, cls_token, pad_token, mask_token)
        self.normalizer = normalizers.BertNormalizer(clean_text, handle_chinese_chars, strip_accents, lowercase)
        self.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        if vocab is not None:
            sep, cls = ((str(token), self.token_to_id(str(token))) for token in (sep_token, cls_token))
            for name, (token, id) in (("sep_token", sep), ("cls_token", cls)):
                if id is None:
                    raise TypeError(f"expected {name} {token!r} to be in the vocabulary")
            self.post_processor = processors.BertProcessing(sep, cls)  # type: ignore[arg-type]
        self.decoder = decoders.WordPiece(wordpieces_prefix)

    @staticmethod
    def from_file(vocab: str, **kwargs: Any) -> BertWordPieceTokenizer:
        """The tokenizer of a ``vocab.txt``."""
        return BertWordPieceTokenizer(models.WordPiece.read_file(vocab), **kwargs)

    def train(
        self,
        files: str | Sequence[str],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        special_tokens: Tokens = _BERT_TOKENS,
        show_progress: bool = True,
        wordpieces_prefix: str = "##",
    ) -> None:
        """Train the model on files, line by line."""
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            special_tokens=special_tokens,
            show_progress=show_progress,
            continuing_subword_prefix=wordpieces_prefix,
        )
        self._train(files, trainer)

    def train_from_iterator(
        self,
        iterator: Iterable[Any],
        vocab_size: int = 30000,
        min_frequency: int = 2,
        limit_alphabet: int = 1000,
        initial_alphabet: Sequence[str] = (),
        special_tokens: Tokens = _BERT_TOKENS,
        show_progress: bool = True,
        wordpieces_prefix: str = "##",
        length: int | None = None,
    ) -> None:
        """Train the model on texts, or on batches of them."""
        trainer = trainers.WordPieceTrainer(
            vocab_size=vocab_size,
            min_frequency=min_frequency,
            limit_alphabet=limit_alphabet,
            initial_alphabet=initial_alphabet,
            special_tokens=special_tokens,
            show_progress=show_progress,
            continuing_subword_prefix=wordpieces_prefix,
        )
        self._train_iterator(iterator, trainer, length)
