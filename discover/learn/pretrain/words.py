"""Where the word embeddings of a new encoder start: what the tokens stand together with, factorised.

The positive pointwise mutual information of tokens i and j in one window, max(0, log(n_ij N / (n_i n_j^a))) with N the
sum of n_j^a, as u s v', and of it u sqrt(s): Levy, Goldberg & Dagan, "Improving distributional similarity with lessons
learned from word embeddings", 2015, https://aclanthology.org/Q15-1016. It takes seconds and saves passes over the
pool (runs/LOG.md).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from discover.learn.pretrain.corpus import Corpus, inside

WINDOW = 32  # tokens that stand together
MOST = 4_000_000  # tokens that are counted, from the first on: an order by public ids, which are hashes
SMOOTHING = 0.75  # power of the other token's count
SPREAD = 0.05  # standard deviation of the numbers; that of a random start is 0.02


def word_vectors(corpus: Corpus, usual: NDArray[np.bool_], width: int, seed: int) -> NDArray[np.float32]:
    """Vectors of the vocabulary, (v, width).

    Args:
        corpus: what is counted.
        usual: (v,) False for special tokens, which stand with everything.
        width: of a vector.
        seed: of the factorisation.
    """
    from sklearn.utils.extmath import randomized_svd

    together = _together(corpus, usual)
    rank = min(width, len(usual) - 1)
    left, strength, _ = randomized_svd(_information(together), rank, n_iter=3, random_state=seed % 2**32)
    found = np.zeros((len(usual), width))
    found[:, :rank] = left * np.sqrt(strength)
    found -= found.mean(0)
    return (found * (SPREAD / max(found.std(), 1e-9))).astype(np.float32)


def _together(corpus: Corpus, usual: NDArray[np.bool_]) -> sparse.csr_matrix:
    """In how many windows two tokens stand together, (v, v), without the diagonal."""
    n = int(np.searchsorted(corpus.starts, MOST))
    lengths = corpus.lengths[:n]
    ids = corpus.ids[: lengths.sum()]
    window = np.cumsum(inside(lengths) % WINDOW == 0) - 1
    kept = usual[ids]
    ones = np.ones(int(kept.sum()), np.float32)
    stands = sparse.csr_matrix((ones, (window[kept], ids[kept])), shape=(window[-1] + 1, len(usual)))
    stands.data[:] = 1
    together = (stands.T @ stands).tocoo()
    apart = together.row != together.col
    return sparse.csr_matrix((together.data[apart], (together.row[apart], together.col[apart])), together.shape)


def _information(together: sparse.csr_matrix) -> sparse.csr_matrix:
    """Positive pointwise mutual information, (v, v)."""
    counts = np.asarray(together.sum(1), np.float64).ravel()
    context = counts**SMOOTHING
    pairs = together.tocoo()
    expected = counts[pairs.row] * context[pairs.col] / max(context.sum(), 1e-9)
    information = np.log(pairs.data / np.maximum(expected, 1e-9))
    above = information > 0
    return sparse.csr_matrix((information[above], (pairs.row[above], pairs.col[above])), pairs.shape)
