"""How does a corpus become a tokenizer?

:func:`bpe` gives the merges of the Hugging Face trainer, merge for merge; :func:`superbpe` goes on across spaces. Both
return a :class:`tokenloom.Tokenizer`, both can extend one, and both take a corpus or the :class:`Counts` of one. See
``docs/concepts/train.md`` for the rules, the order of the ids and the bounds, and ``tokenloom.reference.train`` for the
rules as short code.

Example:
    >>> import tokenloom as tl
    >>> tok = tl.train.bpe(["low low low lower", "new newer newest"], vocab_size=262, progress=False)
    >>> [tok.token_bytes(id) for id in tok.encode("slow")]
    [b's', b'low']
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tokenloom import patterns
from tokenloom._core import train as _core
from tokenloom._core.tokenizer import Tokenizer as CoreTokenizer
from tokenloom._corpus import Corpus, Reader, Units, files_of
from tokenloom._counting import Store, count_words, opened_store
from tokenloom._counts import Counts
from tokenloom._memory import n_bytes_of_limit
from tokenloom._progress import Bar, bar
from tokenloom._training import (
    RUNS,
    StageFields,
    Start,
    Veto,
    cuts_of,
    patterns_of,
    size_of,
    start_of,
    threads_of,
)
from tokenloom.errors import TrainError
from tokenloom.tokenizer import Tokenizer

__all__ = ["Corpus", "Counts", "Veto", "bpe", "count", "files_of", "superbpe"]


def bpe(
    corpus: Corpus | Counts,
    vocab_size: int = 32_000,
    pattern: str | Sequence[str] | None = None,
    *,
    special_tokens: Sequence[str] = (),
    ties: Literal["hf"] = "hf",
    min_frequency: int = 0,
    max_token_length: int | None = None,
    initial_alphabet: bytes | Iterable[int] | None = None,
    limit_alphabet: int | None = None,
    seed_merges: Iterable[tuple[str | bytes, str | bytes]] | None = None,
    veto: Veto | None = None,
    resume: Tokenizer | None = None,
    units: Units = "auto",
    column: str = "text",
    weights: Sequence[int] | None = None,
    progress: bool = True,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Tokenizer:
    """Train byte-level BPE.

    The ids are the special tokens in the order given, then the bytes in the order of the characters of
    ``ByteLevel.alphabet()``, then the merged tokens in the order in which they were made.

    Args:
        corpus: One ``str`` is a path or a glob. A path object or an open file, alone or in an iterable, is a file, read
            line by line (each line with its ending is cut by itself, as in ``Tokenizer.train`` of ``tokenizers``);
            ``.gz``, ``.bz2``, ``.xz`` and ``.zst`` are unpacked. A ``str`` or ``bytes`` item of an iterable is a
            document, cut as a whole (as in ``train_from_iterator``), and so is the ``column`` of a mapping and of every
            row of a ``.jsonl`` or ``.parquet`` file. Or what :func:`count` gave.
        vocab_size: Tokens in the end, special tokens and bytes included. Fewer if the corpus has no more pairs.
        pattern: Split regular expression; its matches and what lies between them are the words, and no token crosses a
            word. Of several, each cuts the pieces of the one before. ``patterns.O200K`` by default, or that of the
            counts.
        special_tokens: Texts that get the first ids and are matched before the model.
        ties: Which of two equally frequent pairs is merged first. ``"hf"``: the one with the smaller ids.
        min_frequency: A pair that occurs less often is not merged.
        max_token_length: A merged token of more than two bytes is shorter than this many bytes (the Hugging Face
            trainer's reading: tokens of exactly this length are not made).
        initial_alphabet: Bytes that have ids whether they occur or not; all 256 by default. The others have one if they
            occur, and without one they are left out of words.
        limit_alphabet: The most bytes that have ids; the rarest are left out.
        seed_merges: Pairs of byte strings that are merged before all others, in this order.
        veto: Which tokens are refused.
        resume: A tokenizer to extend: its ids, merges, added tokens and all else stay as they are, its normalizers
            apply, and new tokens follow its largest id, up to ``vocab_size`` ids. It cuts text as before unless
            ``pattern`` is given.
        units: ``"lines"`` splits documents, too, ``"documents"`` takes a file as one.
        column: Which column of a mapping, or of a row of a file, is the text.
        weights: How often each item of ``corpus`` counts.
        progress: Show a bar on stderr if it is a terminal and ``rich`` is installed.
        threads: Threads that cut and count words; all processors by default. The result does not depend on it.
        memory_limit: Bytes, or a text such as ``"16GiB"``: counts that take more than half of it go to sorted files in
            the checkpoint's folder or a temporary one, and merging takes more passes where its arrays would take
            more. Merges are the same. Without a limit, nine tenths of what the system has available.
        checkpoint: A folder that keeps what was counted and merged, at most half a minute old. The same call with the
            same corpus goes on there; the files are removed at the end.

    Returns:
        The tokenizer: a split by ``pattern`` and byte-level BPE.

    Raises:
        TrainError: The options contradict each other, the corpus is no corpus or damaged, the checkpoint is another
            training's, or ``memory_limit`` is too little for the most frequent pairs; it says how much would do.
        PatternError: The pattern does not compile or gives up on a text.
        UnsupportedFeatureError: ``resume`` is no BPE tokenizer of the compiled machine.
        MissingDependencyError: A file needs a package that is not installed.
        OSError: A file cannot be read or written.

    Source:
        Sennrich, Haddow, Birch, *Neural Machine Translation of Rare Words with Subword Units* (2016), section 3.2.
    """
    _check_ties(ties)
    start = start_of(special_tokens, initial_alphabet, limit_alphabet, seed_merges, resume)
    stage = _stage(vocab_size, min_frequency, max_token_length, veto or Veto())
    if pattern is None and resume is None:
        pattern = _counted(corpus, 1, 0, patterns.O200K)
    cut = None if pattern is None else patterns_of(pattern)
    job = _Job(start, [cut], [stage], Reader(units, column, weights), threads_of(threads), progress)
    return job.run(corpus, n_bytes_of_limit(memory_limit), checkpoint)


def superbpe(
    corpus: Corpus | Counts,
    vocab_size: int = 200_000,
    transition: int | Literal["auto"] | None = None,
    max_words: int = 4,
    mode: Literal["exact", "boundless"] = "exact",
    *,
    pattern: str | Sequence[str] | None = None,
    stage2_pattern: str | Sequence[str] | None = None,
    forbidden: Iterable[str | bytes] = (": ",),
    compat: Literal["superbpe"] | None = None,
    special_tokens: Sequence[str] = (),
    ties: Literal["hf"] = "hf",
    min_frequency: int = 0,
    max_token_length: int | None = None,
    initial_alphabet: bytes | Iterable[int] | None = None,
    limit_alphabet: int | None = None,
    seed_merges: Iterable[tuple[str | bytes, str | bytes]] | None = None,
    veto: Veto | None = None,
    resume: Tokenizer | None = None,
    units: Units = "auto",
    column: str = "text",
    weights: Sequence[int] | None = None,
    progress: bool = True,
    threads: int | None = None,
    memory_limit: int | str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
) -> Tokenizer:
    """Train SuperBPE: BPE within words up to ``transition`` tokens, then across words up to ``vocab_size``.

    Stage 2 cuts the same corpus by ``stage2_pattern``, which does not split at spaces, applies the merges of stage 1
    and goes on merging. Merges of stage 1 that these pieces never use are dropped, which leaves room to superwords.

    ``mode="boundless"`` joins whole words only, those that are one token each and hold a letter. That needs runs of
    words instead of whole lines, far fewer, and the count of each decides when superwords begin.

    Args:
        corpus: As in :func:`bpe`. It is read once, for both stages. Superwords of files never cross a line. Counts are
            those of both patterns, or of words and runs.
        vocab_size: Tokens in the end.
        transition: Tokens at the end of stage 1, special tokens and bytes included: nine tenths of ``vocab_size`` by
            default. In boundless mode superwords stand among the other merges by count by default; ``"auto"`` makes as
            many, but behind all others.
        max_words: The most words in a token of stage 2: non-empty pieces between spaces, so that a leading part of a
            word counts as one.
        mode: ``"exact"`` considers every pair of adjacent tokens, ``"boundless"`` whole words.
        pattern: Split regular expression of stage 1: ``patterns.SUPERBPE_STAGE1`` by default, or that of the counts.
        stage2_pattern: Split regular expression of stage 2 and of the tokenizer: ``patterns.SUPERBPE_STAGE2`` by
            default, or that of the counts.
        forbidden: No token of stage 2 holds any of these.
        compat: ``"superbpe"`` does what the published code does: units are lines, only bytes that occur have ids, and
            of the first ``transition`` merges the last is not inherited (``transition`` counts merges, then).
        special_tokens: As in :func:`bpe`.
        ties: As in :func:`bpe`.
        min_frequency: As in :func:`bpe`, in both stages.
        max_token_length: As in :func:`bpe`, in both stages.
        initial_alphabet: As in :func:`bpe`.
        limit_alphabet: As in :func:`bpe`.
        seed_merges: As in :func:`bpe`; stage 2 may drop those that it does not use.
        veto: Which tokens are refused in both stages; ``max_words`` and ``forbidden`` are for stage 2.
        resume: A tokenizer to extend by stage 2 alone. ``transition`` and ``pattern`` are not used.
        units: As in :func:`bpe`.
        column: As in :func:`bpe`.
        weights: As in :func:`bpe`.
        progress: As in :func:`bpe`.
        threads: As in :func:`bpe`.
        memory_limit: As in :func:`bpe`.
        checkpoint: As in :func:`bpe`.

    Returns:
        The tokenizer: a split by ``stage2_pattern`` and byte-level BPE. Saved, it is a stock ``tokenizer.json``.

    Raises:
        TrainError: As in :func:`bpe`.
        PatternError: A pattern does not compile or gives up on a text.
        UnsupportedFeatureError: As in :func:`bpe`.
        MissingDependencyError: As in :func:`bpe`.
        OSError: A file cannot be read or written.

    Source:
        Liu, Hayase et al., *SuperBPE: Space Travel for Language Models* (2025), section 2; Schmidt et al., *Boundless
        Byte Pair Encoding* (2025).
    """
    _check_ties(ties)
    if mode not in ("exact", "boundless"):
        raise TrainError(f"mode must be 'exact' or 'boundless', found {mode!r}")
    if mode == "boundless" and (compat is not None or resume is not None):
        raise TrainError("compat and resume are for mode='exact'")
    if transition == "auto" and mode == "exact":
        raise TrainError("transition must be an int in mode 'exact', found 'auto'")
    if compat not in (None, "superbpe"):
        raise TrainError(f"compat must be 'superbpe' or None, found {compat!r}")
    if compat is not None:
        units, initial_alphabet = "lines", b""
    start = start_of(special_tokens, initial_alphabet, limit_alphabet, seed_merges, resume)
    both = veto or Veto()
    words = min(size_of("max_words", max_words), size_of("max_words", both.max_words or max_words))
    across = replace(both, max_words=words, forbidden=(*both.forbidden, *forbidden))
    second = _stage(vocab_size, min_frequency, max_token_length, across)
    second = replace(second, drops_unused=True)
    first = _counted(corpus, 2, 0, patterns.SUPERBPE_STAGE1) if pattern is None else pattern
    across_words = _counted(corpus, 2, 1, patterns.SUPERBPE_STAGE2) if stage2_pattern is None else stage2_pattern
    cuts: list[list[str] | None] = [patterns_of(first), patterns_of(across_words)]
    reader = Reader(units, column, weights)
    if mode == "boundless":
        order = -1 if transition == "auto" else None if transition is None else size_of("transition", transition)
        job: _Job = _Boundless(start, cuts, [second], reader, threads_of(threads), progress, order)
        return job.run(corpus, n_bytes_of_limit(memory_limit), checkpoint)
    if transition is None or transition == "auto":
        transition = second.vocab_size * 9 // 10
    first_size = size_of("transition", transition)
    if compat is not None:
        second = replace(second, max_inherited=max(first_size - 1, 0))
        # Room for that many merges, whatever the alphabet.
        first_size = min(first_size + len(start.special_tokens) + 256, second.vocab_size)
    stages = [_stage(first_size, min_frequency, max_token_length, both), second]
    if resume is not None:
        stages, cuts = stages[1:], cuts[1:]
    job = _Job(start, cuts, stages, reader, threads_of(threads), progress)
    return job.run(corpus, n_bytes_of_limit(memory_limit), checkpoint)


def count(
    corpus: Corpus,
    pattern: str | Sequence[str] = patterns.O200K,
    stage2_pattern: str | Sequence[str] | None = None,
    *,
    runs: bool = False,
    units: Units = "auto",
    column: str = "text",
    weights: Sequence[int] | None = None,
    progress: bool = True,
    threads: int | None = None,
) -> Counts:
    """Count the words of a corpus, or of a part of it.

    Args:
        corpus: As in :func:`bpe`.
        pattern: As in :func:`bpe`, or that of stage 1 of :func:`superbpe`.
        stage2_pattern: That of stage 2 of :func:`superbpe`, if the counts are for it.
        runs: Count runs of words, too: the counts are for the boundless mode of :func:`superbpe`.
        units: As in :func:`bpe`.
        column: As in :func:`bpe`.
        weights: As in :func:`bpe`.
        progress: As in :func:`bpe`.
        threads: As in :func:`bpe`.

    Returns:
        Counts that can be added to those of other parts, saved, and trained from.

    Raises:
        TrainError: As in :func:`bpe`.
        PatternError: A pattern does not compile or gives up on a text.
        MissingDependencyError: As in :func:`bpe`.
        OSError: A file cannot be read.
    """
    cuts = cuts_of(pattern, stage2_pattern, runs)
    reader = Reader(units, column, weights)
    with bar(progress) as shown:
        words = count_words(corpus, reader, cuts, None, runs, threads_of(threads), None, None, shown)
    return Counts(cuts + [RUNS] * runs, words)


@dataclass(frozen=True)
class _Job:
    """One training: what it starts from, and how each stage cuts and merges."""

    start: Start
    cuts: list[list[str] | None]
    stages: list[StageFields]
    reader: Reader
    n_threads: int
    progress: bool

    def run(self, corpus: Corpus | Counts, limit: int | None, checkpoint: Any) -> Tokenizer:
        fingerprint = self._fingerprint(corpus)
        with bar(self.progress) as shown, opened_store(checkpoint, fingerprint) as store:
            words = self._words(corpus, limit, store, shown)
            left = None if limit is None else max(limit - sum(counts.n_bytes_held for counts in words), 0)
            trained = self._train(words, (self.n_threads, left), store, shown)
            return Tokenizer._wrap(CoreTokenizer(trained.spec(self.cuts[-1])))

    def _train(
        self, words: list[_core.WordCounts], resources: tuple[int, int | None], store: Store, shown: Bar
    ) -> _core.Trained:
        stages = list(zip(words, self.stages, strict=True))
        done, save = _checkpointed(store)
        return _core.run_stages(self.start, stages, done, resources, _report(shown, store), save)

    @property
    def counted(self) -> tuple[list[list[str] | None], bool]:
        """The cuts that are counted, and whether the runs of the first are, too."""
        return self.cuts, False

    def _words(self, corpus: Corpus | Counts, limit: int | None, store: Store, shown: Bar) -> list[_core.WordCounts]:
        cuts, runs = self.counted
        if not isinstance(corpus, Counts):
            tokenizer = self.start.tokenizer
            return count_words(corpus, self.reader, cuts, tokenizer, runs, self.n_threads, store, limit, shown)
        expected = [*cuts, *[RUNS] * runs]
        if corpus.cuts != expected:
            raise TrainError(f"expected counts by the patterns {expected}, found {corpus.cuts}")
        return corpus._words

    def _fingerprint(self, corpus: Corpus | Counts) -> str:
        """What must be the same for a checkpoint to go on; the corpus itself is taken on trust."""
        fields = {
            "start": repr(replace(self.start, tokenizer=None)),
            "resume": self.start.tokenizer is not None and self.start.tokenizer.vocab_size,
            "cuts": self.cuts,
            "stages": repr(self.stages),
            "reader": repr(self.reader),
            "order": getattr(self, "order", None),
            "counts": isinstance(corpus, Counts) and len(corpus),
        }
        return json.dumps(fields)


@dataclass(frozen=True)
class _Boundless(_Job):
    """A training of words and their runs; the second cut is that of the tokenizer."""

    order: int | None

    def _train(
        self, words: list[_core.WordCounts], resources: tuple[int, int | None], store: Store, shown: Bar
    ) -> _core.Trained:
        both = (words[0], words[1])
        done, save = _checkpointed(store)
        report = _report(shown, store)
        return _core.run_boundless(self.start, both, self.stages[0], self.order, done, resources, report, save)

    @property
    def counted(self) -> tuple[list[list[str] | None], bool]:
        return self.cuts[:1], True


def _stage(vocab_size: int, min_frequency: int, max_token_length: int | None, veto: Veto) -> StageFields:
    if not isinstance(veto, Veto):
        raise TrainError(f"veto must be a tokenloom.train.Veto, found {type(veto).__name__}")
    longest = None if max_token_length is None else size_of("max_token_length", max_token_length)
    return StageFields(size_of("vocab_size", vocab_size), size_of("min_frequency", min_frequency), longest, veto)


def _counted(corpus: Corpus | Counts, n_cuts: int, cut: int, default: str) -> str | Sequence[str]:
    """The patterns of a cut that the caller left open: those of counts that were cut so often, else ``default``."""
    cuts = corpus.cuts if isinstance(corpus, Counts) else []
    return cuts[cut] if len(cuts) == n_cuts and cuts[cut] != RUNS else default


def _check_ties(ties: str) -> None:
    if ties != "hf":
        raise TrainError(f"ties must be 'hf', found {ties!r}")


def _checkpointed(store: Store) -> tuple[list[tuple[int, bytes]], Callable[[int, bytes], object] | None]:
    """The merges of an earlier run, and what keeps those of this one."""
    return store.merges(), store.save_merges if store.is_checkpoint else None


def _report(shown: Bar, store: Store) -> Any:
    def report(kind: str, stage: int, n_done: int, n_total: int, n_pairs: int) -> bool:
        name = f"stage {stage + 1}: "
        if kind == "replay":
            shown.stage(f"{name}encoding", n_done, n_total or None, unit="B")
            return False
        shown.stage(f"{name}merging, {n_pairs:,} pairs", n_done, n_total)
        return store.is_due()

    return report
