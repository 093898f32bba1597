"""The command line: `discover COMMAND`. Each command is a thin layer over `discover.open` and `discover.loop`."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import discover
from discover.errors import DiscoverError

if TYPE_CHECKING:
    from discover.campaign import Campaign

SHOWN_LINES = 20  # of a file's bad lines


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 on success, 1 on a failure told in one line, 2 on wrong usage, 130 or 143 when stopped."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    sys.unraisablehook = _unheard
    try:
        options = _parser().parse_args(arguments)
        options.command(options)  # what takes long to import is imported in there, where a Ctrl-C is caught
        sys.stdout.flush()
    except DiscoverError as error:
        print(f"discover: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 1
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # `discover status | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"discover: {_failed(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("discover: stopped; what is finished is kept, and the same command goes on", file=sys.stderr)
        return 143 if stop.args else 130
    return 0


def _failed(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    return (
        f"the system refused ({error.strerror or error}){where}: free space or permit it, then the same command goes on"
    )


def _stop(number: int, frame: FrameType | None) -> None:
    """End by KeyboardInterrupt; while modules are imported, after that: half a torch may crash instead."""
    if _importing(frame):
        _stop_soon(number)
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(*(["SIGTERM"] if number == signal.SIGTERM else []))


def _stop_soon(number: int) -> None:
    signal.signal(signal.SIGALRM, lambda _, frame: _stop(number, frame))
    signal.setitimer(signal.ITIMER_REAL, 0.05)


def _unheard(unraisable: "sys.UnraisableHookArgs") -> None:
    """What is raised in a finaliser goes no further than that; a stop that fell into one is raised once more."""
    stop = unraisable.exc_value
    if isinstance(stop, KeyboardInterrupt):
        _stop_soon(signal.SIGTERM if stop.args else signal.SIGINT)
    else:
        sys.__unraisablehook__(unraisable)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _run(options: argparse.Namespace) -> None:
    from discover.commands import crawl, reembed
    from discover.config import load_config
    from discover.loop import check, run_rounds
    from discover.start import start_run

    config = load_config(options.config, options.set)
    check(config)
    campaign = start_run(config, options.run)
    with crawl.alongside(campaign) as crawling, reembed.alongside(campaign):
        run_rounds(campaign, options.rounds, crawling)


def _crawl(options: argparse.Namespace) -> None:
    from discover.commands.crawl import crawl

    crawl(_start(options))


def _extract(options: argparse.Namespace) -> None:
    # The crawler's own program, in this process's place: Scrapy and its guard stay out of this package.
    allowed = [word for pair in options.allow_private for word in ("--allow-private", pair)]
    os.execv(sys.executable, [sys.executable, "-m", "crawlers", "extract", options.page, *allowed])


def _init(options: argparse.Namespace) -> None:
    from discover.commands.init import init

    init(options.folder)


def _import(options: argparse.Namespace) -> None:
    from discover.pool.files import import_files

    campaign = _start(options, keep=not options.set)
    counts = import_files(campaign.pool, options.files, campaign.classes, _tell_first(SHOWN_LINES))
    print(", ".join(f"{count} {reason}" for reason, count in sorted(counts.items())) or "nothing found")


def _tell_first(n: int) -> Callable[[str], None]:
    """Print the first n messages to stderr, and say that there are more; `discover status` counts them all."""
    left = iter([*[True] * n, False])

    def tell(message: str) -> None:
        more = next(left, None)
        if more is not None:
            print(message if more else "further skipped lines are counted only", file=sys.stderr)

    return tell


def _serve(options: argparse.Namespace) -> None:
    from discover.commands.serve import serve
    from discover.config import load_config

    config = load_config(options.config, options.set)
    root = options.run or Path("runs") / config.name
    begun = (root / "config.yaml").is_file() and not options.set  # then as `discover run` was last told
    serve(_open(root) if begun else _start(options), options.host, options.port)


def _export(options: argparse.Namespace) -> None:
    from discover.commands.export import export

    export(_open(options.run), options.what, options.to)


def _status(options: argparse.Namespace) -> None:
    status = _open(options.run).status()
    if options.json:
        print(json.dumps(status))
        return
    pool = status["pool"]
    counts = {
        "test": "of these to test on",
        "found": "found and not yet taken in",
        "duplicate": "near-duplicates",
        "aside": "set aside",
    }
    states = [f"{value} {counts.get(key, key)}" for key, value in pool.items() if isinstance(value, int)]
    print(f"{status['run']}: {', '.join(states)}")
    for arm, state in status["arms"].items():
        last = state["last"]
        score = f", accuracy {last['accuracy']:.3f} after round {last['round']}" if last and last["accuracy"] else ""
        print(
            f"{arm}: {state['labels']} labels, {state['spent']:g} of {status['budget']} spent, "
            f"{state['waiting']} waiting, model {state['model'] or 'none yet'}{score}"
        )


def _report(options: argparse.Namespace) -> None:
    from discover.evaluate import report

    campaign = _open(options.run)
    print(report.write(campaign.folder, campaign.database, campaign.config))


def _predict(options: argparse.Namespace) -> None:
    from discover.commands.predict import predict

    predict(_open(options.run), options.input, options.output, options.confidence)


def _bench(options: argparse.Namespace) -> None:
    from discover.bench.config import BenchConfig
    from discover.commands.bench import bench
    from discover.config import validate
    from discover.simulate import SimulationConfig

    given = {name: value for name, value in vars(options).items() if value is not None}
    settings = {name: given[name] for name in given.keys() & BenchConfig.model_fields.keys()}
    rules = {name: given[name] for name in given.keys() & SimulationConfig.model_fields.keys() - {"candidates"}}
    if options.candidates:
        rules["candidates"] = {"count": options.candidates}
    settings |= {"rules": validate(SimulationConfig, rules, "discover bench"), "whole_pool": options.candidates == 0}
    bench(validate(BenchConfig, settings, "discover bench"), options.json)


def _train_policy(options: argparse.Namespace) -> None:
    from discover.commands.policy import train_policy

    train_policy(options.config, options.set, options.run)


def _evaluate_policy(options: argparse.Namespace) -> None:
    from discover.commands.policy import evaluate_policy
    from discover.policy.config import CorpusFiles

    if len(options.train) != len(options.test):
        raise DiscoverError(
            f"--train names {len(options.train)} files and --test {len(options.test)}: they go together in order"
        )
    files = [CorpusFiles(train=train, test=test) for train, test in zip(options.train, options.test, strict=True)]
    evaluate_policy(options.policy, files, options.seeds, options.output, options.json)


def _ope(options: argparse.Namespace) -> None:
    from discover.commands.ope import ope

    ope(options)


def _doctor(options: argparse.Namespace) -> None:
    from discover import doctor

    findings = doctor.check(options.run)
    print(doctor.render(findings))
    if not all(finding.ok for finding in findings):
        raise DiscoverError("something above is wrong; each line says what to do")


def _open(root: Path) -> "Campaign":
    from discover.campaign import open_run

    return open_run(root)


def _start(options: argparse.Namespace, keep: bool = False) -> "Campaign":
    from discover.config import load_config
    from discover.start import start_run

    return start_run(load_config(options.config, options.set), options.run, keep)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "discover", description=discover.__doc__.splitlines()[0] if discover.__doc__ else ""
    )
    parser.add_argument("--version", action="version", version=f"discover {discover.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, function: Any, text: str, config: bool = False, run: bool = False) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        if config:
            command.add_argument("config", type=Path, metavar="CONFIG")
            command.add_argument("--run", type=_folder, metavar="DIR", help="the run folder; default runs/<name>")
            command.add_argument("--set", action="append", metavar="a.b=value", help="replace a setting; repeatable")
        if run:
            command.add_argument("--run", type=_folder, metavar="DIR", required=True, help="an existing run folder")
        return command

    command = add("run", _run, "the loop; on an existing run folder it goes on", config=True)
    command.add_argument("--rounds", type=_natural, metavar="N", help="stop after N more rounds")
    add("crawl", _crawl, "only the crawl, into the run's pool", config=True)
    command = add("extract", _extract, "what the crawler would keep of one page, as JSON")
    command.add_argument("page", metavar="FILE_OR_ADDRESS")
    command.add_argument(
        "--allow-private",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="let a host on a private network through",
    )
    command = add("init", _init, "ask a few questions and write a commented config")
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command = add("import", _import, "JSONL, CSV or Parquet into the pool", config=True)
    command.add_argument("files", type=Path, nargs="+", metavar="FILE")
    command = add("serve", _serve, "the labeling queue in a browser", config=True)
    command.add_argument("--host", default="127.0.0.1")
    command.add_argument("--port", type=_port, default=8000)
    command = add("export", _export, "labels, pool, model or decisions to a file", run=True)
    command.add_argument("what", choices=["labels", "pool", "model", "decisions"])
    command.add_argument("--to", type=Path, required=True, metavar="FILE")
    command = add("status", _status, "where a run stands", run=True)
    command.add_argument("--json", action="store_true")
    add("report", _report, "write report.html and the learning curve", run=True)
    command = add("predict", _predict, "label a file with the newest model", run=True)
    command.add_argument("--input", type=Path, required=True, metavar="FILE")
    command.add_argument("--output", type=Path, required=True, metavar="FILE")
    command.add_argument(
        "--confidence",
        type=_share,
        default=0.0,
        metavar="P",
        help="leave the label empty where its probability is less",
    )
    _add_bench(add("bench", _bench, "compare strategies and learners on labelled files, by simulated campaigns"))
    _add_policy(commands.add_parser("policy", help="train an acquisition policy, or judge one"))
    _add_ope(add("ope", _ope, "what another policy would have been worth, from a log of decisions"))
    command = add("doctor", _doctor, "what this machine offers, and what is wrong")
    command.add_argument("--run", type=_folder, metavar="DIR", help="check this run folder too")
    return parser


def _add_bench(command: argparse.ArgumentParser) -> None:
    """The arguments of `discover bench`; several of the plural ones may be given, or the flag repeated."""

    def several(flag: str, name: str, metavar: str, text: str, required: bool = False) -> None:
        command.add_argument(flag, dest=name, nargs="+", action="extend", metavar=metavar, help=text, required=required)

    several("--train", "train", "F", "JSONL (.gz), CSV or Parquet with `text` and `label`", required=True)
    several("--test", "test", "F", "one for each of --train, in their order", required=True)
    several("--strategy", "strategies", "S", "as in a config; options: path/file.py:name,key=value; default margin")
    several("--learner", "learners", "L", "a method with settings: top,layers=3; or path/file.py:name; default head")
    command.add_argument("--seeds", type=_natural, metavar="N", help="campaigns an arm; default 10")
    command.add_argument("--initial", type=_natural, metavar="I", help="seed labels; default 25")
    command.add_argument("--batch", type=_natural, metavar="B", help="questions a round; default 25")
    command.add_argument("--budget", type=_natural, metavar="T", help="labels in all; default 525")
    command.add_argument("--output", type=_folder, required=True, metavar="DIR", help="what is finished there is kept")
    command.add_argument(
        "--balanced", action="store_true", help="seed labels evenly over the classes: an advantage, it takes an oracle"
    )
    command.add_argument("--noise", type=float, metavar="P", help="share of wrong answers; default 0")
    command.add_argument("--temperature", type=float, metavar="X", help="of the draw; default 0, deterministic")
    command.add_argument("--floor", type=float, metavar="P", help="share of the draw that is uniform; default 0")
    command.add_argument("--cost", choices=["answers", "seconds"], help="weigh utility by an answer's expected seconds")
    command.add_argument(
        "--candidates",
        type=_natural,
        metavar="N",
        help="candidates of a round; default 2000; 0: the whole pool",
    )
    command.add_argument("--test-limit", type=_natural, metavar="N", help="test on a uniform sample; default 0: on all")
    command.add_argument("--target", type=float, metavar="A", help="accuracy to reach; default: what random ends with")
    command.add_argument("--no-full", dest="full", action="store_false", help="do not train on all labels as well")
    command.add_argument("--jobs", type=_natural, metavar="N", help="processes; default: one a core")
    command.add_argument("--json", action="store_true", help="print the summary")


def _add_policy(command: argparse.ArgumentParser) -> None:
    """The two commands of `discover policy`."""
    parts = command.add_subparsers(required=True, metavar="train|evaluate")
    train = parts.add_parser("train", help="train an acquisition policy; the same command goes on after a kill")
    train.set_defaults(command=_train_policy)
    train.add_argument("config", type=Path, metavar="CONFIG")
    train.add_argument("--run", type=_folder, metavar="DIR", help="its folder; default runs/<name>")
    train.add_argument("--set", action="append", metavar="a.b=value", help="replace a setting; repeatable")
    judge = parts.add_parser("evaluate", help="play a policy and the baselines on labelled files it has not seen")
    judge.set_defaults(command=_evaluate_policy)
    judge.add_argument("policy", type=_folder, metavar="POLICY", help="the folder of a trained policy")
    judge.add_argument("--train", nargs="+", action="extend", type=Path, metavar="F", required=True)
    judge.add_argument("--test", nargs="+", action="extend", type=Path, metavar="F", required=True)
    judge.add_argument("--seeds", type=_natural, default=48, metavar="N", help="campaigns of each policy; default 48")
    judge.add_argument("--output", type=_folder, required=True, metavar="DIR")
    judge.add_argument("--json", action="store_true", help="print the summary")


def _add_ope(command: argparse.ArgumentParser) -> None:
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
    command.add_argument("--level", type=_share, default=0.95, metavar="P", help="of the intervals; default 0.95")
    command.add_argument("--seed", type=_natural, default=0, metavar="N", help="of the bootstrap")
    command.add_argument("--plot", type=Path, metavar="FILE", help="draw the table as a PNG")
    command.add_argument("--json", action="store_true", help="print the table as JSON")


def _folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("must name a folder, got nothing")
    return Path(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 to 65535, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, got {text!r}")
    return found


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
