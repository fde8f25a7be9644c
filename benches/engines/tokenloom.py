"""tokenloom: encode to arrays and lists, train, sample, draft, weigh: each through the public function."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tokenloom as tl

from benches.engines.codec import Codec, Vocabulary
from benches.engines.drafting import Ids, contexts, load_ids, replay_job
from benches.engines.sampling import rows_of, sampling_job
from benches.engines.training import merges_job, size_job, train_job
from benches.engines.verifying import Committed, Draft, verify_job
from benches.engines.weighting import Draw, awrs_job, row_of
from benches.job import Job

PACKAGES = ("tokenloom", "numpy")


def load(tokenizer: Vocabulary) -> Codec:
    """The public class."""
    loaded = tl.Tokenizer.from_file(tokenizer["path"])
    return Codec(
        encode_list=loaded.encode_list,
        encode_array=loaded.encode,
        batch_list=lambda texts: loaded.encode_batch_list(texts, threads=2),
        batch_array=lambda texts: loaded.encode_batch(texts, threads=2),
        flat=lambda found: found.values if isinstance(found, tl.Ragged) else found,
        decode=loaded.decode,
        to_ids=lambda ids: np.array(ids, np.uint32),
    )


def train(arguments: dict[str, Any]) -> Job:
    """``tl.train.bpe`` on a list of documents."""
    options = {"vocab_size": arguments["vocab_size"], "pattern": arguments["pattern"], "progress": False}
    return train_job(arguments, lambda documents: tl.train.bpe(documents, **options), _tokenizer_json)


def train_files(arguments: dict[str, Any]) -> Job:
    """``tl.train.bpe`` on files, with the bytes that occur as the alphabet."""
    options = {"vocab_size": arguments["vocab_size"], "pattern": arguments["pattern"], "progress": False}
    return merges_job(
        arguments,
        lambda paths: tl.train.bpe(list(map(Path, paths)), initial_alphabet=b"", threads=2, **options),
        lambda trained: json.loads(_tokenizer_json(trained))["model"]["merges"],
    )


def train_size(arguments: dict[str, Any]) -> Job:
    """``tl.train.bpe`` on files."""
    options = {"vocab_size": arguments["vocab_size"], "pattern": arguments["pattern"], "progress": False}
    return size_job(
        arguments,
        lambda paths: tl.train.bpe(list(map(Path, paths)), threads=2, **options),
        lambda trained: trained.vocab_size,
    )


def train_lines(arguments: dict[str, Any]) -> Job:
    """A first stage, which is then extended on whole lines."""

    def train(paths: list[str]) -> tl.Tokenizer:
        files = list(map(Path, paths))
        first = tl.train.bpe(files, arguments["transition"], arguments["pattern"], progress=False, threads=2)
        return tl.train.bpe(files, arguments["vocab_size"], r"[\s\S]+", resume=first, progress=False, threads=2)

    return merges_job(arguments, train, lambda trained: json.loads(_tokenizer_json(trained))["model"]["merges"])


def _tokenizer_json(trained: tl.Tokenizer) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        trained.save(path)
        return path.read_text(encoding="utf-8")


def draw(arguments: dict[str, Any]) -> Job:
    """One token a row of a NumPy batch."""
    rows, params = rows_of(arguments), tl.sample.Params(**arguments["rules"])
    seeds = tl.sample.seeds(0, len(rows))
    return sampling_job(
        arguments,
        lambda position: tl.sample.sample(rows, params, seeds, position, threads=1),
        lambda drawn: tl.sample.keep_set(rows, params),
    )


class _Request:
    def __init__(self, drafter: Any, prompt: Ids) -> None:
        self._stream = drafter.begin(prompt)
        self.commit, self.end = self._stream.commit, self._stream.end

    def propose(self, n_left: int) -> tuple[list[int], list[int]]:
        tree = self._stream.propose(64)
        if len(tree) and int(tree.depths.max()) > n_left:
            tree = tree.cut(tree.depths <= n_left)[0]
        return tree.tokens.tolist(), tree.parents.tolist()


def draft_replay(arguments: dict[str, Any]) -> Job:
    """Defaults of ``Suffix`` or of the case's ``kind``, or its ``min_prob``."""
    options = {"min_prob": arguments["min_prob"]} if "min_prob" in arguments else {}
    kinds: dict[str, Callable[..., Any]] = {
        "Suffix": tl.draft.Suffix,
        "Ngram": tl.draft.Ngram,
        "Recycling": tl.draft.Recycling,
        "Merged": lambda **options: tl.draft.Merged([tl.draft.Suffix(), tl.draft.Recycling()], **options),
    }

    def start() -> Callable[[Ids], _Request]:
        drafter = kinds[arguments.get("kind", "Suffix")](**options)
        return lambda prompt: _Request(drafter, prompt)

    return replay_job(arguments, start)


def draft_update(arguments: dict[str, Any]) -> Job:
    """One stream, one call."""
    ids = load_ids(arguments)
    streams = [tl.draft.Suffix().begin([]) for _ in range(arguments["n_rounds"])]
    return Job(
        rounds=[lambda stream=stream: stream.commit(ids) or stream.n_tokens for stream in streams],
        answer=lambda n: str(n).encode(),
    )


def draft_propose(arguments: dict[str, Any]) -> Job:
    """The indexed text is history; each context is a stream that was begun, and proposes again each round."""
    ids = load_ids(arguments)
    drafter = tl.draft.Suffix(max_bytes=2**30, min_prob=0.0)
    drafter.begin(ids).end()
    streams = [drafter.begin(row) for row in contexts(arguments, ids)]

    def call() -> list[Any]:
        trees = (stream.propose(16, chain=True) for stream in streams)
        return [tree.tokens if tree else () for tree in trees]

    return Job(
        rounds=[call] * arguments["n_rounds"],
        answer=lambda drafts: repr([list(map(int, draft)) for draft in drafts]).encode(),
    )


def awrs(arguments: dict[str, Any]) -> Job:
    """A Python function as the check."""
    log_probs, step = row_of(arguments), arguments["step"]

    def draw(n_round: int, n_steps: int) -> list[Draw]:
        drawn = []
        for i in range(n_steps):
            rng = tl.Rng(arguments["seed"], 1000 * n_round + i)
            token, log_weight, _ = tl.control.awrs(log_probs, lambda token: token % step == 0, rng)
            drawn.append((token, log_weight))
        return drawn

    return awrs_job(arguments, draw)


def verify(arguments: dict[str, Any]) -> Job:
    """A chain token by token or as a block; independent siblings in turn or by k-SEQ."""
    rule = getattr(tl.verify, arguments["rule"])

    def run(draft: Draft, seed: int) -> Committed:
        tokens = draft.tokens if draft.is_chain else tl.draft.DraftTree(draft.tokens, [-1] * len(draft.tokens))
        accepted = rule(draft.p, draft.q, tokens, seed, normalized=arguments["normalized"])
        return accepted.n_accepted, accepted.next_token

    return verify_job(arguments, run)
