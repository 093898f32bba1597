"""Entities, the learning half: tags, decoding, the tagger, its scores, and a run from a file to predictions."""

import itertools
import json
import random
import shutil
import signal
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import torch
import transformers

import discover
from discover.cli import main
from discover.commands.remove import remove
from discover.commands.serve import _reasons
from discover.config import load_config
from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.embed.transformer import find
from discover.errors import DiscoverError
from discover.evaluate import report
from discover.evaluate.entities import scores
from discover.learn import registry
from discover.learn.activations import ActivationCache
from discover.learn.config import LearnConfig
from discover.learn.decoding import decode, log_likelihoods
from discover.learn.samples import column
from discover.learn.tagger import Tagger, by_length
from discover.learn.tags import may_follow, spans_of, tag_names, tags_of
from discover.loop import _play_arm, check
from discover.pool.answers import spans_array
from discover.steps.explain import SPANS, examples, explain
from discover.steps.teach import open_learner
from tests.commands import attempt
from tests.kills import decisions_of, metrics_without_times

CLASSES = {"person": "", "creative-work": ""}
NAMES = {"person": ["Ada Lovelace", "Turing", "Grace Hopper", "Knuth"], "creative-work": ["Dune", "Moby Dick", "Emma"]}
FILLER = "we read that when it rained and said so to all of them before noon in the town again".split()


def sentences(count: int, seed: int) -> list[tuple[list[str], list[str]]]:
    """Tokens and BIO tags, of sentences that hold none to two names."""
    rng, found = random.Random(seed), []
    for number in range(count):
        tokens, tags = [f"n{number}"], ["O"]
        for kind in rng.choices([None, *NAMES], k=2):
            more = rng.choices(FILLER, k=rng.randint(2, 5))
            tokens, tags = tokens + more, tags + ["O"] * len(more)
            if kind:
                words = rng.choice(NAMES[kind]).split()
                tokens, tags = tokens + words, tags + [f"B-{kind}"] + [f"I-{kind}"] * (len(words) - 1)
        found.append((tokens, tags))
    return found


def answered(tokens: list[str], tags: list[str]) -> tuple[str, tuple[tuple[int, int, int], ...]]:
    """The text, and its answer in numbers."""
    starts = [0, *itertools.accumulate(len(token) + 1 for token in tokens)]
    places = [(start, start + len(token)) for start, token in zip(starts, tokens, strict=False)]
    return " ".join(tokens), spans_of([tag_names(CLASSES).index(tag) for tag in tags], places)


