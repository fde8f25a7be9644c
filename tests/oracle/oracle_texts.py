"""The texts on which peers and tokenloom must agree."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

EDGE_TEXTS = (
    "",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t\t \t",
    "a",
    " a",
    "a ",
    "  a  ",
    "\x00",
    "a\x00b\x00\x00",
    "\x7f\x80\x9f\xa0\xad",
    "it's IT'S I'LL i've 'S's ''ll we'Re o\u2019clock \u017fo'\u017f 'D'd x'\u212ay",
    "1234567890 12 345 1,234,567.89 ٣٤٥ ५६७ ½²Ⅷ①",
    "a1b22c333d4444",
    "    four\n        eight\n\t\ttabs\n\n\n   \n",
    "trailing newline spaces   \n   ",
    "x\u0301e\u0301 \u0344 \u1e9b\u0323 \ufb01 \u212b \uac00 \u1100\u1161\u11a8",
    "e\u0301\u0302\u0303lan é\u0301lan e\u0301\u0301lan",
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f",
    "\u2028\u2029\u0085\u3000\u1680\u180e",
    "👨\u200d👩\u200d👧\u200d👦 🇹🇷🇩🇪 👍🏽 ❤\ufe0f 1\ufe0f\u20e3",
    "\U0001f600" * 50,
    "\U0010ffff\U000e0001\ufffd\ufffe\uffff\U0001fffe",
    "<|endoftext|>",
    "a<|endoftext|>b <|endoftext|> <|im_start|>user\nhi<|im_end|>",
    "<|endoftext|><|endoftext|>",
    "<|endoftext <|endoftext|",
    "<|begin|> text <|end|>  <|pad|>   x <tool> y  <tool>  NASA NASAs xNASA (NASA) nasa",
    "<｜begin▁of▁sentence｜>hello<｜end▁of▁sentence｜><｜User｜>",
    "<|begin_of_text|>x<|eot_id|>",
    "a" * 300,
    " " * 300,
    "\n" * 300,
    "ab" * 200,
    "=" * 100 + "-" * 100 + "/" * 33,
    "word " * 100,
    "中文字符" * 60,
    "한국어 텍스트 " * 20,
    "𝕳𝖊𝖑𝖑𝖔 ⅷ Ⅻ ﷽ ꧁꧂ 𓀀𓂀",
    "ÀÁÂÃ ÿþý \u00c0\u00f5",
    "Dž ǅ ǆ ŉ ǰ ΐ İ ı ß ẞ ſ K Å",
    "http://example.com/a/b//c///d?e=f&g=h#i /// //\n/\r\n//",
    "{{{[[[((()))]]]}}} !!!???...,,,;;;:::\n\n!!!\n",
)


def file_texts(test_data: Path) -> list[str]:
    """The committed multilingual text: as a whole, and line by line."""
    whole = (test_data / "multilingual.txt").read_bytes().decode()
    return [whole, *whole.splitlines(keepends=True)]


def udhr_texts(shared_data: Path | None, n_chars: int) -> list[str]:
    """The start of the declaration of human rights in every language there is."""
    if shared_data is None:
        return []
    return [path.read_text(encoding="utf-8")[:n_chars] for path in sorted((shared_data / "udhr").glob("*.txt"))]


_PIECES = (
    *"aAzZéÉßſıİñäяЯжΣςשםعةहि\u0301\u0302中日の한각1٣½²Ⅷ .,;:!?'\"’`-_/\\|<>()[]{}@#$%^&*+=~",
    *"\t\n\r\x0b\x0c\x00\x85\xa0\u2009\u3000\u2028\u200d\ufeff😀🏽🇹",
    "'s",
    "'S",
    "'ll",
    "'VE",
    " the",
    "ing",
    "  ",
    "\r\n",
    "\n\n",
    "123",
    "1234",
    "<|endoftext|>",
    "<|im_start|>",
    "<tool>",
    "NASA",
    "  \n",
    "://",
    "한국",
    "ありがとう",
    "e\u0301",
    "\u1100\u1161",
)


def random_texts(seed: int, n_texts: int, n_pieces: int = 24) -> list[str]:
    """Strings of interesting pieces and of arbitrary code points, drawn from ``seed``."""
    draw = random.Random(seed)
    texts = []
    for _ in range(n_texts):
        pieces = []
        for _ in range(draw.randrange(1, n_pieces)):
            if draw.random() < 0.85:
                pieces.append(draw.choice(_PIECES))
            else:
                point = draw.randrange(0x110000 - 0x800)
                pieces.append(chr(point if point < 0xD800 else point + 0x800))
        texts.append("".join(pieces))
    return texts


def all_points() -> list[int]:
    """Every code point that a text can hold."""
    return [*range(0xD800), *range(0xE000, 0x110000)]


def sampled_points() -> list[int]:
    """About 8,000 code points: those where the general category changes, and every 211th."""
    points = all_points()
    categories = [unicodedata.category(chr(point)) for point in points]
    changes = [i for i in range(1, len(points)) if categories[i] != categories[i - 1]]
    return sorted({points[i] for i in changes} | {points[i - 1] for i in changes} | set(points[::211]))


def points_in_context(points: list[int], n_per_text: int = 200) -> Iterator[str]:
    """Each code point between letters, digits, spaces, an apostrophe, newlines, and beside itself."""
    for start in range(0, len(points), n_per_text):
        chunk = [chr(point) for point in points[start : start + n_per_text]]
        yield "".join(f"a{c}b {c}d 1{c}2'{c}S  {c}{c}\n{c}\r\n!{c}." for c in chunk)


def all_points_in_context(n_per_text: int = 500) -> Iterator[str]:
    """Every assigned code point in the contexts above, and every code point there is after a letter and a space.

    Unassigned and private ones are alike but for their bytes: 900,000 of them in every context would be an hour of
    the slowest peer.
    """
    points = all_points()
    assigned = [point for point in points if unicodedata.category(chr(point)) not in ("Cn", "Co")]
    yield from points_in_context(assigned)
    for start in range(0, len(points), n_per_text):
        yield "".join(f"a{chr(point)} " for point in points[start : start + n_per_text])


def source_texts(root: Path) -> list[str]:
    """Program text of three languages: this repository's."""
    paths = [
        *root.glob("python/**/*.py"),
        *root.glob("rust/**/*.rs"),
        *root.glob("cuda/*.c*"),
        *root.glob("docs/**/*.md"),
    ]
    return [path.read_text(encoding="utf-8") for path in sorted(paths)]
