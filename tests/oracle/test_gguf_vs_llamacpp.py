"""Ids of GGUF vocabularies equal the vectors that llama.cpp keeps beside them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
import sentencepiece
import tokenloom as tl
from oracle_texts import EDGE_TEXTS, file_texts, random_texts
from sentencepiece import sentencepiece_model_pb2
from trained_files import CORPUS

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
def test_a_published_unigram_vocabulary(asset: Callable[[str], Path]) -> None:
    """The library that trained it reads the same list, put together as its own file, in the same way."""
    import gguf

    path = asset("gguf-vocabs") / "ggml-vocab-nomic-bert-moe.gguf"
    fields = {name: field.contents() for name, field in gguf.GGUFReader(path).fields.items() if "tokenizer" in name}
    columns = (fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type"))
    model = sentencepiece_model_pb2.ModelProto()
    for text, score, kind in zip(*columns, strict=True):
        model.pieces.add(piece=text, score=score, type=kind)
    model.trainer_spec.unk_id = 3
    model.normalizer_spec.precompiled_charsmap = bytes(fields["tokenizer.ggml.precompiled_charsmap"])
    same_as_sentencepiece(tl.Tokenizer.from_file(path), model.SerializeToString(), random_texts(41, 2000))


def same_as_sentencepiece(tok: tl.Tokenizer, model: bytes, texts: list[str]) -> None:
    peer = sentencepiece.SentencePieceProcessor(model_proto=model)
    for text in [*EDGE_TEXTS, *texts]:
        if "\0" not in text:
            assert tok.encode(text, allowed_special=()).tolist() == peer.encode(text), repr(text)


@pytest.mark.parametrize("normalization", ["identity", "nmt_nfkc"])
@pytest.mark.parametrize("byte_fallback", [False, True])
def test_unigram_vocabularies(normalization: str, byte_fallback: bool, tmp_path: Path) -> None:
    import gguf

    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=made,
        vocab_size=120 + 256 * byte_fallback,
        byte_fallback=byte_fallback,
        normalization_rule_name=normalization,
        hard_vocab_limit=False,
        minloglevel=5,
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(made.getvalue())
    path = tmp_path / "t5.gguf"
    writer = gguf.GGUFWriter(path, "t5")
    writer.add_tokenizer_model("t5")
    writer.add_token_list([piece.piece for piece in model.pieces])
    writer.add_token_scores([piece.score for piece in model.pieces])
    writer.add_token_types([piece.type for piece in model.pieces])
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if model.normalizer_spec.precompiled_charsmap:
        writer.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    tok = tl.Tokenizer.from_file(path)
    same_as_sentencepiece(tok, made.getvalue(), random_texts(40, 200))
    ids = tok.encode("the fox").tolist()
    assert tok.encode("the fox", add_special_tokens=True).tolist() == [*ids, 2]
    assert tok.decode(ids) == "the fox"


@pytest.mark.parametrize("name", ["rwkv", "plamo2", "none"])
def test_other_models_are_refused_by_name(name: str, tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "other.gguf"
    writer = gguf.GGUFWriter(path, "other")
    writer.add_tokenizer_model(name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(tl.errors.UnsupportedFeatureError, match=name):
        tl.Tokenizer.from_file(path)


def test_smollm2_equals_the_pipeline_it_was_published_with(asset: Callable[[str], Path], test_data: Path) -> None:
    """The peer is put together by hand from the lists in the file, as the model's own tokenizer.json says."""
    import gguf
    import tokenizers
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
