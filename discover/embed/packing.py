"""Linear layers with weights laid out once for oneDNN, instead of at every call; for frozen parts on a CPU.

In bfloat16 a tenth to a fifth faster on a small transformer. Where torch or the processor does not offer it, and in
other number formats, they are torch's own.
"""

from typing import Any

import torch
from torch import nn


class PackedLinear(nn.Module):
    """A frozen linear layer.

    Args:
        weight: (out, in).
        bias: (out,), or None.
        rows: of the products, for which the layout is chosen.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, rows: int):
        super().__init__()
        offered = hasattr(torch.ops.mkldnn, "_linear_pointwise") and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        wanted = weight.dtype == torch.bfloat16 and weight.device.type == "cpu"
        self._packed = offered and wanted and torch.ops.mkldnn._is_mkldnn_bf16_supported()  # not before AVX-512
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, rows) if self._packed else weight
        self._bias = bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Of inputs (..., in): (..., out)."""
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise.default(inputs, self._weight, self._bias, "none", [], "")
        return nn.functional.linear(inputs, self._weight, self._bias)

    def gelu(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same, followed by GELU."""
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise.default(inputs, self._weight, self._bias, "gelu", [], "none")
        return nn.functional.gelu(self.forward(inputs))

    def plus(self, inputs: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """The same, plus ``other`` (..., out)."""
        if self._packed:
            return torch.ops.mkldnn._linear_pointwise.binary(inputs, other, self._weight, self._bias, "add")
        return self.forward(inputs) + other


def pack(model: Any, rows: int) -> Any:
    """Replace the linear layers of a model, in place, by packed ones; returns the model.

    Args:
        model: frozen; afterwards it can neither be trained, copied nor moved.
        rows: of the products, for which the layout is chosen.
    """
    for owner in list(model.modules()):
        for name, child in list(owner.named_children()):
            if type(child) is nn.Linear:
                bias = None if child.bias is None else child.bias.detach()
                setattr(owner, name, PackedLinear(child.weight.detach(), bias, rows))
    return model
