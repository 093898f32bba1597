"""Settings of a policy's training, and of the episodes that it is trained and judged on."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from discover.errors import DiscoverError
from discover.strict import Strict

SCAN = 4  # times the candidates: how far a round looks for the uncertain and the near


class EpisodeConfig(Strict):
    """How a labeling campaign is played in an environment.

    The sizes of the splits are cut, in proportion, where the smallest corpus has fewer documents.
    """

    initial: int = Field(20, ge=1, description="seed labels, drawn uniformly")
    budget: int = Field(200, ge=2, description="labels in all, seed labels included")
    batch: int = Field(5, ge=1, description="picks a round; the candidates are looked at anew for each round")
    candidates: int = Field(32, ge=2, description="of a round, k")
    pool: int = Field(2000, ge=1, description="documents to ask about")
    state: int = Field(200, ge=1, description="unlabelled documents that tell how sure the model is")
    reward: int = Field(1000, ge=1, description="documents that rewards are measured on")
    report: int = Field(0, ge=0, description="test documents that a finished episode is reported on; 0: none")
    metric: Literal["macro_f1", "accuracy"] = Field("macro_f1", description="Q, what rewards are made of")
    twin: bool = Field(False, description="subtract what margin gains with the same seed; for training only")

    @model_validator(mode="after")
    def _possible(self) -> "EpisodeConfig":
        if self.budget <= self.initial:
            raise ValueError(f"budget counts the seed labels, so it must be over initial, {self.initial}")
        if self.batch > self.candidates:
            raise ValueError(f"batch must be at most candidates, {self.candidates}")
        return self

    @property
    def steps(self) -> int:
        """T, labels that are asked in an episode."""
        return self.budget - self.initial

    def cut_to(self, documents: int, tested: int, smallest: str) -> "EpisodeConfig":
        """The rules for corpora of so many documents and test documents at least: splits are cut in proportion.

        Args:
            documents: of the smallest corpus.
            tested: test documents of the one with the fewest.
            smallest: name of the former.

        Raises:
            DiscoverError: the pool that is left cannot hold the budget.
        """
        share = min(1.0, documents / (self.pool + self.state + self.reward))
        sizes = {name: int(getattr(self, name) * share) for name in ("pool", "state", "reward")}
        if sizes["pool"] < self.budget or min(sizes.values()) < 1:
            raise DiscoverError(
                f"the smallest corpus, {smallest}, has {documents} documents, whose pool of {sizes['pool']} must hold "
                f"the budget of {self.budget} labels: leave it out, or lower budget"
            )
        return self.model_copy(update={**sizes, "report": min(self.report, tested)})


class ImitationConfig(Strict):
    """How the scorer learns from the look-ahead."""

    candidates: list[Annotated[int, Field(ge=2)]] = Field(
        [32, 128], min_length=1, description="k, each for as many decisions"
    )
    decisions: int = Field(120, ge=1, description="kept of each task and k")
    variants: int = Field(12, ge=0, description="altered tasks made of each corpus: fewer, merged or rarer classes")
    epochs: int = Field(5, ge=1)
    batch: int = Field(64, ge=1, description="decisions of a step")
    learning_rate: float = Field(2e-3, gt=0)
    sharpness: float = Field(12.0, gt=0, description="of the softmax over standardised gains")


class ReinforcementConfig(Strict):
    """How reinforcement learning goes on from there."""

    candidates: list[Annotated[int, Field(ge=2)]] = Field(
        [32, 128], min_length=1, description="k: a training for each, and the mean of their weights is the policy"
    )
    steps: int = Field(800_000, ge=0, description="of each training, all environments together; 0: imitation alone")
    environments: int = Field(32, ge=1)
    rollout: int = Field(90, ge=1, description="steps of each environment between two updates")
    batch: int = Field(720, ge=2, description="steps of each gradient, a part of environments * rollout")
    epochs: int = Field(4, ge=1)
    learning_rate: float = Field(3e-4, gt=0)
    gae_lambda: float = Field(0.95, ge=0, le=1)
    target_kl: float = Field(0.02, gt=0, description="an update ends early beyond it")
    checkpoint: int = Field(50_000, ge=1, description="steps between two checkpoints")

    @model_validator(mode="after")
    def _whole_batches(self) -> "ReinforcementConfig":
        steps = self.environments * self.rollout
        if steps % self.batch:  # of a last batch of one the advantages have no deviation
            raise ValueError(f"batch must divide environments * rollout, {steps}, found {self.batch}")
        return self


class CorpusFiles(Strict):
    """A labelled corpus: two files as `discover bench` reads them."""

    train: Path
    test: Path


class PolicyConfig(Strict):
    """What a policy is trained on, and how: the file that `discover policy train` reads."""

    name: str = Field("policy", pattern=r"^\w[^/]*$", description="of its folder under runs/")
    seed: int = Field(0, ge=0, lt=2**63)
    corpora: list[CorpusFiles] = Field([], description="labelled files to learn on")
    documents: int = Field(4000, ge=100, description="of each corpus, drawn uniformly")
    synthetic: int = Field(8, ge=0, description="made-up tasks to learn on besides")
    hidden: int = Field(48, ge=1, description="units of the network's two layers")
    episode: EpisodeConfig = EpisodeConfig()
    imitation: ImitationConfig = ImitationConfig()
    reinforcement: ReinforcementConfig = ReinforcementConfig()

    @model_validator(mode="after")
    def _something(self) -> "PolicyConfig":
        if not self.corpora and not self.synthetic:
            raise ValueError("name corpora, or let synthetic be at least 1: there is nothing to learn on")
        for name in ("imitation", "reinforcement"):
            if min(getattr(self, name).candidates) < self.episode.batch:
                raise ValueError(f"{name}.candidates must be at least episode.batch, {self.episode.batch}")
        return self
