import functools
import json
import shutil
from copy import deepcopy

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.save_util import load_from_zip_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from discover.cli import main
from discover.commands.policy import evaluate_policy
from discover.config import validate
from discover.errors import DiscoverError
from discover.policy import imitation, saved, training, trials
from discover.policy.config import CorpusFiles, EpisodeConfig, ImitationConfig, PolicyConfig, ReinforcementConfig
from discover.policy.corpus import synthetic
from discover.policy.features import NAMES, STATE
from discover.policy.reinforcement import ScorerPolicy, StableBaselinesEnv, improve
from discover.policy.scorer import Scorer
from tests.labelled_files import rows, write, write_pair

SMALL = EpisodeConfig(budget=60, candidates=16, pool=300, state=50, reward=200)


@functools.cache
def corpus(seed=0):
    return synthetic(np.random.default_rng(seed), n=700, classes=4, dimension=16)


def small_config(**settings):
    return PolicyConfig(
        synthetic=1,
        episode=SMALL,
        imitation=ImitationConfig(candidates=[8, 16], decisions=40, variants=1, epochs=2),
        **settings,
    )


def test_permuting_candidates_permutes_their_logits():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    candidates, state = rng.random((3, 50, len(NAMES)), np.float32), rng.random((3, len(STATE)), np.float32)
    order = rng.permutation(50)
    scorer = Scorer()
    found = scorer.logits(candidates, state)
    assert np.abs(scorer.logits(candidates[:, order], state) - found[:, order]).max() < 1e-6
    assert scorer.logits(candidates[:, :7], state) == pytest.approx(found[:, :7], abs=1e-6)
    assert found.std() > 0.01


def test_imitation_prefers_what_the_look_ahead_prefers():
    torch.set_num_threads(1)
    env = trials.make_env([corpus(0), corpus(1)], 16, SMALL)
    learned, held_out = imitation.gather(env, 1200, 0), imitation.gather(env, 300, 1)
    torch.manual_seed(0)
    scorer = Scorer()
    losses = list(imitation.fit(scorer, [learned], ImitationConfig(epochs=6), 0))
    assert losses[-1] < losses[0]
    gains = held_out.gains.astype(np.float64)
    logits = scorer.logits(held_out.candidates.astype(np.float32), held_out.state.astype(np.float32))
    chosen = np.where(np.isfinite(gains), logits, -np.inf).argmax(axis=1)
    preferred = gains[np.arange(len(gains)), chosen]
    assert preferred.mean() - 1.64 * preferred.std() / np.sqrt(len(preferred)) > 0.1  # 0 is any candidate


def _steps(folder, run, curve):
    shown = EventAccumulator(str(folder / "tensorboard" / run)).Reload()
    return [point.step for point in shown.Scalars(curve)]


def test_a_training_is_published_and_goes_on_from_what_it_finds(tmp_path, monkeypatch):
    config = small_config(
        reinforcement=ReinforcementConfig(
            candidates=[8], steps=320, environments=4, rollout=40, batch=40, checkpoint=160
        )
    )
    scorer = training.train([], config, tmp_path)
    loaded, card = saved.load_policy(tmp_path / "policy")
    for name, weights in scorer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], weights)
    assert card["trained"]["corpora"][0]["name"] == "synthetic" and card["trained"]["config"]["seed"] == 0
    imitated = (tmp_path / "imitated" / saved.WEIGHTS).read_bytes()
    assert imitated != (tmp_path / "policy" / saved.WEIGHTS).read_bytes()
    assert _steps(tmp_path, "imitation", "cross_entropy") == list(range(config.imitation.epochs))
    assert _steps(tmp_path, "ppo_8", "rollout/ep_rew_mean") == [160, 320]
    published = (tmp_path / "policy" / saved.WEIGHTS).read_bytes()
    training.train([], config, tmp_path)
    assert (tmp_path / "policy" / saved.WEIGHTS).read_bytes() == published
    # Killed while the second half of the reinforcement ran, and while a file of decisions was written.
    shutil.rmtree(tmp_path / "policy")
    for path in (tmp_path / "reinforcement" / "8").glob("*_320_steps.zip"):
        path.write_bytes(path.read_bytes()[:1000])
    decisions = next((tmp_path / "decisions").iterdir())
    whole = decisions.read_bytes()
    decisions.write_bytes(whole[:500])
    seeds = []
    monkeypatch.setattr(StableBaselinesEnv, "seed", lambda env, seed: seeds.append(seed))
    training.train([], config, tmp_path)
    assert decisions.read_bytes() == whole and seeds == [0, 160]  # it goes on with other episodes
    assert _steps(tmp_path, "ppo_8", "rollout/ep_rew_mean") == [160, 320], "what is played again is shown once"
    assert (tmp_path / "imitated" / saved.WEIGHTS).read_bytes() == imitated
    saved.load_policy(tmp_path / "policy")


