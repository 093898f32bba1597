"""What the machine computes with: the device, and whether it is faster with bfloat16. Detected, never assumed."""

from contextlib import AbstractContextManager, nullcontext

import torch

from discover.errors import DiscoverError


def choose_device(wanted: str) -> torch.device:
    """The device of a config: ``auto`` takes a GPU where there is one.

    Raises:
        DiscoverError: the device is unknown or not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise DiscoverError(f"encoder.device must be auto, cpu, cuda or cuda:1 …, got {wanted!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DiscoverError(
            f"encoder.device is {wanted}, but this machine offers {torch.cuda.device_count()} such devices: use auto"
        )
    return device


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "bf16"))


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The number format of a config: ``auto`` takes bfloat16 where the hardware has it."""
    if wanted == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    return {"bfloat16": torch.bfloat16, "float32": torch.float32}[wanted]


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager:
    """Mixed precision over float32 weights where ``dtype`` is bfloat16; nothing otherwise."""
    return torch.autocast(device.type, dtype=dtype) if dtype == torch.bfloat16 else nullcontext()
