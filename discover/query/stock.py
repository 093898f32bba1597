"""Stock modAL strategies, run by modAL on the candidates of a view.

They are deterministic, or keep their own odds to themselves: their picks carry temperature 0, log-propensity 0 and no
logits, which marks them as having no support for off-policy evaluation. Strategies that need features or a committee do
not run on a view, whose X is a column of row ids.
"""

import difflib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from discover.errors import DiscoverError
from discover.pool.labels import Task
from discover.query.acquire import Picks
from discover.query.view import View

SEEDS = 2**32
MULTILABEL = "modAL.multilabel"  # the one module of modAL for several labels
BY_PROBABILITY = ("avg_confidence", "min_confidence")  # what of it needs no support vector machines


def is_stock(word: str) -> bool:
    """Whether a config word names a stock strategy."""
    return word.startswith("modAL.")


def load(word: str, options: dict[str, Any], task: Task) -> Callable[[View, int, np.random.Generator], Picks]:
    """Wrap the strategy ``modAL.module:function``.

    Args:
        word: which one.
        options: keywords of the function, after ``n_instances``.
        task: what an answer is.

    Raises:
        DiscoverError: there is no such module, function or option, modAL's module does not import here, it needs more
            than probabilities, or takes them to be of one class or of several labels when they are not.
    """
    path, _, name = word.partition(":")
    if (path == MULTILABEL) != (task == "multilabel") or (path == MULTILABEL and name not in BY_PROBABILITY):
        fitting = (
            f"{MULTILABEL}:{' or :'.join(BY_PROBABILITY)}"
            if task == "multilabel"
            else "modAL.uncertainty:margin_sampling"
        )
        raise DiscoverError(f"{word!r} does not fit label.task {task}: take {fitting}, or a strategy of our own")
    module = _module(path, word)
    offered = _strategies(module)
    if name not in offered:
        raise DiscoverError(f"{path} has no strategy {name!r}: it offers {', '.join(sorted(offered)) or 'none'}")
    function = offered[name]
    known = list(inspect.signature(function).parameters)[3:]
    for option in options:
        if option not in known:
            raise DiscoverError(f"{word} has no option {option!r}: known options: {', '.join(known) or 'none'}")

    def run(view: View, n: int, rng: np.random.Generator) -> Picks:
        indices, metrics = _run_seeded(lambda: function(view, view.X, n_instances=n, **options), rng)
        return Picks(indices, metrics, np.zeros(len(indices)))

    try:
        run(_made_up(task), 1, np.random.default_rng(0))
    except Exception as error:  # now, and not when the first answers have been paid for
        raise DiscoverError(
            f"{word} does not run on candidates ({error}): it must go by their probabilities alone, as those of "
            "modAL.uncertainty do; take one of these, or a strategy of our own"
        ) from error
    return run


def _made_up(task: Task) -> View:
    """Two candidates of which nothing but probabilities is known."""
    ones = np.ones(2)
    return View(
        ids=np.arange(2),
        generator=np.full(2, "uniform"),
        age=ones,
        costs=ones,
        temperature=0.0,
        floor=0.0,
        multilabel=task == "multilabel",
        make_probabilities=lambda: np.full((2, 2), 0.5),
    )


def _module(path: str, word: str) -> ModuleType:
    package = importlib.import_module("modAL")
    modules = [f"modAL.{found.name}" for found in pkgutil.iter_modules(package.__path__) if not found.ispkg]
    if path not in modules:
        close = difflib.get_close_matches(path, modules, n=1)
        advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(modules)}"
        raise DiscoverError(f"{word!r} names no module of modAL: {advice}")
    try:
        return importlib.import_module(path)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise DiscoverError(
            f"{path} does not import with the versions installed here ({type(error).__name__}: {reason}): "
            "take a strategy of modAL.uncertainty"
        ) from error


def _strategies(module: ModuleType) -> dict[str, Callable[..., Any]]:
    functions = inspect.getmembers(module, inspect.isfunction)
    return {
        name: function
        for name, function in functions
        if not name.startswith("_") and list(inspect.signature(function).parameters)[2:3] == ["n_instances"]
    }


def _run_seeded(call: Callable[[], Any], rng: np.random.Generator) -> tuple[Any, Any]:
    # modAL breaks ties with numpy's global generator: it is seeded from ours for this call, then put back.
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(int(rng.integers(SEEDS)))  # noqa: NPY002
    try:
        result = call()
    finally:
        np.random.set_state(before)  # noqa: NPY002
    indices, metrics = result if isinstance(result, tuple) else (result, np.zeros(len(result)))
    return np.asarray(indices, dtype=np.int64), np.asarray(metrics, dtype=np.float64).reshape(-1)