def test_one_seed_one_policy_whatever_ran_before(tmp_path):
    """Decisions, first weights and batches, and MaskablePPO from there: another seed is another policy."""
    short = ReinforcementConfig(candidates=[8], steps=80, environments=2, rollout=40, batch=40)
    found = []
    for number, seed in enumerate((0, 0, 1)):
        torch.rand(number + 1)
        found.append(training.train([], small_config(seed=seed, reinforcement=short), tmp_path / str(number)))
    first, again, other = ([weights.tolist() for weights in one.state_dict().values()] for one in found)
    assert first == again != other


def test_trainings_on_few_and_on_many_candidates_are_averaged(tmp_path):
    found = []
    for candidates in ([8], [16], [16, 8]):  # the last ones in processes of their own
        short = ReinforcementConfig(candidates=candidates, steps=80, environments=2, rollout=40, batch=40)
        config = small_config(reinforcement=short)
        found.append(training.train([], config, tmp_path / str(len(candidates) * candidates[0])).state_dict())
    few, many, both = found
    for name, weights in both.items():
        assert torch.allclose(weights, (few[name] + many[name]) / 2, atol=1e-5)
    assert not torch.allclose(few["layers.0.weight"], many["layers.0.weight"], atol=1e-4)


def test_a_policy_that_cannot_be_used_is_refused(tmp_path):
    folder = tmp_path / "policy"
    with pytest.raises(DiscoverError, match=r"must hold a policy, card.json and policy.safetensors, and does not"):
        saved.load_policy(folder)
    saved.save_policy(folder, Scorer(), {})
    card = json.loads((folder / saved.CARD).read_text())
    card["features"]["candidate"][3] = "length_rank"
    (folder / saved.CARD).write_text(json.dumps(card))
    with pytest.raises(DiscoverError, match="its candidate column 3 is 'length_rank', here it is 'disagreement_rank'"):
        saved.load_policy(folder)
    card["features"] = {"candidate": [*NAMES, "more"], "state": list(STATE)}
    (folder / saved.CARD).write_text(json.dumps(card))
    with pytest.raises(DiscoverError, match=f"candidate column {len(NAMES)} is 'more', here it is 'nothing'"):
        saved.load_policy(folder)
    (folder / saved.CARD).write_text(json.dumps(card | {"format": "other"}))
    with pytest.raises(DiscoverError, match="must be of format discover-policy-1"):
        saved.load_policy(folder)
    (folder / saved.CARD).write_text("[" * 100_000)
    with pytest.raises(DiscoverError, match="must hold a policy"):
        saved.load_policy(folder)
    saved.save_policy(folder, Scorer(), {})
    made = (folder / saved.CARD).read_text()
    for hidden, message in (("1e400", "infinity"), ("16", "size mismatch for .* copying a param")):
        (folder / saved.CARD).write_text(made.replace(f'"hidden": {Scorer().hidden}', f'"hidden": {hidden}'))
        with pytest.raises(DiscoverError, match=f"cannot be read .*{message}"):
            saved.load_policy(folder)
    (folder / saved.WEIGHTS).write_bytes((folder / saved.WEIGHTS).read_bytes()[:-8])
    with pytest.raises(DiscoverError, match="is damaged"):
        saved.load_policy(folder)


def test_a_policy_that_diverged_is_neither_published_nor_used(tmp_path, monkeypatch):
    scorer = Scorer()
    with torch.no_grad():
        next(scorer.parameters()).fill_(torch.nan)
    with pytest.raises(DiscoverError, match=r"must end in finite weights, .* lower imitation\.learning_rate"):
        saved.save_policy(tmp_path / "policy", scorer, {})
    assert not (tmp_path / "policy").exists()
    monkeypatch.setattr(saved, "_finite", lambda _: True)
    saved.save_policy(tmp_path / "policy", scorer, {})
    monkeypatch.undo()
    with pytest.raises(DiscoverError, match="must have finite weights, found others: train it with"):
        saved.load_policy(tmp_path / "policy")


def test_sb3_sees_what_an_episode_ended_with():
    env = StableBaselinesEnv(trials.make_env([corpus()], 3, SMALL))
    env.seed(5)
    observed = env.reset()
    for step in range(40):
        masks = np.stack(env.env_method("action_masks"))
        assert np.array_equal(masks, observed["mask"] > 0)
        observed, _, over, infos = env.step(masks.argmax(axis=1))
        assert over.all() == (step == 39)
    assert infos[0]["terminal_observation"]["state"][STATE.index("left")] == 0
    assert infos[0]["TimeLimit.truncated"] is False and infos[0]["episode"]["l"] == 40
    assert observed["state"][0, STATE.index("left")] == pytest.approx(40 / 60)
    with pytest.raises(DiscoverError, match="no rules of their own: make them anew"):
        env.set_attr("rules", None)


