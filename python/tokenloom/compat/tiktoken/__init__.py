r"""tiktoken 0.14 on tokenloom's engine: same names, same ids, same errors; tiktoken need not be installed.

``import tokenloom.compat.tiktoken as tiktoken`` is the whole change. What differs on purpose:

* Nothing is downloaded unless that is allowed (``allow_download=True`` or ``TOKENLOOM_ALLOW_DOWNLOAD=1``); ranks are
  found in tiktoken's own cache folder, in plug-ins, or at ``path=``.
* What makes tiktoken panic is an exception that ``except Exception`` catches.
* Where one special token starts with another, the longest one matches; tiktoken takes whichever its hash table lists
  first.
* The completions of :meth:`Encoding.encode_with_unstable` come sorted.

>>> ranks = {bytes([b]): b for b in range(256)} | {b"ab": 256}
>>> enc = Encoding("tiny", pat_str=r"\S+|\s+", mergeable_ranks=ranks, special_tokens={"<|endoftext|>": 257})
>>> enc.encode("abba"), enc.eot_token
([256, 98, 97], 257)
"""

from __future__ import annotations

from tokenloom.compat.tiktoken import core, load, model, registry
from tokenloom.compat.tiktoken.core import Encoding
from tokenloom.compat.tiktoken.model import encoding_for_model, encoding_name_for_model
from tokenloom.compat.tiktoken.registry import get_encoding, list_encoding_names

__all__ = [
    "Encoding",
    "core",
    "encoding_for_model",
    "encoding_name_for_model",
    "get_encoding",
    "list_encoding_names",
    "load",
    "model",
    "registry",
]

__version__ = registry.TIKTOKEN_VERSION
