"""Plain tables as feedback: named columns, targets of each kind, a round trip, and each kind of bad input by row."""

import gzip
import json
from decimal import Decimal

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from discover.errors import DiscoverError
from discover.ope.feedback import Feedback
from discover.ope.offline import ope
from discover.ope.table import read_table, write_table
from tests.bandits import bandit

ROWS = [
    {"item": "b", "click": 1, "p": 0.5, "place": 1, "user": "x", "age": 3.5, "wanted": 0.2, "all": [0.8, 0.2], "n": 0},
    {"item": "a", "click": 0, "p": 0.5, "place": 2, "user": "y", "age": 1.0, "wanted": 0.9, "all": [0.9, 0.1], "n": 1},
    {"item": "b", "click": 0, "p": 0.25, "place": 1, "user": "x", "age": 2.0, "wanted": 0.1, "all": [0.9, 0.1], "n": 1},
]
COLUMNS = {"action": "item", "reward": "click", "propensity": "p"}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def table(tmp_path):
    return write(tmp_path / "log.jsonl", ROWS)


def test_columns_by_their_names_and_uniform(table):
    feedback, notes = read_table(table, "uniform", {**COLUMNS, "position": "place", "context": "user+ag*"})
    assert feedback.actions.tolist() == [1, 0, 1]
    assert feedback.rewards.tolist() == [1, 0, 0]
    assert feedback.propensities.tolist() == [0.5, 0.5, 0.25]
    assert feedback.target.tolist() == [[0.5, 0.5]] * 3
    assert feedback.position.tolist() == [1, 2, 1]
    assert feedback.contexts.tolist() == [[1, 3.5], [0, 1.0], [1, 2.0]]  # of two words one column says all
    assert notes == ["actions: 2"]


def test_a_target_of_the_logged_actions_alone_and_of_all(table):
    alone, _ = read_table(table, "wanted", COLUMNS)
    assert alone.target is None and alone.targets.tolist() == [0.2, 0.9, 0.1]
    numbered = {**COLUMNS, "action": "n"}
    assert read_table(table, "all", numbered)[0].target.tolist() == [row["all"] for row in ROWS]
    assert read_table(table, "target", {**numbered, "target": "all"})[0].targets.tolist() == [0.8, 0.1, 0.1]
    with pytest.raises(DiscoverError, match="row 1: item must be a number from 0 to 1, as the target gives 2 probab"):
        read_table(table, "all", COLUMNS)


def test_a_target_in_several_columns(tmp_path):
    rows = [{"action": 1, "reward": 2.0, "propensity": 0.5, "pi_0": 0.3, "pi_1": 0.7}]
    feedback, _ = read_table(write(tmp_path / "log.jsonl", rows), "pi_*")
    assert feedback.target.tolist() == [[0.3, 0.7]]


def test_numbered_columns_stand_in_their_order_or_are_named_in_it(tmp_path):
    names = [f"pi_{number}" for number in (0, 1, 10, 11, *range(2, 10))]
    rows = [{"action": 1, "reward": 2.0, "propensity": 0.5, **dict.fromkeys(names, 1 / 12)}]
    rows[0] |= {"pi_1": 1 / 24, "pi_2": 1 / 8}
    path = write(tmp_path / "log.jsonl", rows)
    with pytest.raises(
        DiscoverError, match=r"'pi_\*' must stand in the order of their numbers, found pi_0, pi_1, pi_10"
    ):
        read_table(path, "pi_*")
    assert read_table(path, "uniform", {"context": "pi_*"})[0].contexts.shape == (1, 12)  # of which any order will do
    assert read_table(path, "+".join(f"pi_{j}" for j in range(12)))[0].target[0, 1:3].tolist() == [1 / 24, 1 / 8]