class Ranking(gymnasium.Env):
    """Which of twelve candidates has the largest hidden value, a function of its features? The optimum is known."""

    weights = np.random.default_rng(1).normal(size=len(NAMES))

    def __init__(self):
        sizes = {"candidates": 12 * len(NAMES), "state": len(STATE), "mask": 12}
        self.observation_space = spaces.Dict({name: spaces.Box(0, 1, (n,), np.float32) for name, n in sizes.items()})
        self.action_space = spaces.Discrete(12)

    def action_masks(self):
        return self.allowed

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._next(), {}

    def step(self, action):
        values = self.candidates @ self.weights
        best, mean = values[self.allowed].max(), values[self.allowed].mean()
        return self._next(), float((values[action] - mean) / (best - mean)), True, False, {}

    def _next(self):
        self.candidates = self.np_random.random((12, len(NAMES)), np.float32)
        self.allowed = self.np_random.random(12) < 0.8
        self.allowed[:2] = True
        state = np.zeros(len(STATE), np.float32)
        return {"candidates": self.candidates.ravel(), "state": state, "mask": self.allowed.astype(np.float32)}


@pytest.mark.slow
def test_reinforcement_learns_to_rank():
    torch.set_num_threads(1)
    model = MaskablePPO(
        ScorerPolicy,
        Ranking(),
        policy_kwargs={"hidden": 48},
        seed=0,
        n_steps=512,
        batch_size=128,
        learning_rate=3e-3,
        gamma=0.0,
    )
    model.learn(8_000)
    env, rewards = Ranking(), []
    observed, _ = env.reset(seed=99)
    for _ in range(300):
        action, _ = model.predict(observed, action_masks=env.action_masks(), deterministic=True)
        assert env.allowed[action]
        observed, reward, *_ = env.step(int(action))
        rewards.append(reward)
    assert np.mean(rewards) > 0.95  # 1 is the optimum, 0 any candidate


def test_reinforcement_starts_from_the_imitated_scorer(tmp_path):
    torch.manual_seed(3)
    scorer = Scorer(8)
    before = {name: weights.clone() for name, weights in scorer.state_dict().items()}
    env = trials.make_env([corpus()], 4, SMALL.model_copy(update={"twin": True}))
    improve(
        scorer,
        env,
        ReinforcementConfig(steps=160, rollout=40, batch=40, learning_rate=1e-12),
        tmp_path,
        tmp_path / "curves",
        0,
    )
    for name, weights in scorer.state_dict().items():
        assert weights == pytest.approx(before[name], abs=1e-6)


