"""Adapters: small trained matrices beside the frozen weights of a transformer. The only file that imports peft.

Hu et al., "LoRA: low-rank adaptation of large language models", 2021, https://arxiv.org/abs/2106.09685. For predictions
they are merged into the weights they stand beside, and cost nothing there. Left out: adapters that add tokens (prompt
and prefix tuning), and those that cannot be merged.
"""

import warnings
from typing import Any

from torch import nn

from discover.learn.config import Adapter

# What peft calls them. dora: Liu et al. 2024, https://arxiv.org/abs/2402.09353; loha, lokr: Yeh et al. 2023,
# https://arxiv.org/abs/2309.14859; oft: Qiu et al. 2023, https://arxiv.org/abs/2306.07280; hra: Yuan et al. 2024,
# https://arxiv.org/abs/2405.17484; ia3: Liu et al. 2022, https://arxiv.org/abs/2205.05638.
CONFIGS: dict[Adapter, str] = {
    "lora": "LoraConfig",
    "dora": "LoraConfig",
    "loha": "LoHaConfig",
    "lokr": "LoKrConfig",
    "oft": "OFTConfig",
    "hra": "HRAConfig",
    "ia3": "IA3Config",
}


def insert(transformer: Any, kind: Adapter, rank: int) -> Any:
    """Freeze a transformer and put an adapter beside every linear layer, in place; returns it.

    Args:
        transformer: with no adapters yet.
        kind: of adapter.
        rank: of the added matrices; of ``oft`` the number of blocks. ``ia3`` has none.
    """
    import peft

    settings: dict[str, Any] = {"target_modules": _linear_layers(transformer)}
    if kind == "ia3":
        settings["feedforward_modules"] = []
    else:
        settings["r"] = rank
    if kind in ("lora", "dora"):
        settings |= {"lora_alpha": 2 * rank, "use_dora": kind == "dora"}
    if kind in ("loha", "lokr"):
        settings["alpha"] = 2 * rank
    if kind == "oft":
        settings["oft_block_size"] = 0  # follows from the rank
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="peft")
        return peft.inject_adapter_in_model(getattr(peft, CONFIGS[kind])(**settings), transformer)


def merge(transformer: Any) -> Any:
    """Fold adapters into the weights beside which they stand, in place; returns the transformer without adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(transformer.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            owner, _, last = name.rpartition(".")
            setattr(transformer.get_submodule(owner), last, module.get_base_layer())
    return transformer


def _linear_layers(transformer: Any) -> list[str]:
    return [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