def test_a_target_in_a_file_by_position(table, tmp_path):
    policy = tmp_path / "policy.csv"
    policy.write_text("action,position,probability\na,1,0.1\nb,1,0.9\na,2,1\n")
    feedback, notes = read_table(table, str(policy), {**COLUMNS, "position": "place"})
    assert feedback.target.tolist() == [[0.1, 0.9], [1, 0], [0.1, 0.9]] and notes == ["actions: 2"]
    policy.write_text("action,probability\na,0.5\nb,0.25\nc,0.25\n")
    assert read_table(table, str(policy), COLUMNS)[0].target.shape == (3, 3)
    (tmp_path / "policy.csv.gz").write_bytes(gzip.compress(policy.read_bytes()))
    assert read_table(table, str(tmp_path / "policy.csv.gz"), COLUMNS)[0].target.shape == (3, 3)
    policy.write_text("action,position,probability\na,1,0.1\nb,1,0.9\n")
    with pytest.raises(DiscoverError, match="row 2: position 2 is not in"):
        read_table(table, str(policy), {**COLUMNS, "position": "place"})
    policy.write_text("action,probability\na,0.5\nb,0.25\na,0.25\n")
    with pytest.raises(DiscoverError, match="row 3: the action 'a' stands there twice"):
        read_table(table, str(policy), COLUMNS)
    policy.write_text("action,probability\na,0.5\nb,0.25\n")
    with pytest.raises(DiscoverError, match=r"policy\.csv: the probabilities must sum to 1, found 0\.75: add"):
        read_table(table, str(policy), COLUMNS)
    policy.write_text("action,position,probability\na,1,1\nb,2,0.4\n")
    with pytest.raises(DiscoverError, match=r"must sum to 1 at position 2, found 0\.4"):
        read_table(table, str(policy), {**COLUMNS, "position": "place"})


def test_a_whole_number_is_the_same_action_with_a_point(tmp_path):
    (tmp_path / "log.csv").write_text("action,reward,propensity\n1.0,1,0.5\n0.0,0,0.5\n10.00,0,0.5\nv1.0,0,0.5\n")
    (tmp_path / "new.csv").write_text("action,probability\n1,0.5\n10,0.25\n0,0.125\nv1.0,0.125\n")
    assert read_table(tmp_path / "log.csv", str(tmp_path / "new.csv"))[0].targets.tolist() == [0.5, 0.125, 0.25, 0.125]
    parquet.write_table(
        pyarrow.table({"action": [Decimal("1.00")], "reward": [Decimal("0.5")], "propensity": [1.0], "p": [[0, 1.0]]}),
        tmp_path / "log.parquet",
    )
    found = read_table(tmp_path / "log.parquet", "p")[0]
    assert found.actions.tolist() == [1] and found.rewards.tolist() == [0.5]
    (tmp_path / "log.csv").write_text('action,reward,propensity,p\n1.5,1,0.5,"[0, 1]"\n')
    with pytest.raises(DiscoverError, match=r"a number from 0 to 1, as the target gives 2 probabilities, found '1\.5'"):
        read_table(tmp_path / "log.csv", "p")


def test_more_actions_than_fit_in_memory_are_refused(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("action,reward,propensity,t\n" + "".join(f"{item},1,0.5,0.5\n" for item in range(15_000)))
    (tmp_path / "new.csv").write_text("action,probability\n0,1\n")
    for target in ("uniform", str(tmp_path / "new.csv")):
        with pytest.raises(DiscoverError, match=r"15,000 rows of 15,000 actions, .* take a column with"):
            read_table(path, target)
    assert read_table(path, "t")[0].target is None


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_context_may_be_a_list_of_numbers(tmp_path, kind):
    rows = [{"action": 0, "reward": 1, "propensity": 0.5, "at": [0.5, n], "age": 7} for n in (1, 2, 3)]
    path = write(tmp_path / "log.jsonl", rows)
    if kind == "csv":
        path = tmp_path / "log.csv"
        path.write_text("action,reward,propensity,at,age\n" + "".join(f'0,1,0.5,"[0.5, {n}]",7\n' for n in (1, 2, 3)))
    found = read_table(path, "uniform", {"context": "age+at"})[0]
    assert found.contexts.tolist() == [[7, 0.5, 1], [7, 0.5, 2], [7, 0.5, 3]]
    with pytest.raises(DiscoverError, match=r"row 2: at must be a list of 2 numbers, as in row 1, found \[1\]"):
        read_table(write(tmp_path / "bad.jsonl", [rows[0], {**rows[0], "at": [1]}]), "uniform", {"context": "at"})


def test_a_batch_is_drawn_without_replacement(tmp_path):
    """A uniform log of batches, judged for uniform: each ratio is 1. A file's probabilities are of the first draw."""
    batches = [("x", "cab"), ("y", "bc")]
    rows = [
        {"action": action, "reward": 1, "propensity": 1 / (3 - draw), "batch": batch, "place": draw}
        for batch, drawn in batches
        for draw, action in enumerate(drawn)
    ]
    table = write(tmp_path / "log.jsonl", [rows[1], rows[3], rows[0], rows[4], rows[2]])
    columns = {"position": "place"}
    feedback, _ = read_table(table, "uniform", columns)
    assert feedback.targets == pytest.approx(feedback.propensities)
    assert feedback.target.tolist() == [[0.5, 0.5, 0], [1 / 3] * 3, [1 / 3] * 3, [0.5, 0, 0.5], [0, 1, 0]]
    (tmp_path / "new.csv").write_text("action,probability\na,0.2\nb,0.8\nc,0\n")
    drawn, _ = read_table(table, str(tmp_path / "new.csv"), columns)
    assert drawn.target[:, 0] == pytest.approx([0.2, 0.2, 0.2, 1, 0]) and drawn.targets[3] == 0
    (tmp_path / "new.csv").write_text("action,probability\na,0\nb,1\nc,0\n")
    drawn, _ = read_table(table, str(tmp_path / "new.csv"), columns)
    assert drawn.target[3].tolist() == [0.5, 0, 0.5]  # what it wants is gone: even among the others
    write(table, [{**rows[0], "action": "c"}, {**rows[1], "action": "c"}])
    with pytest.raises(DiscoverError, match=r"row 2: an action must be only once in a batch, .* as `unit` instead"):
        read_table(table, "uniform", columns)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["9", "10", "-1"], [9, 10, -1]),
        (["9.0", "10.0", "2.0"], [9, 10, 2]),  # as pandas writes them where a value was once missing
        (["100.25", "9.5", "10.5"], [2, 0, 1]),
        (["18446744073709551617", "18446744073709551616", "3"], [2, 1, 0]),  # no float could tell them apart
        (["2026-01-09", "2025-12-31 23:00", "2026-01-09T00:00+01:00"], [2, 0, 1]),
    ],
)
def test_steps_and_times_keep_their_order_however_they_are_written(tmp_path, values, expected):
    (tmp_path / "log.csv").write_text(
        "action,reward,propensity,step,time\n" + "".join(f"a,1,0.5,0,{value}\n" for value in values)
    )
    assert read_table(tmp_path / "log.csv", "uniform")[0].time.tolist() == expected


