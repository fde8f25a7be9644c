"""Adaptive weighted rejection sampling: the race of blocks, the estimators, and resampling."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from tokenloom.reference import rng

BLOCK = 256
KEYS, CLOCKS, MOVES, CHOICES, FAILURES = range(4, 9)
RESAMPLE = 1 << 30

Check = Callable[[int], bool]


class Race:
    """An urn: tokens leave it in the order of an exponential race between blocks and within them."""

    def __init__(self, probs: Sequence[float], seed: int, position: int) -> None:
        self.probs, self.seed, self.position = probs, seed, position
        self.unseen = {token for token, p in enumerate(probs) if p > 0}
        self.order: list[int] | None = None
        self.n_choices = self.n_failures = 0

    def wait(self, address: int, purpose: int) -> float:
        """A standard exponential number."""
        return rng.exponential(self.seed, self.position, address, purpose)

    def rest(self) -> float:
        """The mass of what is unseen."""
        return math.fsum(self.probs[token] for token in self.unseen)

    def heaviest(self, n: int) -> list[int]:
        """The unseen tokens of most mass leave the urn."""
        found = sorted(self.unseen, key=lambda token: (-self.probs[token], token))[:n]
        self.unseen -= set(found)
        return found

    def remove(self, tokens: Iterable[int]) -> list[int]:
        """Those of the tokens that are unseen leave the urn."""
        found = [token for token in tokens if token in self.unseen]
        self.unseen -= set(found)
        return found

    def draw(self) -> int | None:
        """The next token to arrive leaves the urn."""
        if self.order is None:
            self.order = self.race()
        if not self.order:
            return None
        token = self.order.pop(0)
        self.unseen.discard(token)
        return token

    def race(self) -> list[int]:
        """All unseen tokens in the order in which they arrive."""
        arrivals = []
        for block in range(-(-len(self.probs) // BLOCK)):
            left = [token for token in range(block * BLOCK, (block + 1) * BLOCK) if token in self.unseen]
            left.sort(key=lambda token: self.wait(token, KEYS) / self.probs[token])
            # Whoever comes first, something of the block comes at the rate of all that is left of it.
            time, wait = 0.0, self.wait(block, CLOCKS)
            while left:
                time += wait / math.fsum(self.probs[token] for token in left)
                arrivals.append((time, left[0]))
                wait = self.wait(left.pop(0), MOVES)
        return [token for _, token in sorted(arrivals)]

    def choose(self, masses: Sequence[float]) -> int:
        """An index, in proportion to the masses."""
        times = {}
        for index, mass in enumerate(masses):
            if mass > 0:
                times[index] = self.wait(self.n_choices, CHOICES) / mass
                self.n_choices += 1
        return min(times, key=lambda index: times[index])

    def failures(self, share: float) -> float:
        """Failed trials before the first success."""
        self.n_failures += 1
        return math.floor(-self.wait(self.n_failures, FAILURES) / math.log1p(-share)) if share < 1 else 0


def known_mass(
    urn: Race,
    check: Check,
    top_m: int = 0,
    extra: int = 1,
    budget: int | None = None,
    facts: Mapping[int, bool] | None = None,
) -> tuple[int, float, int]:
    """Token, weight and number of checks; ``(-1, 0.0, n_checks)`` where nothing was found to be allowed.

    With the defaults it is the recursive estimator. ``facts`` are verdicts that need no asking.
    """
    left = budget or len(urn.probs) + extra + 1
    facts = facts or {}
    known = {token: urn.probs[token] for token in urn.remove(facts) if facts[token]}
    n_checks = 0

    def is_allowed(token: int) -> bool:
        nonlocal n_checks
        n_checks += 1
        return bool(check(token))

    for token in urn.heaviest(min(top_m, left - 1)):
        if is_allowed(token):
            known[token] = urn.probs[token]
    found = -1
    while found < 0:
        allowed, unseen = math.fsum(known.values()), urn.rest()
        if unseen == 0 or left - n_checks == 1:
            last = urn.draw() if unseen else None
            if last is not None and is_allowed(last):
                known[last] = unseen  # it stands for everything unseen
            return _one_of(urn, known), math.fsum(known.values()), n_checks
        if allowed > 0 and urn.choose([allowed, unseen]) == 0:
            found = _one_of(urn, known)
            continue
        drawn = urn.draw()
        assert drawn is not None
        if is_allowed(drawn):
            found, known[drawn] = drawn, urn.probs[drawn]
    weight = math.fsum(known.values())
    for n_left in reversed(range(min(extra, left - n_checks))):
        unseen = urn.rest()
        another = urn.draw()
        if another is None:
            break
        if is_allowed(another):
            known[another] = urn.probs[another] if n_left else unseen
        weight = math.fsum(known.values())
    return found, weight, n_checks


def _one_of(urn: Race, known: dict[int, float]) -> int:
    if len(known) < 2:
        return next(iter(known), -1)
    return list(known)[urn.choose(list(known.values()))]


def geometric(
    urn: Race, check: Check, accepts: int = 2, budget: int | None = None, facts: Mapping[int, bool] | None = None
) -> tuple[int, float, int]:
    """The same from draws with replacement: a rejected token may come up again, an allowed one too."""
    facts = facts or {}
    total, found = urn.rest(), -1
    recalled = urn.remove(facts)
    first = {token: urn.probs[token] for token in recalled if facts[token]}
    known = math.fsum(first.values())
    most_rejects = math.inf if budget is None else max(1, budget - accepts + 1)
    n_checks, n_accepted, n_rejected = 0, 0, 0.0
    has_rejected = len(recalled) > len(first)
    while n_accepted < accepts and n_rejected < most_rejects:
        unseen = urn.rest()
        if known + unseen == 0:
            break
        if has_rejected:
            n_rejected += urn.failures((known + unseen) / total)
            if n_rejected >= most_rejects:
                break
        if known > 0 and urn.choose([known, unseen]) == 0:
            n_accepted += 1
            found = _one_of(urn, first) if found < 0 else found
            continue
        token = urn.draw()
        assert token is not None
        n_checks += 1
        if check(token):
            n_accepted += 1
            found = token if found < 0 else found
            known += urn.probs[token]
        else:
            n_rejected += 1
            has_rejected = True
    if found < 0:
        return -1, 0.0, n_checks
    n_draws = n_accepted + min(n_rejected, most_rejects)
    return found, total * min(accepts - 1, n_accepted) / (n_draws - 1), n_checks


def resample(weights: Sequence[float], scheme: str, seed: int, position: int) -> list[int]:
    """The ancestors of as many particles as there are weights, ascending."""
    n, total = len(weights), math.fsum(weights)

    def uniform(i: int) -> float:
        return rng.uniform(seed, position, i, RESAMPLE)

    if scheme == "stratified":
        return _invert(weights, [(i + uniform(i)) / n for i in range(n)])
    if scheme == "systematic":
        return _invert(weights, [(i + uniform(0)) / n for i in range(n)])
    if scheme == "multinomial":
        return _invert(weights, sorted(uniform(i) for i in range(n)))
    whole = [i for i, weight in enumerate(weights) for _ in range(int(n * weight / total))]
    parts = [n * weight / total % 1.0 for weight in weights]
    return sorted(whole + _invert(parts, sorted(uniform(i) for i in range(n - len(whole)))))


def _invert(weights: Sequence[float], places: Sequence[float]) -> list[int]:
    total = math.fsum(weights)
    last = max((i for i, weight in enumerate(weights) if weight > 0), default=0)
    found, particle, below = [], 0, 0.0
    for place in places:
        while particle < last and below + weights[particle] <= place * total:
            below += weights[particle]
            particle += 1
        found.append(particle)
    return found
