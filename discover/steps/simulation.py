"""A simulated annotator in the place of people: the oracle that a config names, and what it makes possible."""

from collections.abc import Callable
from typing import Any

from discover import plugins
from discover.campaign import Campaign
from discover.errors import DiscoverError
from discover.label.simulate import answer_open
from discover.pool.document import Document

PEOPLE = "people"


def check(campaign: Campaign) -> None:
    """Refuse settings that need a simulated oracle where people answer.

    Raises:
        DiscoverError: a setting does not fit, or the oracle is unknown.
    """
    if oracle(campaign) is not None:
        return
    if campaign.config.loop.test:
        raise DiscoverError("loop.test holds out documents for a simulated oracle to answer; with people set it to 0")
    if len(campaign.arms) > 1:
        raise DiscoverError(f"with people there is one arm, loop.arms lists {len(campaign.arms)}: keep one of them")


def oracle(campaign: Campaign) -> Any:
    """The config's oracle, made with its options; none where people answer."""
    settings = campaign.config.label
    if settings.oracle == PEOPLE:
        return None
    made = plugins.load("discover.label.oracles", settings.oracle)
    plugins.check_options(made, settings.options, f"the oracle {settings.oracle!r}")
    return made(**settings.options)


def unanswerable(campaign: Campaign) -> Callable[[list[Document]], list[bool]] | None:
    """Which documents the oracle has no single answer for; none where people answer."""
    simulated = oracle(campaign)
    if simulated is None:
        return None
    return lambda documents: [label not in campaign.config.label.classes for label in simulated.answer(documents)]


def answer(campaign: Campaign, arm: str) -> None:
    """Answer what waits, through the queue, as a person would."""
    answer_open(campaign.queue, arm, oracle(campaign))


def truths(campaign: Campaign, documents: list[Document]) -> list[str | None]:
    """The right labels of held-out documents: as imported, else as the oracle says."""
    simulated = oracle(campaign)
    said = simulated.answer(documents) if simulated else [None] * len(documents)
    return [document.label or label for document, label in zip(documents, said, strict=True)]
