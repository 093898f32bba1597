"""A campaign: a run folder opened, with the parts that its config names. This is the Python interface.

    import discover

    campaign = discover.open("runs/demo")
    for document in campaign.documents(): ...
    if question := campaign.ask("ada"):
        campaign.answer(question, "Data Types", "ada")
    campaign.predict(["Return a copy of the list."])

The commands are thin layers over this class and over `discover.loop`. Torch is loaded when a model is first needed.
"""

import functools
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from discover.config import Config, load_config, strategies_of
from discover.db import Database
from discover.errors import DiscoverError
from discover.label.questions import Outcome, Question
from discover.label.queue import Queue
from discover.label.simulate import oracle_of
from discover.pool.document import Document
from discover.pool.labels import labels_of
from discover.pool.pool import Pool
from discover.predictor import Predictor
from discover.run import RunFolder
from discover.tables import metric, model, slot, step

if TYPE_CHECKING:
    from discover.learn.prediction import Prediction


def open_run(root: Path | str) -> "Campaign":
    """Open an existing run folder.

    Raises:
        DiscoverError: there is no run there, or its database cannot be used.
    """
    folder = RunFolder(root)
    if not folder.config.is_file():
        raise DiscoverError(
            f"{folder.root} is no run folder: it has no config.yaml; make one with `discover run CONFIG`"
        )
    return Campaign(folder, load_config(folder.config))


