from tokenloom._core import bytelevel, control, draft, formats, gpu, sample, tokenizer, verify

__all__ = [
    "VERSION",
    "bytelevel",
    "control",
    "draft",
    "formats",
    "gpu",
    "sample",
    "tokenizer",
    "verify",
]

VERSION: str
