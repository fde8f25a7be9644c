"""How fast is SentencePiece-style BPE encoded, beside the peers?

Nothing splits the text before the merges: a document is one word.
"""

from __future__ import annotations

from benches import corpora, vocabularies
from benches.bench_encode import N_ROUNDS, document_case
from benches.harness import Case

TITLE = "Encode: SentencePiece-style BPE, one call on 1 MB of unseen text, one thread"
NOTE = (
    "gemma: 262,144 tokens and 514,906 merges as llama.cpp keeps them (Gemma 4), with the pipeline of Gemma 3's "
    "tokenizer.json. mistral_v1: the 32,000 tokens of Mistral 7B v0.1 with the pipeline of Llama 2; sentencepiece and "
    "kitoken read its .model."
)

_ENGINES = {
    "array": ("tokenloom", "gigatoken", "fastokens", "splintr", "tuetoken"),
    "list": ("tokenloom", "fastokens", "splintr", "tuetoken", "kitoken", "tokenizers"),
}


def cases() -> list[Case]:
    """Both tokenizers, every kind of text and of result."""
    slices = {kind: corpora.write_slices(kind, N_ROUNDS + 1) for kind in corpora.kinds()}
    rows = []
    for tokenizer in filter(None, map(vocabularies.load, ("gemma", "mistral_v1"))):
        for kind, paths in slices.items():
            for result, engines in _ENGINES.items():
                if result == "list" and "sentencepiece" in tokenizer:
                    engines += ("sentencepiece",)
                rows.append(document_case(tokenizer, kind, paths, result, engines))
    return rows
