"""What `discover status` says of a run."""

from discover.commands.status import render


def test_an_accuracy_of_nothing_is_told_and_one_that_is_not_known_is_not() -> None:
    arm = {"labels": 5, "spent": 5.0, "waiting": 2, "model": "auto-0001", "last": {"round": 1, "accuracy": 0.0}}
    status = {"run": "runs/mine", "pool": {"pool": 9}, "budget": 40, "unit": "labels", "arms": {"auto": arm}}
    assert render(status).endswith("2 waiting, model auto-0001, accuracy 0.000 after round 1")
    arm["last"]["accuracy"] = None
    assert render(status).endswith("2 waiting, model auto-0001")


def test_a_large_budget_is_told_to_the_last_word() -> None:
    arm = {"labels": 5, "spent": 1234567.0, "waiting": 2, "model": None, "last": None}
    status = {"run": "runs/mine", "pool": {"pool": 9}, "budget": 2000000, "unit": "words", "arms": {"auto": arm}}
    assert "1234567 of 2000000 words spent" in render(status)