@pytest.mark.parametrize(
    ("values", "row"),
    [(["round 2", "round 10"], 1), (["1", "1_0"], 2), (["1/9/2024", "12/1/2023"], 1), (["3", "b"], 2)],
)
def test_words_have_no_order(tmp_path, values, row):
    (tmp_path / "log.csv").write_text("action,reward,propensity,step\n" + "".join(f"a,1,0.5,{one}\n" for one in values))
    with pytest.raises(DiscoverError, match=f"row {row}: step must be a number in each row, or a date and time"):
        read_table(tmp_path / "log.csv", "uniform")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1_11", "11_1", "111"], [2, 1, 0]),
        (["3.1", "3.10", "3.1"], [0, 1, 0]),
        (["7", "007", "7"], [1, 0, 1]),
        (["12", "7", "12"], [12, 7, 12]),
        (["u2", "u10", "u2"], [1, 0, 1]),
    ],
)
@pytest.mark.parametrize("role", ["unit", "batch"])
def test_names_that_are_written_differently_are_others(tmp_path, role, names, expected):
    path = tmp_path / "log.csv"
    path.write_text(f"action,reward,propensity,{role}\n" + "".join(f"{i},1,0.5,{one}\n" for i, one in enumerate(names)))
    found = read_table(path, "uniform")[0]
    assert getattr(found, role).tolist() == expected


@pytest.mark.parametrize("missing", ["", "NA", "nan", "null", "n/a"])
def test_a_number_that_is_missing_leaves_a_context_of_numbers(tmp_path, missing):
    (tmp_path / "log.csv").write_text(f"action,reward,propensity,age\na,1,0.5,31\nb,0,0.5,{missing}\na,1,0.5,7\n")
    found = read_table(tmp_path / "log.csv", "uniform", {"context": "age"})[0]
    assert np.array_equal(found.contexts, [[31], [np.nan], [7]], equal_nan=True)


def test_what_a_cell_may_hold(tmp_path):
    rows = [
        {"action": "one\u2028line", "reward": 1, "propensity": 0.5},
        {"action": "b", "reward": 0, "propensity": 0.5},
    ]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows)
    (tmp_path / "log.jsonl").write_text(text, encoding="utf-8")
    assert read_table(tmp_path / "log.jsonl", "uniform")[0].actions.tolist() == [1, 0]
    (tmp_path / "log.csv").write_text(f'action,reward,propensity,page\na,1,0.5,"{"x" * 200_000}\ny"\nb,0,0.5,z\n')
    assert read_table(tmp_path / "log.csv", "uniform")[0].rewards.tolist() == [1, 0]


