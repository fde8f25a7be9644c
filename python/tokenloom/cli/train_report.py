"""What did a training find, in plots that people can read?

Measured on a sample of the corpus through the public class: bytes per token at growing vocabularies (the tokenizer cut
back to its first merges), how often each merged token is used, the longest and the most frequent superwords, and tokens
per word by script. One HTML file without scripts, fonts or addresses; drawings are SVG.
"""

from __future__ import annotations

import json
import math
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from tokenloom.cli.inspect_page import STYLE
from tokenloom.cli.inspection import show

if TYPE_CHECKING:
    from tokenloom import Tokenizer

__all__ = ["Findings", "measure", "page"]

_N_SIZES = 12
_N_SHOWN = 25
_WIDTH, _HEIGHT, _MARGIN = 640, 260, 56


@dataclass(frozen=True)
class Findings:
    """What :func:`measure` found."""

    n_bytes: int
    """Of the sample."""
    vocab_size: int
    uses: list[int]
    """How often each merged token is used in the sample, most frequent first."""
    bytes_per_token: list[tuple[int, float]]
    """By vocabulary size."""
    longest: list[tuple[str, int]]
    """Superwords and their bytes; longest tokens where there are none."""
    most_frequent: list[tuple[str, int]]
    """Superwords and their uses; most frequent tokens of several bytes where there are none."""
    fertility: list[tuple[str, float, int]]
    """Script, tokens per word, words in the sample."""
    has_superwords: bool


def measure(tokenizer: Tokenizer, texts: Sequence[str]) -> Findings:
    """Measure a tokenizer on a sample of its corpus: one encoding of the sample for each vocabulary size."""
    n_bytes = sum(len(text.encode()) for text in texts)
    uses: Counter[int] = Counter()
    for text in texts:
        uses.update(tokenizer.encode_list(text))
    merged = {id: data for id, data in _tokens(tokenizer) if len(data) > 1}
    across = {id: data for id, data in merged.items() if b" " in data.strip(b" ")}
    shown = across or merged
    longest = sorted(shown.items(), key=lambda item: (-len(item[1]), item[0]))[:_N_SHOWN]
    frequent = sorted(shown.items(), key=lambda item: (-uses[item[0]], item[0]))[:_N_SHOWN]
    return Findings(
        n_bytes,
        tokenizer.vocab_size,
        sorted((uses[id] for id in merged if uses[id]), reverse=True),
        list(_curve(tokenizer, texts, n_bytes)),
        [(show(data), len(data)) for _, data in longest],
        [(show(data), uses[id]) for id, data in frequent],
        _fertility(tokenizer, texts),
        bool(across),
    )


def _tokens(tokenizer: Tokenizer) -> Iterable[tuple[int, bytes]]:
    special = set(tokenizer.special_tokens.values())
    return ((id, tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size) if id not in special)


def _curve(tokenizer: Tokenizer, texts: Sequence[str], n_bytes: int) -> Iterable[tuple[int, float]]:
    from tokenloom import Tokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(path)
        whole = json.loads(path.read_text())
    merges, vocab = whole["model"]["merges"], whole["model"]["vocab"]
    n_first = tokenizer.vocab_size - len(merges)
    for step in range(_N_SIZES + 1):
        n_merges = round(len(merges) * step / _N_SIZES)
        kept = {left + right for left, right in merges[:n_merges]}
        made = {left + right for left, right in merges[n_merges:]} - kept
        model = whole["model"] | {
            "merges": merges[:n_merges],
            "vocab": {token: id for token, id in vocab.items() if token not in made},
        }
        cut = Tokenizer.from_bytes(json.dumps(whole | {"model": model}).encode(), kind="tokenizer.json")
        n_tokens = sum(cut.count(text) for text in texts)
        yield n_first + n_merges, n_bytes / max(1, n_tokens)


def _fertility(tokenizer: Tokenizer, texts: Sequence[str]) -> list[tuple[str, float, int]]:
    words: dict[str, Counter[str]] = {}
    for text in texts:
        for word in text.split():
            script = _script(word)
            if script:
                words.setdefault(script, Counter())[word] += 1
    rows = []
    for script, counted in words.items():
        n_words = sum(counted.values())
        n_tokens = sum(tokenizer.count(" " + word) * n for word, n in counted.items())
        rows.append((script, n_tokens / n_words, n_words))
    return sorted(rows, key=lambda row: -row[2])


