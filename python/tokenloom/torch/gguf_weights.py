"""How do the weights of a GGUF file become a folder that transformers loads in a second?

The file's metadata gives ``config.json``; every tensor is dequantised once with the ``gguf`` package and written to
``model.safetensors`` in float32 under its Hugging Face name. The folder is named after the file's SHA-256 and put in
place by one rename, so a half-written folder is never seen and a changed file is converted anew.

GGUF stores the query and key projections of this architecture with the two halves of each head's rotary pairs
interleaved; they are put back here. Cost: one read of the file, four bytes a weight on disk (4-9 s for 135 M weights).

Does not do: architectures other than ``llama``, rotary scaling, mixtures of experts. Each is refused by name.
Source: the GGUF specification (github.com/ggml-org/ggml, docs/gguf.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tokenloom.errors import FormatError, MissingDependencyError, UnsupportedFeatureError

__all__ = ["convert", "read_metadata"]

_TOP = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_BLOCK = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "ffn_norm.weight": "post_attention_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}


def convert(path: str | Path, cache: str | Path) -> Path:
    """The folder under ``cache`` that holds the model of the GGUF file at ``path``; made if it is not there yet.

    Args:
        path: a GGUF file of architecture ``llama``.
        cache: folder that keeps converted models; created if missing.

    Returns:
        A folder with ``config.json``, ``generation_config.json``, ``chat_template.jinja`` (where the file has one) and
        ``model.safetensors`` (float32).

    Raises:
        UnsupportedFeatureError: another architecture, or a tensor or key this converter does not know.
        FormatError: the file is no GGUF, or lacks a key it must have.
        MissingDependencyError: ``gguf`` or ``safetensors`` is not installed.
    """
    path = Path(path)
    folder = Path(cache) / f"{path.stem}-{_sha256(path)[:16]}-float32"
    if folder.is_dir():
        return folder
    reader = _open(path)
    metadata = _metadata(reader)
    config = _config(metadata, {tensor.name for tensor in reader.tensors})
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        _write(unfinished, reader, metadata, config)
        os.replace(unfinished, folder)
    except OSError:
        if not folder.is_dir():  # otherwise another process was first, with the same bytes
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Every scalar and string of the file's metadata by key; long arrays (the vocabulary) are left out.

    Raises:
        FormatError: the file is no GGUF.
        MissingDependencyError: ``gguf`` is not installed.
    """
    return _metadata(_open(Path(path)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> Any:
    try:
        import gguf
        import safetensors  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"reading GGUF weights needs the package {error.name!r}\nhint: pip install tokenloom[torch,gguf]"
        ) from error
    with path.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise FormatError(f"expected a GGUF file, found magic {magic!r} in {path.name}", format="gguf", byte_offset=0)
    try:
        return gguf.GGUFReader(path)
    except (ValueError, KeyError, IndexError, OverflowError) as error:
        raise FormatError(f"{path.name} is no readable GGUF file: {error}", format="gguf") from error


def _metadata(reader: Any) -> dict[str, Any]:
    from gguf import GGUFValueType

    return {key: field.contents() for key, field in reader.fields.items() if field.types[:1] != [GGUFValueType.ARRAY]}


def _config(metadata: dict[str, Any], tensors: set[str]) -> dict[str, Any]:
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise UnsupportedFeatureError(
            f"expected a GGUF model of architecture 'llama', found {architecture!r}",
            format="gguf",
            path="general.architecture",
        )
    for key in ("llama.rope.scaling.type", "llama.expert_count"):
        if metadata.get(key) not in (None, "none", 0):
            raise UnsupportedFeatureError(f"{key} = {metadata[key]!r} is not supported", format="gguf", path=key)

    def need(key: str) -> Any:
        if f"llama.{key}" not in metadata:
            raise FormatError(f"the metadata lacks llama.{key}", format="gguf", path=f"llama.{key}")
        return metadata[f"llama.{key}"]

    n_heads = need("attention.head_count")
    rope_theta = float(metadata.get("llama.rope.freq_base", 10_000.0))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": need("vocab_size"),
        "hidden_size": need("embedding_length"),
        "intermediate_size": need("feed_forward_length"),
        "num_hidden_layers": need("block_count"),
        "num_attention_heads": n_heads,
        "num_key_value_heads": metadata.get("llama.attention.head_count_kv", n_heads),
        "head_dim": metadata.get("llama.rope.dimension_count", need("embedding_length") // n_heads),
        "max_position_embeddings": need("context_length"),
        "rms_norm_eps": float(need("attention.layer_norm_rms_epsilon")),
        "rope_theta": rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": rope_theta},
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": metadata.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": metadata.get("tokenizer.ggml.eos_token_id"),
        "pad_token_id": metadata.get("tokenizer.ggml.padding_token_id"),
    }


def _write(folder: Path, reader: Any, metadata: dict[str, Any], config: dict[str, Any]) -> None:
    from safetensors.numpy import save_file

    save_file(_tensors(reader, config), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    special = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")}
    (folder / "generation_config.json").write_text(json.dumps(special, indent=2) + "\n", encoding="utf-8")
    template = metadata.get("tokenizer.chat_template")
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")


def _tensors(reader: Any, config: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    from gguf.quants import dequantize

    tensors = {}
    for tensor in reader.tensors:
        name, permuted_heads = _place(tensor.name, config)
        weights = np.asarray(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        if permuted_heads:
            half = weights.shape[0] // permuted_heads // 2
            weights = weights.reshape(permuted_heads, half, 2, -1).swapaxes(1, 2).reshape(weights.shape)
        tensors[name] = np.ascontiguousarray(weights)
    return tensors


def _place(name: str, config: dict[str, Any]) -> tuple[str, int]:
    """The Hugging Face name of a tensor, and the number of heads whose rows must be put back in order (0: none)."""
    if name in _TOP:
        return _TOP[name], 0
    block, _, rest = name.removeprefix("blk.").partition(".")
    if not (name.startswith("blk.") and block.isdigit() and rest in _BLOCK):
        raise UnsupportedFeatureError(f"tensor {name!r} has no place in a llama model", format="gguf", path=name)
    heads = {"attn_q.weight": "num_attention_heads", "attn_k.weight": "num_key_value_heads"}
    return f"model.layers.{block}.{_BLOCK[rest]}", int(config[heads[rest]]) if rest in heads else 0
