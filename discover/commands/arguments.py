"""The arguments of the commands that have many, and the kinds of values that arguments have."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

Command = Callable[[argparse.Namespace], None]


def add_bench(command: argparse.ArgumentParser) -> None:
    """The arguments of `discover bench`; several of the plural ones may be given, or the flag repeated."""

    def several(flag: str, name: str, metavar: str, text: str, required: bool = False) -> None:
        command.add_argument(flag, dest=name, nargs="+", action="extend", metavar=metavar, help=text, required=required)

    several("--train", "train", "F", "JSONL (.gz), CSV or Parquet with `text` and `label`", required=True)
    several("--test", "test", "F", "one for each of --train, in their order", required=True)
    several("--strategy", "strategies", "S", "as in a config; options: path/file.py:name,key=value; default margin")
    several("--learner", "learners", "L", "a method with settings: top,layers=3; or path/file.py:name; default head")
    command.add_argument("--seeds", type=natural, metavar="N", help="campaigns an arm; default 10")
    command.add_argument("--initial", type=natural, metavar="I", help="seed labels; default 25")
    command.add_argument("--batch", type=natural, metavar="B", help="questions a round; default 25")
    command.add_argument("--budget", type=natural, metavar="T", help="labels in all; default 525")
    command.add_argument("--output", type=folder, required=True, metavar="DIR", help="what is finished there is kept")
    command.add_argument(
        "--balanced", action="store_true", help="seed labels evenly over the classes: an advantage, it takes an oracle"
    )
    command.add_argument("--noise", type=float, metavar="P", help="share of wrong answers; default 0")
    command.add_argument("--temperature", type=float, metavar="X", help="of the draw; default 0, deterministic")
    command.add_argument(
        "--floor",
        type=float,
        metavar="P",
        help="share of the draw that is uniform; default 0; at temperature 0 of badge alone",
    )
    command.add_argument("--cost", choices=["answers", "seconds"], help="weigh utility by an answer's expected seconds")
    command.add_argument(
        "--candidates",
        type=natural,
        metavar="N",
        help="candidates of a round; default 2000; 0: the whole pool",
    )
    command.add_argument("--test-limit", type=natural, metavar="N", help="test on a uniform sample; default 0: on all")
    command.add_argument("--target", type=float, metavar="A", help="accuracy to reach; default: what random ends with")
    command.add_argument("--no-full", dest="full", action="store_false", help="do not train on all labels as well")
    command.add_argument("--jobs", type=natural, metavar="N", help="processes; default: one a core")
    command.add_argument("--json", action="store_true", help="print the summary")


def add_policy(command: argparse.ArgumentParser, train_with: Command, judge_with: Command) -> None:
    """The two commands of `discover policy`."""
    parts = command.add_subparsers(required=True, metavar="train|evaluate")
    train = parts.add_parser("train", help="train an acquisition policy; the same command goes on after a kill")
    train.set_defaults(command=train_with)
    train.add_argument("config", type=Path, metavar="CONFIG")
    train.add_argument("--run", type=folder, metavar="DIR", help="its folder; default runs/<name>")
    train.add_argument("--set", action="append", metavar="a.b=value", help="replace a setting; repeatable")
    judge = parts.add_parser("evaluate", help="play a policy and the baselines on labelled files it has not seen")
    judge.set_defaults(command=judge_with)
    judge.add_argument("policy", type=folder, metavar="POLICY", help="the folder of a trained policy")
    judge.add_argument("--train", nargs="+", action="extend", type=Path, metavar="F", required=True)
    judge.add_argument("--test", nargs="+", action="extend", type=Path, metavar="F", required=True)
    judge.add_argument("--seeds", type=natural, default=48, metavar="N", help="campaigns of each policy; default 48")
    judge.add_argument("--output", type=folder, required=True, metavar="DIR")
    judge.add_argument("--json", action="store_true", help="print the summary")


def add_ope(command: argparse.ArgumentParser) -> None:
    """The arguments of `discover ope`."""
    command.add_argument(
        "log", type=Path, metavar="LOG", help="decisions.jsonl, a run folder, a folder of runs; a table"
    )
    command.add_argument(
        "--target",
        required=True,
        metavar="POLICY_OR_COLUMN",
        help="uniform; of a decision log margin, entropy, least_confidence, logged, or path/file.py:name, with options "
        "as name,key=value; of a table a column or columns (pi_*), or a file with action and probability",
    )
    command.add_argument("--columns", default="", metavar="ROLE=NAME,…", help="what a table calls its columns")
    command.add_argument(
        "--estimator", dest="estimators", nargs="+", action="extend", default=[], metavar="E", help="default: all"
    )
    command.add_argument("--reward", choices=["pick", "query"], help="whose; default pick where any has one")
    command.add_argument("--interval", choices=["bootstrap", "bernstein", "sequence"], default="bootstrap")
    command.add_argument("--range", type=float, nargs=2, metavar=("LOW", "HIGH"), help="that rewards lie in")
    command.add_argument("--level", type=share, default=0.95, metavar="P", help="of the intervals; default 0.95")
    command.add_argument("--seed", type=natural, default=0, metavar="N", help="of the bootstrap")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw the table as a PNG")
    command.add_argument("--json", action="store_true", help="print the table as JSON")


def folder(text: str) -> Path:
    """A folder, not yet looked at."""
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got nothing")
    return Path(text)


def port(text: str) -> int:
    """A TCP port."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return found


def duration(text: str) -> float:
    """A number greater than 0."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number greater than 0, got {text!r}")
    return found


def several(text: str) -> int:
    """A whole number, 2 or more."""
    if not text.isdecimal() or int(text) < 2:
        raise argparse.ArgumentTypeError(f"must be a whole number, 2 or more, got {text!r}")
    return int(text)


def natural(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, got {text!r}")
    return int(text)
