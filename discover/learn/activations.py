"""What the frozen part of the encoder says of a document, kept between rounds and shared between arms."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch


class ActivationCache:
    """A dictionary with a byte limit; what came in first goes first.

    Args:
        megabytes: the limit; 0 keeps nothing.
    """

    def __init__(self, megabytes: float):
        self.limit = int(megabytes * 1e6)
        self.bytes = 0
        self._kept: OrderedDict[tuple[Hashable, int], torch.Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, what: Hashable, ids: Sequence[int], compute: Callable[[list[int]], list[torch.Tensor]]
    ) -> list[torch.Tensor]:
        """One tensor for each document; ``compute`` is asked once for those that are not kept.

        Args:
            what: the kind of tensor, such as encoder version and layer.
            ids: row ids.
            compute: gives the tensors of some row ids, aligned with them.
        """
        with self._lock:
            found = {row: self._kept[what, row] for row in ids if (what, row) in self._kept}
        missing = [row for row in dict.fromkeys(ids) if row not in found]
        if missing:
            computed = dict(zip(missing, compute(missing), strict=True))
            found.update(computed)
            with self._lock:
                self._keep(what, computed)
        return [found[row] for row in ids]

    def _keep(self, what: Hashable, computed: dict[int, torch.Tensor]) -> None:
        for row, tensor in computed.items():
            if (what, row) not in self._kept:
                self._kept[what, row] = tensor
                self.bytes += tensor.nbytes
        while self.bytes > self.limit:
            self.bytes -= self._kept.popitem(last=False)[1].nbytes
