"""How fast is a long document turned into ids, beside the peers?

One call on one document of about 1 MB that the engine has not seen, one thread; arrays against arrays, lists against
lists. Oracle: tiktoken for rank files, tokenizers for a tokenizer.json.
"""

from __future__ import annotations

from pathlib import Path

from benches import corpora, vocabularies
from benches.harness import Case

TITLE = "Encode: one call on 1 MB of unseen text, one thread"
NOTE = (
    "English: docstrings of the standard library and of scientific packages. Code: their Python sources and PyTorch's "
    "C++ headers. Multilingual: XQuAD and UDHR, 12 and 24 languages interleaved. No text holds a special token. "
    "array: the engine returns an array or a buffer of ids; list: a list of int."
)

# As far as the text goes, and times enough where that is not far: single ones differ by half.
N_ROUNDS = 15
MIN_TIMES = 12
NAMES = ("cl100k", "o200k", "llama3", "qwen3", "deepseek_v3")
ARRAYS = ("tokenloom", "gigatoken", "fastokens", "splintr", "tuetoken")
LISTS = ("tokenloom", "fastokens", "splintr", "tuetoken", "tokenizers")


def engines_of(tokenizer: vocabularies.Vocabulary, result: str) -> tuple[str, ...]:
    """Who takes part: tiktoken where there are ranks, quicktok where the vocabulary is its own."""
    engines = ARRAYS if result == "array" else LISTS
    if "ranks" in tokenizer:
        engines += ("tiktoken",)
    if result == "list" and tokenizer["name"] in ("cl100k", "o200k"):
        engines += ("quicktok",)
    return engines


def cases() -> list[Case]:
    """Every tokenizer, kind of text and kind of result."""
    slices = {kind: corpora.write_slices(kind, N_ROUNDS + 1) for kind in corpora.kinds()}
    rows = []
    for tokenizer in filter(None, map(vocabularies.load, NAMES)):
        for kind, paths in slices.items():
            for result in ("array", "list"):
                rows.append(document_case(tokenizer, kind, paths, result, engines_of(tokenizer, result)))
    return rows


def document_case(
    tokenizer: vocabularies.Vocabulary, kind: str, paths: list[str], result: str, engines: tuple[str, ...]
) -> Case:
    """One row: the first path is the warm-up, each other one a round."""
    n_bytes = [Path(path).stat().st_size for path in paths[1:]]
    return Case(
        row=f"{tokenizer['name']}, {kind}, {result}",
        operation=f"encode_{result}",
        engines=engines,
        oracle="tiktoken" if "tiktoken" in engines else "tokenizers",
        oracle_operation="encode_list",
        arguments={"tokenizer": tokenizer, "warm_up": paths[0], "texts": paths[1:]},
        n_items=sum(n_bytes) / len(n_bytes) / 1e6,
        unit="MB/s",
        n_rounds=len(n_bytes),
        n_processes=max(1, MIN_TIMES // len(n_bytes)),
    )
