"""The head's optimum, held against scikit-learn's and torch's."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from discover.learn import head
from discover.learn.likelihood import Categorical


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("documents", "classes"), [(5, 2), (60, 3), (400, 20)])
def test_with_nothing_known_it_is_penalised_logistic_regression(
    monkeypatch: pytest.MonkeyPatch, documents: int, classes: int, power: float
) -> None:
    rng = np.random.default_rng(documents)
    vectors = rng.normal(size=(documents, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    y = np.arange(documents) % classes
    penalty, weights = 0.2, head.class_weights(y, classes)
    monkeypatch.setattr(head, "MANY", classes + 1)
    root = head.root_of(rng.normal(size=(50, 16)) * np.geomspace(1, 0.1, 16), power)
    found, bias = head.fit(vectors, y, np.zeros((classes, 16), np.float32), head.Penalty(penalty, root))

    turn = np.eye(16) if root is None else root  # which is what is penalised: weights are turn @ theirs
    inputs = np.pad(vectors @ turn, ((0, 0), (0, 1)), constant_values=1) * head.SCALE
    share = weights[y] / weights[y].sum() / (2 * penalty * head.SCALE / documents)
    if classes == 2:  # scikit-learn then penalises one vector, the difference of ours: half as much
        share = 2 * share
    peer = LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=10_000).fit(inputs, y, share)
    theirs = np.concatenate([-peer.coef_, peer.coef_]) / 2 if classes == 2 else peer.coef_
    np.testing.assert_allclose(bias, theirs[:, -1], atol=2e-3 * np.abs(theirs).max())
    np.testing.assert_allclose(found, theirs[:, :-1] @ turn, atol=2e-3 * np.abs(theirs).max())


@pytest.mark.parametrize("count", [2, 3, 5000])
def test_the_root_is_of_the_documents_covariance_and_lets_them_vary_as_much(count: int) -> None:
    rng = np.random.default_rng(count)
    deviations = np.geomspace(1, 0.05, 24)
    vectors = (deviations * rng.normal(size=(count, 24)) + 3).astype(np.float32)
    for power in (0.5, 1.0):
        root = head.root_of(vectors, power)
        assert root is not None and np.isfinite(root).all() and np.array_equal(root.round(6), root.T.round(6))
        if count > 100:
            want = deviations**power
            want *= np.sqrt((deviations**2).sum() / ((deviations * want) ** 2).sum())
            np.testing.assert_allclose(np.diag(root), want, rtol=0.1)
            assert np.abs(root - np.diag(np.diag(root))).max() < 0.05 * want[0]
            spread = vectors.astype(np.float64)
            assert np.var(spread @ root, axis=0).sum() == pytest.approx(np.var(spread, axis=0).sum(), rel=0.02)
    assert head.root_of(vectors, 0) is None and head.root_of(vectors[:1], 1) is None


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    found = rng.normal(size=shape).astype(np.float32)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def minimise(
    shift: torch.Tensor,
    roots: torch.Tensor,
    cosines: Callable[[], torch.Tensor],
    trusts: Callable[[], torch.Tensor],
    y: np.ndarray,
    penalty: float,
) -> None:
    """Bring the shift and what trusts are made of to the least loss, by torch."""
    solver = torch.optim.LBFGS([shift.requires_grad_(), roots.requires_grad_()], max_iter=2000, tolerance_grad=1e-10)
    truth, weights = torch.from_numpy(y), torch.from_numpy(head.class_weights(y, len(shift)))

    def loss() -> torch.Tensor:
        solver.zero_grad()
        each = torch.nn.functional.cross_entropy(cosines() * head.SCALE, truth, weights)
        further = (trusts() - 1 / len(trusts())).square().sum()
        total = each + (penalty * head.SCALE * shift.square().sum() + head.TRUST * further) / len(y)
        total.backward()
        return total

    for _ in range(5):
        solver.step(loss)


@pytest.mark.parametrize("noise", [1.5, 3.0])
def test_stopping_as_soon_as_it_does_it_is_the_optimum_over_shift_and_trust(noise: float) -> None:
    rng, documents, classes, d, penalty = np.random.default_rng(1), 80, 5, 16, 0.2
    prior, y = unit(rng, classes, d), rng.integers(classes, size=documents)
    vectors = prior[y] + noise * rng.normal(size=(documents, d)).astype(np.float32) / 4
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert 0.3 < ((vectors @ prior.T).argmax(1) == y).mean() < 0.95, "else trust has no bound, or says nothing"
    found, bias = head.fit(vectors, y, prior, head.Penalty(penalty))

    inputs, known = torch.from_numpy(vectors).double(), torch.from_numpy(prior).double()
    shift, trust = torch.zeros(classes, d + 1, dtype=torch.double), torch.ones(1, dtype=torch.double)
    cosines = lambda: inputs @ (trust * known + shift[:, :-1]).T + shift[:, -1]  # noqa: E731
    minimise(shift, trust, cosines, lambda: trust, y, penalty)
    wanted = (trust * known + shift[:, :-1]).detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
    np.testing.assert_allclose(bias, shift[:, -1].detach().numpy(), atol=2e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("described", [True, False])
@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize(("classes", "noise"), [(5, 1.5), (5, 3.0), (2, 4.0)])
def test_it_is_the_optimum_over_shift_and_trusts(
    monkeypatch: pytest.MonkeyPatch, classes: int, noise: float, many: bool, described: bool
) -> None:
    rng, documents, d, penalty = np.random.default_rng(1), 80, 16, 0.2
    centres, y = unit(rng, classes, d), rng.integers(classes, size=documents)
    vectors = centres[y] + noise * rng.normal(size=(documents, d)).astype(np.float32) / 4
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prior = (centres + unit(rng, classes, d)) / 1.5 * described
    assert 0.3 < ((vectors @ centres.T).argmax(1) == y).mean() < 0.95, "else trust has no bound, or says nothing"
    monkeypatch.setattr(head, "MANY", classes + (not many))
    soon, _ = head.fit(vectors, y, prior, head.Penalty(penalty))
    monkeypatch.setitem(head.STOP, "gtol", 1e-6)
    monkeypatch.setitem(head.STOP, "ftol", 1e-12)
    found, bias = head.fit(vectors, y, prior, head.Penalty(penalty))
    np.testing.assert_allclose(soon, found, atol=(2e-2 if many else 1e-2) * np.abs(found).max())
    roughly = head.fit(vectors, y, prior, head.Penalty(penalty), head.ROUGHLY)
    likely = [Categorical().probabilities(head.logits(vectors, *one)) for one in ((found, bias), roughly)]
    assert np.abs(likely[1] - likely[0]).mean() < 0.005

    def mean(of: int, without: int | None = None) -> np.ndarray:
        """Unit mean of a class's documents and its description."""
        rows = [row for row in np.flatnonzero(y == of) if row != without]
        summed = np.array([prior[of], *vectors[rows]], np.float64).sum(0)
        return summed / np.linalg.norm(summed)

    inputs, means = vectors.astype(np.float64), np.stack([mean(k) for k in range(classes)])
    by_means = inputs @ means.T
    by_means[np.arange(documents), y] = [inputs[row] @ mean(y[row], without=row) for row in range(documents)]
    known, by_shift = torch.from_numpy(np.stack([inputs @ prior.T, by_means])), torch.from_numpy(inputs)
    roots = torch.ones(1 + many, dtype=torch.double)  # the second trust's, which is not negative
    shift = torch.zeros(classes, d + 1, dtype=torch.double)

    def trusts() -> torch.Tensor:
        return torch.stack([roots[0], *roots[1:] ** 2])

    def cosines() -> torch.Tensor:
        return torch.tensordot(trusts(), known[: len(roots)], 1) + by_shift @ shift[:, :-1].T + shift[:, -1]

    minimise(shift, roots, cosines, trusts, y, penalty)
    if many:
        assert (trusts()[1] > 0.01) == (noise < 2), "trusted where they say something"
    if many and noise > 2:  # then descriptions have all the trust, their equal share
        roots, shift = torch.ones(1, dtype=torch.double), torch.zeros(classes, d + 1, dtype=torch.double)
        minimise(shift, roots, cosines, trusts, y, penalty)
    trusted = trusts().detach().numpy()
    used = len(trusted)
    wanted = np.tensordot(trusted, np.stack([prior, means])[:used], 1) + shift[:, :-1].detach().numpy()
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
    np.testing.assert_allclose(bias, shift[:, -1].detach().numpy(), atol=2e-3 * np.abs(wanted).max())


