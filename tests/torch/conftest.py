"""A model small enough to run hundreds of steps in a second, and a byte-level tokenizer for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenloom as tl
import torch
from transformers import LlamaConfig, LlamaForCausalLM

END = "<|end|>"


def _byte_characters() -> list[str]:
    """The printable stand-ins that tokenizer.json uses for the 256 bytes, by byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@pytest.fixture(scope="session")
def tiny_tokenizer() -> tl.Tokenizer:
    """The 256 bytes, nine merges and one special token."""
    symbols = _byte_characters()
    merges = ["t h", "th e", "Ġ the", "i n", "a n", "an d", "Ġ and", "e r", "o n"]
    vocabulary = {symbol: token for token, symbol in enumerate(symbols)}
    for merge in merges:
        vocabulary[merge.replace(" ", "")] = len(vocabulary)
    end = {"id": len(vocabulary), "content": END, "special": True}
    end |= {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [end],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": merges,
        },
    }
    return tl.Tokenizer.from_bytes(json.dumps(document).encode(), kind="tokenizer.json")


@pytest.fixture(scope="session")
def tiny_model() -> LlamaForCausalLM:
    """Two layers of random weights in float64, with more logits than there are tokens."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=272,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=265,
    )
    model = LlamaForCausalLM(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0)  # sharper than initialised: otherwise every token is as likely as any other
    return model


@pytest.fixture(scope="session")
def smollm2_gguf(asset: Callable[[str], Path]) -> Path:
    """SmolLM2-135M-Instruct, four bits a weight."""
    return asset("smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
