"""Two halves of a training step at a time, each on half of the cores.

Small operations, a third of a step, gain nothing from a second thread, while two threads each have their own.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from discover.learn import forward


class Halves:
    """Two threads, between which the cores of this process are divided while they compute."""

    def __init__(self) -> None:
        self._cores = torch.get_num_threads()
        self._threads = ThreadPoolExecutor(2)

    def map(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """What the function gives for both halves, aligned with the arguments."""
        torch.set_num_threads(self._cores // 2)
        try:
            return list(self._threads.map(function, *arguments))
        finally:
            torch.set_num_threads(self._cores)


def halves_for(transformer: Any, device: torch.device) -> Halves | None:
    """Halves where they are faster: on a CPU with several cores, for a transformer that goes without padding."""
    several = device.type == "cpu" and torch.get_num_threads() > 1
    return Halves() if several and forward.is_unpadded(transformer) else None
