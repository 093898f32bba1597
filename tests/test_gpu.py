"""Where an index is searched: on the machine's GPU if FAISS can use one, else on the CPU; the same is found."""

import faiss
import numpy as np
import pytest

from discover.embed import gpu


@pytest.fixture(scope="module")
def lists():
    vectors = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    made = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(16), 16, 20, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    made.train(vectors)
    made.add_with_ids(vectors, np.arange(2000) + 7)
    made.nprobe = 20
    return made


def test_a_copy_lies_on_the_gpu_where_there_is_one(lists):
    copy = gpu.copied(lists)
    assert (copy is None) == (gpu.gpus() == 0)
    if copy is not None:
        queries = np.random.default_rng(1).normal(size=(50, 16)).astype(np.float32)
        assert (copy.search(queries, 5)[1] == lists.search(queries, 5)[1]).mean() > 0.99


def test_a_gpu_that_refuses_leaves_the_search_on_the_cpu(lists, monkeypatch, caplog):
    def refuse():
        raise RuntimeError("Error in virtual void* StandardGpuResourcesImpl::allocMemory: out of memory\nmore")

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", refuse, raising=False)
    assert gpu.gpus() == 1 and gpu.copied(lists) is None
    assert "2000 vectors are searched on the CPU" in caplog.text and "out of memory" in caplog.text
    assert "more" not in caplog.text
