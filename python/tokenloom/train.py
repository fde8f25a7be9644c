"""How does a corpus become a tokenizer?

:func:`bpe` gives the merges of the Hugging Face trainer, merge for merge; :func:`superbpe` goes on across spaces. Both
return a :class:`tokenloom.Tokenizer`. See ``docs/concepts/train.md`` for the rules, the order of the ids and the
bounds, and ``tokenloom.reference.train`` for the rules as short code.

Example:
    >>> import tokenloom as tl
    >>> tok = tl.train.bpe(["low low low lower", "new newer newer"], vocab_size=262, progress=False)
    >>> [tok.token_bytes(id) for id in tok.encode("slow")]
    [b's', b'low']
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from tokenloom import patterns
from tokenloom._core import train as _core
from tokenloom._core.tokenizer import Tokenizer as CoreTokenizer
from tokenloom._corpus import Corpus, count_words, files_of, n_bytes_of_files
from tokenloom._progress import Bar, bar
from tokenloom.errors import TrainError
from tokenloom.tokenizer import Tokenizer

__all__ = ["Corpus", "bpe", "files_of", "superbpe"]


def bpe(
    corpus: Corpus,
    vocab_size: int = 32_000,
    pattern: str | Sequence[str] = patterns.O200K,
    *,
    special_tokens: Sequence[str] = (),
    ties: Literal["hf"] = "hf",
    min_frequency: int = 0,
    max_token_length: int | None = None,
    progress: bool = True,
    threads: int | None = None,
) -> Tokenizer:
    """Train byte-level BPE.

    The ids are the special tokens in the order given, then the 256 bytes in the order of the characters of
    ``ByteLevel.alphabet()``, then the merged tokens in the order in which they were made.

    Args:
        corpus: One ``str`` is a path or a glob. A path object or an open file, alone or in an iterable, is a file, read
            line by line (each line with its ending is cut by itself, as in ``Tokenizer.train`` of ``tokenizers``). A
            ``str`` or ``bytes`` item of an iterable is a document, cut as a whole (as in ``train_from_iterator``).
        vocab_size: Tokens in the end, special tokens and bytes included. Fewer if the corpus has no more pairs.
        pattern: Split regular expression; its matches and what lies between them are the words, and no token crosses a
            word. Of several, each cuts the pieces of the one before.
        special_tokens: Texts that get the first ids and are matched before the model.
        ties: Which of two equally frequent pairs is merged first. ``"hf"``: the one with the smaller ids.
        min_frequency: A pair that occurs less often is not merged.
        max_token_length: A merged token of more than two bytes is shorter than this many bytes (the Hugging Face
            trainer's reading: tokens of exactly this length are not made).
        progress: Show a bar on stderr if it is a terminal and ``rich`` is installed.
        threads: Threads that cut and count words; all processors by default. The result does not depend on it.

    Returns:
        The tokenizer: a split by ``pattern`` and byte-level BPE.

    Raises:
        TrainError: The options contradict each other, or the corpus is no corpus.
        PatternError: The pattern does not compile or gives up on a text.
        OSError: A file cannot be read.

    Source:
        Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (2016), section 3.2.
    """
    options = _options(vocab_size, special_tokens, ties, min_frequency, max_token_length)
    with bar(progress) as shown:
        counter = _count(corpus, [pattern], threads, shown)
        return _tokenizer(_core.bpe(counter, *options, _report(shown)))


def superbpe(
    corpus: Corpus,
    vocab_size: int = 200_000,
    transition: int = 180_000,
    max_words: int = 4,
    mode: Literal["exact"] = "exact",
    *,
    pattern: str | Sequence[str] = patterns.SUPERBPE_STAGE1,
    stage2_pattern: str | Sequence[str] = patterns.SUPERBPE_STAGE2,
    forbidden: Iterable[str | bytes] = (": ",),
    special_tokens: Sequence[str] = (),
    ties: Literal["hf"] = "hf",
    min_frequency: int = 0,
    max_token_length: int | None = None,
    progress: bool = True,
    threads: int | None = None,
) -> Tokenizer:
    """Train SuperBPE: BPE within words up to ``transition`` tokens, then across words up to ``vocab_size``.

    Stage 2 cuts the same corpus by ``stage2_pattern``, which does not split at spaces, applies the merges of stage 1
    and goes on merging. Merges of stage 1 that these pieces never use are dropped, which leaves room to superwords.

    Args:
        corpus: As in :func:`bpe`. It is read once, for both stages. Superwords of files never cross a line.
        vocab_size: Tokens in the end.
        transition: Tokens at the end of stage 1, special tokens and bytes included.
        max_words: The most words in a token of stage 2: non-empty pieces between spaces, so that a leading part of a
            word counts as one.
        mode: ``"exact"`` considers every pair of adjacent tokens.
        pattern: Split regular expression of stage 1.
        stage2_pattern: Split regular expression of stage 2 and of the tokenizer.
        forbidden: No token of stage 2 holds any of these.
        special_tokens: As in :func:`bpe`.
        ties: As in :func:`bpe`.
        min_frequency: As in :func:`bpe`, in both stages.
        max_token_length: As in :func:`bpe`, in both stages.
        progress: As in :func:`bpe`.
        threads: As in :func:`bpe`.

    Returns:
        The tokenizer: a split by ``stage2_pattern`` and byte-level BPE. Saved, it is a stock ``tokenizer.json``.

    Raises:
        TrainError: The options contradict each other, or the corpus is no corpus.
        PatternError: A pattern does not compile or gives up on a text.
        OSError: A file cannot be read.

    Source:
        Liu, Hayase et al., *SuperBPE: Space Travel for Language Models* (2025), section 2.
    """
    if mode != "exact":
        raise TrainError(f"mode must be 'exact', found {mode!r}")
    options = _options(vocab_size, special_tokens, ties, min_frequency, max_token_length)
    transition, max_words = _count_of("transition", transition), _count_of("max_words", max_words)
    refused = [part.encode() if isinstance(part, str) else bytes(part) for part in forbidden]
    with bar(progress) as shown:
        counter = _count(corpus, [pattern, stage2_pattern], threads, shown)
        trained = _core.superbpe(counter, *options, _report(shown), transition, max_words, refused)
        return _tokenizer(trained)


def _options(
    vocab_size: int, special_tokens: Sequence[str], ties: str, min_frequency: int, max_token_length: int | None
) -> tuple[int, list[str], int, int | None]:
    if ties != "hf":
        raise TrainError(f"ties must be 'hf', found {ties!r}")
    if isinstance(special_tokens, str):
        raise TrainError(f"special_tokens must be a sequence of str, found the str {special_tokens!r}")
    special = list(special_tokens)
    for index, token in enumerate(special):
        if not isinstance(token, str):
            raise TrainError(f"special token {index} must be a str, found {type(token).__name__}")
    longest = None if max_token_length is None else _count_of("max_token_length", max_token_length)
    return _count_of("vocab_size", vocab_size), special, _count_of("min_frequency", min_frequency), longest


def _count_of(name: str, value: int) -> int:
    try:
        count = value.__index__()
    except AttributeError:
        raise TrainError(f"{name} must be an int, found {type(value).__name__}") from None
    if not 0 <= count < 1 << 63:
        raise TrainError(f"{name} must be between 0 and 2**63 - 1, found {count}")
    return count


def _count(corpus: Corpus, cuts: list[str | Sequence[str]], threads: int | None, shown: Bar) -> _core.WordCounter:
    n_threads = len(os.sched_getaffinity(0)) if threads is None else _count_of("threads", threads)
    if not 1 <= n_threads <= 1024:
        raise TrainError(f"threads must be between 1 and 1024, found {n_threads}")
    counter = _core.WordCounter([[cut] if isinstance(cut, str) else list(cut) for cut in cuts], n_threads)
    n_read, n_total = 0, n_bytes_of_files(corpus)

    def advance(n_bytes: int) -> None:
        nonlocal n_read
        n_read += n_bytes
        shown.stage("reading", n_read, n_total)

    count_words(corpus, counter, advance)
    return counter


def _tokenizer(trained: _core.Trained) -> Tokenizer:
    return Tokenizer._wrap(CoreTokenizer(trained.spec()))


def _report(shown: Bar) -> Callable[[str, int, int], object]:
    names = {"replay": "stage 2: replaying", "merge": "merging"}
    return lambda stage, n_done, n_total: shown.stage(names[stage], n_done, n_total)
