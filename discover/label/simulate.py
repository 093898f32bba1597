"""A simulated annotator at work: it claims and answers through the queue, as a person does."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

from discover import plugins
from discover.errors import DiscoverError
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.pool.document import Document
from discover.pool.labels import Labels

PEOPLE = "people"  # the oracle that is not simulated
ANNOTATOR = "simulated"
AT_A_TIME = 100


class Oracle(Protocol):
    """What a file in `label/oracles` offers."""

    def answer(self, documents: Sequence[Document]) -> list[Any]:
        """One answer a document, in order, as a file would give it: a label, or a list; None skips it."""


def oracle_of(settings: LabelConfig) -> Any:
    """The simulated annotator that a config names, made with its options; None where people answer.

    Raises:
        DiscoverError: there is no such oracle, an option is not its own, or it cannot be made with them.
    """
    if settings.oracle == PEOPLE:
        return None
    made = plugins.load("discover.label.oracles", settings.oracle)
    plugins.check_options(made, settings.options, f"the oracle {settings.oracle!r}")
    with plugins.calling(f"the oracle {settings.oracle!r}", ours=":" not in settings.oracle):
        return made(**settings.options)


def answer_open(queue: Queue, arm: str, oracle: Oracle) -> Counter[str]:
    """Answer every open question of an arm that nobody else holds; a killed call goes on where it stopped.

    Returns:
        How many were "answered" and how many "skipped".

    Raises:
        DiscoverError: the oracle fails, or its answer is none that the queue accepts.
    """
    counts: Counter[str] = Counter()
    while questions := queue.claim(arm, ANNOTATOR, AT_A_TIME):
        labels = ask(oracle, [question.document for question in questions], queue.accepted)
        for question, label in zip(questions, labels, strict=True):
            if label is None:
                queue.skip(question.slot, question.token, ANNOTATOR)
            else:
                queue.answer(question.slot, question.token, ANNOTATOR, label)
            counts["skipped" if label is None else "answered"] += 1
    return counts


def ask(oracle: Oracle, documents: Sequence[Document], labels: Labels) -> list[str | None]:
    """What an oracle says of documents, as it is kept; None where it has no answer.

    Raises:
        DiscoverError: it fails, does not say one thing of each, or says what is no answer.
    """
    name = type(oracle).__name__
    with plugins.calling(f"the oracle {name!r}", ours=type(oracle).__module__.startswith("discover.")):
        said = oracle.answer(documents)
    if not isinstance(said, list) or len(said) != len(documents):
        raise DiscoverError(
            f"the oracle {name!r} must return a list of {len(documents)} labels, got {said!r:.60}: one for each "
            "document, None where it has no answer"
        )
    return [_read(name, one, labels, document.text) for one, document in zip(said, documents, strict=True)]


def _read(name: str, said: Any, labels: Labels, text: str) -> str | None:
    try:
        return labels.read(said, text)
    except DiscoverError as error:
        what = "no list of spans" if labels.task == "spans" else "none"
        raise DiscoverError(
            f"the oracle {name!r} answers {said!r:.80}, which is {what} of the {len(labels.classes)} labels of "
            f"label.classes ({error}): correct its options, or add the class"
        ) from error
