"""The rules against Hugging Face's logits processors in float64: the same tokens kept, the same probabilities."""

import numpy as np
import pytest
import tokenloom as tl
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

RULES = [
    {"temperature": 0.7},
    {"top_k": 50},
    {"top_p": 0.9},
    {"min_p": 0.05},
    {"typical_p": 0.6},
    {"temperature": 1.4, "top_k": 200, "top_p": 0.95},
    {"temperature": 0.6, "top_p": 0.8, "min_p": 0.1},
    {"top_k": 100, "typical_p": 0.9},
    {"temperature": 0.9, "top_k": 500, "top_p": 0.99, "min_p": 0.001, "typical_p": 0.95},
]


def hugging_face(logits: np.ndarray, rules: dict) -> np.ndarray:
    """The processors in the order in which `generate` builds them."""
    makers = [
        ("temperature", TemperatureLogitsWarper),
        ("top_k", TopKLogitsWarper),
        ("top_p", TopPLogitsWarper),
        ("min_p", MinPLogitsWarper),
        ("typical_p", TypicalLogitsWarper),
    ]
    chain = LogitsProcessorList([make(rules[name]) for name, make in makers if name in rules])
    scores = chain(torch.zeros(len(logits), 1, dtype=torch.int64), torch.from_numpy(logits).double())
    return scores.softmax(-1).numpy()


@pytest.mark.parametrize("rules", RULES, ids=str)
@pytest.mark.parametrize("spread", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("n_vocab", [40, 1000, 20_000])
def test_distributions_are_equal(rules, spread, n_vocab):
    generator = np.random.default_rng([n_vocab, int(spread * 10)])
    # No cut of these rows falls on a tie, where the processors keep more: see test_sample.py.
    logits = (generator.normal(size=(4, n_vocab)) * spread).astype(np.float32)
    found = tl.sample.distribution(logits, tl.sample.Params(**rules))
    expected = hugging_face(logits, rules)
    assert ((found > 0) == (expected > 0)).all()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-300)
