"""Which other vocabularies can text be written in?

:func:`dynamic` merges the tokens of one batch further, for that batch alone; :func:`union` puts two tokenizers in one.
:func:`picky` trains without tokens that are only steps on the way to others, :func:`supertokens` on pieces of random
lengths, :func:`characters` for short tokens; :func:`less_is_better` reads. :class:`Choice` writes a text by the
tokenizer that needs the fewest tokens.
See ``docs/concepts/lexica.md`` for what each is for, and ``tokenloom.reference.lexica`` for the rules as short code.

Example:
    >>> import tokenloom as tl
    >>> tok = tl.train.bpe(["a lot of different words"], vocab_size=256, progress=False)
    >>> batch = tl.lexica.dynamic(["low lower", "lowest low"], tok, n_merges=3)
    >>> batch.n_tokens.tolist(), batch.tokens()[0]
    ([19, 15, 11, 9], b'low')
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokenloom import patterns
from tokenloom._choice import Choice, Chosen
from tokenloom._core import lexica as _core
from tokenloom._core import pipeline as _pipeline
from tokenloom._core import train as _train
from tokenloom._core.formats import write_tokenizer_json
from tokenloom._core.tokenizer import Tokenizer as CoreTokenizer
from tokenloom._corpus import Block, Corpus, Reader, Units
from tokenloom._dynamic import Dynamic, DynamicFields
from tokenloom._lexicon import Lexicon, ReaderFields, documents_of
from tokenloom._picky import Picky
from tokenloom._progress import bar
from tokenloom._training import StageFields, Veto, compiled_machine, patterns_of, size_of, start_of
from tokenloom.errors import ParamsError
from tokenloom.tokenizer import Ragged, Text, Tokenizer
from tokenloom.train import Counts, bpe, count

__all__ = [
    "KL3M_SPECIAL_TOKENS",
    "SUPERTOKEN_LENGTHS",
    "Boundary",
    "Choice",
    "Chosen",
    "Dynamic",
    "Lexicon",
    "Picky",
    "Union",
    "characters",
    "dynamic",
    "less_is_better",
    "picky",
    "supertokens",
    "union",
]

Boundary: TypeAlias = Literal["pretokens", "words", "hyphen-words", "sentences"]
_BOUNDARIES: tuple[Boundary, ...] = ("pretokens", "words", "hyphen-words", "sentences")
_NO_LIMIT = (1 << 32) - 1


def dynamic(
    batch: Iterable[Text] | Ragged,
    tokenizer: Tokenizer,
    n_merges: int | None = None,
    reduction: float | None = None,
    *,
    boundary: Boundary = "pretokens",
    max_token_bytes: int = 256,
    max_surface: int = 16,
    pad_id: int = 0,
    add_special_tokens: bool = False,
    threads: int | None = None,
) -> Dynamic:
    """Merge the tokens of one batch further: the most frequent pair of neighbours, again and again.

    Of equally frequent pairs that which stands first in the batch goes first. A merge that spells a token of the
    tokenizer gives that token.

    Args:
        batch: Texts, or what ``tokenizer.encode_batch`` made of them.
        tokenizer: Its tokens are where merging starts.
        n_merges: The most merges; without it and ``reduction``, until no pair is left.
        reduction: No more merges once the batch has lost this share of its tokens, between 0 and 1.
        boundary: What may be joined. ``"pretokens"``: tokens whose text the tokenizer leaves whole. ``"words"``: no
            white space between them. ``"hyphen-words"``: the same, but punctuation that follows a word stays apart,
            except a hyphen. ``"sentences"``: all. Always apart are tokens that were added to the tokenizer, and white
            space from what stands before it.
        max_token_bytes: No token gets longer.
        max_surface: Ids in a row of the surface matrix; longer spellings are cut.
        pad_id: What stands behind shorter ones.
        add_special_tokens: Put the tokenizer's template around each text.
        threads: Threads that encode the texts.

    Returns:
        The batch in a vocabulary of its own, as arrays.

    Raises:
        ParamsError: An option is out of its range.
        TrainError: An id is no token of the tokenizer.
        PatternError: A split pattern gives up on a text.
        UnsupportedFeatureError: The tokenizer is no BPE tokenizer of the compiled machine.

    Source:
        Feher, Vulić, Minixhofer, *Retrofitting Large Language Models with Dynamic Tokenization* (2024).

    >>> import tokenloom as tl
    >>> tok = tl.train.bpe(["x"], vocab_size=256, progress=False)
    >>> tl.lexica.dynamic(["aa aa aa"], tok, reduction=0.5).tokens()
    [b'aa', b' aa']
    """
    machine = compiled_machine(tokenizer, "tokenizer")
    if boundary not in _BOUNDARIES:
        raise ParamsError(f"boundary must be one of {', '.join(_BOUNDARIES)}, found {boundary!r}")
    if not 1 <= size_of("max_surface", max_surface) <= 1 << 16:
        raise ParamsError(f"max_surface must be between 1 and 65536, found {max_surface}")
    if not 0 <= size_of("pad_id", pad_id) <= _NO_LIMIT:
        raise ParamsError(f"pad_id must be between 0 and 2**32 - 1, found {pad_id}")
    if reduction is not None and not 0 <= reduction <= 1:
        raise ParamsError(f"reduction must be between 0 and 1, found {reduction}")
    base = batch
    if not isinstance(base, Ragged):
        base = tokenizer.encode_batch(base, threads=threads, add_special_tokens=add_special_tokens)
    enough = 0 if reduction is None else int(len(base.values) * (1 - reduction))
    most = _NO_LIMIT if n_merges is None else size_of("n_merges", n_merges)
    fields = DynamicFields(boundary, most, enough, size_of("max_token_bytes", max_token_bytes), max_surface)
    found = _core.merge_batch(machine, base.values, base.offsets, fields)
    return _dynamic_of(base, found, max_surface, pad_id)


def _dynamic_of(base: Ragged, found: tuple[Any, ...], max_surface: int, pad_id: int) -> Dynamic:
    ids, offsets, base_ids, data, byte_offsets, surface, lengths, segments, n_tokens = found
    rows = surface.reshape(-1, max_surface)
    if pad_id:
        rows[np.arange(max_surface) >= lengths[:, None]] = pad_id
    return Dynamic(Ragged(ids, offsets), base, base_ids, data, byte_offsets, rows, lengths, segments, n_tokens)


@dataclass(frozen=True, eq=False)
class Union:
    """Two tokenizers in one.

    Attributes:
        tokenizer: The union.
        ids: int64 ``[second.vocab_size]``; the id in the union of each id of the second, or -1 where it has none. The
            ids of the first are the same.
        n_bridges: How many of the tokenizer's ids are tokens of neither, which only merges pass through.
    """

    tokenizer: Tokenizer
    ids: NDArray[np.int64]
    n_bridges: int


def union(first: Tokenizer, second: Tokenizer) -> Union:
    """Put the tokens of two tokenizers into one that cuts text as the first does.

    The first keeps its ids, merges and added tokens. The tokens of the second that it lacks follow in the order of
    their ids there, then tokens that merges pass through on the way to them, then added tokens. Every token of the
    second is reached: where the union encodes its bytes by themselves, it is what comes out.

    Args:
        first: Its pattern, normalizer and template are those of the union.
        second: A tokenizer of the same kind: byte-level as well, or from characters with byte fallback as well.

    Returns:
        The tokenizer, and the ids of the second in it.

    Raises:
        TrainError: They are of two kinds, or an added token of the second is spelled like a token of the first.
        UnsupportedFeatureError: One is no BPE tokenizer of the compiled machine.

    >>> import tokenloom as tl
    >>> one = tl.train.bpe(["banana"], vocab_size=258, progress=False)
    >>> two = tl.train.bpe(["nab nab"], vocab_size=258, progress=False)
    >>> both = tl.lexica.union(one, two)
    >>> both.tokenizer.vocab_size, [both.tokenizer.token_bytes(id) for id in both.tokenizer.encode("banana nab")]
    (260, [b'ban', b'an', b'a', b' ', b'nab'])
    """
    machines = compiled_machine(first, "first"), compiled_machine(second, "second")
    spec, ids, n_bridges = _core.union(*machines)
    return Union(Tokenizer._wrap(CoreTokenizer(spec)), ids, n_bridges)


def picky(
    corpus: Corpus | Counts,
    vocab_size: int = 32_000,
    threshold: float = 0.9,
    pattern: str | Sequence[str] = patterns.O200K,
    *,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 0,
    max_token_length: int | None = None,
    veto: Veto | None = None,
    units: Units = "auto",
    column: str = "text",
    weights: Sequence[int] | None = None,
    progress: bool = True,
    threads: int | None = None,
) -> Picky:
    """Train byte-level BPE that removes tokens which occur hardly anywhere but inside a longer one.

    Args:
        corpus: As in :func:`tokenloom.train.bpe`, or what :func:`tokenloom.train.count` gave for ``pattern``.
        vocab_size: Tokens that are left in the end, special tokens and bytes included.
        threshold: After n merges of a token that now stands f times elsewhere it is removed if n / (f + n) is larger,
            the published threshold of intersection over self. 1 removes nothing.
        pattern: As in :func:`tokenloom.train.bpe`.
        special_tokens: As there.
        min_frequency: As there.
        max_token_length: As there.
        veto: As there.
        units: As there.
        column: As there.
        weights: As there.
        progress: As there.
        threads: As there.

    Returns:
        The tokens, and the merges and splits in the order in which they happened, by which it encodes.

    Raises:
        ParamsError: The threshold lies outside 0 and 1.
        TrainError: As in :func:`tokenloom.train.bpe`.
        PatternError: The pattern does not compile or gives up on a text.

    Source:
        Chizhov, Arnett, Korotkova, Yamshchikov, *BPE Gets Picky* (2024), with ties as in :func:`tokenloom.train.bpe`.

    >>> import tokenloom as tl
    >>> found = tl.lexica.picky(["Kentucky Kentucky Kansas"], 264, threshold=0.6, progress=False)
    >>> [found.tokenizer.token_bytes(id) for id in found.encode("Kentucky")]
    [b'Kentucky']
    """
    if not 0 <= threshold <= 1:
        raise ParamsError(f"threshold must be between 0 and 1, found {threshold}")
    start = start_of(special_tokens, None, None, (), None)
    longest = None if max_token_length is None else size_of("max_token_length", max_token_length)
    stage = StageFields(
        size_of("vocab_size", vocab_size), size_of("min_frequency", min_frequency), longest, veto or Veto()
    )
    cut = patterns_of(pattern)
    if not isinstance(corpus, Counts):
        corpus = count(corpus, cut, units=units, column=column, weights=weights, progress=progress, threads=threads)
    if corpus.cuts != [cut]:
        raise ParamsError(f"expected counts by the pattern {cut}, found {corpus.cuts}")
    with bar(progress) as shown:

        def report(kind: str, stage: int, n_done: int, n_total: int, n_pairs: int) -> None:
            shown.stage(f"merging, {n_pairs:,} pairs", n_done, n_total)

        words = corpus._words[0]
        spec, n_kept, events, splits = _core.train_picky(words, start.special_tokens, stage, threshold, cut, report)
    return Picky(Tokenizer._wrap(CoreTokenizer(spec)), n_kept, Ragged(*events), Ragged(*splits))


SUPERTOKEN_LENGTHS: Mapping[tuple[int, int], float] = {
    (4, 5): 0.044,
    (6, 7): 0.091,
    (8, 9): 0.146,
    (10, 11): 0.171,
    (12, 13): 0.185,
    (14, 15): 0.171,
    (16, 17): 0.146,
    (18, 19): 0.091,
    (20, 21): 0.044,
    (22, 23): 0.011,
}
"""The published shares of lengths in characters; the sum is 1.1, and only proportions count."""


def supertokens(
    corpus: Corpus,
    vocab_size: int = 128_000,
    lengths: Mapping[tuple[int, int], float] = SUPERTOKEN_LENGTHS,
    *,
    seed: int = 0,
    special_tokens: Sequence[str] = (),
    min_frequency: int = 2,
    max_token_length: int | None = 30,
    veto: Veto | None = None,
    units: Units = "auto",
    column: str = "text",
    weights: Sequence[int] | None = None,
    progress: bool = True,
) -> Tokenizer:
    """Train byte-level BPE on pieces of random lengths, so that tokens may begin and end anywhere and span words.

    Args:
        corpus: As in :func:`tokenloom.train.bpe`.
        vocab_size: As there.
        lengths: The fewest and the most characters of a piece, and how large a share of the pieces is of such a length.
        seed: The pieces of a document depend on this and on its bytes alone.
        special_tokens: As in :func:`tokenloom.train.bpe`.
        min_frequency: As there.
        max_token_length: As there.
        veto: As there.
        units: As there.
        column: As there.
        weights: As there.
        progress: As there.

    Returns:
        The tokenizer, which does not cut text before it is merged. Saved, it is a stock ``tokenizer.json``.

    Raises:
        ParamsError: A length or a share is not positive.
        TrainError: As in :func:`tokenloom.train.bpe`.

    Source:
        Sharthak, Pahalwan, Kamath, Shirawalmath, *Achieving Tokenizer Flexibility in Language Models through Heuristic
        Adaptation and Supertoken Learning* (2025).
    """
    ranges = [(size_of("length", low), size_of("length", high), float(share)) for (low, high), share in lengths.items()]
    if not ranges or any(low < 1 or high < low or not 0 < share < float("inf") for low, high, share in ranges):
        raise ParamsError(f"lengths must be ranges of at least one character with positive shares, found {lengths!r}")
    if not 0 <= seed < 1 << 64:
        raise ParamsError(f"seed must be between 0 and 2**64 - 1, found {seed}")
    start = start_of(special_tokens, None, None, (), None)
    longest = None if max_token_length is None else size_of("max_token_length", max_token_length)
    stage = StageFields(
        size_of("vocab_size", vocab_size), size_of("min_frequency", min_frequency), longest, veto or Veto()
    )
    blocks = ((_units_of(block), block.weight) for block in Reader(units, column, weights).blocks(corpus))
    words = _core.random_pieces(blocks, ranges, seed)
    with bar(progress) as shown:

        def report(kind: str, stage: int, n_done: int, n_total: int, n_pairs: int) -> None:
            shown.stage(f"{kind}, {n_pairs:,} pairs", n_done, n_total or None)

        trained = _train.run_stages(start, [(words, stage)], [], (1, None), report, None)
    return Tokenizer._wrap(CoreTokenizer(trained.spec([])))


def _units_of(block: Block) -> list[str | bytes]:
    if block.lines is None:
        return block.units or []
    # A line ends with a line feed and nothing else.
    parts = block.lines.split(b"\n")
    return [*(part + b"\n" for part in parts[:-1]), *parts[-1:]]


KL3M_SPECIAL_TOKENS = (
    "<|start|>",
    "<|end|>",
    "<|pad|>",
    "<|unk|>",
    "<|sep|>",
    "<|cls|>",
    "<|mask|>",
    "<|system|>",
    "</|system|>",
    "<|user|>",
    "</|user|>",
    "<|instruction|>",
    "</|instruction|>",
)
"""The special tokens of the published KL3M character tokenizers."""


def characters(
    corpus: Corpus,
    vocab_size: int = 4096,
    max_chars: int = 3,
    *,
    min_frequency: int = 10,
    normalizer: Literal["nfc", "nfd", "nfkc", "nfkd"] | None = "nfkc",
    special_tokens: Sequence[str] = KL3M_SPECIAL_TOKENS,
    pads: bool = True,
    units: Units = "auto",
    column: str = "text",
    progress: bool = True,
    threads: int | None = None,
) -> Tokenizer:
    """Train short tokens for noisy text, as the KL3M character tokenizers are trained.

    A preset of :func:`tokenloom.train.bpe`: the GPT-2 pattern, ``max_token_length=max_chars + 1``, and ``vocab_size``
    less the number of special tokens; runs of 2, 3, ... spaces and line feeds fill up to the next power of two.

    Args:
        corpus: As in :func:`tokenloom.train.bpe`.
        vocab_size: Tokens in the end, if it is a power of two and the corpus has pairs enough.
        max_chars: The most bytes in a token of more than two: ASCII characters.
        min_frequency: As in :func:`tokenloom.train.bpe`.
        normalizer: Which normal form text is brought to, in training and by the tokenizer.
        special_tokens: As in :func:`tokenloom.train.bpe`.
        pads: Whether to fill up. The runs are added tokens: they are cut out before merging.
        units: As in :func:`tokenloom.train.bpe`.
        column: As there.
        progress: As there.
        threads: As there.

    Returns:
        The tokenizer; with a normal form other than NFC the interpreted machine runs it. Saved, it is a stock
        ``tokenizer.json``.

    Raises:
        TrainError: As in :func:`tokenloom.train.bpe`.

    Source:
        Bommarito, Katz, Bommarito, *KL3M Tokenizers* (2025), and its training script.

    >>> import tokenloom as tl
    >>> tok = tl.lexica.characters(["of the law of the land"] * 9, 512, min_frequency=1, progress=False)
    >>> tok.vocab_size, tok.encode_list("the law") == tok.encode_list("ｔｈｅ law")
    (512, True)
    """
    form = None if normalizer is None else {"type": normalizer.upper()}
    forms = (None, "nfc", "nfd", "nfkc", "nfkd")
    if normalizer not in forms:
        raise ParamsError(f"normalizer must be one of {forms}, found {normalizer!r}")
    n_trained = size_of("vocab_size", vocab_size) - len(special_tokens)
    trained = bpe(
        _normalized(Reader(units, column).blocks(corpus), form),
        n_trained,
        patterns.GPT2,
        special_tokens=special_tokens,
        min_frequency=min_frequency,
        max_token_length=size_of("max_chars", max_chars) + 1,
        progress=progress,
        threads=threads,
    )
    file = json.loads(write_tokenizer_json(trained._core.spec))
    if form is not None:
        file["normalizer"] = {"type": "Sequence", "normalizers": [form]}
    if pads:
        n_tokens = trained.vocab_size
        n_pads = (1 << n_tokens.bit_length()) - n_tokens
        runs = [space * n for n in range(2, n_pads + 2) for space in (" ", "\n")][:n_pads]
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
        file["added_tokens"] += [{"id": n_tokens + at, "content": run, **flags} for at, run in enumerate(runs)]
    return Tokenizer.from_bytes(json.dumps(file).encode(), "tokenizer.json")


def _normalized(blocks: Iterable[Block], form: dict[str, str] | None) -> Iterator[str | bytes]:
    said = json.dumps(form).encode()
    for block in blocks:
        for unit in _units_of(block):
            if form is None:
                yield unit
            else:
                yield _pipeline.normalize(said, unit if isinstance(unit, str) else unit.decode(errors="replace"))


def less_is_better(
    corpus: Corpus,
    n_epochs: int = 10_000,
    *,
    seed: int = 0,
    life: int = 10,
    max_chars: int = 12,
    memory_in: float = 0.25,
    memory_out: float = 0.0001,
    update_rate: float = 0.2,
    max_gap: int = 2,
    units: Units = "documents",
    column: str = "text",
    progress: bool = True,
) -> Lexicon:
    """Learn chunks by reading: what comes together is remembered, what a shorter chunk reads as well is forgotten.

    Args:
        corpus: As in :func:`tokenloom.train.bpe`; every document is read line by line, and no chunk crosses a line.
        n_epochs: Documents that are read, each drawn by chance.
        seed: Of all chance.
        life: Documents that a chunk on probation lives without being used.
        max_chars: The most characters in a chunk.
        memory_in: How often two neighbours are proposed; what is proposed twice in a document is remembered.
        memory_out: Which part of the lexicon, from its end, is put on probation after each document.
        update_rate: By which part of its place a chunk moves when it is judged.
        max_gap: The most characters of an unknown run that is remembered.
        units: As in :func:`tokenloom.train.bpe`; ``"documents"`` takes a file as one.
        column: As there.
        progress: As there.

    Returns:
        The chunks in order of their worth.

    Raises:
        ParamsError: A parameter is out of its range.
        TrainError: The corpus is no corpus or damaged.

    Source:
        Yang, Frank, van den Bosch, *Less is Better* (2020), and the public code, without its skip-grams.

    >>> import tokenloom as tl
    >>> lexicon = tl.lexica.less_is_better(["thecatsatonthemat"] * 3, 300, progress=False)
    >>> "".join(lexicon.segment("thecat"))
    'thecat'
    """
    for name, value in (("memory_in", memory_in), ("memory_out", memory_out), ("update_rate", update_rate)):
        if not 0 <= value <= 1:
            raise ParamsError(f"{name} must be between 0 and 1, found {value}")
    for name, count_of in (("life", life), ("max_chars", max_chars)):
        if not 1 <= size_of(name, count_of) < 1 << 31:
            raise ParamsError(f"{name} must be between 1 and 2**31 - 1, found {count_of}")
    if not 0 <= seed < 1 << 64:
        raise ParamsError(f"seed must be between 0 and 2**64 - 1, found {seed}")
    sizes = size_of("n_epochs", n_epochs), life, max_chars
    fields = ReaderFields(*sizes, memory_in, memory_out, update_rate, size_of("max_gap", max_gap))
    documents = documents_of(Reader(units, column).blocks(corpus))
    with bar(progress) as shown:

        def report(kind: str, stage: int, n_done: int, n_total: int, n_pairs: int) -> None:
            shown.stage(f"reading, {n_pairs:,} chunks", n_done, n_total)

        return Lexicon(tuple(_core.train_less_is_better(documents, fields, seed, report)), max_chars)
