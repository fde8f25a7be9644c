"""``tiktoken.Encoding`` on tokenloom's engine."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Collection, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokenloom._core import exactness
from tokenloom.errors import ArrayError, SpecialTokenError, UnknownTokenError
from tokenloom.tokenizer import Tokenizer

__all__ = ["Encoding", "raise_disallowed_special_token"]

Special: TypeAlias = Literal["all"] | AbstractSet[str]
AnySpecial: TypeAlias = Literal["all"] | Collection[str]


class Encoding:
    """A tokenizer as tiktoken has it. Immutable but for its attributes; share it between threads.

    Args:
        name: What it is called.
        pat_str: The split pattern; text that it does not match is dropped.
        mergeable_ranks: Tokens with their ranks, which are merge priorities and ids.
        special_tokens: Strings with their ids.
        explicit_n_vocab: If given, how many tokens there must be.

    Raises:
        ValueError: The pattern does not compile, two tokens share a rank, or there is no token.
        AssertionError: There are not ``explicit_n_vocab`` tokens.
    """

    def __init__(
        self,
        name: str,
        *,
        pat_str: str,
        mergeable_ranks: dict[bytes, int],
        special_tokens: dict[str, int],
        explicit_n_vocab: int | None = None,
    ) -> None:
        self.name = name
        self._pat_str = pat_str
        self._mergeable_ranks = mergeable_ranks
        self._special_tokens = special_tokens
        self._is_found_by_name = True
        self.max_token_value = max(max(mergeable_ranks.values()), max(special_tokens.values(), default=0))
        if explicit_n_vocab:
            assert len(mergeable_ranks) + len(special_tokens) == explicit_n_vocab
            assert self.max_token_value == explicit_n_vocab - 1
        self._special_token_values = set(special_tokens.values())
        self._build()

    def _build(self) -> None:
        """Make the tokenizer. Its ids must be distinct and every byte a token; where that is not so, it gets stand-ins.

        ``_real_ids`` maps a stand-in to the id it stands for, or to the byte that is no token.
        """
        ranks, free = dict(self._mergeable_ranks), self.max_token_value + 1
        self._real_ids: dict[int, int | bytes] = {}
        for byte in map(bytes, zip(range(256), strict=True)):
            if byte not in ranks:
                ranks[byte] = free + len(self._real_ids)
                self._real_ids[ranks[byte]] = byte
        taken, special = set(ranks.values()), {}
        for token, id in self._special_tokens.items():
            special[token] = id
            if id in taken:
                special[token] = free + len(self._real_ids)
                self._real_ids[special[token]] = id
            taken.add(id)
        self._lacks_bytes = len(ranks) > len(self._mergeable_ranks)
        self._stand_in_names = tuple(token for token, id in special.items() if id in self._real_ids)
        self._stand_in_bytes = tuple(token.encode() for token in self._stand_in_names)
        self._tokenizer = Tokenizer.from_tiktoken(
            self.name, pat_str=self._pat_str, mergeable_ranks=ranks, special_tokens=special
        )
        # The wrapper would be a fifth of a short call.
        self._core = self._tokenizer._core
        self._find_any_special = _finder(frozenset(special))

    def __repr__(self) -> str:
        return f"<Encoding {self.name!r}>"

    # Encoding

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of ``text``; special tokens are ordinary text.

        Raises:
            PatternError: A split pattern without a scanner gives up (a ``ValueError``; tiktoken panics).
        """
        return self._encode(text, ())

    def encode(
        self, text: str, *, allowed_special: Special = frozenset(), disallowed_special: AnySpecial = "all"
    ) -> list[int]:
        """The ids of ``text``.

        Args:
            text: What to encode. Lone surrogates become U+FFFD.
            allowed_special: Special tokens that are matched; ``"all"`` matches every one.
            disallowed_special: Strings that must not occur; ``"all"`` means every special token that is not allowed.

        Raises:
            ValueError: A disallowed string occurs, or a split pattern gives up.
        """
        return self._encode(text, self._check(text, allowed_special, disallowed_special))

    def encode_to_numpy(
        self, text: str, *, allowed_special: Special = frozenset(), disallowed_special: AnySpecial = "all"
    ) -> NDArray[np.uint32]:
        """The same as a read-only array, uint32 ``[n]``.

        Raises:
            ValueError: As :meth:`encode`; ``UnicodeEncodeError`` where there are lone surrogates.
        """
        allowed = self._check(text, allowed_special, disallowed_special)
        _refuse_surrogates(text)
        if self._may_hold_stand_ins(text):
            ids = np.array(self._encode(text, allowed), dtype=np.uint32)
        else:
            ids = self._core.encode(text, False, allowed)
        ids.flags.writeable = False
        return ids

    def encode_ordinary_batch(self, text: list[str], *, num_threads: int | None = 8) -> list[list[int]]:
        """The ids of every text on so many threads; raises what :meth:`encode_ordinary` raises."""
        return self._encode_batch(text, num_threads, ())

    def encode_batch(
        self,
        text: list[str],
        *,
        num_threads: int | None = 8,
        allowed_special: Special = frozenset(),
        disallowed_special: AnySpecial = "all",
    ) -> list[list[int]]:
        """The ids of every text on so many threads; raises what :meth:`encode` raises."""
        texts = list(text)
        allowed: Collection[str] = ()
        for one in texts or [""]:
            allowed = self._check(one, allowed_special, disallowed_special)
        return self._encode_batch(texts, num_threads, allowed)

    def encode_with_unstable(
        self, text: str, *, allowed_special: Special = frozenset(), disallowed_special: AnySpecial = "all"
    ) -> tuple[list[int], list[list[int]]]:
        """The ids that further text does not change, and the ways in which the rest of the text may go on.

        Raises:
            ValueError: As :meth:`encode`; ``UnicodeEncodeError`` where there are lone surrogates.
        """
        allowed = self._check(text, allowed_special, disallowed_special)
        _refuse_surrogates(text)
        stable, completions = exactness.encode_with_unstable(self._core, text, allowed)
        if self._real_ids:
            return self._to_real(stable), [self._to_real(ids) for ids in completions]
        return stable, completions

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """The id of the token that is exactly this, special ones included.

        Raises:
            KeyError: There is none.
        """
        piece = _to_bytes(text_or_bytes)
        id = exactness.model_token_id(self._core, piece)
        if id is None or id in self._real_ids:
            id = self._special_tokens.get(piece.decode("utf-8", "replace"))
        if id is None:
            error = UnknownTokenError(f"{piece!r} is no token", token=piece)
            error.args = (piece,)
            raise error
        return id

    def _check(self, text: str, allowed: Special, disallowed: AnySpecial) -> Collection[str]:
        """The special tokens to match; a disallowed one in ``text`` is an error."""
        if isinstance(allowed, str) and allowed == "all":
            allowed = self.special_tokens_set
        elif not isinstance(allowed, set | frozenset | AbstractSet):
            raise TypeError(f"expected allowed_special to be 'all' or a set, found {type(allowed).__name__}")
        if isinstance(disallowed, str) and disallowed == "all":
            finder = _finder(frozenset(self.special_tokens_set - allowed)) if allowed else self._find_any_special
        else:
            # Nothing can be said by None, too.
            finder = _finder(disallowed if isinstance(disallowed, frozenset) else frozenset(disallowed or ()))
        if finder is not None:
            search, prefix = finder
            # Most texts hold not even the beginning of a special token.
            if not isinstance(text, str) or prefix in text:
                match = search(text)
                if match:
                    raise_disallowed_special_token(match.group())
        return self.special_tokens_set.intersection(allowed) if allowed else ()

    def _encode(self, text: str, allowed: Collection[str]) -> list[int]:
        if not isinstance(text, str):
            raise TypeError(f"expected text as str, found {type(text)}")
        ids = self._core.encode_list(text, False, allowed)
        return self._to_real(ids) if self._real_ids and self._may_hold_stand_ins(text) else ids

    def _encode_batch(self, texts: Iterable[str], num_threads: int | None, allowed: Collection[str]) -> list[list[int]]:
        _check_threads(num_threads)
        texts = list(texts)
        if self._real_ids:
            return [self._encode(text, allowed) for text in texts]
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"expected text as str, found {type(text)}")
        n_cores = os.cpu_count() or 1
        n_threads = n_cores if num_threads is None else min(num_threads, n_cores)
        return self._core.encode_batch_list(texts, n_threads, False, allowed)

    def _may_hold_stand_ins(self, text: str) -> bool:
        return self._lacks_bytes or any(name in text for name in self._stand_in_names)

    def _holds_stand_ins(self, data: bytes, tokens: Sequence[int]) -> bool:
        for name in self._stand_in_bytes:
            if name in data:
                break
        else:
            if not self._lacks_bytes:
                return False
        return any(token in self._real_ids for token in tokens)

    def _to_real(self, ids: list[int]) -> list[int]:
        real = []
        for id in ids:
            found = self._real_ids.get(id, id)
            if isinstance(found, bytes):
                raise UnknownTokenError(f"byte {found!r} is no token of {self!r}", token=found)
            real.append(found)
        return real

    # Decoding

    def decode_bytes(self, tokens: Sequence[int]) -> bytes:
        """The bytes of all tokens, joined.

        Raises:
            KeyError: An id is no token.
            OverflowError: An id does not fit 32 bits.
        """
        try:
            data = self._core.decode_bytes(tokens)
        except (UnknownTokenError, ArrayError) as error:
            raise _decode_error(tokens, error) from None
        if self._real_ids and self._holds_stand_ins(data, tokens):
            token = next(token for token in tokens if token in self._real_ids)
            raise UnknownTokenError(f"Invalid token for decoding: {token}", token=token)
        return data

    def decode(self, tokens: Sequence[int], errors: str = "replace") -> str:
        """The text of all tokens; ``errors`` says what becomes of bytes that are not UTF-8, as for ``bytes.decode``.

        Raises:
            KeyError: An id is no token.
            OverflowError: An id does not fit 32 bits.
            UnicodeDecodeError: The bytes are not UTF-8 and ``errors="strict"``.
        """
        if self._real_ids:
            return self.decode_bytes(tokens).decode("utf-8", errors=errors)
        try:
            return self._core.decode(tokens, False, errors)
        except (UnknownTokenError, ArrayError) as error:
            raise _decode_error(tokens, error) from None

    def decode_single_token_bytes(self, token: int) -> bytes:
        """The bytes of one token, special ones included.

        Raises:
            KeyError: The id is no token.
        """
        if token not in self._real_ids:
            try:
                return self._core.token_bytes(token)
            except UnknownTokenError:
                if not 0 <= token < 1 << 32:
                    raise OverflowError(_OUT_OF_RANGE) from None
        raise UnknownTokenError(str(token), token=token)

    def decode_tokens_bytes(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes of each token; raises what :meth:`decode_single_token_bytes` raises."""
        return [self.decode_single_token_bytes(token) for token in tokens]

    def decode_with_offsets(self, tokens: Sequence[int]) -> tuple[str, list[int]]:
        """The text, and where in it each token starts: the first character that has bytes of the token.

        Raises:
            KeyError: An id is no token.
            UnicodeDecodeError: The bytes are not UTF-8.
        """
        parts = self.decode_tokens_bytes(tokens)
        data = b"".join(parts)
        starts_char = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
        n_before = np.concatenate([[0], np.cumsum(starts_char)])
        at = np.cumsum([0, *map(len, parts)])[:-1]
        offsets = np.maximum(n_before[at] - ~starts_char[at], 0) if parts else at
        return data.decode("utf-8", errors="strict"), offsets.tolist()

    def decode_batch(
        self, batch: Sequence[Sequence[int]], *, errors: str = "replace", num_threads: int | None = 8
    ) -> list[str]:
        """The text of every list of tokens; raises what :meth:`decode` raises. ``num_threads`` is ignored."""
        _check_threads(num_threads)
        return [self.decode(tokens, errors) for tokens in batch]

    def decode_bytes_batch(self, batch: Sequence[Sequence[int]], *, num_threads: int | None = 8) -> list[bytes]:
        """The bytes of every list of tokens; raises what :meth:`decode_bytes` raises. ``num_threads`` is ignored."""
        _check_threads(num_threads)
        return [self.decode_bytes(tokens) for tokens in batch]

    # Miscellaneous

    def token_byte_values(self) -> list[bytes]:
        """The bytes of all tokens that are not special, sorted."""
        return sorted(self._mergeable_ranks)

    @property
    def eot_token(self) -> int:
        """The id of ``<|endoftext|>``.

        Raises:
            KeyError: There is no such token.
        """
        return self._special_tokens["<|endoftext|>"]

    @functools.cached_property
    def special_tokens_set(self) -> set[str]:
        """The special tokens."""
        return set(self._special_tokens)

    def is_special_token(self, token: int) -> bool:
        """Whether this id is a special token's."""
        assert isinstance(token, int)
        return token in self._special_token_values

    @property
    def n_vocab(self) -> int:
        """One more than the largest id."""
        return self.max_token_value + 1

    # Private in tiktoken, and used all the same

    def _encode_single_piece(self, text_or_bytes: str | bytes) -> list[int]:
        """The ids of one pretoken: nothing is split, nothing is special."""
        ids = exactness.encode_piece(self._core, _to_bytes(text_or_bytes))
        return self._to_real(ids) if self._real_ids else ids

    def _encode_only_native_bpe(self, text: str) -> list[int]:
        """The ids of ``text``; tiktoken splits it with the package `regex` here, whose results are the same."""
        _refuse_surrogates(text)
        return self.encode_ordinary(text)

    def _encode_bytes(self, text: bytes) -> list[int]:
        """The ids of bytes that may not be UTF-8: from the first bad one on, they are merged with the last pretoken."""
        ids = exactness.encode_broken_utf8(self._core, text)
        return self._to_real(ids) if self._real_ids else ids

    def __getstate__(self) -> object:
        from tokenloom.compat.tiktoken import registry

        if self is registry.ENCODINGS.get(self.name) and self._is_found_by_name:
            return self.name
        return {
            "name": self.name,
            "pat_str": self._pat_str,
            "mergeable_ranks": self._mergeable_ranks,
            "special_tokens": self._special_tokens,
        }

    def __setstate__(self, value: Any) -> None:
        from tokenloom.compat.tiktoken import registry

        if isinstance(value, str):
            self.__dict__ = registry.get_encoding(value).__dict__
        else:
            self.__init__(**value)  # type: ignore[misc]


_OUT_OF_RANGE = "out of range integral type conversion attempted"


@functools.lru_cache(maxsize=128)
def _finder(tokens: frozenset[str]) -> tuple[Any, str] | None:
    """What finds the first of these strings, and what all of them start with; ``None`` where there is none."""
    if not tokens:
        return None
    first, last = min(tokens), max(tokens)
    n_common = next((at for at, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return re.compile("|".join(map(re.escape, tokens))).search, first[:n_common]


def raise_disallowed_special_token(token: str) -> NoReturn:
    """Raise tiktoken's error for a special token that may not occur.

    Raises:
        ValueError: Always.
    """
    raise SpecialTokenError(
        f"Encountered text corresponding to disallowed special token {token!r}.\n"
        "If you want this text to be encoded as a special token, "
        f"pass it to `allowed_special`, e.g. `allowed_special={{{token!r}, ...}}`.\n"
        f"If you want this text to be encoded as normal text, disable the check for this token "
        f"by passing `disallowed_special=(enc.special_tokens_set - {{{token!r}}})`.\n"
        "To disable this check for all special tokens, pass `disallowed_special=()`.\n",
        token=token,
    )


def _decode_error(tokens: Sequence[int], error: UnknownTokenError | ArrayError) -> Exception:
    """What tiktoken raises for these tokens; it looks at the range of all of them first."""
    for token in tokens if isinstance(tokens, Iterable) else ():
        if isinstance(token, int | np.integer) and not 0 <= token < 1 << 32:
            return OverflowError(_OUT_OF_RANGE)
    if isinstance(error, UnknownTokenError):
        error.args = (f"Invalid token for decoding: {vars(error)['token']}",)
    return error


def _check_threads(num_threads: int | None) -> None:
    # None is as many as there are cores.
    if num_threads is not None and num_threads < 1:
        raise ValueError("max_workers must be greater than 0")


def _refuse_surrogates(text: str) -> None:
    if not isinstance(text, str):
        raise TypeError(f"expected text as str, found {type(text).__name__}")
    if not text.isascii():
        text.encode()


def _to_bytes(text_or_bytes: str | bytes) -> bytes:
    return text_or_bytes.encode() if isinstance(text_or_bytes, str) else text_or_bytes
