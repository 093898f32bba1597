"""A simulated annotator in the place of people: the oracle that a config names, and what it makes possible."""

from collections.abc import Callable

from discover.campaign import Campaign
from discover.config import Config
from discover.errors import DiscoverError
from discover.label.simulate import answer_open, ask, oracle_of
from discover.pool.document import Document

JUDGE = "judge"  # the note in the database: whom documents are set aside for


def check(config: Config) -> None:
    """Refuse settings that need a simulated oracle where people answer.

    Raises:
        DiscoverError: a setting does not fit, or the oracle is unknown.
    """
    if oracle_of(config.label) is not None:
        if config.label.task != "multiclass" and config.label.options.get("noise"):
            raise DiscoverError(
                "label.options.noise puts another class in the place of the right one, but with label.task "
                f"{config.label.task} a document has any number of labels: take it out"
            )
        return
    if config.loop.test:
        raise DiscoverError("loop.test holds out documents for a simulated oracle to answer; with people set it to 0")
    if len(config.loop.arms) > 1:
        raise DiscoverError(f"with people there is one arm, loop.arms lists {len(config.loop.arms)}: keep one of them")


def unanswerable(campaign: Campaign) -> Callable[[list[Document]], list[bool]] | None:
    """Which documents the oracle has no single answer for; none where people answer."""
    if campaign.oracle is None:
        return None
    return lambda documents: [label is None for label in _ask(campaign, documents)]


def look_again(campaign: Campaign) -> None:
    """Let others, people included, judge what an oracle with other options, or another, has set aside."""
    judge = campaign.config.label.model_dump(mode="json", include={"oracle", "options"})
    if campaign.database.noted(JUDGE) != judge:
        campaign.pool.look_again()
        campaign.database.note(JUDGE, judge)


def answer(campaign: Campaign, arm: str) -> None:
    """Answer what waits, through the queue, as a person would."""
    answer_open(campaign.queue, arm, campaign.oracle)


def truths(campaign: Campaign, documents: list[Document]) -> list[str | None]:
    """The right labels of held-out documents: as imported, else as the oracle says."""
    unknown = [document for document in documents if document.label is None]
    said = iter(_ask(campaign, unknown) if campaign.oracle is not None else [None] * len(unknown))
    return [next(said) if document.label is None else document.label for document in documents]


def _ask(campaign: Campaign, documents: list[Document]) -> list[str | None]:
    return ask(campaign.oracle, documents, campaign.labels)
