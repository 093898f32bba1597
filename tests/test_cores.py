import numpy as np
import pytest
import torch

from discover.embed.config import EncoderConfig
from discover.embed.cores import each_on_a_core
from discover.embed.encoder import Encoder


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_and_few_at_a_time(threads):
    begun = []

    def work(number):
        begun.append(number)
        assert torch.get_num_threads() == 1
        return number * 2

    for done, result in enumerate(each_on_a_core(work, range(20))):
        assert result == done * 2
        assert len(begun) <= done + threads + 2
    assert torch.get_num_threads() == threads


def test_a_failure_or_a_consumer_that_leaves_gives_the_threads_back(threads):
    with pytest.raises(ZeroDivisionError):
        list(each_on_a_core(lambda number: 1 / number, [1, 0, 1]))
    assert torch.get_num_threads() == threads
    results = each_on_a_core(str, range(20))
    next(results)
    results.close()
    assert torch.get_num_threads() == threads


def test_vectors_do_not_depend_on_the_number_of_threads(threads):
    texts = [f"text number {n} " + "and more " * (n % 30) for n in range(150)]
    encoder = Encoder(EncoderConfig(max_tokens=64))
    found = encoder.encode(texts)
    torch.set_num_threads(1)
    assert np.array_equal(found, encoder.encode(texts))
