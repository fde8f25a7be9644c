"""Do inputs made to be slow stay ordinary? No clock is read: a quadratic engine would run into the suite's timeout."""

import numpy as np
import pytest
import tokenloom as tl

N = 1_000_000
INPUTS = {
    "one letter": "a" * N,
    "two letters": "ab" * (N // 2),
    "spaces": " " * N,
    "spaces before a letter": " " * N + "x",
    "newlines": "\n" * N,
    "signs": "!" * N,
    "marks": "e" + "\u0301" * (N // 2),
    "capitals behind an uncased letter": "ª" + "A" * N,
    "random letters": "".join(map(chr, np.random.default_rng(1).integers(97, 123, N))),
    "half a special token": "<|" * (N // 2),
    "not UTF-8": b"\xff" * N,
}


@pytest.fixture(scope="module", params=["GPT2", "CL100K", "O200K", "SUPERBPE_STAGE2"])
def tok(request):
    words = [b"a" * 2**k for k in range(1, 11)] + [b"ab", b"ba", b"bab", b"  ", b"    ", b"\n\n", b"!!", b"th", b"the"]
    ranks = {bytes([b]): b for b in range(256)}
    for word in words:
        ranks[word] = len(ranks)
    pattern = getattr(tl.patterns, request.param)
    return tl.Tokenizer.from_tiktoken(
        "t",
        pat_str=pattern,
        mergeable_ranks=ranks,
        special_tokens={"<|end|>": 1000, "<|end": 1001},
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", INPUTS)
def test_a_megabyte_is_an_ordinary_document(tok, name):
    text = INPUTS[name]
    data = text if isinstance(text, bytes) else text.encode()
    ids = tok.encode(text)
    if len(tok.encode("a b")) == 3:
        # The pattern covers all text.
        assert tok.decode_bytes(ids) == data
    assert tok.count_until(text, 5) is None or len(ids) <= 5
