"""The head's optimum, held against scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from discover.learn import head


@pytest.mark.parametrize(("documents", "classes"), [(5, 2), (60, 3), (400, 20)])
def test_without_descriptions_it_is_penalised_logistic_regression(documents: int, classes: int) -> None:
    rng = np.random.default_rng(documents)
    vectors = rng.normal(size=(documents, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    y = np.arange(documents) % classes
    penalty, weights = 0.2, head.class_weights(y, classes)
    found, bias = head.fit(vectors, y, np.zeros((classes, 16), np.float32), penalty, weights)

    inputs = np.pad(vectors.astype(np.float64), ((0, 0), (0, 1)), constant_values=1) * head.SCALE
    share = weights[y] / weights[y].sum() / (2 * penalty * head.SCALE / documents)
    if classes == 2:  # scikit-learn then penalises one vector, the difference of ours: half as much
        share = 2 * share
    peer = LogisticRegression(fit_intercept=False, tol=1e-10, max_iter=10_000).fit(inputs, y, share)
    theirs = np.concatenate([-peer.coef_, peer.coef_]) / 2 if classes == 2 else peer.coef_
    np.testing.assert_allclose(np.column_stack([found, bias]), theirs, atol=2e-3 * np.abs(theirs).max())


def test_descriptions_alone_decide_where_they_say_enough() -> None:
    prior = np.eye(3, 8, dtype=np.float32)
    weights, bias = head.fit(prior, np.arange(3), prior, 1.0, np.ones(3))
    assert head.logits(prior, weights, bias).argmax(1).tolist() == [0, 1, 2]