def test_campaigns_have_names(tmp_path):
    rows = [
        {"action": a, "reward": r, "propensity": 0.5, "unit": u, "step": s, "t": 0.25}
        for u, s, a, r in (("ada", 0, 0, 1), ("ada", 1, 1, 2), ("bob", 0, 1, 3))
    ]
    feedback, _ = read_table(write(tmp_path / "log.jsonl", rows), "t")
    assert feedback.units.tolist() == [0, 0, 1] and feedback.step.tolist() == [0, 1, 0]
    (found,) = ope(tmp_path / "log.jsonl", "t", estimators=["pdis"]).estimates
    assert found.value == pytest.approx(((0.5 * 1 + 0.25 * 2) + 0.5 * 3) / 2)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet", "csv.gz"])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_written_is_read_again(tmp_path, kind, known):
    rng = np.random.default_rng(0)
    drawn = bandit(rng).log(20, rng, unit=np.repeat(range(10), 2), batch=np.repeat(range(10), 2))
    fields = {name: getattr(drawn, name) for name in ("contexts", "unit", "batch", "position", "step", "time")}
    target = {"target": drawn.target} if known else {"target_propensities": drawn.targets}
    feedback = Feedback(drawn.actions, drawn.rewards, drawn.propensities, **target, **fields)
    path = tmp_path / f"log.{kind}"
    write_table(feedback, path)
    again, _ = read_table(path, "target", {"context": "context_*"})
    for name in ("rewards", "propensities", "target_propensities", *fields, *(["target", "actions"] if known else [])):
        assert getattr(again, name) == pytest.approx(getattr(feedback, name), abs=1e-15), name


def test_rewards_of_whole_batches_are_no_table(tmp_path):
    shared = Feedback([0, 1], [1.0, 1.0], [0.5, 0.5], target_propensities=[0.5, 0.5], batch=[0, 0], shared=True)
    with pytest.raises(
        DiscoverError, match="a table gives each pick a reward of its own, and these are of whole batches"
    ):
        write_table(shared, tmp_path / "log.csv")


def test_a_bad_probability_is_named_with_its_file(tmp_path):
    log, policy = tmp_path / "log.csv", tmp_path / "new.csv"
    log.write_text("action,reward,propensity\n" + "a,1,0.5\n" * 7 + "b,0,0\n")
    with pytest.raises(DiscoverError, match=r"log\.csv: propensities must be in \(0, 1\]; row 8 has 0"):
        read_table(log, "uniform")
    for bad in ("-0.2", "nan", "1.2"):
        policy.write_text(f"action,probability\nb,1\na,{bad}\n")
        with pytest.raises(DiscoverError, match=rf"new\.csv, row 2: probability must be in \[0, 1\], found {bad}"):
            read_table(log, str(policy))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p": 0}, r"propensities must be in \(0, 1\]; row 2 has 0: log picks"),
        ({"p": 1.25}, r"propensities must be in \(0, 1\]; row 2 has 1\.25"),
        ({"p": -0.5}, r"propensities must be in \(0, 1\]; row 2 has -0\.5"),
        ({"p": None}, "row 2: p must be a number, found nothing: mend the row or leave it out"),
        ({"p": "half"}, "row 2: p must be a number, found 'half'"),
        ({"p": [1]}, r"row 2: p must be a number, found \[1\]"),
        ({"click": ""}, "row 2: click must be a number, found nothing"),
        ({"item": None}, "row 2: item must be a value, found nothing"),
        ({"more": 1}, "row 2: the columns of row 1 are expected, and 'more' is in one of them only: do not mix"),
    ],
)
def test_a_bad_field_is_named_with_its_row(tmp_path, change, message):
    path = write(tmp_path / "log.jsonl", [ROWS[0], {**ROWS[1], **change}, ROWS[2]])
    with pytest.raises(DiscoverError, match=message) as caught:
        read_table(path, "uniform", COLUMNS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 0.4], r"target must sum to 1 in each row; row 2 has 0\.9: divide each row by its sum"),
        ([1.2, -0.2], "target must hold no negative or missing probability; row 2 has -0.2"),
        ([1.0], r"row 2: all must be a list of 2 numbers, as in row 1, found \[1\.0\]"),
        (0.4, "row 2: all must be a list of 2 numbers"),
    ],
)
def test_a_bad_target_is_named_with_its_row(tmp_path, values, message):
    path = write(tmp_path / "log.jsonl", [ROWS[0], {**ROWS[1], "all": values}])
    with pytest.raises(DiscoverError, match=message):
        read_table(path, "all", {**COLUMNS, "action": "n"})


