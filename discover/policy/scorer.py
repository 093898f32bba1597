"""The policy's network: one small multilayer perceptron that scores every candidate by itself.

It sees a candidate's features, most of which are ranks among the others, and the state. So permuting candidates
permutes their scores, and any number of them will do. Context of the whole set beyond the ranks was no better where it
was measured, and a flat network over all candidates learns next to nothing.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from discover.policy.features import NAMES, STATE


class Scorer(nn.Module):
    """Logits of candidates.

    Args:
        hidden: units of each of its two hidden layers.
    """

    def __init__(self, hidden: int = 48):
        super().__init__()
        self.hidden = hidden
        self.layers = nn.Sequential(
            nn.Linear(len(NAMES) + len(STATE), hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, candidates: Tensor, state: Tensor) -> Tensor:
        """(…, k) logits of (…, k, f) candidates and the (…, g) state."""
        every = state[..., None, :].expand(*candidates.shape[:-1], state.shape[-1])
        return self.layers(torch.cat([candidates, every], dim=-1))[..., 0]

    @torch.no_grad()
    def logits(self, candidates: NDArray[np.float32], state: NDArray[np.float32]) -> NDArray[np.float64]:
        """(…, k) logits, as arrays."""
        found = self(torch.from_numpy(np.ascontiguousarray(candidates)), torch.from_numpy(np.ascontiguousarray(state)))
        return found.numpy().astype(np.float64)
