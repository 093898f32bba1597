"""One contract for every oracle: whatever file lies in `label/oracles` is tested here."""

import inspect
from typing import Any

import pytest

from discover import plugins
from discover.pool.document import Document

PACKAGE = "discover.label.oracles"
REQUIRED: dict[str, Any] = {"table": {"page": "a", "other": "b"}}  # a value for each option without a default
ORACLES = plugins.names(PACKAGE)


@pytest.fixture(params=ORACLES)
def oracle(request: pytest.FixtureRequest) -> Any:
    found = plugins.load(PACKAGE, request.param)
    parameters = inspect.signature(found).parameters.values()
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters), "options are keyword-only"
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    options = {name: REQUIRED[name] for name in needed}
    plugins.check_options(found, options, request.param)
    return found(**options)


DOCUMENTS = [
    Document(text="one", sources=["http://site/page.html"], label="a"),
    Document(text="two", sources=["http://site/other.html"], label="b"),
    Document(text="three", sources=["http://site/nowhere.html"]),
    Document(text="four", address="labels.jsonl:4"),
]


def test_there_are_oracles() -> None:
    assert {"page_table", "file_labels"} <= set(ORACLES)


def test_one_answer_a_document_a_label_or_none(oracle: Any) -> None:
    answers = oracle.answer(DOCUMENTS)
    assert isinstance(answers, list) and len(answers) == len(DOCUMENTS)
    assert all(answer is None or (isinstance(answer, str) and answer) for answer in answers)
    assert answers[:2] == ["a", "b"] and answers[3] is None
    assert oracle.answer([]) == []


def test_the_answer_depends_on_the_document_alone(oracle: Any) -> None:
    answers = oracle.answer(DOCUMENTS)
    assert oracle.answer(DOCUMENTS[::-1]) == answers[::-1]
    assert [oracle.answer([document])[0] for document in DOCUMENTS] == answers


def test_documents_are_left_alone(oracle: Any) -> None:
    before = [repr(document) for document in DOCUMENTS]
    oracle.answer(DOCUMENTS)
    assert [repr(document) for document in DOCUMENTS] == before