def test_a_row_lost_in_the_middle_and_other_ruined_files(tmp_path):
    cases = {
        "empty.csv": ("", "must hold at least one row, found none"),
        "header.csv": ("action,reward,propensity\n", "must hold at least one row, found none"),
        "short.csv": ("action,reward,propensity\na,1,0.5\nb,1\n", "row 2: 3 cells are expected .* found 2"),
        "oops.jsonl": ('{"action": 1}\n{oops\n', "row 2: JSON is expected"),
        "list.jsonl": ("[1]\n", "row 1: an object is expected, found"),
        "twice.csv": ("action,reward,reward,propensity\na,1,2,0.5\n", "the header has the column 'reward' twice"),
        "quote.csv": ('action,reward,propensity,title\na,1,0.5,"Foo\nb,0,0.5,Bar\n', "row 1: CSV is expected"),
        "key.jsonl": (
            '{"action": 1, "reward": 1, "reward": 0}\n',
            "row 1: JSON is expected, the key 'reward' is there twice",
        ),
        "deep.jsonl": ("[" * 100_000 + "\n", "row 1: JSON is expected"),
        "long.jsonl": (f'{{"action": 1, "reward": 1{"0" * 400}, "propensity": 1}}\n', "row 1: reward must be a number"),
        "log.parquet": ("not parquet", "cannot be read"),
        "log.txt": ("", "must end in .jsonl, .csv"),
    }
    for name, (text, message) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DiscoverError, match=message):
            read_table(tmp_path / name, "uniform")


def test_a_column_or_role_that_is_not_there(table):
    with pytest.raises(DiscoverError, match=r"has no column 'action': it has item, .*--columns action=…"):
        read_table(table, "uniform")
    with pytest.raises(DiscoverError, match="has no column 'clik', did you mean 'click'"):
        read_table(table, "uniform", {**COLUMNS, "reward": "clik"})
    with pytest.raises(DiscoverError, match="has no column 'wnted', did you mean 'wanted'"):
        read_table(table, "wnted", COLUMNS)
    with pytest.raises(DiscoverError, match="found 'propensty', did you mean 'propensity'"):
        read_table(table, "uniform", {"propensty": "p"})


def test_blank_lines_before_the_header_and_long_numbers_are_read(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(
        "\naction,reward,propensity,unit,step\n" + "".join(f"a,1,0.5,{'9' * n},{n}\n" for n in (5000, 5001))
    )
    assert len(read_table(path, "uniform")[0]) == 2


def test_a_time_that_python_cannot_hold_is_an_error_that_names_the_file(tmp_path):
    times = pyarrow.array([2**62], pyarrow.timestamp("us"))
    columns = {"action": ["a"], "reward": [1.0], "propensity": [0.5], "when": times}
    parquet.write_table(pyarrow.table(columns), tmp_path / "log.parquet")
    with pytest.raises(DiscoverError, match=r"log\.parquet cannot be read"):
        read_table(tmp_path / "log.parquet", "uniform")


def test_a_context_that_is_missing_in_the_first_row_stays_what_it_is(tmp_path):
    rows = [{"action": "a", "reward": 1.0, "propensity": 0.5, "x": x} for x in (None, [1.0, 2.0], [None, 4.0], [5, 6])]
    feedback, _ = read_table(write(tmp_path / "log.jsonl", rows), "uniform", {"context": "x"})
    assert np.array_equal(feedback.contexts, [[np.nan] * 2, [1, 2], [np.nan, 4], [5, 6]], equal_nan=True)


def test_words_among_the_numbers_of_a_context_are_told(tmp_path):
    cells = ["1", "2", "0,5", "3", "4"]
    rows = [
        {"action": "a", "reward": 1.0, "propensity": 0.5, "x": x, "w": w} for x, w in zip(cells, "abc1d", strict=True)
    ]
    feedback, notes = read_table(write(tmp_path / "log.jsonl", rows), "uniform", {"context": "x+w"})
    assert notes[0] == "context: x is taken for words, as row 3 has '0,5', among numbers (1 such rows)"
    assert len(notes) == 2 and feedback.contexts.shape == (5, 8)
