"""Step 2: which documents to ask about. The picks are logged, each with the probability that it had, and queued."""

import hashlib

import numpy as np
from sqlalchemy import Connection

from discover.campaign import Campaign
from discover.evaluate import audit
from discover.learn.learner import Learner
from discover.query import candidates, decisions
from discover.query.acquire import Picks
from discover.query.config import CandidateConfig
from discover.query.strategy import load_strategy
from discover.query.view import PastRound, Progress, View
from discover.steps import Finished

SEED_STRATEGY = "random"  # of round 0: the same uniform draw in every arm


def choose(campaign: Campaign, arm: str, round_: int, learner: Learner) -> Finished:
    """Draw candidates, let the strategy choose among them, and draw the audit sample.

    The commit writes the decision log and the questions; until then an annotator sees nothing of them.
    """
    n = _affordable(campaign, arm, round_)
    n_audit = round(n * campaign.config.label.audit) if round_ else 0
    asked = campaign.queue.asked(arm)
    audited, audit_odds = candidates.draw_uniformly(campaign.store, asked, n_audit, _seed(campaign, round_, "audit"))
    view = _view(campaign, arm, round_, learner, asked.union(audited.tolist()))
    if n == 0 or len(view) == 0:
        return Finished({"asked": 0, "suggestions": {}})
    word = arm if round_ else SEED_STRATEGY
    options = campaign.config.query.options if word == campaign.config.query.strategy else {}
    seed = _seed(campaign, round_, arm if round_ else "")
    chosen = load_strategy(word, options)(view, n - len(audited), np.random.default_rng(seed))
    picks = learner.query(view.ids, chosen)
    row = {
        "id": query_id(arm, round_),
        "arm": arm,
        "round": round_,
        "strategy": word,
        "model": campaign.latest_model(arm),
        "temperature": view.temperature,
        "seed": seed,
    }
    asking = np.concatenate([view.ids[picks.indices], audited])

    def commit(connection: Connection) -> None:
        decisions.record(connection, campaign.folder, row, view, picks, audited, audit_odds)
        campaign.queue.put(connection, arm, round_, _slots(campaign, asking, len(picks.indices), seed))

    return Finished({"asked": len(asking), "suggestions": _suggestions(campaign, view, picks)}, commit)


def query_id(arm: str, round_: int) -> str:
    """The public name of a decision."""
    return f"{arm}-{round_:04d}"


def _affordable(campaign: Campaign, arm: str, round_: int) -> int:
    """How many questions the budget allows now; open ones are as good as paid."""
    wanted = campaign.config.query.batch if round_ else campaign.config.label.seed
    left = campaign.config.label.budget - campaign.queue.spent(arm) - campaign.queue.waiting(arm)
    return max(0, min(wanted, int(left)))


def _view(campaign: Campaign, arm: str, round_: int, learner: Learner, excluded: set[int]) -> View:
    settings = campaign.config.query
    standing = [row for row in campaign.queue.labels(arm) if row.kind != "audit"]
    newest_first = sorted(standing, key=lambda row: -row.round)  # stable: within a round by public id
    shares = settings.candidates
    if round_ == 0:  # seed labels are a uniform sample of the whole pool
        shares = CandidateConfig(count=shares.count, uniform=1, neighbours=0, uncertain=0, newest=0)
    drawn = candidates.draw(
        campaign.index,
        excluded=excluded,
        labelled=[row.document_id for row in newest_first],
        uncertain=decisions.most_uncertain(campaign.database, campaign.folder, query_id(arm, round_ - 1)),
        config=shares,
        seed=_seed(campaign, round_, "candidates"),
    )
    labelled = np.array([row.document_id for row in standing], np.int64)
    index = {name: number for number, name in enumerate(campaign.classes)}
    return View(
        ids=drawn.ids,
        generator=drawn.generator,
        age=_age(campaign, round_, drawn),
        costs=np.ones(len(drawn)),
        temperature=settings.temperature,
        floor=settings.floor,
        progress=_progress(campaign, arm, round_),
        make_vectors=lambda: campaign.store.vectors(drawn.ids),
        make_probabilities=lambda: learner.predict_proba(drawn.ids),
        make_labelled_vectors=lambda: campaign.store.vectors(labelled),
        make_labels=lambda: np.array([index[row.label] for row in standing], np.int64),
    )


def _age(campaign: Campaign, round_: int, drawn: candidates.Candidates) -> np.ndarray:
    """(n,) rounds since each candidate was embedded: the store keeps the order in which rounds brought them."""
    batches = (campaign.output("", round_, "intake") or {"batches": []})["batches"]
    return float(round_) - np.searchsorted(batches, campaign.store.positions(drawn.ids), side="right")


def _progress(campaign: Campaign, arm: str, round_: int) -> Progress:
    past = [campaign.output(arm, number, "evaluate") or {} for number in range(round_)]
    rounds = tuple(
        PastRound(number, found["decide"]["accuracy"], found["decide"]["low"], found["decide"]["high"])
        for number, found in enumerate(past)
    )
    return Progress(campaign.queue.spent(arm), campaign.config.label.budget, rounds)


def _slots(campaign: Campaign, asking: np.ndarray, picked: int, seed: int) -> list[dict[str, object]]:
    """Questions in a shuffled order, so that an annotator cannot tell the audit sample by its place."""
    public_ids = [document.public_id for document in campaign.pool.documents(asking.tolist())]
    places = np.random.default_rng([seed, 1]).permutation(len(asking))
    return [
        {
            "document_id": int(asking[i]),
            "kind": "policy" if i < picked else "audit",
            "part": "" if i < picked else audit.part(public_ids[i], campaign.config.seed),
            "position": int(places[i]),
        }
        for i in range(len(asking))
    ]


def _suggestions(campaign: Campaign, view: View, picks: Picks) -> dict[str, list[object]]:
    """What the model thought of each pick when it was chosen, for the queue to show after an answer."""
    likely = view.probabilities[picks.indices]
    return {
        str(view.ids[index]): [campaign.classes[int(row.argmax())], round(float(row.max()), 3)]
        for index, row in zip(picks.indices, likely, strict=True)
    }


def _seed(campaign: Campaign, round_: int, purpose: str) -> int:
    """A 63-bit seed of its own for each round and purpose."""
    digest = hashlib.sha256(f"{campaign.config.seed}:{round_}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
