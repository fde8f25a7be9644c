"""How does ``model.generate`` of transformers run on this loop?

transformers prepares inputs, rules and stopping criteria and hands them to the callable given as ``custom_generate``;
:func:`custom_generate` makes one that decodes with drafts, trees, constraints and batches. Logits go through the
prepared logits processors, each place with its own prefix, so temperature, penalties and the like are those of
transformers; the draw itself is ours, with the randomness of (seed, position). Greedy text equals plain ``generate``.

transformers 5 hands a ``streamer`` to no callable; give it to :func:`custom_generate` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria
from transformers.generation.utils import GenerateDecoderOnlyOutput

from tokenloom import sample
from tokenloom.control import Smc
from tokenloom.errors import ArrayError, UnsupportedFeatureError
from tokenloom.sample import Params
from tokenloom.torch.batch import largest_exact_batch
from tokenloom.torch.cache import is_static
from tokenloom.torch.gate import Gate
from tokenloom.torch.heal import Cover, Healer
from tokenloom.torch.options import check_word
from tokenloom.torch.pace import Pace
from tokenloom.torch.particles import generate_particles
from tokenloom.torch.result import Generation
from tokenloom.torch.row import Row
from tokenloom.torch.steps import Plan, decode, pace_of
from tokenloom.torch.tree_attention import can_read_trees

__all__ = ["custom_generate"]

_UNSUPPORTED_OUTPUTS = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")


def custom_generate(
    *,
    drafter: Any = None,
    constraint: Any = None,
    method: str = "mask",
    forced: str = "draft",
    draft_budget: int | str | Pace = 16,
    draft_shape: str = "tree",
    seed: int | None = None,
    heal: Any = None,
    streamer: Any = None,
) -> Callable[..., Any]:
    """What to give to ``model.generate(..., custom_generate=...)``.

    Args:
        drafter: where drafts come from (``tl.draft``), or None.
        constraint: what the text must satisfy (``tl.control``), or None.
        method: how the constraint is applied: ``"mask"``, ``"check"`` or ``"awrs"``; or ``"smc"``: the
            ``num_return_sequences`` of a prompt are weighted particles (:class:`tokenloom.control.Smc`), without drafts
            and without logits processors; the returned object also has ``log_weights``, float64[B].
        forced: what becomes of tokens that the constraint leaves no choice about, as in :func:`generate`.
        draft_budget: most tokens drafted in one step; ``"auto"``: as many as pay on this model and device, perhaps none
            (:class:`Pace`, with the stored :func:`cost_curve`; its first use measures for some seconds); or a
            :class:`Pace`, which goes on learning from call to call.
        draft_shape: ``"tree"`` or ``"chain"``.
        seed: seed of the draws, for the first of ``num_return_sequences``; None: from torch's generator, so that
            ``torch.manual_seed`` decides.
        heal: the :class:`tokenloom.Tokenizer` whose ids the model reads: each prompt, from its last added token on, is
            read as one of the token sequences that cover its text, as in :func:`generate`, drawn by the temperature,
            ``top_k`` and ``top_p`` of the generation config. The returned sequences begin with these covers, padded on
            the left. Not together with a constraint.
        streamer: a streamer of transformers, for one prompt.

    Returns:
        A callable that returns what ``generate`` returns: int64[B, length], padded on the right, or an object with
        ``sequences`` where ``return_dict_in_generate`` is set. It raises ``UnsupportedFeatureError`` for beams,
        embeddings as inputs, caches that hold tokens already, and scores or states as outputs.

    Raises:
        ArrayError: ``method``, ``forced`` or ``draft_shape`` is none of these words.

    ```python
    import torch
    import tokenloom as tl
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config).eval()
    ids = torch.tensor([[5, 6, 7, 5, 6, 7, 5, 6]])
    options = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with_drafts = tl.torch.custom_generate(drafter=tl.draft.Suffix())
    assert torch.equal(model.generate(ids, custom_generate=with_drafts, **options), model.generate(ids, **options))
    ```
    """
    check_word(method, ("mask", "check", "awrs", "smc"), "method")
    check_word(forced, ("draft", "jump", "ask"), "forced")
    check_word(draft_shape, ("tree", "chain"), "draft_shape")

    def run(
        model: Any,
        input_ids: torch.Tensor,
        logits_processor: Any = None,
        stopping_criteria: Any = None,
        generation_config: Any = None,
        **model_kwargs: Any,
    ) -> Any:
        config = generation_config
        _check(config, model_kwargs, streamer, len(input_ids))
        ends = frozenset(_numbers(config.eos_token_id))
        n_new = int(config.max_length) - input_ids.shape[1]
        n_vocab = int(model.config.get_text_config(decoder=True).vocab_size)
        attention_mask = model_kwargs.get("attention_mask")
        covers: list[Cover] = []
        if heal is not None:
            if constraint is not None or method == "smc":
                raise UnsupportedFeatureError("expected heal without a constraint or particles, found both")
            covers = _covers(Healer(model, heal), input_ids, attention_mask, config, seed)
            input_ids, attention_mask = _left_padded([cover.ids for cover in covers], input_ids, config)
        if method == "smc":
            if drafter is not None or streamer is not None or logits_processor:
                raise UnsupportedFeatureError(
                    "expected particles without drafts, streamer and logits processors (such as top_k)"
                )
            found = _particles(model, input_ids, attention_mask, constraint, config, ends, max(0, n_new), seed)
            return _packed(input_ids, [one.ids for one in found], config, [one.log_weight for one in found])
        listener = None if streamer is None else _Listener(streamer)
        rows = []
        for index, padded in enumerate(input_ids):
            kept = padded if attention_mask is None else padded[attention_mask[index].bool()]
            ids = [int(token) for token in kept]
            if not ids:
                raise ArrayError(f"expected at least one token, found an empty prompt at index {index}")
            prefix = _Prefix(input_ids, index, model.device)
            rows.append(
                Row(
                    index,
                    ids,
                    n_tokens=max(0, n_new),
                    params=Params() if config.do_sample else Params(temperature=0.0),
                    seed=_seed_of(seed, index % config.num_return_sequences, config.num_return_sequences),
                    eos=ends,
                    stream=None if drafter is None else drafter.begin(np.array(ids, dtype=np.int32)),
                    gate=None if constraint is None else Gate(constraint.start(), ends, n_vocab),
                    writing=listener,
                    process=prefix.processed_by(logits_processor) if logits_processor else None,
                    is_over=prefix.ended_by(stopping_criteria),
                    forced=forced,
                    read=(covers[index].batch, covers[index].n_read) if covers else None,
                )
            )
        budget, pace = (0, None) if drafter is None else pace_of(model, draft_budget)
        plan = Plan(
            n_vocab=n_vocab,
            method=method,
            drafter=drafter,
            budget=budget,
            pace=pace,
            chain_only=draft_shape == "chain" or not can_read_trees(model),
            is_static=is_static(model_kwargs.get("past_key_values")),
        )
        size = largest_exact_batch(model, len(rows))
        done: dict[int, Generation] = {}
        try:
            for first in range(0, len(rows), size):
                done.update(decode(model, rows[first : first + size], plan))
        finally:
            for row in rows:
                row.close()
        if listener is not None:
            listener.end([int(token) for token in done[0].ids])
        return _packed(input_ids, [done[index].ids for index in range(len(rows))], config)

    return run


def _covers(healer: Healer, input_ids: torch.Tensor, attention_mask: Any, config: Any, seed: int | None) -> list[Cover]:
    """A cover of each prompt."""
    rules = Params(temperature=0.0)
    if config.do_sample:
        found = {name: getattr(config, name) for name in ("temperature", "top_k", "top_p")}
        rules = Params(**{name: value for name, value in found.items() if value is not None})
    covers = []
    for index, padded in enumerate(input_ids):
        kept = padded if attention_mask is None else padded[attention_mask[index].bool()]
        own = _seed_of(seed, index % config.num_return_sequences, config.num_return_sequences)
        covers.append(healer.cover_of_tokens([int(token) for token in kept], rules, own))
    return covers


def _left_padded(prompts: list[list[int]], given: torch.Tensor, config: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The prompts, and which places are theirs; at least as wide as those that were given."""
    pads = _numbers(config.pad_token_id) or _numbers(config.eos_token_id) or [0]
    width = max(given.shape[1], *map(len, prompts))
    ids = torch.full((len(prompts), width), pads[0], dtype=given.dtype, device=given.device)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt, device=given.device)
        mask[row, width - len(prompt) :] = 1
    return ids, mask


