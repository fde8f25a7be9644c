"""How does an encoding look? :class:`EncodingVisualizer` of ``tokenizers.tools``.

Example:
    >>> from tokenloom.compat.tokenizers import Tokenizer, models
    >>> from tokenloom.compat.tokenizers.tools import Annotation, EncodingVisualizer
    >>> draw = EncodingVisualizer(Tokenizer(models.WordLevel({"hi": 0}, unk_token="hi")), default_to_notebook=False)
    >>> 'data-label="GREETING"' in draw("hi", [Annotation(0, 2, "GREETING")])
    True
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from tokenloom.compat.tokenizers import Encoding, Tokenizer
from tokenloom.errors import MissingDependencyError

__all__ = ["Annotation", "EncodingVisualizer"]

_STYLE = """
.tokenized-text { font: 1.1rem/2.6 monospace; padding: 1rem; }
.token, .non-token { white-space: pre-wrap; padding: .2rem 0; }
.even-token { background: #cfe8fc; color: #111; }
.odd-token { background: #fde3b8; color: #111; }
.multi-token { text-decoration: underline wavy; }
.special-token { outline: 1px solid #b00; }
.annotation { border-bottom: .25rem solid currentColor; padding-bottom: .3rem; }
.annotation::after { content: attr(data-label); font-size: .7rem; vertical-align: sub; }
"""


class Annotation:
    """A label of a part of a text.

    Args:
        start: Its first character.
        end: The character behind its last one.
        label: What it is.
    """

    start: int
    end: int
    label: str

    def __init__(self, start: int, end: int, label: str) -> None:
        self.start = start
        self.end = end
        self.label = label


class EncodingVisualizer:
    """Draws a text as HTML, its tokens in two colours in turn, its annotations as underlines.

    Args:
        tokenizer: Encodes the texts.
        default_to_notebook: Show pages in a notebook, which needs IPython, instead of returning them.
        annotation_converter: Makes an :class:`Annotation` of what calls are given as one.

    Raises:
        ImportError: IPython is asked for and not installed.
    """

    unk_token_regex = re.compile(r"\b(unk|oov)\b", re.IGNORECASE)

    def __init__(
        self,
        tokenizer: Tokenizer,
        default_to_notebook: bool = True,
        annotation_converter: Callable[[Any], Annotation] | None = None,
    ) -> None:
        if default_to_notebook:
            _notebook()
        self.tokenizer = tokenizer
        self.default_to_notebook = default_to_notebook
        # The name has this spelling in the library.
        self.annotation_coverter = annotation_converter

    def __call__(
        self, text: str, annotations: Iterable[Any] | None = None, default_to_notebook: bool | None = None
    ) -> str | None:
        """Draw a text.

        Args:
            text: It is encoded with special tokens, which have no characters and are not drawn.
            annotations: Parts to label; where two overlap, the later one is drawn.
            default_to_notebook: Other than the visualizer's setting.

        Returns:
            The page, or ``None`` where it was shown.
        """
        shows = self.default_to_notebook if default_to_notebook is None else default_to_notebook
        notebook = _notebook() if shows else None
        convert = self.annotation_coverter or (lambda annotation: annotation)
        page = self._page(text, self.tokenizer.encode(text), [convert(each) for each in annotations or ()])
        if notebook is None:
            return page
        notebook.display(notebook.HTML(page))
        return None

    @staticmethod
    def calculate_label_colors(annotations: list[Annotation]) -> dict[str, str]:
        """A colour for each label: hues at equal steps, in the order of the labels."""
        labels = sorted({annotation.label for annotation in annotations})
        step = max(255 // len(labels), 20) if labels else 0
        return {label: f"hsl({10 + step * place},32%,64%)" for place, label in enumerate(labels)}

    def _page(self, text: str, encoding: Encoding, annotations: list[Annotation]) -> str:
        tokens: list[list[int]] = [[] for _ in text]
        for place in range(len(encoding)):
            for char in range(*(encoding.token_to_chars(place) or (0, 0))):
                tokens[char].append(place)
        labels: list[int | None] = [None] * len(text)
        for number, annotation in enumerate(annotations):
            inside = range(len(text))[max(annotation.start, 0) : max(annotation.end, 0)]
            for char in inside:
                labels[char] = number
        colors = self.calculate_label_colors(annotations)
        strings = encoding.tokens
        drawn = []
        for number, chars in itertools.groupby(range(len(text)), lambda char: labels[char]):
            runs = itertools.groupby(chars, lambda char: tokens[char][:1])
            spans = "".join(self._span(text, list(run), tokens, strings) for _, run in runs)
            if number is None:
                drawn.append(spans)
            else:
                label = annotations[number].label
                style = f'style="color:{colors[label]}" data-label="{escape(label)}"'
                drawn.append(f'<span class="annotation" {style}>{spans}</span>')
        return (
            f'<html><head><meta charset="utf-8"><style>{_STYLE}</style></head>\n'
            f'<body><div class="tokenized-text" dir="auto">{"".join(drawn)}</div></body></html>\n'
        )

    def _span(self, text: str, chars: list[int], tokens: list[list[int]], strings: list[str]) -> str:
        """The element of characters next to each other that are of the same token."""
        shown = escape(text[chars[0] : chars[-1] + 1])
        of = tokens[chars[0]]
        if not of:
            return f'<span class="non-token">{shown}</span>'
        names = ["token", "odd-token" if of[0] % 2 else "even-token"]
        names += ["multi-token"] if len(of) > 1 else []
        data = ""
        if self.unk_token_regex.search(strings[of[0]]):
            names.append("special-token")
            data = f' data-stok="{escape(strings[of[0]])}"'
        return f'<span class="{" ".join(names)}"{data}>{shown}</span>'


def _notebook() -> Any:
    try:
        from IPython import display
    except ImportError:
        raise MissingDependencyError(
            "install IPython to show pages in a notebook, or pass default_to_notebook=False for the HTML"
        ) from None
    return display
