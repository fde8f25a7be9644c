"""A converted GGUF file is the model that was written into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenloom.errors import FormatError, UnsupportedFeatureError
from tokenloom.torch.gguf_weights import convert
from transformers import AutoModelForCausalLM, LlamaForCausalLM

BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path, model: LlamaForCausalLM, architecture: str = "llama", extra: Any = None) -> None:
    """Write ``model`` as the converters of llama.cpp do: the rows of q and k in interleaved order."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_eos_token_id(265)
    for name, tensor in model.state_dict().items():
        weights = tensor.numpy().astype(np.float32)
        for heads, part in ((config.num_attention_heads, "q_proj"), (config.num_key_value_heads, "k_proj")):
            if part in name:
                halves = weights.reshape(heads, 2, -1, weights.shape[1])
                weights = halves.transpose(0, 2, 1, 3).reshape(weights.shape)
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(weights))
    for name, weights in (extra or {}).items():
        writer.add_tensor(name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def gguf_name(name: str) -> str:
    top = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
    if name in top:
        return f"{top[name]}.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{BLOCK[rest.removesuffix('.weight')]}.weight"


def test_logits_survive(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    write_gguf(tmp_path / "tiny.gguf", tiny_model)
    folder = convert(tmp_path / "tiny.gguf", tmp_path / "cache")
    assert convert(tmp_path / "tiny.gguf", tmp_path / "cache") == folder, "converted once"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name], "nothing unfinished is left"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, local_files_only=True)
    ids = torch.arange(30)[None]
    with torch.inference_mode():
        torch.testing.assert_close(model(ids).logits, tiny_model(ids).logits, rtol=1e-4, atol=1e-4)
    assert model.generation_config.eos_token_id == 265


def test_what_is_not_supported_is_named(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    write_gguf(tmp_path / "gemma.gguf", tiny_model, architecture="gemma3")
    with pytest.raises(UnsupportedFeatureError, match="found 'gemma3'"):
        convert(tmp_path / "gemma.gguf", tmp_path)
    write_gguf(tmp_path / "biased.gguf", tiny_model, extra={"blk.0.attn_q.bias": np.zeros(32, np.float32)})
    with pytest.raises(UnsupportedFeatureError, match=r"blk\.0\.attn_q\.bias"):
        convert(tmp_path / "biased.gguf", tmp_path)


@pytest.mark.parametrize("damage", ["empty", "other", "truncated", "short"])
def test_a_broken_file_is_a_format_error(tiny_model: LlamaForCausalLM, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "tiny.gguf"
    write_gguf(path, tiny_model)
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "other": b"PK\x03\x04" + whole, "truncated": whole[:300], "short": whole[:-100]}[damage]
    )
    with pytest.raises(FormatError):
        convert(path, tmp_path / "cache")
    assert not any((tmp_path / "cache").glob("*"))