class _Prefix:
    """What transformers' processors and criteria see: the prompt as it was given, padding included, and new tokens."""

    def __init__(self, prompts: torch.Tensor, row: int, device: torch.device) -> None:
        self._prompt = prompts[row].to(device)
        self._row, self._n_rows = row, len(prompts)

    def _with(self, new: list[int]) -> torch.Tensor:
        added = torch.tensor(new, dtype=self._prompt.dtype, device=self._prompt.device)
        # A processor may hold something for each row of the batch: it sees this row in all places.
        return torch.cat([self._prompt, added]).expand(self._n_rows, -1)

    def processed_by(self, processors: Any) -> Callable[[list[int], NDArray[np.float32]], NDArray[np.float32]]:
        def process(new: list[int], logits: NDArray[np.float32]) -> NDArray[np.float32]:
            scores = torch.from_numpy(logits).to(self._prompt.device).repeat(self._n_rows, 1)
            processed: NDArray[np.float32] = processors(self._with(new), scores)[self._row].float().cpu().numpy()
            return processed

        return process

    def ended_by(self, criteria: Any) -> Callable[[list[int]], bool] | None:
        # Length and end tokens are the loop's own business.
        own = [one for one in criteria or () if not isinstance(one, (MaxLengthCriteria, EosTokenCriteria))]
        if not own:
            return None

        def is_over(new: list[int]) -> bool:
            ids = self._with(new)
            # One answer for all rows, or one for each: then this row's counts.
            answers = (torch.as_tensor(one(ids, None)).expand(self._n_rows) for one in own)
            return any(bool(answer[self._row]) for answer in answers)

        return is_over


