"""A made-up view of random candidates, for tests of strategies."""

import numpy as np

from discover.query.view import View


def view_of(n=12, c=4, d=6, seed=0, m=3, **changes):
    """A view of n random candidates; nothing of it is special but what a test changes."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, d)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    probabilities = rng.dirichlet(np.ones(c), n) if n else np.empty((0, c))
    fields = {
        "ids": np.sort(rng.permutation(1000)[:n]),
        "generator": np.full(n, "uniform"),
        "age": np.zeros(n),
        "costs": np.ones(n),
        "temperature": 0.3,
        "floor": 0.2,
        "make_vectors": lambda: vectors,
        "make_probabilities": lambda: probabilities,
        "make_labelled_vectors": lambda: rng.normal(size=(m, d)) if m else np.empty((0, d)),
        "make_labels": lambda: np.arange(m) % c,
        "make_votes": lambda: np.asarray(fields["make_probabilities"]())[:, None] ** members,
    }
    members = np.array([[1.0], [0.5], [2.0]])  # powers: one as sure as the model, one less, one more
    fields |= changes
    return View(**fields)
