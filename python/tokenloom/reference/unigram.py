"""How are Unigram pieces trained? The rule, without a trie, a suffix array or blocks.

``tokenloom.compat.tokenizers.trainers.UnigramTrainer`` gives the same pieces, with scores equal up to the last bits.
Sources: Kudo, *Subword Regularization* (2018), section 3.2; the trainer of Hugging Face ``tokenizers``, whose steps
these are.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["best_cut", "expected", "maximized", "pruned", "seeds", "train"]

Pieces = list[tuple[str, float]]
Arc = tuple[int, int, int]
UNKNOWN = 0


def train(
    words: Mapping[str, int],
    vocab_size: int,
    special_tokens: Sequence[str] = (),
    initial_alphabet: Sequence[str] = (),
    shrinking_factor: float = 0.75,
    unk_token: str | None = None,
    max_piece_length: int = 16,
    n_sub_iterations: int = 2,
) -> Pieces:
    """Pieces by id with their scores."""
    words = dict(sorted(words.items()))
    pieces = seeds(words, max_piece_length)
    wanted = vocab_size * 11 // 10
    while True:
        for _ in range(n_sub_iterations):
            pieces = maximized(pieces, expected(pieces, words))
        if len(pieces) <= wanted:
            break
        pieces = pruned(pieces, words, max(wanted, int(len(pieces) * shrinking_factor)))
    special = [*([] if unk_token is None or unk_token in special_tokens else [unk_token]), *special_tokens]
    scores, n_missing = dict(pieces), 0
    found: dict[str, float] = {}
    for char in sorted({*initial_alphabet}.union(*words)):
        if char not in scores:
            scores[char] = min(score for _, score in pieces[1:]) + n_missing * 0.0001
            n_missing += 1
        found[char] = scores[char]
    for text, score in pieces[1:]:
        if text not in found:
            found[text] = score
            if len(found) == vocab_size - len(special):
                break
    return [(token, 0.0) for token in special] + sorted(found.items(), key=lambda piece: -piece[1])


def seeds(words: Mapping[str, int], max_piece_length: int) -> Pieces:
    """What training starts from: characters, by how often they occur, then repeated substrings.

    Those stand before two different characters, where all ends of words are one, and are ordered by the characters
    that they cover in the distinct words.
    """
    singles: Counter[str] = Counter()
    n_places: Counter[str] = Counter()
    followers = defaultdict(set)
    for word, count in words.items():
        for start, char in enumerate(word):
            singles[char] += count
            for end in range(start + 2, min(len(word), start + max_piece_length) + 1):
                n_places[word[start:end]] += 1
                followers[word[start:end]].add(word[end : end + 1])
    repeats = {text: n_places[text] * len(text) for text, following in followers.items() if len(following) > 1}

    def heaviest(weights: Mapping[str, int]) -> list[tuple[str, int]]:
        return sorted(weights.items(), key=lambda item: (item[1], item[0]), reverse=True)

    weighted = [*heaviest(singles), *heaviest(repeats)]
    total = math.log(sum(weight for _, weight in weighted))
    return [("<UNK>", math.nan), *((text, math.log(weight) - total) for text, weight in weighted)]


def expected(pieces: Pieces, words: Mapping[str, int]) -> list[float]:
    """How often each piece is expected in the words: the E step."""
    sums, scores = [0.0] * len(pieces), _scores(pieces)
    arcs_of = _lattice(pieces)
    for word, count in words.items():
        arcs = list(arcs_of(word))
        forward, backward = _sums(arcs, len(word), scores), _sums(_turned(arcs, len(word)), len(word), scores)[::-1]
        for start, end, piece in arcs:
            sums[piece] += count * math.exp(forward[start] + scores[piece] + backward[end] - forward[len(word)])
    return sums


def maximized(pieces: Pieces, counts: Sequence[float]) -> Pieces:
    """Scores that follow from the counts, with a prior for few pieces: the M step.

    Pieces below a half go, but not the unknown one.
    """
    kept = [(text, count) for (text, _), count in list(zip(pieces, counts, strict=True))[1:] if count >= 0.5]
    total = _digamma(sum(count for _, count in kept))
    return [pieces[0], *((text, _digamma(count) - total) for text, count in kept)]


def pruned(pieces: Pieces, words: Mapping[str, int], n_wanted: int) -> Pieces:
    """The pieces that the corpus would miss most if the best other cut stood in the place of each."""
    arcs_of, scores = _lattice(pieces), _scores(pieces)
    counts = [0] * len(pieces)
    for word, count in words.items():
        for piece in best_cut(list(arcs_of(word)), len(word), scores)[0]:
            counts[piece] += count
    total, kept, losses = sum(counts), [0], []
    for id, (text, score) in enumerate(pieces[1:], 1):
        others, other_score = best_cut([arc for arc in arcs_of(text) if arc[2] != id], len(text), scores)
        if not others or (counts[id] and other_score > score):
            kept.append(id)
        elif counts[id] and other_score <= score:
            # By the number of all pieces, as in the trainers of tokenizers and SentencePiece; not of the others alone.
            new_total = math.log(total + counts[id] * (len(pieces) - 1))
            other = sum(math.log(counts[piece] + counts[id]) - new_total for piece in others)
            losses.append((counts[id] * (math.log(counts[id]) - math.log(total) - other), id))
    losses.sort(key=lambda loss: -loss[0])
    kept += [id for _, id in losses[: n_wanted - len(kept)]]
    return [pieces[id] for id in kept]


def best_cut(arcs: Sequence[Arc], n_chars: int, scores: Sequence[float]) -> tuple[list[int], float]:
    """The pieces of the best way along the arcs, and its score; none if there is no way."""
    ways: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for start, end, piece in arcs:
        if start in ways:
            score = ways[start][0] + scores[piece]
            if end not in ways or score > ways[end][0]:
                ways[end] = (score, [*ways[start][1], piece])
    score, cut = ways.get(n_chars, (-math.inf, []))
    return cut, score


def _lattice(pieces: Pieces) -> Callable[[str], Iterator[Arc]]:
    """Where pieces stand in a word, by start, then by end; a character that is none is the unknown one."""
    ids = {text: id for id, (text, _) in enumerate(pieces) if id != UNKNOWN}
    longest = max(map(len, ids), default=0)

    def arcs_of(word: str) -> Iterator[Arc]:
        for start in range(len(word)):
            for end in range(start + 1, min(len(word), start + longest) + 1):
                if word[start:end] in ids:
                    yield start, end, ids[word[start:end]]
            if word[start] not in ids:
                yield start, start + 1, UNKNOWN

    return arcs_of


def _scores(pieces: Pieces) -> list[float]:
    """Of the unknown piece: ten below the lowest."""
    known = [score for _, score in pieces[1:]]
    return [min(known) - 10, *known]


def _sums(arcs: Sequence[Arc], n_chars: int, scores: Sequence[float]) -> list[float]:
    """The logarithm of the sum of all ways to each place."""
    sums = [0.0] + [-math.inf] * n_chars
    for start, end, piece in arcs:
        low, high = sorted((sums[end], sums[start] + scores[piece]))
        sums[end] = high + math.log1p(math.exp(low - high))
    return sums


def _turned(arcs: Sequence[Arc], n_chars: int) -> list[Arc]:
    return sorted((n_chars - end, n_chars - start, piece) for start, end, piece in arcs)


def _digamma(x: float) -> float:
    """The derivative of the logarithm of the gamma function."""
    shift = 0.0
    while x < 7:
        shift -= 1 / x
        x += 1
    x -= 0.5
    series = 1 / 24 / x**2 - 7 / 960 / x**4 + 31 / 8064 / x**6 - 127 / 30720 / x**8
    return shift + math.log(x) + series