def _script(word: str) -> str | None:
    """The first word of the Unicode name of its first letter: LATIN, CYRILLIC, CJK."""
    letter = next((char for char in word if char.isalpha()), None)
    return None if letter is None else unicodedata.name(letter, "OTHER").split()[0].capitalize()


def page(name: str, found: Findings) -> str:
    """The page of one training."""
    from tokenloom import __version__

    kind = "superwords" if found.has_superwords else "tokens"
    uses = [(rank, n) for rank, n in enumerate(found.uses, 1)]
    parts = [
        f"<h1>{escape(name)}</h1>",
        f"<p>{found.vocab_size:,} ids, measured on {found.n_bytes:,} bytes of the corpus: "
        f"{found.bytes_per_token[-1][1]:.3f} bytes per token.</p>",
        "<h2>Bytes per token against vocabulary size</h2>",
        _plot(found.bytes_per_token, "ids", "bytes per token"),
        "<h2>How often the merged tokens are used</h2>",
        _plot([(math.log10(x), math.log10(y)) for x, y in uses], "rank", "uses", powers=True),
        f"<h2>Most frequent {kind}</h2>",
        _table(("token", "uses"), found.most_frequent),
        f"<h2>Longest {kind}</h2>",
        _table(("token", "bytes"), found.longest),
        "<h2>Tokens per word, by script</h2>",
        _table(("script", "tokens per word", "words"), found.fertility),
        f"<footer>tokenloom {escape(__version__)}</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(name)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(parts) + "\n</body></html>\n"
    )


def _plot(points: Sequence[tuple[float, float]], x_label: str, y_label: str, powers: bool = False) -> str:
    """A line through points; with ``powers`` both axes show ten to the power of the value."""
    if len(points) < 2:
        return "<p>Too little to draw.</p>"
    xs, ys = [x for x, _ in points], [y for _, y in points]
    (x_low, x_high), (y_low, y_high) = (min(xs), max(xs)), (min(ys), max(ys))
    x_span, y_span = (x_high - x_low) or 1.0, (y_high - y_low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = _MARGIN + (x - x_low) / x_span * (_WIDTH - _MARGIN - 12)
        down = 12 + (1 - (y - y_low) / y_span) * (_HEIGHT - _MARGIN)
        return round(across, 1), round(down, 1)

    def label(value: float) -> str:
        number = 10**value if powers else value
        return f"{number:,.0f}" if number >= 100 or powers else f"{number:.2f}"

    # A thousand points are a line; a hundred thousand are a slow page.
    thinned = [point for at, point in enumerate(points) if at % max(1, len(points) // 1000) == 0] + [points[-1]]
    line = " ".join("{},{}".format(*place(x, y)) for x, y in thinned)
    marks = []
    for step in range(5):
        x, y = x_low + x_span * step / 4, y_low + y_span * step / 4
        at_x, at_y = place(x, y_low)[0], place(x_low, y)[1]
        marks.append(f'<text x="{at_x}" y="{_HEIGHT - 26}" text-anchor="middle">{label(x)}</text>')
        marks.append(f'<text x="{_MARGIN - 6}" y="{at_y + 4}" text-anchor="end">{label(y)}</text>')
        marks.append(f'<path d="M{_MARGIN} {at_y}H{_WIDTH - 12}" stroke="#8884"/>')
    axes = (
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text x="12" y="{_HEIGHT / 2}" text-anchor="middle" '
        f'transform="rotate(-90 12 {_HEIGHT / 2})">{escape(y_label)}</text>'
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" font-size="11" fill="currentColor">{"".join(marks)}{axes}'
        f'<polyline points="{line}" fill="none" stroke="#4a90d9" stroke-width="2"/></svg>'
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, float] | tuple[str, float, int]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for first, *numbers in rows:
        cells = "".join(
            f'<td class="n">{number:,}</td>' if isinstance(number, int) else f'<td class="n">{number:.2f}</td>'
            for number in numbers
        )
        lines.append(f"<tr><td><code>{escape(first)}</code></td>{cells}</tr>")
    return "".join(lines) + "</table>"