class _Listener:
    """A streamer in the place of a text."""

    stopped = False

    def __init__(self, streamer: Any) -> None:
        self._streamer = streamer
        self._n_put = 0

    def push(self, token: int) -> None:
        self._streamer.put(torch.tensor([token]))
        self._n_put += 1

    def end(self, ids: list[int]) -> None:
        """Everything was drawn: an end token is still to be put."""
        for token in ids[self._n_put :]:
            self._streamer.put(torch.tensor([token]))
        self._streamer.end()

    def finish(self) -> str:
        return ""

    def spell(self, ids: Any) -> bytes:
        return str(list(ids)).encode()


def _check(config: Any, model_kwargs: dict[str, Any], streamer: Any, n_rows: int) -> None:
    if config.num_beams != 1:
        raise UnsupportedFeatureError(f"expected one beam, found num_beams={config.num_beams}")
    if found := [name for name in _UNSUPPORTED_OUTPUTS if getattr(config, name, None)]:
        raise UnsupportedFeatureError(f"expected sequences alone as output, found {found[0]}")
    if model_kwargs.get("inputs_embeds") is not None:
        raise UnsupportedFeatureError("expected token ids as input, found inputs_embeds")
    cache = model_kwargs.get("past_key_values")
    if cache is not None and int(cache.get_seq_length()) > 0:
        raise UnsupportedFeatureError(f"expected an empty cache, found one with {int(cache.get_seq_length())} tokens")
    if streamer is not None and n_rows > 1:
        raise UnsupportedFeatureError(f"expected one prompt to stream, found {n_rows}")


def _numbers(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(token) for token in np.atleast_1d(np.asarray(value))]


def _seed_of(seed: int | None, copy: int, n_copies: int) -> int:
    if seed is None:
        return int(torch.randint(2**63 - 1, ()))
    return seed if copy == 0 else int(sample.seeds(seed, n_copies)[copy])


def _particles(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: Any,
    constraint: Any,
    config: Any,
    ends: frozenset[int],
    n_new: int,
    seed: int | None,
) -> list[Generation]:
    """The returned sequences of each prompt as its particles."""
    n_copies = config.num_return_sequences
    rows = range(0, len(input_ids), n_copies)
    prompts = [input_ids[row] if attention_mask is None else input_ids[row][attention_mask[row].bool()] for row in rows]
    return generate_particles(
        model,
        None,
        [[int(token) for token in prompt] for prompt in prompts],
        smc=Smc(particles=n_copies),
        constraint=constraint,
        max_new_tokens=n_new,
        params=[Params() if config.do_sample else Params(temperature=0.0)] * len(prompts),
        seeds=[_seed_of(seed, 0, 1)] * len(prompts),
        ends=ends,
        n_vocab=int(model.config.get_text_config(decoder=True).vocab_size),
    )


def _packed(
    prompts: torch.Tensor, new: list[NDArray[np.uint32]], config: Any, log_weights: list[float] | None = None
) -> Any:
    """Prompts and continuations, padded on the right."""
    pads = _numbers(config.pad_token_id) or _numbers(config.eos_token_id) or [0]
    width = max(len(ids) for ids in new)
    tail = torch.full((len(new), width), pads[0], dtype=prompts.dtype, device=prompts.device)
    for row, ids in enumerate(new):
        tail[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64)).to(prompts.device)
    sequences: Any = torch.cat([prompts, tail], dim=1)
    if not config.return_dict_in_generate:
        return sequences
    output = GenerateDecoderOnlyOutput(sequences=sequences)
    if log_weights is not None:
        output.log_weights = torch.tensor(log_weights, dtype=torch.float64)
    return output
