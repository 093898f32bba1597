"""What a strategy sees."""

import numpy as np
import pytest

from discover.errors import DiscoverError
from tests.views import view_of


def test_a_view_is_a_classifier_of_its_own_rows_only():
    view = view_of()
    rows = view.X[[7, 0, 7]]
    assert np.array_equal(view.predict_proba(rows), view.probabilities[[7, 0, 7]])
    assert view.predict_proba(view.X) is view.probabilities
    for stranger in (-1, 5000):
        with pytest.raises(DiscoverError, match="its own 12 candidates"):
            view.predict_proba(np.array([[stranger]]))


def test_a_view_refuses_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match=r"view.age must have the shape \(12,\)"):
        view_of(age=np.zeros(5))
    with pytest.raises(ValueError, match=r"view.probabilities must have 12 rows"):
        _ = view_of(make_probabilities=lambda: np.ones((5, 2))).probabilities
    with pytest.raises(DiscoverError, match=r"asks for view.vectors"):
        _ = view_of(make_vectors=None).vectors
