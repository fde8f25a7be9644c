"""How do all the rooms work in one decoding loop?

:func:`generate` says what is wanted of each prompt, in texts; ``steps`` does it, in tokens. Randomness is a pure
function of (seed, absolute position, token), so the drafter, the batch and the order of the prompts change how long it
takes, never what comes out, up to the float differences of the model itself between one shape of input and another.

Does not do: encoder-decoders, recurrent layers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from tokenloom._smc import Critic
from tokenloom.control import END_TOKENS, Smc
from tokenloom.errors import ArrayError, LimitError, UnknownTokenError, UnsupportedFeatureError
from tokenloom.sample import Params
from tokenloom.torch.batch import largest_exact_batch
from tokenloom.torch.gate import Gate
from tokenloom.torch.heal import Cover, Healer, ends_in_blank, is_extendable, overhang
from tokenloom.torch.options import check_count, check_word
from tokenloom.torch.pace import Pace
from tokenloom.torch.particles import generate_particles
from tokenloom.torch.result import Generation
from tokenloom.torch.row import Row
from tokenloom.torch.steps import Plan, decode, pace_of
from tokenloom.torch.tree_attention import can_read_trees
from tokenloom.torch.writing import Writing

__all__ = ["ends_of", "generate"]


def generate(
    model: Any,
    tokenizer: Any,
    prompts: str | Sequence[str] | Sequence[Sequence[int]],
    *,
    max_new_tokens: int = 128,
    drafter: Any = None,
    draft_budget: int | str | Pace = 16,
    draft_shape: str = "tree",
    constraint: Any = None,
    method: str = "mask",
    particles: int | Smc = 1,
    critic: Critic | None = None,
    forced: str = "draft",
    params: Params | Sequence[Params] = Params(),  # noqa: B008 (immutable)
    seed: int | Sequence[int] = 0,
    heal: bool = False,
    warn_unhealed: str = "blank",
    stop: str | Sequence[str] = (),
    eos: int | Iterable[int] | None = None,
    stream: Callable[[int, str], None] | None = None,
    batch_size: int = 8,
    cache: str = "dynamic",
) -> list[Generation]:
    """Continue each prompt.

    Args:
        model: a Hugging Face causal language model with attention layers and a key-value cache.
        tokenizer: the :class:`tokenloom.Tokenizer` whose ids the model reads.
        prompts: one text, a list of texts, or a list of sequences of token ids. Special tokens in a text count as such;
            none is added.
        max_new_tokens: most tokens to generate for each prompt.
        drafter: where drafts come from (``tl.draft.Suffix()``), or None for one token a forward pass.
        draft_budget: most tokens drafted in one step; ``"auto"``: as many as pay on this model and device, perhaps none
            (:class:`Pace`, with the stored :func:`cost_curve`; its first use measures for some seconds); or a
            :class:`Pace`, which goes on learning from call to call.
        draft_shape: ``"tree"``: the model reads the drafted tree as it is, with tree attention; ``"chain"``: only its
            main chain. Models that take no mask of four dimensions (sliding windows, flash attention) read chains.
        constraint: what the text must satisfy (``tl.control``), or None.
        method: how the constraint is applied: ``"mask"``, ``"check"`` or ``"awrs"`` (see ``draw``); or ``"smc"``:
            weighted particles that are resampled (:class:`tokenloom.control.Smc`), without drafts and healing; texts
            come to an end token or a stop string within ``max_new_tokens`` or weigh nothing.
        particles: how many for each prompt, or an :class:`tokenloom.control.Smc` with all its options. With more than
            one, ``method="awrs"`` and ``"mask"`` give importance samples: particles that are not resampled.
        critic: ``critic(text, is_complete)``, a log score of the new text's bytes, for particles. What it says of
            complete texts multiplies their law; what it says on the way decides who goes on (a value, a style, a test).
        forced: tokens that the constraint leaves no choice about (``state.forced()``): ``"draft"``: the model reads
            them in one forward pass and draws them, which changes nothing but the speed; ``"jump"``: they are taken
            without asking the model, in one forward pass always, which rules out other spellings of the same bytes;
            ``"ask"``: they are drawn like all others.
        params: sampling rules, one for all prompts or one each. Default: the model's own distribution, ``Params()``;
            ``Params(temperature=0)`` is greedy.
        seed: one for all prompts, or one each. A prompt's answer depends on its own seed only, so equal prompts with
            equal seeds get equal answers.
        heal: read each prompt, which must be text, not as its own tokens but as one of the token sequences that
            cover it, drawn from their exact distribution (``tl.bytelevel``). Then a prompt may end in the middle of a
            word. One forward pass more: the pass that weighs the covers has read the prompt. Not together with a
            constraint, which could not say which covers it allows: their last token reaches into the text.
        warn_unhealed: when to warn (``UserWarning``) of a prompt that is not healed. ``"extendable"``: where a longer
            token begins with its last one, so that the text may have gone on inside it. That is true of nearly every
            word, most of which are meant to end there; hence the default ``"blank"``: where the prompt ends with
            blanks that belong to the next word's token (models hardly ever continue ``"Hello "`` well; ``"Hello"`` is
            meant). ``"never"`` is the third.
        stop: strings before which a text is cut.
        eos: tokens that end a text. Default: those of the model's generation config, and under a constraint also the
            tokenizer's special tokens that are known to end texts (``tl.control.END_TOKENS``).
        stream: called as ``stream(prompt_index, piece)`` with every piece of text that is final. No text of a particle
            is final before the last step; then the index is that of its place in what is returned.
        batch_size: most prompts the model reads together. Models with sliding windows, or without explicit positions,
            read one at a time whatever it is.
        cache: ``"dynamic"``: the key-value cache grows; ``"static"``: it is allocated once, at the length the longest
            text may reach.

    Returns:
        One :class:`Generation` a prompt, in order; with particles, those of a prompt next to each other, each with its
        ``log_weight``: ``tl.control.log_mean`` of a prompt's weights is the log of the mass that the constraint allows.

    Raises:
        ArrayError: a prompt is empty, lists of different lengths were given, ``max_new_tokens`` is no integer of at
            least 0 or ``batch_size`` none of at least 1, or ``heal`` was asked for with prompts of ids.
        UnknownTokenError: a prompt's token id is none of the model's.
        LimitError: a prompt and its continuation do not fit the model's positions.
        ConstraintError: the constraint leaves no token and does not accept the text; names the text and the step.
        DistributionError: the model's logits are not numbers; names the prompt and the step.
        UnsupportedFeatureError: the model has layers that cannot take a token back; ``heal`` with a constraint; a
            drafter with particles.

    A predicate that raises ends the generation with its own exception.
    """
    check_word(method, ("mask", "check", "awrs", "smc"), "method")
    check_word(forced, ("draft", "jump", "ask"), "forced")
    check_word(draft_shape, ("tree", "chain"), "draft_shape")
    check_word(cache, ("dynamic", "static"), "cache")
    check_word(warn_unhealed, ("blank", "extendable", "never"), "warn_unhealed")
    check_count(max_new_tokens, 0, "max_new_tokens")
    check_count(batch_size, 1, "batch_size")
    texts = _as_list(prompts)
    params_each = _one_each(params, Params, len(texts), "params")
    seeds = _one_each(seed, (int, np.integer), len(texts), "seed")
    ids = [_encode(tokenizer, text) for text in texts]
    _check_prompts(model, ids, max_new_tokens)
    if heal:
        _check_heal(texts, constraint)
    elif warn_unhealed != "never":
        _warn_unhealed(tokenizer, texts, ids, every=warn_unhealed == "extendable")
    ends = ends_of(model, eos)
    if constraint is not None and eos is None:
        # What ends a text for the constraint must end it here.
        ends |= {token for name, token in tokenizer.special_tokens.items() if name in END_TOKENS}
    n_vocab = min(int(tokenizer.vocab_size), int(model.config.get_text_config(decoder=True).vocab_size))
    stops = (stop,) if isinstance(stop, str) else tuple(stop)
    if method == "smc" or particles != 1:
        _check_plain(drafter=drafter, heal=heal)
        return generate_particles(
            model,
            tokenizer,
            ids,
            smc=_smc(particles, method),
            constraint=constraint,
            max_new_tokens=max_new_tokens,
            params=params_each,
            seeds=[int(one) for one in seeds],
            ends=ends,
            n_vocab=n_vocab,
            stops=stops,
            stream=stream,
            critic=critic,
        )
    if critic is not None:
        raise UnsupportedFeatureError("expected particles for a critic to choose among, found one text a prompt")

    def row_of(index: int, cover: Cover | None) -> Row:
        prompt = ids[index] if cover is None else cover.ids
        beyond = None if cover is None else overhang(tokenizer, texts[index], prompt)
        return Row(
            index,
            prompt,
            n_tokens=max_new_tokens,
            params=params_each[index],
            seed=int(seeds[index]),
            eos=ends,
            stream=None if drafter is None else drafter.begin(np.asarray(prompt, dtype=np.int32)),
            gate=None if constraint is None else Gate(constraint.start(), ends, n_vocab),
            writing=Writing(tokenizer, stops, _bind(stream, index), beyond),
            forced=forced,
            read=None if cover is None else (cover.batch, cover.n_read),
        )

    budget, pace = (0, None) if drafter is None else pace_of(model, draft_budget)
    plan = Plan(
        n_vocab=n_vocab,
        method=method,
        drafter=drafter,
        budget=budget,
        pace=pace,
        chain_only=draft_shape == "chain" or not can_read_trees(model),
        is_static=cache == "static",
    )
    healer = Healer(model, tokenizer) if heal else None
    # Prompts of like length share a batch: padding is wasted work.
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    size = largest_exact_batch(model, batch_size)
    done: dict[int, Generation] = {}
    for first in range(0, len(order), size):
        rows: list[Row] = []
        try:
            for index in order[first : first + size]:
                cover = None
                if healer is not None:
                    cover = healer.cover(texts[index].encode(), params_each[index], int(seeds[index]))
                    _check_prompts(model, [cover.ids], max_new_tokens, index)
                rows.append(row_of(index, cover))
            done.update(decode(model, rows, plan))
        finally:
            for row in rows:
                row.close()
    return [done[index] for index in range(len(ids))]


def _as_list(prompts: Any) -> list[Any]:
    return [prompts] if isinstance(prompts, str) else list(prompts)


def _encode(tokenizer: Any, prompt: Any) -> list[int]:
    ids = tokenizer.encode_list(prompt) if isinstance(prompt, str) else np.asarray(prompt).astype(np.int64).tolist()
    return [int(token) for token in ids]


def _check_plain(**options: Any) -> None:
    if found := [name for name, value in options.items() if value]:
        raise UnsupportedFeatureError(f"expected particles without {found[0]}, found both")


def _smc(particles: int | Smc, method: str) -> Smc:
    """The particles that ``particles`` and ``method`` mean."""
    if isinstance(particles, Smc):
        return particles
    if method == "smc":
        return Smc(particles=particles)
    check_word(method, ("mask", "awrs"), "method of several particles")
    return Smc(particles=particles, ess=0.0, method="mask" if method == "mask" else "awrs")


def _check_heal(prompts: list[Any], constraint: Any) -> None:
    if constraint is not None:
        raise UnsupportedFeatureError("expected heal without a constraint, found both")
    if strangers := [prompt for prompt in prompts if not isinstance(prompt, str)]:
        raise ArrayError(f"expected texts to heal, found {type(strangers[0]).__name__}", argument="prompts")


def _warn_unhealed(tokenizer: Any, texts: list[Any], ids: list[list[int]], *, every: bool) -> None:
    for index, (text, own) in enumerate(zip(texts, ids, strict=True)):
        if isinstance(text, str) and ends_in_blank(tokenizer, text, own):
            message = f"prompt {index} ends with blanks that the next word would have in its own token: leave them out,"
        elif isinstance(text, str) and every and is_extendable(tokenizer, own):
            message = f"prompt {index} ends with token {own[-1]}, which begins longer tokens: let it end elsewhere,"
        else:
            continue
        warnings.warn(f"{message} or ask for heal=True", stacklevel=3)
        return


def _check_prompts(model: Any, prompts: list[list[int]], n_new: int, first: int = 0) -> None:
    config = model.config.get_text_config(decoder=True)
    n_rows = int(config.vocab_size)
    limit = getattr(config, "max_position_embeddings", None)
    for index, ids in enumerate(prompts, first):
        if not ids:
            raise ArrayError(
                f"expected at least one token, found an empty prompt at index {index}\n"
                "hint: begin the text with a token the model knows as a beginning",
                argument="prompts",
            )
        if strangers := [token for token in ids if not 0 <= token < n_rows]:
            raise UnknownTokenError(
                f"expected token ids below {n_rows}, found {strangers[0]} in prompt {index}", token=strangers[0]
            )
        if limit is not None and len(ids) + n_new > limit:
            raise LimitError(
                f"expected at most {limit} positions, found {len(ids)} + {n_new} in prompt {index}",
                limit=limit,
                value=len(ids) + n_new,
            )


def _one_each(value: Any, kind: Any, n: int, name: str) -> list[Any]:
    if isinstance(value, kind):
        return [value] * n
    values = list(value)
    if len(values) != n:
        raise ArrayError(f"expected one of {name} for each of {n} prompts, found {len(values)}", argument=name)
    return values


def ends_of(model: Any, eos: int | Iterable[int] | None) -> frozenset[int]:
    """The tokens that end a text: those given, or those of the model's generation config."""
    if eos is None:
        eos = model.generation_config.eos_token_id
    if eos is None:
        return frozenset()
    return frozenset([int(eos)] if isinstance(eos, (int, np.integer)) else (int(token) for token in eos))


def _bind(stream: Callable[[int, str], None] | None, index: int) -> Callable[[str], None] | None:
    return None if stream is None else lambda piece: stream(index, piece)
