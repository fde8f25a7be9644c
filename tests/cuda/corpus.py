"""Rows, rules and drafts that a kernel must treat as its CPU twin does. No pytest here: a device may lack it."""

import numpy as np
import tokenloom as tl

Params = tl.sample.Params
NONE = -np.inf
RULES = [
    Params(),
    Params(temperature=0.0),
    Params(temperature=1e-30),
    Params(temperature=0.7, top_k=5),
    Params(top_k=40, top_p=0.9, min_p=0.02, typical_p=0.9, temperature=1.3),
    Params(top_k=10**9, top_p=1.0, min_p=0.0, typical_p=1.0),
    Params(top_p=0.9),
    Params(top_p=0.0),
    Params(top_p=1 - 1e-12),
    Params(min_p=0.05),
    Params(min_p=1.0),
    Params(typical_p=0.2),
    Params(typical_p=0.999, temperature=3e38),
    Params(temperature=0.2, top_p=0.5, typical_p=0.7),
    Params(top_k=7, order="llamacpp", temperature=0.5, top_p=0.8, min_p=0.01, top_n_sigma=1.5, typical_p=0.95),
    Params(top_k=7, order="vllm", temperature=0.5, top_p=0.8, min_p=0.1),
    Params(top_k=7, order="joint", temperature=0.5, top_p=0.8),
    Params(epsilon_cutoff=0.001, eta_cutoff=0.01),
    Params(eta_cutoff=0.3, order=("eta_cutoff", "temperature"), temperature=2.0),
    Params(top_n_sigma=1.0),
    Params(top_n_sigma=0.1, order=("top_k", "top_n_sigma"), top_k=9),
    Params(p_less=1),
    Params(p_less=2, temperature=0.6),
    Params(xtc_probability=1.0, xtc_threshold=0.05),
    Params(xtc_probability=0.5, xtc_threshold=0.0, top_k=20),
    Params(dynatemp_range=0.5, dynatemp_exponent=1.7),
    Params(temperature=0.1, dynatemp_range=0.5, dynatemp_exponent=0.0, top_p=0.99),
    Params(mirostat=2, mirostat_tau=2.0),
    Params(mirostat=2, mirostat_tau=0.0, order="llamacpp"),
    Params(order=("top_k", "temperature"), temperature=0.0, top_k=3),
]


def edge_rows(n_vocab: int) -> np.ndarray:
    generator = np.random.default_rng(n_vocab)
    normal = generator.normal(size=n_vocab).astype(np.float32)
    one_finite = np.full(n_vocab, NONE, np.float32)
    one_finite[n_vocab // 2] = -5
    rows = [
        normal,
        normal * 20,  # peaked
        np.zeros(n_vocab),  # flat: every cut is inside a tie
        np.where(np.arange(n_vocab) % 2, 0.0, -0.0),
        np.round(normal * 2) / 2,  # ties across every cut
        (normal.view(np.uint32) & 0xFFFF0000).view(np.float32),  # bf16
        np.full(n_vocab, NONE),
        one_finite,
        np.where(normal > 0, normal, np.nan),
        np.where(np.arange(n_vocab) == n_vocab - 1, np.inf, normal),
        np.where(np.arange(n_vocab) == 0, 0.0, -1e-7),  # almost flat
        np.where(np.arange(n_vocab) == 0, 16.2, 0.0),  # 1 - 1e-7
        np.where(normal > 1, 3e38, -3e38),
    ]
    return np.stack(rows).astype(np.float32)


def random_params(generator):
    def pick(*values):
        return values[generator.integers(len(values))]

    return Params(
        temperature=pick(0.0, 0.3, 1.0, 1.0, 2.0),
        top_k=int(pick(0, 0, 1, 3, 50, 200, 1000)),
        top_p=pick(1.0, 1.0, 0.99, 0.7, 0.1),
        min_p=pick(0.0, 0.0, 0.01, 0.3),
        typical_p=pick(1.0, 1.0, 0.95, 0.4),
        order=pick("hf", "vllm", "llamacpp", "joint"),
        epsilon_cutoff=pick(0.0, 0.0, 0.01),
        eta_cutoff=pick(0.0, 0.0, 0.02),
        top_n_sigma=pick(0.0, 0.0, 1.0),
        p_less=int(pick(0, 0, 0, 1, 2)),
        xtc_probability=pick(0.0, 0.5),
        dynatemp_range=pick(0.0, 0.0, 0.2),
        mirostat=int(pick(0, 0, 2)),
        repetition_penalty=pick(1.0, 1.3),
        frequency_penalty=pick(0.0, 0.2),
        presence_penalty=pick(0.0, -0.4),
        dry_multiplier=pick(0.0, 0.8),
        no_repeat_ngram_size=int(pick(0, 2)),
        bias=pick((), {3: 1.5, 7: -np.inf}),
        allowed_ids=pick((), (), tuple(range(0, 301, 3))),
        min_tokens=3,
        stop_ids=(0, 1),
    )


#: Rules of `kernels.verify`, how siblings are drawn, and whether they may repeat.
VERIFICATIONS = [
    ("greedy", "with", True),
    ("walk", "with", True),
    ("chain", "chain", True),
    ("block", "chain", True),
    ("recursive", "with", True),
    ("recursive", "without", False),
    ("kseq", "with", True),
]


def drafts(generator, n_trees, n_nodes, n_vocab, shape):
    """Trees and rows, some of them bad; siblings drawn from q as `shape` says."""
    p = generator.dirichlet(np.full(n_vocab, 0.3), size=(n_trees, n_nodes + 1)).astype(np.float32) * 3
    q = generator.dirichlet(np.full(n_vocab, 0.3), size=(n_trees, n_nodes)).astype(np.float32)
    q[::3] = p[::3, :n_nodes]
    tokens, parents = np.zeros((2, n_trees, n_nodes), dtype=np.int32)
    lengths = generator.integers(0, n_nodes + 1, size=n_trees).astype(np.int32)
    for tree in range(n_trees):
        taken = {}
        for node in range(n_nodes):
            parent = node - 1 if shape == "chain" else int(generator.integers(-1, max(node, 1)))
            parent = -1 if node == 0 else parent
            law = q[tree, parent + 1].astype(np.float64)
            if shape == "without":
                law[taken.get(parent, [])] = 0
            if not law.sum() > 0:
                law[:] = 1
            token = generator.choice(n_vocab, p=law / law.sum())
            taken.setdefault(parent, []).append(token)
            parents[tree, node], tokens[tree, node] = parent, token
    for tree, (row, value) in enumerate([(0, np.nan), (1, -1.0), (0, 0.0)], start=1):
        where = (q if tree == 2 else p)[tree * 4]
        if row < len(where):
            where[row, 3 if value != 0.0 else slice(None)] = value
    return p, q, tokens, parents, lengths
