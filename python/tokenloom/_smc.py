"""Sequential Monte Carlo: texts that grow side by side, weighted to stand for the constrained law together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tokenloom._awrs import Estimator, as_weighing, awrs_batch
from tokenloom._constraint import Conjunction, Constraint, State
from tokenloom._core import control as _core
from tokenloom._mask_words import fitted, pack, set_bit, unpack
from tokenloom.errors import ArrayError, ConstraintError, DistributionError, ParamsError, UnsupportedFeatureError
from tokenloom.sample import Rng, seeds

__all__ = ["Critic", "LanguageModel", "Particles", "Reader", "Smc", "log_mean", "resample"]

LanguageModel: TypeAlias = Callable[[list[list[int]]], NDArray[np.floating[Any]]]
Critic: TypeAlias = Callable[[bytes, bool], float]
Rows: TypeAlias = NDArray[np.floating[Any]]


class Reader(Protocol):
    """A model that keeps what it has read: rows of contexts that branch and die."""

    def start(self, prompt: Sequence[int]) -> Rows:
        """One row reads the prompt; natural log-probabilities of the next token, float[1, V]."""

    def advance(self, parents: Sequence[int], tokens: Sequence[int]) -> Rows:
        """Row ``i`` is from now on the former row ``parents[i]`` and ``tokens[i]``; float[len(parents), V]."""


class _Calls:
    """A callable from contexts to rows as a reader."""

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._contexts: list[list[int]] = []

    def start(self, prompt: Sequence[int]) -> Rows:
        self._contexts = [[int(token) for token in prompt]]
        return np.asarray(self._lm(self._contexts))

    def advance(self, parents: Sequence[int], tokens: Sequence[int]) -> Rows:
        pairs = zip(parents, tokens, strict=True)
        self._contexts = [[*self._contexts[parent], token] for parent, token in pairs]
        return np.asarray(self._lm(self._contexts))


@dataclass(frozen=True)
class Particles:
    """Weighted texts.

    Attributes:
        ids: the tokens of each, an end token included, uint32[n] each.
        texts: the bytes of each, without an end token and cut before a stop string.
        logprobs: natural log-probability of each token under the model, float64[n] each.
        log_weights: natural log of each weight, float64[N]; -inf for a particle that came to a dead end.
        finish_reasons: ``"eos"``, ``"stop"``, ``"length"``, or ``"constraint"`` for a dead end.
        ess: effective number of particles after each step, before resampling.
        n_resampled: how many times ancestors were drawn.
        n_checks: tokens put to the constraint.
        n_contexts: contexts the model has read; fewer than particles times steps, where particles coincide.
    """

    ids: list[NDArray[np.uint32]]
    texts: list[bytes]
    logprobs: list[NDArray[np.float64]]
    log_weights: NDArray[np.float64]
    finish_reasons: list[str]
    ess: list[float] = field(default_factory=list)
    n_resampled: int = 0
    n_checks: int = 0
    n_contexts: int = 0

    @property
    def log_marginal(self) -> float:
        """The estimate of the log of the model's mass on what is allowed; its exponential is unbiased."""
        return log_mean(self.log_weights)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Normalised weights, float64[N]; all zero where every particle has died."""
        best = self.log_weights.max(initial=-np.inf)
        weights: NDArray[np.float64] = np.exp(self.log_weights - max(best, -1e300))
        weights /= max(float(weights.sum()), 1e-300)
        return weights

    def posterior(self) -> dict[bytes, float]:
        """Texts and their estimated probabilities, the likeliest first."""
        found: dict[bytes, float] = {}
        for text, weight in zip(self.texts, self.weights.tolist(), strict=True):
            if weight > 0.0:
                found[text] = found.get(text, 0.0) + weight
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def log_mean(log_weights: Any) -> float:
    """The log of the mean of weights given as logarithms; -inf where all are zero.

    >>> import tokenloom as tl
    >>> round(tl.control.log_mean([0.0, float("-inf")]), 6)
    -0.693147
    """
    weights = np.asarray(log_weights, dtype=np.float64)
    best = weights.max(initial=-np.inf)
    if best == -np.inf:
        return float("-inf")
    return float(best + np.log(np.exp(weights - best).mean()))


def resample(log_weights: Any, scheme: str, rng: int | Rng) -> NDArray[np.int64]:
    """The ancestors of a new generation of as many, equally weighted particles, int64[N], ascending.

    Args:
        log_weights: natural logs of weights, float64[N]; need not be normalised.
        scheme: ``"multinomial"``, ``"stratified"``, ``"systematic"`` or ``"residual"``. With each, particle i has
            ``N w_i`` descendants on average; with the last two at least ``floor(N w_i)`` of them.
        rng: an int seed or a :class:`tokenloom.Rng`.

    Raises:
        ParamsError: an unknown scheme.
        DistributionError: no weight is above zero, or one is not a number.

    Douc, Cappé and Moulines, "Comparison of resampling schemes for particle filtering" (2005).

    >>> import numpy as np, tokenloom as tl
    >>> tl.control.resample(np.log([0.5, 0.25, 0.25, 1e-300]), "residual", 0).tolist()
    [0, 0, 1, 2]
    """
    weights = np.ascontiguousarray(log_weights, dtype=np.float64)
    ancestors = _core.resample(weights, scheme, rng)
    if ancestors is None:
        raise DistributionError("expected weights with mass, found none", row=0)
    return ancestors


@dataclass(frozen=True)
class Smc:
    r"""How particles are drawn, weighted and resampled.

    Each particle draws its next token by :func:`awrs` and multiplies its weight; when the weights have become too
    uneven, ancestors are drawn and all weights become their mean. ``ess=0`` never resamples: importance sampling.
    ``weigh=False`` leaves the weights at 1: locally constrained decoding, which is biased and cheap.

    Args:
        particles: how many.
        ess: resample where the effective number of particles is below this share of them, 0 to 1.
        resample: the scheme, see :func:`resample`.
        method: ``"awrs"``: checks of single tokens. ``"mask"``: the exact mass from the constraint's mask.
            ``"hybrid"``: the masks of those parts of a conjunction that have one, checks for the others.
        weigh: whether draws are weighted.
        estimator: of :func:`awrs`, as are the next four.
        top_m: tokens checked up front.
        extra: further tokens checked.
        accepts: allowed draws of the geometric estimator.
        budget: most tokens a particle checks in one step. What the constraint says about the end of the text is known
            without checks, so where a text can only end, a budget costs little variance and saves most of the search.
        tolerance: share of a step's mass that may go unseen and is then taken for forbidden, see :func:`awrs`.
        propose: from rows of log-probabilities to the rows that tokens are drawn from; weights correct for it.

    >>> import numpy as np, tokenloom as tl
    >>> ranks = {bytes([byte]): byte for byte in range(256)}
    >>> toy = tl.Tokenizer.from_tiktoken("toy", pat_str=r"\S+", mergeable_ranks=ranks, special_tokens={"</s>": 256})
    >>> law = np.full(257, -np.inf)
    >>> law[[97, 98, 256]] = np.log([0.5, 0.3, 0.2])
    >>> no_bb = tl.control.predicate(lambda prefix: b"bb" not in prefix, toy)
    >>> smc = tl.control.Smc(particles=200)
    >>> found = smc.run(lambda contexts: np.tile(law, (len(contexts), 1)), no_bb, max_new_tokens=6)
    >>> sorted(found.posterior())[:3], found.n_contexts < 200
    ([b'', b'a', b'aa'], True)
    """

    particles: int = 10
    ess: float = 0.5
    resample: Literal["multinomial", "stratified", "systematic", "residual"] = "stratified"
    method: Literal["awrs", "mask", "hybrid"] = "awrs"
    weigh: bool = True
    estimator: Estimator = "recursive"
    top_m: int = 0
    extra: int = 1
    accepts: int = 2
    budget: int | None = None
    tolerance: float = 0.0
    propose: Callable[[Rows], Rows] | None = None

    def __post_init__(self) -> None:
        if self.particles < 1 or not 0.0 <= self.ess <= 1.0:
            raise ParamsError(
                f"expected at least 1 particle and ess between 0 and 1, found {self.particles} and {self.ess}"
            )
        if self.resample not in ("multinomial", "stratified", "systematic", "residual"):
            raise ParamsError(f"expected a resampling scheme, found {self.resample!r}")
        if self.method not in ("awrs", "mask", "hybrid"):
            raise ParamsError(f"expected method 'awrs', 'mask' or 'hybrid', found {self.method!r}")
        as_weighing(self.estimator, self.top_m, self.extra, self.accepts, self.budget, self.tolerance)

    def run(
        self,
        lm: LanguageModel | Reader,
        constraint: Constraint,
        prompt: Sequence[int] = (),
        *,
        max_new_tokens: int,
        eos: Collection[int] | None = None,
        seed: int = 0,
        critic: Critic | None = None,
        limit: Literal["eos", "cut"] = "eos",
        stop: bytes | str | Sequence[bytes | str] = (),
    ) -> Particles:
        """Draw the particles of one prompt.

        Args:
            lm: from contexts (lists of ids) to natural log-probabilities, float[B, V]; or a :class:`Reader`, which
                keeps what it has read. Each distinct context is asked for once.
            constraint: what the text must satisfy.
            prompt: token ids before the text.
            max_new_tokens: most tokens, an end token included.
            eos: tokens that end a text where the constraint accepts; by default those of the constraint.
            seed: with a particle's number and the position, all the randomness.
            critic: ``critic(text, is_complete)``, a log score. The score of the complete text multiplies what the
                particles stand for; scores on the way only decide who is continued, and cancel.
            limit: what happens at the last token. ``"eos"``: it is an end token or the particle dies, so that the
                particles stand for complete texts of at most this length. ``"cut"``: texts may stay incomplete.
            stop: strings that end a text as an end token does, wherever the constraint stands; the text is cut
                before the first of them, the tokens stay.

        Raises:
            ArrayError: the model does not answer with a row for each context.
            ConstraintError: whatever the constraint's ``start`` raises.
            ParamsError: an unknown ``limit``.
            DistributionError: a row of the model, or a score of the critic, is NaN or +inf.
            UnsupportedFeatureError: ``method="mask"`` and a constraint without one.
            Exception: whatever a predicate or the critic raises, as it is.
        """
        ends = ends_of(constraint) if eos is None else frozenset(int(id) for id in eos)
        reader: Reader = lm if hasattr(lm, "advance") else _Calls(lm)  # type: ignore[assignment]
        if limit not in ("eos", "cut"):
            raise ParamsError(f"expected limit 'eos' or 'cut', found {limit!r}")
        each = (stop,) if isinstance(stop, (bytes, str)) else stop
        stops = tuple(string.encode() if isinstance(string, str) else string for string in each if string)
        population = _Population(self, _Place.start(constraint, ends), ends, seed, critic, stops)
        rows = _checked(reader.start(prompt), 1)
        for step in range(max_new_tokens):
            is_last = step == max_new_tokens - 1
            population.extend(rows, step, only_ends=is_last and limit == "eos")
            population.resample(step)
            branches = population.branch()
            if not branches:
                break
            if not is_last:
                rows = reader.advance([parent for parent, _ in branches], [token for _, token in branches])
                rows = _checked(rows, len(branches))
        return population.finish(limit)


def ends_of(constraint: Constraint) -> frozenset[int]:
    """The tokens that end a text for every part of a constraint that has any."""
    if isinstance(constraint, Conjunction):
        each = [ends for part in constraint.parts if (ends := ends_of(part))]
        return frozenset.intersection(*each) if each else frozenset()
    return frozenset(getattr(constraint, "eos", ()))


class _Place:
    """The constraint after one context: the states of its parts, and the tokens that end the text."""

    def __init__(self, states: list[State], ends: frozenset[int]) -> None:
        self._states, self._ends = states, ends

    @classmethod
    def start(cls, constraint: Constraint, ends: frozenset[int]) -> _Place:
        parts = constraint.parts if isinstance(constraint, Conjunction) else (constraint,)
        return cls([part.start() for part in parts], ends)

    @property
    def text(self) -> bytes:
        return self._states[0].prefix

    def advanced(self, token: int) -> _Place:
        states = [state.fork() for state in self._states]
        for state in states:
            state.advance(token)
        return _Place(states, self._ends)

    def is_accepting(self) -> bool:
        return all(state.is_accepting() for state in self._states)

    def asked(self, method: str, n_vocab: int, only_ends: bool) -> tuple[NDArray[np.int32] | None, Any]:
        """The mask to draw within, if any, and the check for what it does not know."""
        if only_ends:
            accepting = self.is_accepting()
            return self._with_ends(fitted([], n_vocab), n_vocab, accepting), _Asked([], frozenset(), True)
        if method == "awrs":
            return None, _Asked(self._states, self._ends, bool(self._ends) and self.is_accepting())
        try:
            masks = [state.mask() for state in self._states]
        except ConstraintError:  # nothing may follow, the end included
            return fitted([], n_vocab), _Asked([], frozenset(), True)
        rest = [state for state, mask in zip(self._states, masks, strict=True) if mask is None]
        if rest and method == "mask":
            raise UnsupportedFeatureError("expected a constraint with a mask for method='mask', found a part without")
        joined = pack(np.ones(n_vocab, dtype=np.bool_))
        for mask in masks:
            if mask is not None:
                joined &= fitted(mask, n_vocab)
        accepting = bool(self._ends) and self.is_accepting()
        return self._with_ends(joined, n_vocab, accepting), _Asked(rest, self._ends, accepting)

    def _with_ends(self, words: NDArray[np.int32], n_vocab: int, accepting: bool) -> NDArray[np.int32]:
        for token in self._ends:
            if token < n_vocab:
                set_bit(words, token, accepting)
        return words


class _Asked:
    """A check of several states at once."""

    def __init__(self, states: list[State], ends: frozenset[int], accepting: bool) -> None:
        self._states = states
        # The end of the text is asked about once, by ``is_accepting``; no draw need check it.
        self.known = dict.fromkeys(sorted(ends), accepting)

    def check_many(self, ids: NDArray[np.uint32]) -> NDArray[np.bool_]:
        allowed = np.ones(len(ids), dtype=np.bool_)
        for state in self._states:
            allowed[allowed] = state.check_many(ids[allowed])
        return allowed


class _One:
    """A check that may be asked for one token at a time: for predicates, of which each question costs."""

    def __init__(self, asked: _Asked) -> None:
        self._asked = asked

    def __call__(self, token: int) -> bool:
        return bool(self._asked.check_many(np.array([token], dtype=np.uint32))[0])


class _Population:
    def __init__(
        self,
        plan: Smc,
        place: _Place,
        ends: frozenset[int],
        seed: int,
        critic: Critic | None,
        stops: tuple[bytes, ...],
    ) -> None:
        n = plan.particles
        self._stops = stops
        self._plan, self._ends, self._critic = plan, ends, critic
        self._seed, self._seeds = seed, seeds(seed, n)
        self._places = [place]
        self._which = np.zeros(n, dtype=np.int64)
        self._running = np.ones(n, dtype=np.bool_)
        self._log_weights = np.zeros(n)
        self._twists = np.zeros(n)
        self._ids: list[list[int]] = [[] for _ in range(n)]
        self._logprobs: list[list[float]] = [[] for _ in range(n)]
        self._texts = [place.text] * n
        self._reasons = ["length"] * n
        self._scores: dict[tuple[bytes, bool], float] = {}
        self._ess: list[float] = []
        self._n_resampled = self._n_checks = 0
        self._n_contexts = 1

    def extend(self, rows: Rows, step: int, only_ends: bool) -> None:
        """Every running particle draws a token."""
        running = np.flatnonzero(self._running)
        asked = [place.asked(self._plan.method, rows.shape[1], only_ends) for place in self._places]
        open_rows = [_has_mass(row, mask) for row, (mask, _) in zip(rows, asked, strict=True)]
        drawing = np.array([i for i in running if open_rows[self._which[i]]], dtype=np.int64)
        for i in running:
            self._end(int(i), "constraint") if not open_rows[self._which[i]] else None
        if not len(drawing):
            self._log_weights[running] = -np.inf
            return
        self._log_weights[np.setdiff1d(running, drawing)] = -np.inf
        tokens, log_weights = self._draw(rows, asked, drawing, step)
        for i, token, log_weight in zip(drawing.tolist(), tokens.tolist(), log_weights.tolist(), strict=True):
            if token < 0:
                self._log_weights[i] = -np.inf
                self._end(i, "constraint")
                continue
            if self._plan.weigh:
                self._log_weights[i] += log_weight
            self._ids[i].append(token)
            self._logprobs[i].append(float(rows[self._which[i], token]))
            if token in self._ends:
                self._end(i, "eos")
                self._judge(i, True)

    def _draw(
        self, rows: Rows, asked: list[tuple[NDArray[np.int32] | None, Any]], drawing: NDArray[np.int64], step: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        plan = self._plan
        options: dict[str, Any] = {"estimator": plan.estimator, "top_m": plan.top_m, "extra": plan.extra}
        options |= {"accepts": plan.accepts, "budget": plan.budget, "tolerance": plan.tolerance}
        used, contexts = np.unique(self._which[drawing], return_inverse=True)
        masks = [asked[at][0] for at in used]
        checks = [_One(asked[at][1]) if plan.top_m == 0 else asked[at][1] for at in used]
        options["known"] = [asked[at][1].known for at in used]
        options["masks"] = np.stack([mask for mask in masks if mask is not None]) if masks[0] is not None else None
        options["proposals"] = None if plan.propose is None else plan.propose(rows[used])
        batch = awrs_batch(rows[used], checks, self._seeds[drawing], step, contexts, **options)
        self._n_checks += int(batch.n_checks.sum())
        return batch.tokens, batch.log_weights

    def _end(self, i: int, reason: str) -> None:
        self._running[i], self._reasons[i] = False, reason

    def _judge(self, i: int, is_complete: bool) -> None:
        if self._critic is None:
            return
        key = (self._texts[i], is_complete)
        if key not in self._scores:
            self._scores[key] = float(self._critic(*key))
            if not self._scores[key] < np.inf:
                raise DistributionError(
                    f"expected the critic's score to be below +inf, found {self._scores[key]} for {key[0][-200:]!r}"
                )
        score = self._scores[key]
        # A text without score is dead; what it was told before does not matter.
        self._log_weights[i] = self._log_weights[i] + score - self._twists[i] if score > -np.inf else -np.inf
        self._twists[i] = score if score > -np.inf else 0.0

    def resample(self, step: int) -> None:
        """Judge what is new, and draw ancestors where the weights are too uneven."""
        self._step_places()
        weights = np.exp(self._log_weights - max(self._log_weights.max(), -1e300))
        total = weights.sum()
        ess = float(total**2 / (weights**2).sum()) if total > 0 else 0.0
        self._ess.append(ess)
        n = len(weights)
        if not 0.0 < ess < self._plan.ess * n or not self._running.any():
            return
        ancestors = resample(self._log_weights, self._plan.resample, Rng(self._seed, step))
        self._n_resampled += 1
        self._log_weights = np.full(n, log_mean(self._log_weights))
        for name in ("_which", "_running", "_twists"):
            setattr(self, name, getattr(self, name)[ancestors])
        for name in ("_ids", "_logprobs"):
            setattr(self, name, [list(getattr(self, name)[a]) for a in ancestors])
        for name in ("_texts", "_reasons"):
            setattr(self, name, [getattr(self, name)[a] for a in ancestors])

    def _step_places(self) -> None:
        """The places behind the drawn tokens, one for each distinct context."""
        running = np.flatnonzero(self._running)
        pairs = [(int(self._which[i]), self._ids[i][-1]) for i in running]
        self._branches = sorted(set(pairs))
        places = [self._places[parent].advanced(token) for parent, token in self._branches]
        for i, pair in zip(running.tolist(), pairs, strict=True):
            self._which[i] = self._branches.index(pair)
            n_before, self._texts[i] = len(self._texts[i]), places[self._which[i]].text
            if (at := _first_of(self._stops, self._texts[i], n_before)) >= 0:
                self._texts[i] = self._texts[i][:at]
                self._end(i, "stop")
            self._judge(i, not self._running[i])
            if self._log_weights[i] == -np.inf:
                self._end(i, "constraint")
        self._places = places

    def branch(self) -> list[tuple[int, int]]:
        """The contexts that go on: parent and token of each. The model need not read the others."""
        used = np.unique(self._which[self._running])
        place_of = {int(old): new for new, old in enumerate(used)}
        self._which = np.array([place_of.get(int(at), 0) for at in self._which], dtype=np.int64)
        self._places = [self._places[at] for at in used]
        self._n_contexts += len(used)
        return [self._branches[at] for at in used]

    def finish(self, limit: str) -> Particles:
        if limit == "eos":  # without a single step nothing has ended
            self._log_weights[self._running] = -np.inf
        return Particles(
            ids=[np.array(ids, dtype=np.uint32) for ids in self._ids],
            texts=self._texts,
            logprobs=[np.array(values, dtype=np.float64) for values in self._logprobs],
            log_weights=self._log_weights,
            finish_reasons=self._reasons,
            ess=self._ess,
            n_resampled=self._n_resampled,
            n_checks=self._n_checks,
            n_contexts=self._n_contexts,
        )


def _first_of(stops: tuple[bytes, ...], text: bytes, n_searched: int) -> int:
    """Where the first of ``stops`` begins, -1 where none does; it ends behind the first ``n_searched`` bytes."""
    places = [at for stop in stops if (at := text.find(stop, max(0, n_searched - len(stop) + 1))) >= 0]
    return min(places, default=-1)


def _checked(rows: Rows, n_contexts: int) -> Rows:
    if rows.ndim != 2 or len(rows) != n_contexts:
        raise ArrayError(
            f"expected the model to answer with {n_contexts} rows, found shape {list(rows.shape)}", argument="lm"
        )
    return rows


def _has_mass(row: Rows, mask: NDArray[np.int32] | None) -> bool:
    if mask is None:
        return True
    if not mask.any():
        return False
    return bool((row[unpack(mask, len(row))] != -np.inf).any())
