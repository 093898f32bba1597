"""The search for settings: it finds what is better, says where nothing is, and goes on after a kill."""

import shutil

import numpy as np
import pytest

from discover.errors import DiscoverError
from discover.learn.config import LearnConfig
from discover.learn.likelihood import Categorical
from discover.learn.search import Objective, search

M = 60
TRUTH = np.arange(M) % 3
HEAD = LearnConfig(method="head")


class Learner:
    """Logits that tell the truth the better, the nearer the penalty is to 1, with noise that each answer keeps.

    Attributes:
        calls: the settings, and the positions that were held out.
        dies: at the call of this number, as by Ctrl-C.
    """

    def __init__(self, helps: bool = True, dies: int = 10**9):
        self.helps, self.dies = helps, dies
        self.calls: list[tuple[float, tuple[int, ...]]] = []
        self.noise = np.random.default_rng(0).normal(size=(M, 3))

    def __call__(self, settings, learned, held):
        assert not set(learned) & set(held) and len(learned) + len(held) == M
        if len(self.calls) == self.dies:
            raise KeyboardInterrupt
        penalty = settings.head_penalty or 50.0
        self.calls.append((penalty, tuple(held)))
        strength = 3 / (1 + abs(np.log(penalty))) if self.helps else 1.0
        return strength * np.eye(3)[TRUTH[held]] + self.noise[held]


def objective(learner: Learner, folds: int = 3) -> Objective:
    return Objective(HEAD, TRUTH, 3, Categorical(), learner, folds, seed=4)


def test_what_is_better_is_found_and_held_against_other_folds(tmp_path):
    learner = Learner()
    found = search(objective(learner), tmp_path, "a", trials=15)
    assert found.better and 0.3 < found.changed["head_penalty"] < 3 and found.trials == 15
    assert found.loss[0] - found.loss[1] == pytest.approx(found.gain[0]) and found.accuracy[1] > found.accuracy[0]
    searched, judged = learner.calls[:-12], learner.calls[-12:]  # two settings, two partitions, three folds
    assert {penalty for penalty, _ in judged} == {50.0, found.changed["head_penalty"]}
    assert not {held for _, held in judged} & {held for _, held in searched}
    assert sorted(row for _, held in judged[:3] for row in held) == list(range(M)), "every answer is held out once"
    assert len(searched) < 15 * 3, "what is worse than most is given up"


def test_where_nothing_helps_it_says_so(tmp_path):
    found = search(objective(Learner(helps=False)), tmp_path, "a", trials=4)
    assert not found.better and found.gain[0] == pytest.approx(0)


def test_a_killed_search_ends_as_if_nobody_had_killed_it(tmp_path):
    whole = search(objective(Learner()), tmp_path / "whole", "a", trials=10)
    for dies in (1, 4, 17):
        with pytest.raises(KeyboardInterrupt):
            search(objective(Learner(dies=dies)), tmp_path / "killed", "a", trials=10)
    again = Learner()
    assert search(objective(again), tmp_path / "killed", "a", trials=10) == whole
    assert len(again.calls) < 30, "what was finished is not tried again"
    shutil.copytree(tmp_path / "whole", tmp_path / "more")
    assert search(objective(Learner()), tmp_path / "more", "a", trials=12).trials == 12
    assert search(objective(Learner()), tmp_path / "more", "b", trials=2).trials == 2, "other answers, another search"


def test_settings_that_cannot_be_learned_are_given_up(tmp_path):
    def learner(settings, learned, held):
        if settings.head_penalty and settings.head_penalty > 1:
            raise DiscoverError("the weights grew without bound")
        return np.eye(3)[TRUTH[held]]

    found = search(objective(learner), tmp_path, "a", trials=5)
    assert found.changed["head_penalty"] <= 1 and found.trials == 5


def test_time_is_kept_and_few_answers_are_refused(tmp_path):
    assert search(objective(Learner()), tmp_path, "a", trials=5, minutes=1e-9).changed == {}
    with pytest.raises(DiscoverError, match="needs 70 answers that may be learned, found 60"):
        search(objective(Learner(), folds=7), tmp_path, "a", trials=5)


def test_a_line_killed_half_written_and_a_damaged_journal(tmp_path):
    whole = search(objective(Learner()), tmp_path, "a", trials=3)
    journal = tmp_path / "journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code":4,"wor')
    for _ in range(2):  # a second time: nothing was appended to the half line
        assert search(objective(Learner()), tmp_path, "a", trials=3) == whole
    for damage in (b"{}\n", b"[1]\n", b"{broken\n", b"\xff\n"):
        journal.write_bytes(damage)
        with pytest.raises(DiscoverError, match=r"it is damaged .*: remove it, and the search begins anew"):
            search(objective(Learner()), tmp_path, "a", trials=3)


def test_two_searches_do_not_meet_in_a_folder(tmp_path):
    def learner(settings, learned, held):
        with pytest.raises(DiscoverError, match="another process is at work"):
            search(objective(Learner()), tmp_path, "a", trials=1)
        return np.eye(3)[TRUTH[held]]

    assert search(objective(learner), tmp_path, "a", trials=1).trials == 1