def test_the_second_half_of_the_reinforcement_is_averaged(tmp_path):
    ended = {}

    class End(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_training_end(self) -> None:
            ended.update(deepcopy(self.model.policy.mlp_extractor.scorer.state_dict()))

    scorer, env = Scorer(8), trials.make_env([corpus()], 4, SMALL)
    rules = ReinforcementConfig(steps=640, environments=4, rollout=40, batch=40, checkpoint=160)
    improve(scorer, env, rules, tmp_path, tmp_path / "curves", 0, [End()])
    _, kept, _ = load_from_zip_file(tmp_path / "ppo_480_steps.zip", device="cpu")
    for name, weights in scorer.state_dict().items():
        of_checkpoint = kept["policy"][f"mlp_extractor.scorer.{name}"]
        assert torch.allclose(weights, (of_checkpoint + ended[name]) / 2)
        assert not torch.equal(of_checkpoint, ended[name])


def test_train_and_evaluate_by_command(tmp_path, capsys):
    train, test = write_pair(tmp_path, 220, 60)
    config = tmp_path / "mine.yaml"
    small = "episode: {budget: 40, pool: 120, state: 20, reward: 60}\n"
    small += "reinforcement: {steps: 64, environments: 2, rollout: 16, batch: 32}\n"
    small += "imitation: {candidates: [8], decisions: 30, variants: 1, epochs: 1}\n"
    config.write_text(small + f"synthetic: 1\ncorpora: [{{train: {train}, test: {test}}}]\n")
    command = ["policy", "train", str(config), "--run", str(tmp_path / "run")]
    assert main(command) == 0
    assert "query.options.policy" in capsys.readouterr().out
    assert main([*command, "--set", "seed=1"]) == 1
    assert "was begun with another seed" in capsys.readouterr().err
    assert main([*command[:3], "--run", str(tmp_path / "other"), "--set", "sed=1"]) == 1
    assert "unknown key 'sed': did you mean 'seed'?" in capsys.readouterr().err
    whole = train.read_bytes()
    train.write_bytes(b"\n".join(whole.splitlines()[:-1]))
    assert main(command) == 1
    assert f"was begun with another content of {train}" in capsys.readouterr().err
    train.write_bytes(whole)
    (tmp_path / "run" / "policy" / "card.json").rename(tmp_path / "card.json")
    assert main(command) == 1
    assert f"remove {tmp_path / 'run' / 'policy'}, and this command makes it anew" in capsys.readouterr().err
    (tmp_path / "card.json").rename(tmp_path / "run" / "policy" / "card.json")
    files = ["--train", str(train), "--test", str(test)]
    judge = ["policy", "evaluate", str(tmp_path / "run" / "policy"), *files, "--seeds", "2"]
    assert main([*judge, "--output", str(tmp_path / "judged")]) == 0
    shown = capsys.readouterr().out
    results = (tmp_path / "judged" / "results.jsonl").read_bytes()
    cells = sorted((tmp_path / "judged" / "cells").iterdir())
    cells[2].unlink()  # as if killed before it was played
    cells[5].write_text("{")
    before = {one: one.stat().st_mtime_ns for one in cells if one.exists()}
    assert main([*judge, "--output", str(tmp_path / "judged")]) == 0
    again = [one for one in cells if one.stat().st_mtime_ns != before.get(one)]
    assert len(cells) == len(trials.FIXED) + 1 and again == [cells[2], cells[5]] and capsys.readouterr().out == shown
    assert (tmp_path / "judged" / "results.jsonl").read_bytes() == results
    assert "words: the policy was trained on a corpus of this name" in shown
    assert "learned: macro_f1" in shown
    assert main([*judge, "--output", str(tmp_path / "judged"), "--json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out).keys() == {"margin", "gains", "savings"} and "was trained on" in printed.err
    elsewhere = write(tmp_path / "test.jsonl", [row for row in rows(240, 2) if row["label"] != rows(1, 1)[0]["label"]])
    files = ["--train", str(train), "--test", str(elsewhere)]
    imitated = [*judge[:2], str(tmp_path / "run" / "imitated"), *files, "--output", str(tmp_path / "other")]
    assert main([*imitated, "--seeds", "1"]) == 0
    assert "words: the classes of the test documents are not those of the pool" in capsys.readouterr().err
    few = write(tmp_path / "few.jsonl", [{"text": f"one of {n}", "label": str(n // 199)} for n in range(200)])
    seen = write(tmp_path / "seen.jsonl", [{"text": f"another of {n}", "label": str(n % 2)} for n in range(9)])
    lone = ["--train", str(few), "--test", str(seen), "--output", str(tmp_path / "lone")]
    card = json.loads((tmp_path / "run" / "imitated" / "card.json").read_text())
    card["trained"]["config"]["documents"] = 100
    (tmp_path / "run" / "imitated" / "card.json").write_text(json.dumps(card))
    assert main([*imitated[:3], *lone, "--seeds", "1"]) == 1
    assert "all 100 documents drawn of it are '0', and one class is no task" in capsys.readouterr().err
    assert main([*imitated, "--seeds", "0"]) == 1
    assert "--seeds must be at least 1" in capsys.readouterr().err
    assert main([*imitated[:3], *files, *files, "--output", str(tmp_path / "other")]) == 1
    assert "names of their own, found words, words" in capsys.readouterr().err
    results = [json.loads(line) for line in (tmp_path / "judged" / "results.jsonl").read_text().splitlines()]
    assert {row["policy"] for row in results} == {*trials.FIXED, "learned"} and len(results) == 2 * len(cells)
    assert main([*judge[:3], *files, "--test", str(test), "--output", str(tmp_path / "judged")]) == 1
    assert "--train names 1 files and --test 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"imitation": {"candidates": [1]}}, "imitation.candidates.0.*greater than or equal to 2"),
        ({"imitation": {"candidates": [16, 4]}}, "imitation.candidates must be at least episode.batch, 5"),
        ({"reinforcement": {"candidates": [4]}}, "reinforcement.candidates must be at least episode.batch, 5"),
        ({"reinforcement": {"rollout": 1, "environments": 33, "batch": 32}}, "must divide environments . rollout, 33"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_played(settings, message):
    with pytest.raises(DiscoverError, match=message):
        validate(PolicyConfig, settings, "policy.yaml")


def test_a_card_that_does_not_say_how_it_was_trained_is_refused(tmp_path):
    train, test = write_pair(tmp_path)
    files = [CorpusFiles(train=train, test=test)]
    config = PolicyConfig().model_dump(mode="json")
    for trained, message in (
        ({}, r"card\.json must say what the policy was trained on"),
        ({"corpora": [], "config": config | {"more": 1}}, r"card\.json: unknown key 'more'"),
    ):
        saved.save_policy(tmp_path / "policy", Scorer(), trained)
        with pytest.raises(DiscoverError, match=message):
            evaluate_policy(tmp_path / "policy", files, 1, tmp_path / "judged", False)
