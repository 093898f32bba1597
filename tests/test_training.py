from functools import partial

import numpy as np
import pytest
import torch

from discover.embed.config import EncoderConfig
from discover.embed.encoder import Encoder
from discover.learn import adapters, forward, gradient, training
from discover.learn.config import LearnConfig
from discover.learn.dropout import Dropout, seeded
from discover.learn.network import FrozenNetwork, Network

TEXTS = ["the goalkeeper saved a penalty", "stir the soup", "a loan with a fee from the bank in the town", "bread"] * 6
CLASSES = np.array([0, 1, 2, 1] * 6)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(EncoderConfig(max_tokens=32, dtype="float32"))


@pytest.fixture(scope="module")
def inputs(encoder) -> list[torch.Tensor]:
    return encoder.tokenize(TEXTS)


def network_of(encoder, layer: int = 0, dropout: float = 0.0, adapter=None) -> Network:
    prior = torch.from_numpy(encoder.encode(["sport", "food", "money"]))
    return Network(encoder.trainable(layer), prior, "mean", dropout, adapter)


@pytest.fixture
def make(encoder):
    return partial(network_of, encoder)


@pytest.fixture(scope="module")
def small(small_encoder) -> Encoder:
    return Encoder(EncoderConfig(model=str(small_encoder), max_tokens=32, dtype="float32"))


def examples(inputs, fresh=None) -> gradient.Examples:
    return gradient.Examples(inputs, CLASSES, np.ones(len(inputs), bool) if fresh is None else fresh)


def test_tokens_one_below_the_other_give_what_padded_ones_do(encoder, inputs, make):
    tokens = forward.gather(inputs, torch.device("cpu"))
    with torch.no_grad():
        vectors = make().embed(tokens).numpy()
        upper = make(4).embed(forward.gather(encoder.lower(inputs, 4), torch.device("cpu"))).numpy()
    assert (vectors * encoder.encode(TEXTS)).sum(1).min() > 0.99999
    assert (upper * encoder.encode(TEXTS)).sum(1).min() > 0.9999  # activations are kept in half precision


def test_other_architectures_compute_by_their_own_code(inputs, make, monkeypatch):
    tokens, network = forward.gather(inputs, torch.device("cpu")), make()
    with torch.no_grad():
        ours = network.embed(tokens)
        monkeypatch.setattr(forward, "ARCHITECTURES", ())
        assert torch.allclose(network.embed(tokens), ours, atol=1e-5)


def test_the_same_seed_gives_the_same_weights_and_leaves_chance_alone(inputs, make):
    config, found, curves = LearnConfig(epochs=1, steps=2), [], []
    for _ in range(2):
        network = make(dropout=0.2)
        before = torch.random.get_rng_state()
        curves.append(training.train(network, examples(inputs), config, np.random.default_rng(5)))
        found.append(network.trained())
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert curves[0] == curves[1] and [rate for _, rate in curves[0]] == [config.rate] * 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_word_embeddings_stay(inputs, make):
    network = make()
    before = network.transformer.embeddings.word_embeddings.weight.clone()
    training.train(network, examples(inputs), LearnConfig(epochs=1, steps=1), np.random.default_rng(5))
    assert torch.equal(network.transformer.embeddings.word_embeddings.weight, before)
    assert not any("embeddings.weight" in name for name in network.trained())


def test_gradients_of_parts_add_up(inputs, make):
    found, curves = [], []
    for budget in (10_000, 20):
        network = make()
        config = LearnConfig(epochs=1, steps=1, batch=100, batch_tokens=budget)
        curves += training.train(network, examples(inputs), config, np.random.default_rng(5))
        found.append(network.trained())
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-5) for name in found[0])
    assert curves[0][0] == pytest.approx(curves[1][0], rel=1e-4) and curves[0][0] > 0


