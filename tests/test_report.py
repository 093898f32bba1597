"""The report over made-up runs: whole, of one arm, with people, without a round, and with texts that mean harm."""

import re
from xml.etree import ElementTree

import lxml.html
import numpy as np
import pytest
from sqlalchemy import delete, select, update

from discover.config import Config
from discover.evaluate import charts, evidence, metrics, report
from discover.evaluate.curves import Series, draw
from discover.run import RunFolder
from discover.tables import metric, slot, step
from tests.synthetic_run import CLASSES, make

SICK = "<script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>{{7*7}}\"'&$x^2$"


def page_of(run, database, config, examples=()):
    path = report.write(run, database, config, examples)
    assert path == run.report
    return lxml.html.fromstring(path.read_text(encoding="utf-8"))


def text_of(page):
    return " ".join(page.text_content().split())


def headings(page):
    return [element.text_content() for element in page.iter("h2")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run, database, config = make(tmp_path_factory.mktemp("run") / "whole")
    yield run, database, config
    database.close()


def test_the_whole_report_has_every_section(whole):
    page = page_of(*whole)
    assert headings(page) == [
        "Learning curves",
        "Can the figure be trusted?",
        "Class by class",
        "What is mistaken for what",
        "What was asked, and why",
        "Where the time went",
        "The pool",
        "Settings",
    ]
    words = text_of(page)
    assert report.verdict(*whole[1:]) in words
    assert "margin beat random" in words
    assert "To which chapter" in words
    for name in CLASSES:
        assert name in words
    assert whole[0].learning_curve.read_bytes().startswith(b"\x89PNG")


def test_a_calibration_error_stands_beside_what_chance_makes_of_it(whole):
    arm = evidence.read_arms(whole[1], whole[2].loop.arms)[0]
    by_chance = metrics.error_by_chance(arm.confidence)
    assert by_chance > 0
    assert (
        f"On {len(arm.confidence)} documents even a model that keeps its word shows about {by_chance:.2f}"
        in text_of(page_of(*whole))
    )


def test_the_verdict_is_the_same_each_time(whole):
    assert report.verdict(*whole[1:]) == report.verdict(*whole[1:])


def test_it_stands_alone(whole):
    page = page_of(*whole)
    source = whole[0].report.read_text(encoding="utf-8")
    assert not list(page.iter("script", "link", "img", "iframe", "object"))
    assert not re.search(r"url\(|@import", source)
    assert not [name for element in page.iter() for name in element.attrib if name in ("src", "href")]


def test_classes_are_sorted_by_support(whole):
    page = page_of(*whole)
    table = next(t for t in page.iter("table") if "support" in t.text_content())
    supports = [int(row.findall("td")[1].text) for row in table.iter("tr") if row.findall("td")]
    assert len(supports) == len(CLASSES)
    assert supports == sorted(supports, reverse=True)
    assert sum(supports) == 800


def test_what_was_asked_shows_reason_and_answer(whole):
    run, database, _ = whole
    rounds = evidence.asked(database, run, "margin")
    assert [row["round"] for row in rounds] == list(range(9))
    first = rounds[1]["picks"][0]
    assert first["margin"] == pytest.approx(1 - first["utility"], abs=1e-6)
    assert first["times"] == pytest.approx(first["chance"] * 2000)
    assert [pick["kind"] for pick in rounds[1]["picks"]] == ["policy"] * 5 + ["audit"] * 2
    assert rounds[1]["picks"][3]["state"] == "skipped"
    page = text_of(page_of(*whole))
    assert "skipped" in page
    assert "<b>Key</b>, Button & Motion" in page


def test_a_missing_or_damaged_decision_file_costs_only_its_features(tmp_path):
    run, database, config = make(tmp_path / "run", rounds=2, documents=700)
    (run.decision_arrays / "margin-0001.safetensors").write_bytes(b"torn")
    (run.decision_arrays / "margin-0000.safetensors").unlink()
    assert "margin" not in evidence.asked(database, run, "margin")[1]["picks"][0]
    assert "What was asked, and why" in headings(page_of(run, database, config))
    database.close()


def test_pool_counts_add_up(whole):
    counts = evidence.pool_counts(whole[1])
    assert sum(counts["states"].values()) == counts["sources"] == 4700
    assert sum(counts["splits"].values()) == counts["states"]["pool"]
    assert counts["rejections"] == {"short": 210, "language": 37, "not text": 14, "long": 3}


def test_where_no_class_is_taken_for_another_there_is_no_table_of_that(tmp_path):
    run, database, config = make(tmp_path / "several", arms=("margin",), rounds=2, documents=700)
    config = config.model_copy(update={"label": config.label.model_copy(update={"task": "multilabel"})})
    some = [[0], [1, 2], []]
    with database.write() as connection:
        connection.execute(update(slot).values(label=None))
        connection.execute(
            update(step)
            .where(step.c.step == "evaluate")
            .values(output={"predictions": some, "truth": some, "confidence": [0.5] * 3})
        )
    page = page_of(run, database, config)
    assert "What is mistaken for what" not in headings(page)
    # The whole answer's, in the diagram of what is stated and kept: none of several labels is the top one.
    assert "stated probability" in [text.text for text in page.iter("text")]
    database.close()


def test_confused_pairs_are_the_errors(whole):
    arm = evidence.read_arms(whole[1], ["margin"])[0]
    pairs = evidence.confused(arm, list(CLASSES), limit=1000)
    assert sum(pair["count"] for pair in pairs) == round(800 * (1 - arm.last["accuracy"]))
    assert all(pair["truth"] != pair["taken_for"] for pair in pairs)
    assert pairs[0]["count"] == max(pair["count"] for pair in pairs)


def test_the_control_is_random_wherever_it_stands(whole):
    _, database, _ = whole
    for order in (["random", "margin"], ["margin", "random"], []):
        found = evidence.comparisons(evidence.read_arms(database, order))
        assert [(one.strategy, one.control) for one in found] == [("margin", "random")]


def test_an_arm_is_called_by_the_name_after_the_colon(whole):
    settings = {"loop": {"arms": ["modAL.uncertainty:random", "mine/file.py:margin"]}}
    arms = evidence.read_arms(whole[1], report._arm_order(settings))
    assert [arm.name for arm in arms] == ["random", "margin"]
    assert report._arm_order(settings) == ["random", "margin"]
    assert report._arm_order({"loop": {"arms": []}, "query": {"strategy": "a/b.py:mine"}}) == ["mine"]


@pytest.mark.parametrize("ahead", [False, True])
def test_rounds_before_the_test_set_grew_are_left_out(tmp_path, ahead):
    run, database, config = make(tmp_path / "grown", rounds=4, documents=700)
    imported = {"predictions": [0] * 40, "truth": [0] * 40, "confidence": [0.5] * 40}
    last = (step.c.step == "evaluate") & (step.c.round == 3)
    with database.write() as connection:
        for arm, output in connection.execute(select(step.c.arm, step.c.output).where(last)).all():
            larger = {key: values + imported[key] for key, values in output.items()}
            connection.execute(update(step).where(last, step.c.arm == arm).values(output=larger))
        if ahead:  # the other arm has not been measured on the larger test set yet
            for table in (metric, step):
                connection.execute(delete(table).where(table.c.arm == "random", table.c.round == 3))
    (compared,) = evidence.comparisons(evidence.read_arms(database, config.loop.arms))
    assert (compared.n, compared.labels) == ((800, 170) if ahead else (840, 225))
    assert report.verdict(database, config) in text_of(page_of(run, database, config))
    database.close()


def test_audited_rounds_are_no_part_of_a_curve_of_test_accuracy():
    """Test documents were imported before the second round; until then audits had judged."""
    found = [
        {"labels": 10 + round_, "source": source, "accuracy": 0.5, "low": 0.4, "high": 0.6}
        for round_, source in enumerate(("audit", "test", "test"))
    ]
    truths = dict.fromkeys((1, 2), np.zeros(50, np.int64))
    assert report._series(evidence.Arm("margin", found, truths=truths), "accuracy").labels == [11, 12]
    assert report._series(evidence.Arm("margin", found[:1]), "accuracy").labels == [10]


def test_one_arm(tmp_path):
    run, database, config = make(tmp_path / "one", arms=("entropy",), rounds=3, documents=700)
    words = text_of(page_of(run, database, config))
    assert "After 170 labels, entropy has" in words
    assert "Against the control" not in words
    database.close()


def test_three_arms_are_each_compared(tmp_path):
    _, database, config = make(tmp_path / "three", arms=("margin", "entropy"), rounds=2, documents=700)
    found = evidence.comparisons(evidence.read_arms(database, config.loop.arms))
    assert [(one.strategy, one.control) for one in found] == [("margin", "entropy")]
    database.close()


def test_people_have_an_audit_and_no_test_set(tmp_path):
    run, database, config = make(tmp_path / "people", arms=("margin",), rounds=4, people=True, documents=700)
    page = page_of(run, database, config)
    words = text_of(page)
    assert "audit answers that it was not trained on" in words
    assert "audited accuracy" in words
    assert "Class by class" not in headings(page)
    assert "What is mistaken for what" not in headings(page)
    database.close()


def test_nothing_is_said_of_a_test_set_that_a_simulation_does_not_have(tmp_path):
    run, database, config = make(tmp_path / "untested", arms=("margin",), rounds=4, people=True, documents=700)
    config = config.model_copy(update={"label": config.label.model_copy(update={"oracle": "page_table"})})
    words = text_of(page_of(run, database, config))
    assert "The audit sample is drawn uniformly" in words and "The test set was held out" not in words
    database.close()


def test_an_arm_without_a_mistake_leaves_the_others_their_colours(tmp_path):
    run, database, config = make(tmp_path / "flawless", rounds=2, documents=700)
    flawless = (step.c.arm == "margin", step.c.round == 1, step.c.step == "evaluate")
    with database.write() as connection:
        output = connection.execute(select(step.c.output).where(*flawless)).scalar_one()
        output["predictions"] = output["truth"]
        connection.execute(update(step).where(*flawless).values(output=output))
    page = page_of(run, database, config)
    (section,) = (one for one in page.iter("section") if one.findtext("h2") == "What is mistaken for what")
    (name,) = section.iter("h3")
    assert name.text_content() == "random" and name.find("span").get("class") == "key arm1"
    assert {bar.get("class") for bar in section.find_class("bar")} == {"bar arm1"}
    database.close()


def test_imported_labels_are_learned_from_and_not_paid_for(tmp_path):
    run, database, config = make(tmp_path / "imported", arms=("margin",), rounds=4, documents=700)
    with database.write() as connection:
        for round_, row in connection.execute(select(metric.c.round, metric.c.row)).all():
            more = {**row, "labels": row["labels"] + 480}
            connection.execute(update(metric).where(metric.c.round == round_).values(row=more))
        connection.execute(slot.insert(), [_given(row_id) for row_id in range(501, 701)])
    words = text_of(page_of(run, database, config))
    assert "at 540 labels" in words and "at 705 labels" in words and "at 500 labels" not in words
    assert "221labels of 500 an arm" in words  # 60 + 3 * 55 questions, one in each round skipped
    database.close()


def _given(row_id):
    slot_of = {"arm": "margin", "round": 0, "position": row_id, "document_id": row_id}
    return {**slot_of, "kind": "import", "state": "answered", "label": "Tk"}


def test_no_round_at_all(tmp_path, database):
    run = RunFolder(tmp_path / "empty")
    run.create()
    config = Config.model_validate({"name": "empty", "label": {"classes": ["a", "b"]}})
    words = text_of(page_of(run, database, config))
    assert "No round has been measured yet." in words
    assert "Nothing has been asked yet." in words
    assert not run.learning_curve.exists()
    assert report.verdict(database, config) == "No round has been measured yet."


def test_the_seed_round_alone_with_people_has_no_score_yet(tmp_path):
    run, database, config = make(tmp_path / "seed", arms=("margin",), rounds=1, people=True, documents=700)
    assert "nothing can be said about accuracy" in text_of(page_of(run, database, config))
    assert not run.learning_curve.exists()
    database.close()


def test_an_arm_that_has_not_finished_its_round_is_shown_as_far_as_it_is(tmp_path):
    run, database, config = make(tmp_path / "killed", rounds=3, documents=700)
    with database.write() as connection:
        for table in (metric, step):
            connection.execute(delete(table).where(table.c.arm == "random", table.c.round == 2))
    assert "At 115 labels" in text_of(page_of(run, database, config))
    database.close()


def test_predictions_are_explained(whole):
    text = f"A queue {SICK} of soups"
    near = {"id": "ab", "label": "Data Types", "similarity": 0.876, "text": SICK}
    wrong = {
        "label": "Tk",
        "probability": 0.93,
        "text": text,
        "predicted": "Tk",
        "likely": 0.93,
        "answer": "Networking",
        "right": False,
        "neighbours": [near],
    }
    wrong["words"] = [[2, 7, 2.0], [len(text) - 5, len(text), -1.2]]
    right = {**wrong, "answer": "Tk", "right": True, "words": [], "neighbours": []}
    page = page_of(*whole, [wrong, right])
    assert "What carried a prediction" in headings(page) and not list(page.iter("script", "img"))
    first, second = page.find_class("example")
    assert " ".join(first.text_content().split()).startswith(f"Tk 93% · answered: Networking {text}")
    assert [(mark.text, mark.get("class")) for mark in first.iter("mark")] == [("queue", "for4"), ("soups", "against3")]
    assert f"Data Types 0.88 {SICK}" in " ".join(first.text_content().split())
    assert "as it was answered" in second.text_content() and not list(second.iter("mark", "li"))


def test_entities_are_shown_where_they_are(tmp_path):
    run, database, config = make(tmp_path / "entities", rounds=2, documents=700)
    config = config.model_copy(update={"label": config.label.model_copy(update={"task": "spans"})})
    kept = '[{"start": 0, "end": 6, "label": "Tk"}, {"start": 7, "end": 8, "label": "Data Types"}]'
    with database.write() as connection:
        connection.execute(update(slot).where(slot.c.label.is_not(None)).values(label=kept))
    text = f"The Ada of {SICK} in Oslo."
    ada, oslo = (
        {"start": 4, "end": 7, "label": "Tk"},
        {"start": len(text) - 5, "end": len(text) - 1, "label": "Data Types"},
    )
    near = {"id": "ab", "label": "Tk", "similarity": 0.876, "start": 3, "end": 6, "text": f"In Zoë {SICK}"}
    words = [[0, 3, 2.0], [4, 7, 4.0], [8, 10, -1.2]]
    why = {**ada, "probability": 0.876, "words": words, "neighbours": [near]}
    wrong = {"text": text, "predicted": [ada], "likely": 0.93, "answer": [ada, oslo], "right": False, "spans": [why]}
    right = {**wrong, "predicted": [], "answer": [], "right": True, "spans": []}
    page = page_of(run, database, config, [wrong, right])
    assert "What carried a prediction" in headings(page) and not list(page.iter("script", "img"))
    assert "Support is the number of entities in the test documents" in text_of(page)
    first, second = page.find_class("example")
    marks = [(mark.text.strip(), mark.get("class")) for mark in first.iter("mark")]
    assert [word for word, _ in marks[:3]] == ["Ada", "Ada", "Oslo"]
    assert marks[3:] == [("The", "for3"), ("Ada", "for4 held"), ("of", "against2"), ("Zoë", "held")]
    assert [bdi.text for bdi in first.iter("bdi")] == ["Tk", "Tk", "Data Types"] and text_of(first).count(SICK) == 4
    assert "Ada (Tk, 88%)" in text_of(first) and f"Tk 0.88 In Zoë {SICK}" in text_of(first)
    assert text_of(second) == f"93% · as it was answered · nothing marked {text}"
    answers = {cell.text_content() for row in page.iter("tr") for cell in row.find_class("label")}
    assert any(answer.startswith("Return (Tk), ") and answer.endswith(" (Data Types)") for answer in answers)
    database.close()


def test_hostile_texts_stay_texts(tmp_path):
    run, database, config = make(tmp_path / "sick", rounds=2, sick=SICK, documents=700)
    page = page_of(run, database, config)
    assert not list(page.iter("script", "img"))
    assert not [name for element in page.iter() for name in element.attrib if name.startswith("on")]
    assert "49" not in page.findtext(".//h1")
    assert text_of(page).count("<script>alert(1)</script>") > 30
    assert run.learning_curve.exists()
    database.close()


def test_passwords_are_not_shown(whole):
    page_of(*whole)
    source = whole[0].report.read_text(encoding="utf-8")
    assert "hunter2" not in source
    assert "db.example" in source


def test_charts_are_well_formed_svg_with_escaped_names():
    series = [Series(SICK, [10, 20], [0.4, 0.5], [0.3, 0.4], [0.5, 0.6]), Series("none", [], [], [], [])]
    drawn = [
        charts.learning_curve(series, "Accuracy"),
        charts.learning_curve([Series("flat", [5], [0.0], [0.0], [0.0])], "Accuracy"),
        charts.whiskers([(SICK, 0, 0.5, 0.4, 0.6), ("sure", 1, 1.0, 1.0, 1.0)]),
        charts.stacked_bars([(SICK, {SICK: 1.5}), ("nothing", {})], [SICK, "teach"]),
        charts.stacked_bars([("nothing", {})], []),
        charts.reliability_diagram([(0.2, 0.1, 4), (0.9, 1.0, 100)]),
    ]
    for svg in drawn:
        root = ElementTree.fromstring(svg)
        assert root.tag == "svg"
        assert "nan" not in svg
        assert not list(root.iter("script"))


def test_shares_close_to_one_another_have_labels_of_their_own():
    ticks = [text.text for text in texts_of(charts.whiskers([("a", 0, 0.86, 0.852, 0.868)]), "tick")]
    assert ticks == ["85.0%", "85.5%", "86.0%", "86.5%", "87.0%", "86.0%"]  # the last beside the estimate


def test_a_name_is_not_cut_at_the_left_edge():
    name = "clustered_density_margin, audit (100)"
    for svg in (charts.whiskers([(name, 0, 0.5, 0.4, 0.6)]), charts.stacked_bars([(name, {"teach": 1.0})], ["teach"])):
        (text,) = (one for one in texts_of(svg) if one.text == name)
        assert text.get("text-anchor") == "end" and float(text.get("x")) > 7 * len(name)


def texts_of(svg, style=None):
    return [one for one in ElementTree.fromstring(svg).iter("text") if style in (None, one.get("class"))]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (60, 500, [0, 100, 200, 300, 400, 500]),
        (0.41, 0.7, [0.4, 0.5, 0.6, 0.7]),
        (0, 1, None),
        (5, 5, [0, 1, 2, 3, 4, 5]),
        (1.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0, [0, 0.2]),
        (5e6, 5e6, [0, 1e6, 2e6, 3e6, 4e6, 5e6]),
    ],
)
def test_ticks_are_round_and_enclose(low, high, expected):
    found = charts.ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert len(found) >= 2
    if expected:
        assert found == expected


def test_a_curve_is_drawn_for_one_point_and_odd_names(tmp_path):
    path = tmp_path / "curve.png"
    draw([Series("_hidden $x", [10], [0.5], [0.4], [0.6])], path, "a $ title, \N{CJK UNIFIED IDEOGRAPH-65B0}")
    assert path.stat().st_size > 5000
    assert not list(tmp_path.glob("*.partial"))
