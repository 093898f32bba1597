"""Label propagation: what the answers, and the model, say of the documents that nobody has answered.

Documents that lie close under the fine-tuned encoder mostly share a class. Beliefs spread over the graph of nearest
neighbours, F <- a S F + (1 - a) F0, with S = D^-1/2 W D^-1/2 of the symmetrised similarities; F0 are the answers, and
the model's probabilities where there is none. Zhou et al., "Learning with local and global consistency", 2003. The head
is then fitted to answers and propagated classes together (pseudo-labels: Lee 2013; on a neighbour graph: Iscen et al.
2019, https://arxiv.org/abs/1904.04717), so that predictions cost what they did.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, diags

from discover.embed.neighbours import nearest

NEIGHBOURS = 10
SPREAD = 0.8  # a: share of a belief that comes from the neighbours
STEPS = 10
SHARPNESS = 3  # power of the cosine: an edge to a close neighbour counts more


def propagate(
    vectors: NDArray[np.float32], beliefs: NDArray[np.float64], neighbours: int = NEIGHBOURS
) -> NDArray[np.float64]:
    """Class probabilities, (n, c), after the beliefs have spread.

    Args:
        vectors: (n, d) unit vectors.
        beliefs: (n, c) before: one 1 a row where there is an answer, probabilities elsewhere.
        neighbours: of each document.
    """
    n = len(vectors)
    scores, ids = nearest(vectors, min(neighbours + 1, n))
    rows = np.repeat(np.arange(n), ids.shape[1])
    weights = np.maximum(scores.ravel(), 0).astype(np.float64) ** SHARPNESS
    apart = (rows != ids.ravel()) & (ids.ravel() >= 0)
    graph = coo_matrix((weights[apart], (rows[apart], ids.ravel()[apart])), shape=(n, n)).tocsr()
    graph = graph.maximum(graph.T)
    degree = diags(1 / np.sqrt(np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1e-12)))
    spread, found = degree @ graph @ degree, beliefs
    for _ in range(STEPS):
        found = SPREAD * (spread @ found) + (1 - SPREAD) * beliefs
    return found / found.sum(axis=1, keepdims=True)
