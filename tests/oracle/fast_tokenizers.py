"""Fast tokenizers of `transformers` of every class and from every kind of file, made anew by each call.

Small ones are made from the trained files of :mod:`trained_files` and from SentencePiece models trained here, large
ones from published files. Nothing is asked of a model hub.
"""

from __future__ import annotations

import functools
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import transformers
from published import RANKS, TOKENIZER_JSON, Sources
from tokenizers import Tokenizer
from trained_files import CORPUS, trained
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter
from transformers.integrations.mistral.tokenizer import MistralConverter

WORD_PIECE = (
    *("BertTokenizer", "ConvBertTokenizer", "DPRQuestionEncoderTokenizer", "DistilBertTokenizer", "ElectraTokenizer"),
    *("FunnelTokenizer", "LayoutLMTokenizer", "LxmertTokenizer", "MPNetTokenizer", "MobileBertTokenizer"),
    *("SplinterTokenizer", "SqueezeBertTokenizer"),
)
BYTE_LEVEL = (
    *("BartTokenizer", "BlenderbotTokenizer", "CodeGenTokenizer", "CohereTokenizer", "DebertaTokenizer"),
    *("GPT2Tokenizer", "GPTNeoXTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer", "NougatTokenizer"),
    *("Qwen2Tokenizer", "RobertaTokenizer", "WhisperTokenizer"),
)
WORD_BPE = ("CLIPTokenizer", "HerbertTokenizer", "OpenAIGPTTokenizer")
UNIGRAM = (
    *("AlbertTokenizer", "BarthezTokenizer", "BigBirdTokenizer", "CamembertTokenizer", "DebertaV2Tokenizer"),
    *("FNetTokenizer", "MBart50Tokenizer", "MBartTokenizer", "PegasusTokenizer", "RemBertTokenizer", "T5Tokenizer"),
    *("VideoPrismTokenizer", "XGLMTokenizer", "XLMRobertaTokenizer", "XLNetTokenizer"),
)
PIECE_BPE = (
    *("CodeLlamaTokenizer", "GemmaTokenizer", "LlamaTokenizer", "NllbTokenizer", "Phi3Tokenizer", "ReformerTokenizer"),
    *("SeamlessM4TTokenizer", "TokenizersBackend"),
)
CLASSES = (*WORD_PIECE, *BYTE_LEVEL, *WORD_BPE, *UNIGRAM, *PIECE_BPE)
GGUF_VOCABS = (
    *("aquila", "baichuan", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-4", "gpt-2", "gpt-neox"),
    *("llama-bpe", "llama-spm", "mpt", "nomic-bert-moe", "phi-3", "qwen2", "qwen35", "refact", "starcoder"),
)
SENTENCEPIECE_FILES = {
    **{f"mistral {version}": ("mistral", f"tokenizer.model.{version}") for version in ("v1", "v2", "v3", "v7", "v7m1")},
    "j2": ("ai21", "j2-tokenizer.model"),
}


NAMED = ("<unk>", "<s>", "</s>", "<pad>", "<mask>", "<cls>", "<sep>", "<|endoftext|>", "<|startoftext|>")
"""Special tokens as the classes call them, beside those of the trained files."""


@functools.cache
def piece_file(kind: str, pads_first: bool = False) -> bytes:
    """A SentencePiece model as `sentencepiece` writes it; the first ids are as in T5 where ``pads_first``."""
    made = io.BytesIO()
    first = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1} if pads_first else {}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=made,
        model_type=kind,
        vocab_size=160 + 256 * (kind == "bpe"),
        byte_fallback=kind == "bpe",
        normalization_rule_name="identity" if kind == "bpe" else "nmt_nfkc",
        remove_extra_whitespaces=kind != "bpe",
        control_symbols=[*([] if pads_first else ["<pad>"]), "[CLS]", "[SEP]", "[MASK]"],
        **first,
        hard_vocab_limit=False,
        minloglevel=5,
    )
    return made.getvalue()


