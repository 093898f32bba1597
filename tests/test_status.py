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


def test_what_was_not_taken_in_is_told_with_its_reasons() -> None:
    pool = {"pool": 0, "aside": 7, "rejected": {"no text": 3, "short": 2}}
    lines = render({"run": "runs/mine", "pool": pool, "arms": {}}).splitlines()
    assert "7 set aside for want of a single answer" in lines[0]
    assert lines[1:] == ["not taken in: 3 no text, 2 short"]
