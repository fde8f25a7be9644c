"""How fast are tokens encoded that reach across spaces, beside the peers?

The words of such a tokenizer are lines and paragraphs, so caches of words do not help.
"""

from __future__ import annotations

from benches import corpora, vocabularies
from benches.bench_encode import N_ROUNDS, document_case
from benches.harness import Case

TITLE = "Encode: superwords, one call on 1 MB of unseen text, one thread"
NOTE = (
    "superbpe_200k: the published SuperBPE (180,000 + 20,000 across spaces, at most 4 words); superwords_10k: 8,000 + "
    "2,000 trained on the first slices of the English text. gigatoken, snaptokens and quicktok cannot load the split "
    "pattern; tiktoken has no such rank file."
)

_ENGINES = {
    "array": ("tokenloom", "fastokens", "splintr", "tuetoken"),
    "list": ("tokenloom", "fastokens", "splintr", "tuetoken", "kitoken", "tokenizers"),
}


def cases() -> list[Case]:
    """Both tokenizers, every kind of text and of result."""
    # The first English slices are what superwords_10k was trained on.
    n_seen = {kind: 3 if kind == "English" else 0 for kind in corpora.kinds()}
    slices = {kind: corpora.write_slices(kind, n + N_ROUNDS + 1)[n:] for kind, n in n_seen.items()}
    return [
        document_case(tokenizer, kind, paths, result, engines)
        for tokenizer in filter(None, map(vocabularies.load, ("superbpe_200k", "superwords_10k")))
        for kind, paths in slices.items()
        if len(paths) > 1
        for result, engines in _ENGINES.items()
    ]
