"""How does Less is Better learn a lexicon? The rule on lists and dictionaries.

Source: Yang, Frank, van den Bosch, *Less is Better: A cognitively inspired unsupervised model for language
segmentation* (2020), and the code at ray306/LiB, without its skip-grams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["LessIsBetter", "ends"]


@dataclass
class LessIsBetter:
    """A reader: ``lexicon`` is in order, ``uniform(epoch, draw)`` its chance."""

    uniform: Callable[[int, int], float]
    life: int = 10
    max_chars: int = 12
    memory_in: float = 0.25
    memory_out: float = 0.0001
    update_rate: float = 0.2
    max_gap: int = 2
    lexicon: list[str] = field(default_factory=list)
    probation: dict[str, int] = field(default_factory=dict)

    def train(self, documents: Sequence[Sequence[str]], n_epochs: int) -> None:
        """Reads one document of chance after the other."""
        self.lexicon = sorted({character for document in documents for sentence in document for character in sentence})
        self.probation = dict.fromkeys(self.lexicon, self.life)
        for epoch in range(n_epochs if documents else 0):
            self.draws = iter(range(1, 1 << 32))
            self.judged: list[tuple[str, int]] = []
            self.proposed: set[str] = set()
            for sentence in documents[int(self.uniform(epoch, 0) * len(documents))]:
                self.read(sentence, lambda: self.uniform(epoch, next(self.draws)) < self.memory_in)  # noqa: B023
            self.update()

    def match(self, text: str) -> list[str]:
        """The chunks that ``text`` begins with, the longest first."""
        sizes = range(min(self.max_chars, len(text)), 0, -1)
        return [text[:n] for n in sizes if text[:n] in self.lexicon]

    def read(self, sentence: str, chance: Callable[[], bool]) -> None:
        """Cuts a sentence by the longest chunks, proposes new ones and judges old ones."""
        tests: dict[str, Any] = {}
        last, is_known, at = "", False, 0
        while at < len(sentence):
            tests = {chunk: test for chunk, test in tests.items() if not self.judge(chunk, test, sentence, at)}
            longest, shorter, *_ = [*self.match(sentence[at:]), "", ""]
            for test in tests.values():
                test["read"].append(longest)
            if not longest:
                last, is_known, at = ("" if is_known else last) + sentence[at], False, at + 1
                continue
            if 2 + len(longest) <= self.max_chars and chance():
                proposal = last + longest if is_known else last
                if last and len(proposal) <= (self.max_chars if is_known else self.max_gap):
                    self.propose(proposal)
            if len(longest) > 1 and shorter:
                tests[longest] = {"end": at + len(shorter), "read": [longest], "other": [shorter]}
            else:
                self.probation.pop(longest, None)
            last, is_known, at = longest, True, at + len(longest)

    def propose(self, chunk: str) -> None:
        """What is proposed twice in a document is remembered."""
        if chunk in self.lexicon:
            return
        if chunk in self.proposed:
            self.proposed.remove(chunk)
            self.lexicon.append(chunk)
        else:
            self.proposed.add(chunk)

    def judge(self, chunk: str, test: dict[str, Any], sentence: str, at: int) -> bool:
        """Whether both ways of reading meet at ``at``; the longer chunk is then judged."""
        while test["end"] < at:
            found = (self.match(sentence[test["end"] :]) or [""])[0]
            test["other"].append(found)
            test["end"] += len(found) or 1
        if test["end"] != at:
            return False
        read, other = test["read"], test["other"]
        unknown = (read.count(""), other.count(""))
        # The shorter way counts its unknown characters as chunks, the longer one does not.
        n_chunks = (len(read) - unknown[0], len(other))
        places = [sum(self.lexicon.index(c) for c in way if c in self.lexicon) for way in (read, other)]
        is_worse = n_chunks[0] > n_chunks[1] or (n_chunks[0] == n_chunks[1] and places[0] > places[1])
        if unknown[0] > unknown[1] or (unknown[0] == unknown[1] and is_worse):
            self.judged += [(chunk, 1), *((shorter, -1) for shorter in self.match(chunk[:-1])[:1])]
        else:
            self.judged.append((chunk, -1))
            self.probation.pop(chunk, None)
        return True

    def update(self) -> None:
        """Forgets what lived long enough unused, moves what was judged, puts the end of the lexicon on probation."""
        gone = {chunk for chunk, life in self.probation.items() if life <= 1}
        self.probation = {chunk: life - 1 for chunk, life in self.probation.items() if life > 1}
        self.lexicon = [chunk for chunk in self.lexicon if chunk not in gone]
        for chunk, sign in self.judged:
            place = self.lexicon.index(chunk) if chunk in self.lexicon else 0
            if place > 0:
                self.lexicon.pop(place)
                to = place + sign * (int(place * self.update_rate) + 1)
                if to <= len(self.lexicon):
                    self.lexicon.insert(max(to, 0), chunk)
        for chunk in self.lexicon[int((1 - self.memory_out) * len(self.lexicon)) :]:
            self.probation.setdefault(chunk, self.life)


def ends(lexicon: Sequence[str], text: str, max_chars: int) -> list[str]:
    """A text cut by the longest chunks that match."""
    reader = LessIsBetter(lambda epoch, draw: 0.0, max_chars=max_chars, lexicon=list(lexicon))
    out = []
    while text:
        out.append((reader.match(text) or [text[0]])[0])
        text = text[len(out[-1]) :]
    return out
