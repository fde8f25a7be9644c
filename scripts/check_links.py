"""Does every relative link in the documentation lead somewhere?

Checks files and headings (``page.md#heading``) in all tracked Markdown; addresses on the web are not asked.

    python scripts/check_links.py       # exit status 1 and one line a dead link
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The heading anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def dead_links(page: Path) -> list[str]:
    """One line for every link of ``page`` that leads nowhere."""
    found = []
    for target in LINK.findall(CODE.sub("", _prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        if not path.exists():
            found.append(f"{page.relative_to(ROOT)}: {target}: no such file")
        elif anchor and path.suffix == ".md" and anchor not in _anchors(path):
            found.append(f"{page.relative_to(ROOT)}: {target}: no such heading")
    return found


if __name__ == "__main__":
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    pages = [ROOT / name for name in listing if (ROOT / name).exists()]
    dead = [line for page in pages for line in dead_links(page)]
    print("\n".join(dead) or f"links: {len(pages)} pages, none dead")
    sys.exit(bool(dead))
