"""Work side by side in processes: results, what is shared, and what is told when one is killed."""

import os
import signal

import pytest

from discover.child import side_by_side
from discover.errors import DiscoverError


def times(shared, item):
    return os.getpid(), shared * item


def refuse(shared, item):
    raise DiscoverError(f"{item} is {shared}")


def die(shared, item):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_item_is_worked_on_with_what_is_shared(jobs):
    found = list(side_by_side(times, 3, [1, 2, 5], jobs))
    assert sorted(value for _, value in found) == [3, 6, 15]
    assert all((process == os.getpid()) == (jobs == 1) for process, _ in found)
    assert list(side_by_side(times, 3, [], jobs)) == []


def test_an_error_comes_back_and_a_killed_process_is_told():
    with pytest.raises(DiscoverError, match="1 is wrong"):
        list(side_by_side(refuse, "wrong", [1], 2))
    with pytest.raises(DiscoverError, match="was killed, perhaps for want of memory: give the same command again"):
        list(side_by_side(die, None, [1, 2], 2))