def test_descriptions_help_where_answers_are_few_and_do_no_harm_where_they_mislead() -> None:
    rng = np.random.default_rng(0)
    prior, y, truth = unit(rng, 4, 32), np.arange(4), rng.integers(4, size=400)

    def drawn(classes: np.ndarray) -> np.ndarray:
        noisy = prior[classes] + rng.normal(size=(len(classes), 32)).astype(np.float32) / 4
        return noisy / np.linalg.norm(noisy, axis=1, keepdims=True)

    def right(descriptions: np.ndarray, answered: np.ndarray) -> float:
        weights, bias = head.fit(drawn(answered), answered, descriptions, head.Penalty(0.2))
        return float((head.logits(tested, weights, bias).argmax(1) == truth).mean())

    tested, none = drawn(truth), np.zeros_like(prior)
    assert right(prior, y) > right(none, y) + 0.1
    many = np.tile(y, 25)
    assert right(np.roll(prior, 1, axis=0), many) > right(none, many) - 0.05


@pytest.mark.parametrize("classes", [2, head.MANY])
def test_answers_of_one_class_leave_the_others_to_their_descriptions(classes: int) -> None:
    rng = np.random.default_rng(0)
    prior = unit(rng, classes, 32)
    answered = unit(rng, 100, 32) + prior[1] / 4  # all of class 0, though more like the description of class 1
    weights, bias = head.fit(answered, np.zeros(100, np.int64), prior, head.Penalty(0.2))
    asked = np.append(unit(rng, 400, 32), prior[1:2], axis=0)
    found = head.logits(asked, weights, bias)
    assert (found[:, 1] - found[:, 0]).argmax() == len(asked) - 1


def test_one_answer_suffices() -> None:
    rng = np.random.default_rng(0)
    vectors, prior = unit(rng, 1, 64), unit(rng, 11, 64)
    weights, bias = head.fit(vectors, np.array([3]), prior, head.Penalty(0.2))
    assert head.logits(vectors, weights, bias).argmax() == 3 and np.abs(weights).max() < 5


def test_its_bits_do_not_depend_on_the_number_of_threads() -> None:
    rng, y = np.random.default_rng(0), np.arange(600) % 20
    vectors, prior, found = unit(rng, 600, 384), unit(rng, 20, 384), []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(head.fit(vectors, y, prior, head.Penalty(0.2, head.root_of(vectors, 1))))
    assert all(np.array_equal(one, other) for one, other in zip(*found, strict=True))
