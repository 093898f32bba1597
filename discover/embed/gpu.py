"""The lists of an index on a GPU, where there is one and FAISS was built for it (`gpu` extra); else on the CPU.

Written against FAISS's documentation (https://github.com/facebookresearch/faiss/wiki/Faiss-on-the-GPU), not run on a
GPU yet.
"""

import logging
from typing import Any

import faiss

MOST = 2048  # neighbours of a search, which a GPU's kernels can give
_log = logging.getLogger(__name__)


def gpus() -> int:
    """How many GPUs FAISS can use; none with its CPU build, whatever the machine has."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def copied(index: Any) -> Any:
    """A copy of a FAISS index on the first GPU; None where there is none, or it has no room or no such index."""
    if not gpus():
        return None
    try:
        resources = faiss.StandardGpuResources()
        return faiss.index_cpu_to_gpu(resources, 0, index)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        _log.warning("%d vectors are searched on the CPU, since the GPU refuses them: %s", index.ntotal, reason)
        return None
