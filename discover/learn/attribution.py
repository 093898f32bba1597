"""Integrated gradients: what each word of a text added to the log-odds of something that is predicted of it.

Over the word embeddings, from the text with every word unknown to the text as it is, summed over a word's tokens.
Sundararajan et al., "Axiomatic attribution for deep networks", 2017, https://arxiv.org/abs/1703.01365. The weights add
up to the log-odds of the text less those of the unknown one, up to the error of the quadrature, for which the steps are
doubled until it is small. Log-odds, log(p / (1 - p)), are taken since a probability hardly moves where the model is
sure, and a logit means something beside others only; [UNK] stands for a word that is not known, since the words so
found matter more than by [MASK], [PAD] or zeros (runs/LOG.md). It is computed in float32, a prediction perhaps in
bfloat16. The only file that imports captum.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from discover.embed.encoder import Encoder
from discover.errors import DiscoverError

STEPS = 16  # of the quadrature, Gauss-Legendre's, at first
MOST_STEPS = 128
TOLERANCE = 0.05  # error in log-odds that is small enough, of their difference where that is larger than 1
TOKENS = 2048  # computed at a time


class Word(NamedTuple):
    """A word of a text: its first character, the one after its last, and what it added to the log-odds."""

    start: int
    stop: int
    weight: float


class Attribution:
    """Attributes what a transformer's hidden states say to the words that it read.

    Args:
        encoder: reads the texts.
        transformer: a whole one, in float32; it belongs to the attribution from now on.
        log_odds: (n,) of hidden states (n, t, d) after the last block, without padding, and a target of any kind.

    Raises:
        DiscoverError: the transformer does not say which of its parts are the word embeddings.
    """

    def __init__(self, encoder: Encoder, transformer: Any, log_odds: Callable[[torch.Tensor, Any], torch.Tensor]):
        from captum.attr import LayerIntegratedGradients

        self._encoder, self._transformer, self._of_hidden = encoder, transformer, log_odds
        transformer.requires_grad_(False)
        try:
            embeddings = transformer.get_input_embeddings()
        except NotImplementedError as error:
            kind = type(transformer).__name__
            raise DiscoverError(
                f"explanations need a transformer that names its word embeddings, and {kind} does not: choose another "
                "encoder.model, or do without explanations (label.explain: false)"
            ) from error
        self._gradients = LayerIntegratedGradients(self.log_odds, embeddings)

    def words(self, text: str, target: Any) -> tuple[list[Word], float]:
        """What each word that was read added to the target's log-odds, in the order of the text, and their sum's error.

        Args:
            text: of a document.
            target: as `log_odds` takes it.
        """
        tokens, of, spans = self._encoder.words(text)
        ids = tokens.long().to(self._encoder.device)[None]
        unknown = torch.where(torch.from_numpy(of >= 0).to(self._encoder.device), self._encoder.blank, ids)
        steps = STEPS
        while True:
            weights, error = self._integrate(ids, unknown, target, steps)
            if abs(error) <= TOLERANCE * max(1.0, abs(weights.sum() - error)) or steps >= MOST_STEPS:
                break
            steps *= 2
        sums = np.bincount(of[of >= 0], weights[of >= 0], minlength=len(spans))
        return [Word(*span, float(weight)) for span, weight in zip(spans, sums, strict=True)], error

    def log_odds(self, ids: torch.Tensor, target: Any) -> torch.Tensor:
        """Of a target, (n,), of token ids (n, t) without padding."""
        hidden = self._transformer(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return self._of_hidden(hidden, target)

    def _integrate(
        self, ids: torch.Tensor, unknown: torch.Tensor, target: Any, steps: int
    ) -> tuple[NDArray[np.float64], float]:
        """(t,) what each token added, and their sum less what it should be."""
        found, error = self._gradients.attribute(
            ids,
            unknown,
            additional_forward_args=(target,),
            n_steps=steps,
            internal_batch_size=max(1, TOKENS // ids.shape[1]),
            return_convergence_delta=True,
        )
        return found.sum(-1)[0].double().cpu().numpy(), float(error)