def test_halves_give_the_gradient_of_the_whole_and_the_same_bits_each_time(inputs, make, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    config, found = LearnConfig(epochs=1, steps=1, batch=100), {}
    for worth, dropout in [(10_000, 0.0), (1, 0.0), (1, 0.2), (1, 0.2)]:
        monkeypatch.setattr(gradient, "WORTH_HALVING", worth)
        network = make(dropout=dropout)
        training.train(network, examples(inputs), config, np.random.default_rng(5))
        found.setdefault((worth, dropout), []).append(network.trained())
    whole, (halves,), (once, again) = found[10_000, 0.0][0], found[1, 0.0], found[1, 0.2]
    assert all(torch.allclose(whole[name], halves[name], atol=1e-5) for name in whole)
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not all(torch.equal(once[name], halves[name]) for name in once)


def test_dropout_drops_its_share_by_its_own_seed():
    layer, values = Dropout(0.2), torch.ones(10_000)
    drawn = []
    for seed in (1, 1, 2):
        with seeded(seed, torch.device("cpu")):
            drawn.append(layer(values))
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert 0.17 < (drawn[0] == 0).float().mean() < 0.23 and drawn[0].mean() == pytest.approx(1, abs=0.05)
    assert torch.equal(layer.eval()(values), values)


def test_a_part_keeps_to_the_budget_or_is_one_document():
    parts = gradient.split(np.array([0, 1, 2, 3]), np.array([6, 9, 4, 12]), 10)
    assert [part.tolist() for part in parts] == [[0], [1], [2], [3]]
    assert [len(part) for part in gradient.split(np.arange(4), np.array([6, 4, 4, 6]), 10)] == [2, 2]


def test_few_answers_are_seen_more_often(inputs):
    def steps(**settings) -> int:
        return len(list(training._plan(examples(inputs), LearnConfig(batch=8, **settings), np.random.default_rng(0))))

    assert steps(epochs=2, steps=0) == 6
    assert steps(epochs=2, steps=10) == 12


def test_only_new_answers_are_a_reason_to_train(inputs, make):
    network = make()
    before = network.trained()
    nothing_new = examples(inputs, np.zeros(len(inputs), bool))
    training.train(network, nothing_new, LearnConfig(), np.random.default_rng(5))
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.trained().items())


def test_contrast_is_the_formula_and_likes_classes_apart():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2], [1.0, 0.0], [0.0, 1.0]]), dim=1)
    targets = torch.tensor([0, 0, 1])
    similar = vectors @ vectors.T / gradient.TAU
    first = similar[0, 1] - torch.logsumexp(similar[0, [1, 2]], 0)
    second = similar[1, 0] - torch.logsumexp(similar[1, [0, 2]], 0)
    assert gradient.contrast(vectors, targets) == pytest.approx(-(first + second).item() / 3, rel=1e-5)
    assert gradient.contrast(vectors, torch.tensor([0, 1, 0])) > gradient.contrast(vectors, targets)
    assert gradient.contrast(vectors, torch.tensor([0, 1, 2])) == 0


@pytest.mark.parametrize("kind", adapters.CONFIGS)
def test_adapters_learn_and_merge(inputs, small, kind):
    network = network_of(small, adapter=(kind, 8))
    config = LearnConfig(method="lora", adapter=kind, epochs=1, steps=6)
    training.train(network, examples(inputs), config, np.random.default_rng(5))
    tokens = forward.gather(inputs, torch.device("cpu"))
    with torch.no_grad():
        vectors = network.embed(tokens).numpy()
    assert (vectors * small.encode(TEXTS)).sum(1).min() < 0.9999, "nothing was learned"
    merged = FrozenNetwork(network, torch.float32, 32).vectors(inputs)
    assert (vectors * merged).sum(1).min() > 0.99999
    size = sum(tensor.numel() for tensor in network.trained().values())
    assert size < 0.2 * sum(parameter.numel() for parameter in network.parameters())


def test_rare_classes_get_more_say_by_loss_or_by_draws(inputs, make):
    skewed = gradient.Examples(inputs, np.array([0] * 20 + [1] * 4), np.ones(24, bool))
    assert np.allclose(skewed.weights[[0, 23]], 24 / (20**0.5 + 4**0.5) * np.array([20**-0.5, 4**-0.5]))

    def rare(balance: str) -> float:
        config = LearnConfig(epochs=200, steps=0, balance=balance)
        seen = np.concatenate(list(training._plan(skewed, config, np.random.default_rng(0))))
        return float((skewed.classes[seen] == 1).mean())

    assert rare("loss") == pytest.approx(4 / 24)
    assert rare("sampling") == pytest.approx(2 / (20**0.5 + 2), abs=0.02)
    for balance, unweighted in [("loss", False), ("sampling", True)]:
        step = gradient.Gradient(make(), skewed, LearnConfig(balance=balance), torch.float32)
        assert (step._weights == 1).all() == unweighted


def test_the_contrast_is_left_where_classes_hardly_meet(inputs, make):
    few, many = (gradient.Examples(inputs, np.arange(24) % classes, np.ones(24, bool)) for classes in (3, 20))
    assert few.company(8) == pytest.approx(7 * 7 / 23)  # seven others of eight in its class, of 23 in all
    rng = np.random.default_rng(0)
    drawn = np.mean(
        [sum(many.classes[(b := rng.permutation(24)[:8])[1:]] == many.classes[b[0]]) for _ in range(20_000)]
    )
    assert many.company(8) == pytest.approx(drawn, abs=0.02)
    for given, expected in [(few, 1.0), (many, 0.0)]:
        assert gradient.Gradient(make(), given, LearnConfig(batch=8), torch.float32)._contrast == expected