def _write_files(name: str, folder: Path) -> None:
    """The vocabulary files that a class is loaded from."""
    if name in UNIGRAM or name in PIECE_BPE:
        file_name = getattr(transformers, name).vocab_files_names.get("vocab_file", "tokenizer.model")
        kind = "unigram" if name in UNIGRAM else "bpe"
        (folder / file_name).write_bytes(
            piece_file(kind, name in ("AlbertTokenizer", "PegasusTokenizer", "T5Tokenizer"))
        )
        return
    kind = "wordpiece" if name in WORD_PIECE else "charbpe" if name in WORD_BPE else "bytelevel"
    model = json.loads(trained()[kind])["model"]
    for token in NAMED:
        model["vocab"].setdefault(token, len(model["vocab"]))
    if name in WORD_PIECE:
        tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
        return
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"]))


def of_class(name: str) -> Any:
    """A tokenizer of a class, converted by `transformers` from the files that the class is loaded from."""
    return _finished(getattr(transformers, name).from_pretrained(_folder(name).name))


@functools.cache
def _folder(name: str) -> Any:
    """The files of a class, in a folder that stays: its name becomes part of what is saved."""
    folder = tempfile.TemporaryDirectory()
    _write_files(name, Path(folder.name))
    return folder


def _finished(made: Any) -> Any:
    if made.pad_token is None:
        made.pad_token = made.convert_ids_to_tokens(0)
    return made


def of_file(name: str, sources: Sources) -> Any:
    """A tokenizer of a published file of any format."""
    kind, _, rest = name.partition(": ")
    return _finished(_FORMATS[kind](rest, sources))


def _of_json(name: str, sources: Sources) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        path.write_bytes(TOKENIZER_JSON[name](sources))
        return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(path)))


def _of_ranks(name: str, sources: Sources) -> Any:
    asset, file, pattern = RANKS[name]
    converter = TikTokenConverter(
        str(sources.asset(asset) / file), pattern=pattern, extra_special_tokens=["<|end|>", "<|pad|>"]
    )
    return PreTrainedTokenizerFast(tokenizer_object=converter.converted(), pad_token="<|pad|>")


def _of_tekken(name: str, sources: Sources) -> Any:
    return PreTrainedTokenizerFast(tokenizer_object=MistralConverter(str(sources.asset("mistral") / name)).converted())


def _of_pieces(name: str, sources: Sources) -> Any:
    asset, file = SENTENCEPIECE_FILES[name]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tokenizer.model").write_bytes((sources.asset(asset) / file).read_bytes())
        loaded = transformers.TokenizersBackend.from_pretrained(folder)
    return PreTrainedTokenizerFast(
        tokenizer_object=loaded.backend_tokenizer, bos_token=loaded.bos_token, eos_token=loaded.eos_token
    )


def _of_gguf(name: str, sources: Sources) -> Any:
    if name == "smollm2":
        return PreTrainedTokenizerFast.from_pretrained(
            sources.asset("smollm2"), gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf"
        )
    return PreTrainedTokenizerFast.from_pretrained(sources.asset("gguf-vocabs"), gguf_file=f"ggml-vocab-{name}.gguf")


_FORMATS: dict[str, Callable[[str, Sources], Any]] = {
    "json": _of_json,
    "ranks": _of_ranks,
    "tekken": _of_tekken,
    "pieces": _of_pieces,
    "gguf": _of_gguf,
}
FILES = (
    *(f"json: {name}" for name in TOKENIZER_JSON),
    *(f"ranks: {name}" for name in RANKS),
    *(f"tekken: {name}" for name in ("tekken_240718.json", "tekken_240911.json")),
    *(f"pieces: {name}" for name in SENTENCEPIECE_FILES),
    *(f"gguf: {name}" for name in (*GGUF_VOCABS, "smollm2")),
)