class Campaign:
    """The parts of one run. Those that need torch (encoder, retriever) are opened on first use.

    Attributes:
        folder: where the run keeps its files.
        config: its settings.
        database: everything that must not be lost.
        pool: the documents.
        queue: the questions and answers.
        classes: names of the classes; a class index is a position here.
        labels: what an answer is, in files, in the database and as an array.
        strategies: each arm's strategy, as the config names it.
        arms: names of the arms; people answer the first.
    """

    def __init__(self, folder: RunFolder, config: Config):
        self.folder = folder
        self.config = config
        finished = not config.pool.url and folder.metrics.is_file()
        if finished and not _holds(folder.database):
            raise _lost(folder)
        self.strategies = strategies_of(config)  # before anything is open, since it may refuse
        self.arms = list(self.strategies)
        self.database = Database(config.pool.url or folder.database)
        if finished and not self.begun():
            self.database.close()
            raise _lost(folder)
        self.pool = Pool(self.database, config.pool)
        self.classes = list(config.label.classes)
        self.labels = labels_of(config.label.task, self.classes)
        self.queue = Queue(self.database, config.label.lease_minutes, self.labels, config.query.cost == "tokens")
        self._predicting: tuple[str, Predictor] | None = None  # the checksum of a model, and what predicts by it
        self._one_at_a_time = threading.Lock()  # a server may ask from several threads, a model keeps one's texts

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def documents(self, split: str | None = "train") -> Iterator[Document]:
        """The pool's documents, ordered by public id."""
        return self.pool.documents(split=split)

    def ask(self, annotator: str, arm: str | None = None) -> Question | None:
        """The next question for an annotator, leased to them; none when nothing waits.

        Raises:
            DiscoverError: there is no such arm.
        """
        return next(iter(self.queue.claim(self._arm(arm), annotator)), None)

    def answer(self, question: Question, label: str | Sequence[str | Mapping[str, Any]], annotator: str) -> Outcome:
        """Answer a question: by a label, with ``label.task: multilabel`` by a list of them, with ``spans`` by a list of
        `start`, `end` (excluded) and `label`, counted in characters of the document's text.

        Returns:
            What became of it; `counts` is False where another's answer had come first, which stands.

        Raises:
            DiscoverError: there is no label, or it is not one of the run's classes.
        """
        listed = list(label) if isinstance(label, Sequence) and not isinstance(label, str) else label
        kept = self.labels.read(listed, question.document.text)
        if kept is None:
            raise DiscoverError("an answer needs a label, found none: leave the question open, or skip it in the queue")
        return self.queue.answer(question.slot, question.token, annotator, kept)

    def predict(self, texts: Sequence[str], arm: str | None = None) -> np.ndarray:
        """Calibrated class probabilities of texts, by the newest model.

        Args:
            texts: n texts.
            arm: whose model; by default the first arm's.

        Returns:
            (n, c) probabilities, columns in the order of ``classes``; a row sums to 1 where a document has one class.
            Of spans (n, 2), see `discover.learn.tagger`; what they are, `predicted` tells.
        """
        with self._one_at_a_time:
            return self.predictor(arm).predict(texts)

    def predicted(self, texts: Sequence[str], arm: str | None = None) -> "Prediction":
        """The newest model's answers about texts, as arrays; `Labels.kept` and `Labels.value` tell them in words.

        Args:
            texts: n texts.
            arm: whose model; by default the first arm's.
        """
        with self._one_at_a_time:
            return self.predictor(arm).predicted(texts)

    def explain(self, texts: Sequence[str], arm: str | None = None, spans: int | None = None) -> list[dict[str, Any]]:
        """Why the newest model predicts what it does: of each text `label`, `probability`, `words`, `neighbours`.

        The words that carried it are lists of first character, the one after the last, and what it added to the label's
        log-odds; neighbours are the nearest answers that the model learned. With entities each text has `spans`, a list
        of the same for each, with its `start` and `end`; a neighbour's count in its `text`, which is what is around it.

        Args:
            texts: n texts.
            arm: whose model; by default the first arm's.
            spans: of entities, how many of a text are explained, the first ones; by default all.
        """
        with self._one_at_a_time:
            return self.predictor(arm).explain(texts, spans)

    def _arm(self, name: str | None) -> str:
        """The arm of a name; the first one of none."""
        if name is not None and name not in self.arms:
            raise DiscoverError(f"{self.folder.root} has no arm {name!r}: there are {', '.join(self.arms)}")
        return self.arms[0] if name is None else name

    def predictor(self, arm: str | None = None) -> Predictor:
        """An arm's newest model, by default the first arm's; it stays the one it is when there are newer ones.

        Raises:
            DiscoverError: there is none yet, it is damaged, or it was learned with settings that the run has had since
                it was opened here, such as another class.
        """
        version = self.latest_model(self._arm(arm))
        if version is None:
            raise DiscoverError(f"{self.folder.root} has no model yet: run `discover run` on it first")
        checksum = self.checksum(version)  # a version that is learned anew keeps its name
        if self._predicting is None or self._predicting[0] != checksum:
            folder = self.folder.models / version
            try:
                found = Predictor(folder, self.encoder, self.pool, self.labels, self.config)
            except DiscoverError as error:
                if load_config(self.folder.config) == self.config:
                    raise
                raise DiscoverError(
                    f"the settings of {self.folder.root}, such as label.classes, have changed since it was opened "
                    f"here, and may not fit its model {version} any more ({error}): open it again"
                ) from error
            self._predicting = checksum, found
        return self._predicting[1]

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """The answers that the model of the last `predict` gives, of its (n, c) probabilities.

        Returns:
            (n,) class indices; or, where documents may have several labels, (n, c) 0 and 1.
        """
        if self._predicting is None:
            raise DiscoverError(
                "decide takes what predict gave, but nothing has been predicted yet: call predict first"
            )
        return self._predicting[1].decide(probabilities)

    def retrieve_by(self, model: str) -> None:
        """Let the vectors of another model find documents from now on."""
        self.retriever = self._retriever(model)

    def status(self) -> dict[str, Any]:
        """Where the run stands, as plain values."""
        return {
            "run": str(self.folder.root),
            "pool": self.pool.counts(),
            "budget": self.config.label.budget,
            "unit": self.queue.unit,
            "arms": {
                arm: {
                    "labels": len(self.queue.labels(arm)),
                    "spent": self.queue.spent(arm),
                    "waiting": self.queue.waiting(arm),
                    "model": self.latest_model(arm),
                    "last": self.last_metrics(arm),
                }
                for arm in self.arms
            },
        }

    def begun(self) -> bool:
        """Whether the loop has finished its first step."""
        with self.database.read() as connection:
            return connection.execute(select(step.c.round).limit(1)).first() is not None

    def off_limits(self, arm: str) -> set[int]:
        """Row ids that an arm may not ask about: what it has asked about, test documents, and what was removed."""
        return self.queue.asked(arm).union(self.pool.ids(split="test")[0].tolist(), self.pool.removed())

    def unasked(self, arm: str, most: int) -> int:
        """How many of the pool's documents an arm could still ask about; counting stops at ``most``."""
        asked = len(self.queue.asked(arm) - self.pool.removed())
        return self.pool.count("pool", asked + most, split="train") - asked

    def metrics(self) -> list[dict[str, Any]]:
        """One row a round and arm, in the order of rounds: what metrics.jsonl holds."""
        order = select(metric.c.row).order_by(metric.c.round, metric.c.arm)
        with self.database.read() as connection:
            return list(connection.execute(order).scalars())

    def last_metrics(self, arm: str) -> dict[str, Any] | None:
        """The newest of an arm's rows; None before any."""
        newest = select(metric.c.row).where(metric.c.arm == arm).order_by(metric.c.round.desc()).limit(1)
        with self.database.read() as connection:
            return connection.execute(newest).scalar()

    def latest_model(self, arm: str) -> str | None:
        """The version of an arm's newest published model."""
        newest = select(model.c.version).where(model.c.arm == arm).order_by(model.c.round.desc()).limit(1)
        with self.database.read() as connection:
            return connection.execute(newest).scalar()

    def models(self, arm: str) -> list[str]:
        """The versions of an arm's published models, the newest first."""
        with self.database.read() as connection:
            wanted = select(model.c.version).where(model.c.arm == arm).order_by(model.c.round.desc())
            return list(connection.execute(wanted).scalars())

    def checksum(self, version: str) -> str:
        """Of a published model's weights."""
        wanted = select(model.c.checksum).where(model.c.version == version)
        with self.database.read() as connection:
            return connection.execute(wanted).scalar_one()

    def models_made(self) -> dict[str, float]:
        """When each model was published, by version, in seconds of Unix time."""
        with self.database.read() as connection:
            return {version: made for version, made in connection.execute(select(model.c.version, model.c.created))}

    def output(self, arm: str, round_: int, name: str) -> dict[str, Any] | None:
        """What a finished step of the loop left, or none if it has not finished."""
        wanted = select(step.c.output).where(step.c.arm == arm, step.c.round == round_, step.c.step == name)
        with self.database.read() as connection:
            return connection.execute(wanted).scalar()

    def outputs(self, arm: str, name: str, *keys: str) -> list[tuple[Any, ...]]:
        """Some values of what a step left in each round that finished it, the first round first."""
        wanted = select(*(step.c.output[key] for key in keys)).where(step.c.arm == arm, step.c.step == name)
        with self.database.read() as connection:
            return [tuple(row) for row in connection.execute(wanted.order_by(step.c.round))]

    def last_intake(self) -> dict[str, Any] | None:
        """What the newest finished intake left."""
        newest = select(step.c.output).where(step.c.step == "intake").order_by(step.c.round.desc()).limit(1)
        with self.database.read() as connection:
            return connection.execute(newest).scalar()

    @property
    def retrieval_model(self) -> str:
        """The model whose vectors the index held at the last intake; before any, the one that the config names."""
        last = self.last_intake()
        return last.get("retrieval", self.config.encoder.model) if last else self.config.encoder.retriever

    def embedded_by(self) -> str | None:
        """The model with which the pool was last embedded in the background, to the end."""
        found: str | None = self.database.noted("embedded_by")
        return found

    def suggestion(self, document: int) -> tuple[str, float] | None:
        """What the model thought of a document (row id) when it chose it: the answer as it is kept, probability."""
        found = self._of_question("query", "suggestions", document)
        return (found[0], found[1]) if found else None

    def explanation(self, document: int) -> dict[str, Any] | None:
        """Why it thought so of a document (row id): see `explain`; with its `text`. None where that is not known."""
        found = self._of_question("explain", "explanations", document)
        return {**found, "text": self.pool.texts([document])[0]} if found else None

    def _of_question(self, name: str, key: str, document: int) -> Any:
        """What a step left about a question of the first arm."""
        wanted = (
            select(step.c.output[(key, str(document))])
            .join(slot, (slot.c.arm == step.c.arm) & (slot.c.round == step.c.round))
            .where(step.c.arm == self.arms[0], step.c.step == name, slot.c.document_id == document)
        )
        with self.database.read() as connection:
            return connection.execute(wanted).scalar()

    @functools.cached_property
    def oracle(self) -> Any:
        """The simulated annotator; None where people answer."""
        return oracle_of(self.config.label)

    @functools.cached_property
    def encoder(self) -> Any:
        """The transformer that the learner fine-tunes."""
        from discover.embed.encoder import Encoder

        return Encoder(self.config.encoder)

    @functools.cached_property
    def retriever(self) -> Any:
        """What finds documents by meaning: a frozen encoder, its vectors of the pool, and the index over them."""
        return self._retriever(self.retrieval_model)

    @functools.cached_property
    def activations(self) -> Any:
        """Lower-layer activations, shared by the arms."""
        from discover.learn.activations import ActivationCache

        return ActivationCache(self.config.learn.cache_megabytes)

    def _retriever(self, model: str) -> Any:
        from discover.embed.encoder import Encoder
        from discover.embed.retriever import Retriever

        settings = self.config.encoder
        same = model == settings.model
        encoder = self.encoder if same else Encoder(settings.model_copy(update={"model": model}))
        found, last = Retriever(encoder, self.folder.vectors), self.last_intake()
        after = last["lasts"][-1] if last else 0
        if (found.store.ids > after).any():
            found.store.check(after, self.pool.known(after))
        return found


def _lost(folder: RunFolder) -> DiscoverError:
    return DiscoverError(
        f"{folder.root} has finished rounds, but {folder.database.name} is missing or empty: put a copy of it back, "
        f"with its {folder.database.name}-wal if there is one, or start a new run with --run"
    )


def _holds(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0
