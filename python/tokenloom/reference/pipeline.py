"""The models of ``tokenizer.json`` by their definitions: short, slow, and the same answers.

Each function cuts one word into ``(token, start, end)`` with places in characters of the word. The definitions are
those of Hugging Face ``tokenizers``: Kudo, "Subword Regularization", ACL 2018 (Unigram); Wu et al., "Google's Neural
Machine Translation System", 2016 (WordPiece).
"""

from __future__ import annotations

Token = tuple[str, int, int]

UNKNOWN_PENALTY = 10.0


def word_piece(word: str, vocab: set[str], unk: str, prefix: str = "##", max_chars: int = 100) -> list[Token]:
    """The longest token at each place; inside the word with the prefix. One misfit and the whole word is unknown."""
    tokens: list[Token] = []
    start = 0
    while start < len(word) <= max_chars:
        inside = prefix if start else ""
        ends = [end for end in range(len(word), start, -1) if inside + word[start:end] in vocab]
        if not ends:
            break
        tokens.append((inside + word[start : ends[0]], start, ends[0]))
        start = ends[0]
    return tokens if start == len(word) else [(unk, 0, len(word))]


def unigram(word: str, scores: dict[str, float], unk: str) -> list[Token]:
    """The segmentation of the highest score, the one found first on ties; neighbouring unknown ones are one token.

    A place keeps the first best arc that ends there. Arcs are tried by their start, then the shorter first; an unknown
    character comes last and scores ten less than the lowest token.
    """
    unknown_score = min(scores.values()) - UNKNOWN_PENALTY
    best: list[tuple[float, int, bool] | None] = [(0.0, 0, False)] + [None] * len(word)
    for start in range(len(word)):
        here = best[start]
        assert here is not None  # every character is an arc, a token or unknown
        arcs = [(end, scores[word[start:end]]) for end in range(start + 1, len(word) + 1) if word[start:end] in scores]
        unknown = [] if word[start] in scores else [(start + 1, unknown_score)]
        for end, score, is_unknown in [(*arc, word[start : arc[0]] == unk) for arc in arcs] + [
            (*arc, True) for arc in unknown
        ]:
            there = best[end]
            if there is None or here[0] + score > there[0]:
                best[end] = (here[0] + score, start, is_unknown)
    tokens: list[Token] = []
    end, joins = len(word), False
    while end > 0:
        arc = best[end]
        assert arc is not None
        _, start, is_unknown = arc
        if is_unknown and joins:
            end_of_run = tokens.pop()[2]
            tokens.append((word[start:end_of_run], start, end_of_run))
        else:
            tokens.append((word[start:end], start, end))
        end, joins = start, is_unknown
    return tokens[::-1]