TEXTS, ANSWERS = zip(*(answered(*one) for one in sentences(160, 1)), strict=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small BERT with random weights, and the packaged tokenizer."""
    folder = tmp_path_factory.mktemp("small")
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"):
        if (find("all-MiniLM-L6-v2") / name).is_file():
            shutil.copy(find("all-MiniLM-L6-v2") / name, folder)
    size = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "num_hidden_layers": 2}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=30522, **size)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(model: Path) -> Encoder:
    return Encoder(EncoderConfig(model=str(model), max_tokens=32))


LEARN = {
    "method": "full",
    "epochs": 12,
    "steps": 0,
    "learning_rate": 3e-3,
    "head_learning_rate": 1e-2,
    "dropout": 0.0,
    "batch": 16,
}


def tagger(encoder: Encoder, texts=TEXTS, **settings) -> Tagger:
    config = LearnConfig(**{**LEARN, **settings})
    return Tagger(encoder, lambda ids: [texts[i] for i in ids], CLASSES, config, 7, ActivationCache(10))


@pytest.mark.parametrize("k", [3, 5])
def test_decoding_finds_the_two_best_of_all_sequences(k: int) -> None:
    rng = np.random.default_rng(k)
    logits = [rng.normal(0, 2, (words, k)) for words in (0, 1, 2, 5, 4, 1, 3)]
    allowed, found = may_follow(k), decode(logits)
    for own, tags, likely in zip(logits, found.tags, found.likely, strict=True):
        every = [
            one
            for one in itertools.product(range(k), repeat=len(own))
            if all(allowed[before, tag] for before, tag in itertools.pairwise([-1, *one]))
        ]
        weights = np.exp([own[np.arange(len(own)), list(one)].sum() for one in every])
        order = np.argsort(-weights)
        assert tuple(tags) == every[order[0]]
        two = (weights / weights.sum())[order[:2]]
        assert np.allclose(np.exp(likely), two if len(two) == 2 else [1, 0])
        assert np.allclose(
            log_likelihoods([own, own], [tags, np.array(every[-1], np.int64)])[1], np.log(weights[-1] / weights.sum())
        )


def test_what_is_decoded_does_not_depend_on_the_company() -> None:
    rng = np.random.default_rng(0)
    logits = [rng.normal(0, 2, (words, 7)) for words in rng.integers(0, 40, 300)]
    together = decode(logits).likely
    for some in ([3], [5, 100, 299], rng.permutation(300)[:70]):
        assert np.array_equal(decode([logits[at] for at in some]).likely, together[some])


def test_only_what_may_follow_does() -> None:
    names = tag_names(["a", "b"])
    after = {(["start", *names][row + 1 if row < 5 else 0], names[tag]) for row, tag in np.argwhere(may_follow(5))}
    inside = {pair for pair in after if pair[1].startswith("I-")}
    assert inside == {(f"{mark}-{name}", f"I-{name}") for mark in "BI" for name in "ab"}
    assert {(before, name) for before in ("start", *names) for name in ("O", "B-a", "B-b")} <= after


def test_measures_go_by_length() -> None:
    likely = np.log([[0.81, 0.09], [0.81, 0.09], [0.5, 0.5], [1.0, 1e-300]])
    found = by_length(likely, np.array([1.0, 2.0, 3.0, 4.0]))
    margins = found[:, 0] - found[:, 1]
    assert np.allclose(found[:, 0], [0.81, 0.9, 0.5 ** (1 / 3), 1]) and np.allclose(margins, [0.72, 0.72**0.5, 0, 1])
    assert np.isfinite(by_length(np.array([[0.0, -np.inf], [-1e5, -1e5 - 1]]), np.array([1.0, 10.0]))).all()


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("Ada Lovelace met Mr. Babbage", ["Ada Lovelace", "Babbage"]),
        ("😀😀 Zoë Åström 👩‍👩‍👧 in Malmö!", ["Zoë Åström", "Malmö"]),
        ("a\u00a0 Łódź\n\n東京 , New   York's", ["Łódź", "東京", "New   York"]),
        ("(Dune)", ["Dune"]),
    ],
)
def test_spans_come_back_from_the_tokens_of_any_text(encoder: Encoder, text: str, held: list[str]) -> None:
    spans = tuple((text.index(one), text.index(one) + len(one), at % 2) for at, one in enumerate(held))
    words = encoder.words(text).spans
    tags, untold = tags_of(spans, words)
    assert spans_of(tags, words) == spans and untold == 0


def test_spans_that_no_word_tells_are_counted() -> None:
    words = [(0, 3), (4, 6), (6, 9)]
    assert tags_of([(10, 12, 0)], words)[1] == 1, "where the text was cut"
    tags, untold = tags_of([(4, 12, 1)], words)
    assert tags.tolist() == [0, 3, 4] and untold == 1, "begun, and cut"
    tags, untold = tags_of([(0, 1, 0), (1, 3, 1)], words)
    assert tags.tolist() == [1, 0, 0] and untold == 2, "two in a word: the first has it, and more than it said"
    assert tags_of([(0, 1, 0)], [])[1] == 1 and spans_of([], []) == ()


def test_scores_count_whole_entities() -> None:
    classes = [f"a-{number}" for number in range(12)]  # hyphens, and numbers that sort as text
    truth = spans_array([((0, 3, 0), (4, 9, 1)), (), ((0, 5, 10),), ((0, 2, 2), (2, 4, 2))])
    found = spans_array([((0, 3, 0), (4, 8, 1)), ((1, 2, 0),), ((0, 5, 10),), ((0, 4, 2),)])
    told = scores(found, truth, classes)
    assert (told["entity_precision"], told["entity_recall"]) == (2 / 5, 2 / 5) and told["entity_f1"] == pytest.approx(
        0.4
    )
    assert told["per_class"]["a-0"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1.0}
    assert told["per_class"]["a-10"]["f1"] == 1 and told["per_class"]["a-2"]["support"] == 2
    assert told["macro_f1"] == pytest.approx((2 / 3 + 0 + 0 + 1) / 4)
    assert scores(spans_array([()]), spans_array([()]), classes)["entity_f1"] == 0


def test_scores_are_those_of_sets_of_entities() -> None:
    rng = np.random.default_rng(0)

    def some(c: int) -> tuple[tuple[int, int, int], ...]:
        bounds = np.sort(rng.choice(9, 2 * rng.integers(0, 4), replace=False)).tolist()
        return tuple((a, b, int(rng.integers(c))) for a, b in zip(bounds[::2], bounds[1::2], strict=True))

    def f1(found: set, truth: set) -> list[float]:
        right = len(found & truth)
        both = (right / len(found) if found else 0, right / len(truth) if truth else 0)
        return [*both, 2 * right / (len(found) + len(truth)) if found or truth else 0]

    for c in (1, 3, 12) * 20:
        answers = [some(c) for _ in range(5)], [some(c) for _ in range(5)]
        answers[0][0] = answers[1][0]
        told = scores(*map(spans_array, answers), [f"a-{kind}" for kind in range(c)])
        found, truth = ({(at, *one) for at, own in enumerate(side) for one in own} for side in answers)
        assert np.allclose(
            [told[name] for name in ("entity_precision", "entity_recall", "entity_f1")], f1(found, truth)
        )
        each = [[{one for one in side if one[3] == kind} for side in (found, truth)] for kind in range(c)]
        for kind, (own, real) in enumerate(each):
            assert np.allclose(list(told["per_class"][f"a-{kind}"].values()), [*f1(own, real), len(real)])
        occurring = [f1(*both)[2] for both in each if any(both)]
        assert np.isclose(told["macro_f1"], np.mean(occurring) if occurring else 0)


def test_it_learns_in_increments_and_comes_back_from_a_folder(encoder: Encoder, tmp_path: Path) -> None:
    ids, held = np.arange(120), column(range(120, 160))
    taught = tagger(encoder)
    untaught = taught.predicted(held)
    assert (
        set(untaught.answers.tolist()) == {()}
        and np.ptp(untaught.probabilities[:, 0] - untaught.probabilities[:, 1]) < 1e-9
    )
    taught.fit(column(ids[:90]), spans_array(ANSWERS[:90]))
    taught.fit(column(ids), spans_array(ANSWERS[:120]))
    assert scores(taught.predict(held), spans_array(ANSWERS[120:]), list(CLASSES))["entity_f1"] > 0.8
    taught.calibrate(held[:20], spans_array(ANSWERS[120:140]))
    found = taught.predicted(held)
    assert taught.temperature != 1 and ((found.chances > 0) & (found.chances <= 1)).all()
    alone = taught.predicted(held[[7]])
    assert all(np.array_equal(one[[7]], other) for one, other in zip(found, alone, strict=True))

    registry.publish(tmp_path, "one", taught)
    again = registry.load(tmp_path / "one", tagger(encoder))
    for one in (taught, again):
        one.fit(column(range(130)), spans_array(ANSWERS[:130]))
    for one, other in zip(taught.predicted(held), again.predicted(held), strict=True):
        assert np.array_equal(one, other), "bit for bit"
    again.fit(column(ids[:3]), spans_array(ANSWERS[:3]))
    assert list(again.taught) and len(again.taught) == 3, "what is gone is unlearned"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("tags", ["B-person", "I-person", "B-creative-work", "I-creative-work"], "which lack 'O'"),
        ("tags", ["O", "B-person", "I-person"], "was made with tags"),
        ("classes", [["person", ""]], "for other classes"),
        ("encoder", "0123456789abcdef", "with encoder"),
        ("sha256", "0" * 64, "is damaged"),
    ],
)
def test_a_folder_made_for_something_else_gets_one_line(
    encoder: Encoder, tmp_path: Path, key: str, value: object, message: str
) -> None:
    fresh = tagger(encoder, epochs=1, steps=1)
    fresh.fit(column([0, 1]), spans_array(ANSWERS[:2]))
    registry.publish(tmp_path, "one", fresh)
    card = json.loads((tmp_path / "one" / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "one" / "card.json").write_text(json.dumps(card | {key: value}), encoding="utf-8")
    with pytest.raises(DiscoverError, match=message) as error:
        registry.load(tmp_path / "one", tagger(encoder))
    assert "\n" not in str(error.value) and "learns it anew" in str(error.value)


@pytest.mark.parametrize("method", ["top", "lora"])
def test_less_of_the_encoder_can_be_trained(encoder: Encoder, method: str) -> None:
    taught = tagger(encoder, method=method, layers=1, learning_rate=5e-3, epochs=10)
    taught.fit(column(range(120)), spans_array(ANSWERS[:120]))
    found = scores(taught.predict(column(range(120, 160))), spans_array(ANSWERS[120:]), list(CLASSES))
    assert found["entity_f1"] > 0.5


def test_what_the_encoder_does_not_read_is_told(encoder: Encoder) -> None:
    text = "so " * 40 + "Ada"
    taught = tagger(encoder, [text, "Ada said so"], epochs=1, steps=1)
    taught.fit(column([0, 1]), spans_array([((120, 123, 0),), ((0, 3, 0),)]))
    assert taught.untold == 1


def write_inputs(folder: Path, model: Path, documents: int = 140) -> Path:
    """A file of tokens and tags, every fourth sentence to test on, and a config."""
    rows = [
        {"tokens": tokens, "tags": tags, "split": "train" if number % 4 else "test"}
        for number, (tokens, tags) in enumerate(sentences(documents, 2))
    ]
    (folder / "in.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    config = {
        "encoder": {"model": str(model), "max_tokens": 32},
        "label": {"task": "spans", "classes": list(CLASSES), "oracle": "file_labels", "budget": 500, "seed": 20},
        "query": {"strategy": "auto", "batch": 20, "cost": "tokens", "candidates": {"count": 60}},
        "learn": LEARN,
        "loop": {"arms": ["auto", "random"]},
    }
    (folder / "names.yaml").write_text(json.dumps(config), encoding="utf-8")
    return folder / "names.yaml"


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    folder = tmp_path_factory.mktemp("names")
    config = write_inputs(folder, model)
    assert main(["import", str(config), str(folder / "in.jsonl"), "--run", str(folder / "run")]) == 0
    assert main(["run", str(config), "--run", str(folder / "run")]) == 0
    return folder


def test_a_run_spends_words_and_learns_entities(finished: Path) -> None:
    rows, longest = lines(finished / "run" / "metrics.jsonl"), max(len(text.split()) for text in TEXTS)
    for arm in ("auto", "random"):
        own = [row for row in rows if row["arm"] == arm]
        assert 500 <= own[-1]["words"] < 500 + longest, "the last question may go over the budget, no other"
        assert own[-2]["words"] < 500 and own[-1]["source"] == "test"
        assert own[-1]["entity_f1"] > 0.6 > own[0]["entity_f1"] - 0.2 and own[-1]["low"] < own[-1]["accuracy"]
        assert set(own[-1]["per_class"]) == set(CLASSES) and 0 <= own[-1]["ece"] < 1
    campaign = discover.open(finished / "run")
    asked = campaign.pool.texts([row.document_id for row in campaign.queue.labels("auto")])
    assert sum(len(text.split()) for text in asked) == campaign.queue.spent("auto") == rows[-2]["words"]
    page = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert "<h3>Entity F1</h3>" in page and "words of 500 an arm" in page and "after so many words" in page
    assert report.verdict(campaign.database, campaign.config).startswith("At 500 words, ")
    guessed = [len(campaign.output("auto", number, "query")["suggestions"]) for number in (0, 1)]
    assert guessed[0] == 0 < guessed[1], "before any answer there is nothing to be guessed by"
    picks = [line for line in lines(finished / "run" / "decisions.jsonl") if "document" in line]
    queries = [line for line in lines(finished / "run" / "decisions.jsonl") if "candidates" in line]
    assert all(isinstance(pick["label"], list) and pick["log_propensity"] <= 0 for pick in picks)
    assert {pick["query"] for pick in picks} == {one["query"] for one in queries}, "nothing is asked beyond the budget"


def test_predictions_are_spans_of_the_texts(finished: Path) -> None:
    texts = ["we read  Moby Dick again in the town", "said so to all 😀 Grace Hopper before noon"]
    (finished / "new.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    command = ["predict", "--run", str(finished / "run"), "--input", str(finished / "new.jsonl")]
    assert main([*command, "--output", str(finished / "out.jsonl")]) == 0
    rows = lines(finished / "out.jsonl")
    held = [[(row["text"][one["start"] : one["end"]], one["label"]) for one in row["label"]] for row in rows]
    assert held == [[("Moby Dick", "creative-work")], [("Grace Hopper", "person")]]
    assert all(0 < row["probability"] <= 1 and "probabilities" not in row for row in rows)
    assert main([*command, "--output", str(finished / "sure.jsonl"), "--confidence", "1"]) == 0
    assert [row["label"] for row in lines(finished / "sure.jsonl")] == [None, None]


def test_predictions_are_explained_in_files_and_in_the_report(finished: Path) -> None:
    texts = ["it rained in the town", "we read  Moby Dick, said so to all 😀 Grace Hopper before noon"]
    (finished / "why.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts), encoding="utf-8")
    command = ["predict", "--run", str(finished / "run"), "--input", str(finished / "why.jsonl"), "--explain"]
    for name in ("why.out.jsonl", "why.out.parquet"):
        assert main([*command, "--output", str(finished / name)]) == 0
    none, some = lines(finished / "why.out.jsonl")
    assert none["label"] == none["explained"] == []
    assert [{key: one[key] for key in ("start", "end", "label")} for one in some["explained"]] == some["label"]
    campaign = discover.open(finished / "run")
    learned = {row.document_id: row.label for row in campaign.queue.labels("auto") if row.kind != "audit"}
    answers = {one.public_id: (one.text, json.loads(learned[one.id])) for one in campaign.pool.documents(list(learned))}
    for one in some["explained"]:
        assert some["probability"] <= one["probability"] + 1e-6 and one["probability"] <= 1
        assert {some["text"][start:stop] for start, stop, _ in one["words"]} >= {"Moby", "Dick", "Grace", "Hopper"}
        for near in one["neighbours"]:
            text, spans = answers[near["id"]]
            held = [(text[span["start"] : span["end"]], span["label"]) for span in spans]
            assert (near["text"][near["start"] : near["end"]], near["label"]) in held and near["text"] in text
        assert [near["label"] for near in one["neighbours"]] == [one["label"]] * 3
    assert campaign.explain([some["text"]]) == [{"spans": some["explained"]}]
    assert campaign.explain([some["text"]], spans=1) == [{"spans": some["explained"][:1]}]
    table = pyarrow.parquet.read_table(finished / "why.out.parquet").to_pylist()
    assert [row["explained"] for row in table] == [none["explained"], some["explained"]]
    shown = examples(campaign)
    assert shown and all(len(one["spans"]) == min(SPANS, len(one["predicted"])) for one in shown)
    page = (finished / "run" / "report.html").read_text(encoding="utf-8")
    assert sum(len(one["spans"]) for one in shown) == page.count('<ul class="soft">') > 0
    campaign.close()


def test_the_queue_shows_why_a_span_was_guessed(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    campaign = discover.open(tmp_path / "run")
    learner = open_learner(campaign, "auto")
    campaign.oracle = None  # from now on people answer; all other steps of the round are done already
    _play_arm(campaign, "auto", 2, learner)
    found = campaign.output("auto", 2, "explain")
    assert found == explain(campaign, "auto", 2, learner).output, "it repeats"
    guessed = {int(one): reason["spans"] for one, reason in found["explanations"].items()}
    assert set(guessed) == {int(one) for one in campaign.output("auto", 2, "query")["suggestions"]}
    document = max(guessed, key=lambda one: len(guessed[one]))
    reasons, (text,) = _reasons(campaign, document), campaign.pool.texts([document])
    assert len(reasons) == len(guessed[document]) > 0
    for reason, span in zip(reasons, guessed[document], strict=True):
        held = "".join(piece for piece, _, of_span in reason["pieces"] if of_span)
        assert held == text[span["start"] : span["end"]] and reason["label"].startswith(f"{held} ({span['label']}, ")
        assert len(reason["neighbours"]) == 3
    (own,) = campaign.pool.documents([document])
    cited = next(near["id"] for near in guessed[document][0]["neighbours"] if near["id"] != own.public_id)
    remove(campaign, [cited])
    left = campaign.explanation(document)
    assert left["text"] == text and len(left["spans"]) == len(reasons)
    assert cited not in {near["id"] for span in left["spans"] for near in span["neighbours"]}
    assert _reasons(campaign, -1) == []
    campaign.close()


def test_a_killed_run_ends_as_if_nobody_had_killed_it(tmp_path: Path, small_encoder: Path) -> None:
    config = write_inputs(tmp_path, small_encoder, documents=60)
    short = {"label": {"budget": 300, "audit": 0.3, "seed": 10}, "query": {"batch": 10}, "learn": {"epochs": 1}}
    settings = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(settings | {key: settings[key] | own for key, own in short.items()}), encoding="utf-8")
    assert main(["import", str(config), str(tmp_path / "in.jsonl"), "--run", str(tmp_path / "whole")]) == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    assert attempt(["run", str(config), "--run", str(tmp_path / "whole")])["status"] == 0
    again = ["run", str(config), "--run", str(tmp_path / "killed")]
    assert attempt(again, crash_at="after_evaluate")["status"] == -signal.SIGKILL  # goes on with a model that is read
    assert attempt(again)["status"] == 0
    for told in (metrics_without_times, decisions_of):
        assert told(tmp_path / "killed") == told(tmp_path / "whole")


def test_what_a_run_has_spent_stays_in_its_unit(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, run = str(finished / "names.yaml"), str(finished / "run")
    assert main(["run", config, "--run", run, "--set", "query.cost=answers"]) == 1
    assert "query.cost" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("query.strategy=learned", "label.task is spans: take auto"),
        ("loop.arms=[random, badge]", "goes by the probability of each class"),
        ("loop.arms=[random, rare_class]", "goes by the probability of each class"),
        ("loop.arms=[random, committee]", "goes by the probability of each class"),
        ("learn.method=head", "asks about words: set it to full, top or lora"),
        ("learn.balance=sampling", "any number of spans: set it to loss"),
        ("loop.stop=stabilising", "set it to plateau"),
        ("label.options={noise: 0.1, classes: [a, b]}", "noise"),
        ("label.classes=[B-person, I-person, O]", "found the tag 'B-person'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_begins(
    tmp_path: Path, model: Path, setting: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_inputs(tmp_path, model, documents=4)
    assert main(["run", str(config), "--run", str(tmp_path / "run"), "--set", setting]) == 1
    said = capsys.readouterr().err
    assert message in said and len(said.splitlines()) == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "strategy", ["margin", "least_confidence", "entropy", "k_center", "typiclust", "density_margin"]
)
def test_what_can_work_is_let_through(tmp_path: Path, model: Path, strategy: str) -> None:
    check(load_config(write_inputs(tmp_path, model, documents=4), [f"loop.arms=[{strategy}, random]"]))
