"""Ids of GGUF vocabularies equal the vectors that llama.cpp keeps beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tokenloom as tl

WITH_VECTORS = (
    "bert-bge",
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
)
# No vectors beside them; two do not name their split pattern and are read with the other program's default.
WITHOUT_VECTORS = ("aquila", "baichuan", "gpt-neox")


@pytest.mark.heavy
@pytest.mark.parametrize("name", WITH_VECTORS)
def test_vectors(name: str, asset: Callable[[str], Path]) -> None:
    path = asset("gguf-vocabs") / f"ggml-vocab-{name}.gguf"
    tok = tl.Tokenizer.from_file(path)
    texts = path.with_suffix(".gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = path.with_suffix(".gguf.out").read_text().splitlines()
    assert len(lines) >= 40
    for text, line in zip(texts, lines, strict=False):
        assert tok.encode(text, allowed_special=()).tolist() == [int(word) for word in line.split()], repr(text)


@pytest.mark.heavy
@pytest.mark.parametrize("name", WITHOUT_VECTORS)
def test_the_others_are_read(name: str, asset: Callable[[str], Path]) -> None:
    tok = tl.Tokenizer.from_file(asset("gguf-vocabs") / f"ggml-vocab-{name}.gguf")
    assert tok.is_compiled
    text = "Hello world, 123"
    assert tok.decode(tok.encode(text, allowed_special=())).strip() == text


@pytest.mark.heavy
def test_unigram_is_refused_by_name(asset: Callable[[str], Path]) -> None:
    with pytest.raises(tl.errors.UnsupportedFeatureError, match="t5"):
        tl.Tokenizer.from_file(asset("gguf-vocabs") / "ggml-vocab-nomic-bert-moe.gguf")


def test_smollm2_equals_the_pipeline_it_was_published_with(asset: Callable[[str], Path], test_data: Path) -> None:
    """The peer is put together by hand from the lists in the file, as the model's own tokenizer.json says."""
    import gguf
    import tokenizers
    from oracle_texts import EDGE_TEXTS, file_texts, random_texts
    from tokenizers import decoders, models, pre_tokenizers

    path = next(asset("smollm2").glob("*.gguf"))
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    kinds = fields["tokenizer.ggml.token_type"].contents()
    theirs = tokenizers.Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    theirs.decoder = decoders.ByteLevel()
    theirs.add_special_tokens([token for token, kind in zip(tokens, kinds, strict=True) if kind == 3])
    ours = tl.Tokenizer.from_file(path)
    for text in [*EDGE_TEXTS, *file_texts(test_data), *random_texts(31, 1000)]:
        want = theirs.encode(text)
        assert ours.encode(text).tolist() == want.ids, repr(text)
        assert ours.decode(want.ids) == theirs.decode(want.ids, skip_special_tokens=False), repr(text)
        assert ours.decode(want.ids, skip_special_tokens=True) == theirs.decode(want.ids), repr(text)
