from tokenloom._core import (
    bytelevel,
    control,
    draft,
    exactness,
    formats,
    gpu,
    kernels,
    lexica,
    pipeline,
    sample,
    segment,
    tokenizer,
    train,
    verify,
)

__all__ = [
    "VERSION",
    "bytelevel",
    "control",
    "draft",
    "exactness",
    "formats",
    "gpu",
    "kernels",
    "lexica",
    "pipeline",
    "sample",
    "segment",
    "tokenizer",
    "train",
    "verify",
]

VERSION: str
