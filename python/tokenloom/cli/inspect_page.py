"""What does an inspection look like as a page?

One HTML file without scripts, fonts or addresses: it opens anywhere, prints, and follows the reader's light or dark
setting. Everything that comes from the tokenizer or the text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from tokenloom.cli.inspection import Inspection, Piece, show

__all__ = ["STYLE", "page"]

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #8889; --bar: #4a90d9; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; } td:first-child { white-space: nowrap; }
td.n { text-align: right; font-variant-numeric: tabular-nums; width: 6rem; }
code, .cut { font-family: ui-monospace, monospace; font-size: .9rem; }
.bar { background: var(--bar); height: .8rem; border-radius: 2px; min-width: 1px; }
.cut { line-height: 2; white-space: pre-wrap; overflow-wrap: anywhere; }
.cut span { border-radius: 3px; padding: .1rem 0; color: #111; }
.c0 { background: #a6cee3; } .c1 { background: #fdbf6f; } .c2 { background: #b2df8a; }
.c3 { background: #fb9a99; } .c4 { background: #cab2d6; } .c5 { background: #ffff99; }
.cut .s { background: #c0182b; color: #fff; }
.dim { color: var(--dim); } footer { margin-top: 3rem; color: var(--dim); font-size: .85rem; }
"""
_N_COLOURS = 6
_MAX_LENGTHS = 32


def page(name: str, found: Inspection, text: str, pieces: list[Piece]) -> str:
    """The page of one tokenizer."""
    from tokenloom import __version__
    from tokenloom.cli.inspect import facts

    n_bytes = len(text.encode("utf-8", "surrogatepass"))
    ratio = n_bytes / max(1, len(pieces))
    steps = [(stage["part"], stage["action"], stage["engine"]) for stage in found.stages]
    special = [(name, str(token)) for name, token in list(found.special_tokens.items())[:100]]
    more = f'<p class="dim">and {found.n_special - len(special):,} more</p>' if found.n_special > len(special) else ""
    sections = [
        f"<h1>{escape(name)}</h1>",
        f"<h2>A text, cut</h2><p>{n_bytes:,} bytes, {len(pieces):,} tokens, {ratio:.2f} bytes per token. "
        "Point at a token for its id.</p>",
        f'<div class="cut">{"".join(_span(at, piece) for at, piece in enumerate(pieces))}</div>',
        "<h2>From text to ids</h2>",
        _table(("step", "what it does", "engine"), steps),
        "<h2>Vocabulary</h2>",
        _table(("property", "value"), facts(found)),
        "<h2>Tokens by length in bytes</h2>",
        _lengths(found),
        "<h2>Longest tokens</h2>",
        _tokens(found.longest),
        "" if found.n_not_reached is None else f"<h2>Not reached by their own bytes ({found.n_not_reached:,})</h2>",
        "" if found.n_not_reached is None else (_tokens(found.not_reached) if found.not_reached else "<p>None.</p>"),
        f"<h2>Special tokens ({found.n_special:,})</h2>",
        (_table(("token", "id"), special) if special else "<p>None.</p>") + more,
        f"<footer>tokenloom {escape(__version__)}</footer>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(name)}</title>'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _span(at: int, piece: Piece) -> str:
    kind = "s" if piece.special else f"c{at % _N_COLOURS}"
    title = escape(f"{piece.id}: {piece.data!r}", quote=True)
    ending = "\n" if b"\n" in piece.data else ""
    return f'<span class="{kind}" title="{title}">{escape(show(piece.data))}</span>{ending}'


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["<table><tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "".join(lines) + "</table>"


def _lengths(found: Inspection) -> str:
    shown = {length: n for length, n in found.n_tokens_by_length.items() if length <= _MAX_LENGTHS}
    rest = sum(found.n_tokens_by_length.values()) - sum(shown.values())
    rows = [(str(length), n) for length, n in shown.items()] + ([(f"> {_MAX_LENGTHS}", rest)] if rest else [])
    most = max((n for _, n in rows), default=1)
    cells = (
        f'<tr><td class="n">{escape(label)}</td><td class="n">{n:,}</td>'
        f'<td><div class="bar" style="width:{100 * n / most:.1f}%"></div></td></tr>'
        for label, n in rows
    )
    return "<table><tr><th>bytes</th><th>tokens</th><th></th></tr>" + "".join(cells) + "</table>"


def _tokens(rows: list[dict[str, object]]) -> str:
    cells = (
        f'<tr><td class="n">{row["id"]}</td><td class="n">{row["n_bytes"]}</td>'
        f"<td><code>{escape(str(row['text']))}</code></td></tr>"
        for row in rows
    )
    return "<table><tr><th>id</th><th>bytes</th><th>token</th></tr>" + "".join(cells) + "</table>"
