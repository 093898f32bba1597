"""The command line: `discover COMMAND`. Each command is a thin layer over `discover.open` and `discover.loop`."""

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import discover
from discover import signals
from discover.commands import arguments
from discover.errors import DiscoverError

if TYPE_CHECKING:
    from discover.campaign import Campaign

SHOWN_LINES = 20  # of a file's bad lines


def main(words: list[str] | None = None) -> int:
    """Run one command; 0 on success, 1 on a failure told in one line, 2 on wrong usage, 130 or 143 when stopped."""
    signals.heed()
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr does so: a file's name may be no text, or not the terminal's
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(words)
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
        print("discover: stopped; what is finished is kept: give the same command again", file=sys.stderr)
        return 143 if stop.args else 130
    return 0


def _failed(error: OSError) -> str:
    where = f" at {error.filename}" if error.filename else ""
    return (
        f"the system refused ({error.strerror or error}){where}: free space or permit it, then the same command goes on"
    )


def _run(options: argparse.Namespace) -> None:
    from discover.commands import crawl, reembed
    from discover.config import load_config
    from discover.loop import check, run_rounds
    from discover.start import check_found, start_run

    config = load_config(options.config, options.set)
    check(config)
    if config.crawl is None:
        check_found(config, options.run)
    campaign = start_run(config, options.run)
    with crawl.alongside(campaign) as crawling, reembed.alongside(campaign):
        run_rounds(campaign, options.rounds, crawling)


def _crawl(options: argparse.Namespace) -> None:
    from discover.commands.crawl import check, crawl
    from discover.config import load_config
    from discover.start import start_run

    config = load_config(options.config, options.set)
    check(config)
    crawl(start_run(config, options.run))


def _extract(options: argparse.Namespace) -> None:
    # The crawler's own program, in this process's place: Scrapy and its guard stay out of this package.
    allowed = [word for pair in options.allow_private for word in ("--allow-private", pair)]
    os.execv(sys.executable, [sys.executable, "-m", "crawlers", "extract", options.page, *allowed])


def _init(options: argparse.Namespace) -> None:
    from discover.commands.init import init

    init(options.folder)


def _import(options: argparse.Namespace) -> None:
    from discover.pool.files import import_files, read_documents

    for path in options.files:  # as far as its first document, before there is a run folder for it
        next(read_documents(path, lambda _line, _reason: None, None), None)
    campaign = _start(options, keep=not options.set)
    counts = import_files(campaign.pool, options.files, campaign.labels, _tell_first(SHOWN_LINES))
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
    from discover.start import tell_kept

    config = load_config(options.config, options.set)
    root = options.run or Path("runs") / config.name
    begun = (root / "config.yaml").is_file() and not options.set  # then as `discover run` was last told
    if not root.is_dir():
        print(f"{root} is a new run: `discover run` fills its queue", file=sys.stderr)
    campaign = _open(root) if begun else _start(options)
    tell_kept(campaign.config, config, campaign.folder)
    serve(campaign, options.host, options.port)


def _export(options: argparse.Namespace) -> None:
    from discover.commands.export import export

    export(_open(options.run), options.what, options.to)


def _status(options: argparse.Namespace) -> None:
    from discover.commands.status import render

    status = _open(options.run).status()
    print(json.dumps(status) if options.json else render(status))


def _remove(options: argparse.Namespace) -> None:
    from discover.commands.remove import remove

    remove(_open(options.run), options.documents)


def _report(options: argparse.Namespace) -> None:
    from discover.evaluate import report
    from discover.run import RunFolder
    from discover.steps.explain import examples

    campaign, to = _open(options.run), RunFolder(options.to or options.run)
    shown = examples(campaign)
    try:
        print(report.write(campaign.folder, campaign.database, campaign.config, shown, to))
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
            raise
        why = error.strerror or error
        raise DiscoverError(f"no report can be written to {to.root} ({why}): name another folder with --to") from error


def _predict(options: argparse.Namespace) -> None:
    from discover.commands.predict import predict

    predict(_open(options.run), options.input, options.output, options.confidence, options.explain)


def _search(options: argparse.Namespace) -> None:
    from discover.commands.search import search_settings
    from discover.config import load_config
    from discover.start import check_change

    config = load_config(options.config, options.set)
    campaign = _open(options.run or Path("runs") / config.name)
    check_change(campaign.config, config, campaign.folder)
    search_settings(campaign, config, options.trials, options.folds, options.minutes)


def _pretrain(options: argparse.Namespace) -> None:
    from discover.commands.pretrain import pretrain_encoder
    from discover.config import load_config
    from discover.start import check_found, start_run

    config = load_config(options.config, options.set)
    check_found(config, options.run)
    pretrain_encoder(start_run(config, options.run))


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
    from discover.start import check_saved

    campaign = open_run(root)
    check_saved(campaign)
    return campaign


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
            command.add_argument(
                "--run", type=arguments.folder, metavar="DIR", help="the run folder; default runs/<name>"
            )
            command.add_argument("--set", action="append", metavar="a.b=value", help="replace a setting; repeatable")
        if run:
            command.add_argument(
                "--run", type=arguments.folder, metavar="DIR", required=True, help="an existing run folder"
            )
        return command

    command = add("run", _run, "the loop; on an existing run folder it goes on", config=True)
    command.add_argument("--rounds", type=arguments.natural, metavar="N", help="stop after N more rounds")
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
    command.add_argument("--port", type=arguments.port, default=8000)
    command = add("export", _export, "labels, pool, model or decisions to a file", run=True)
    command.add_argument("what", choices=["labels", "pool", "model", "decisions"])
    command.add_argument("--to", type=Path, required=True, metavar="FILE")
    command = add("status", _status, "where a run stands", run=True)
    command.add_argument("--json", action="store_true")
    command = add("remove", _remove, "take documents out of a run for good", run=True)
    command.add_argument("documents", nargs="+", metavar="ID_OR_ADDRESS", help="of the pool; or where they were found")
    command = add("report", _report, "write report.html and the learning curve", run=True)
    command.add_argument("--to", type=arguments.folder, metavar="DIR", help="the folder for them; default the run's")
    command = add("predict", _predict, "label a file with the newest model", run=True)
    command.add_argument("--input", type=Path, required=True, metavar="FILE")
    command.add_argument("--output", type=Path, required=True, metavar="FILE")
    command.add_argument(
        "--confidence",
        type=arguments.share,
        default=0.0,
        metavar="P",
        help="leave the label empty where its probability is less",
    )
    command.add_argument(
        "--explain", action="store_true", help="add the words that carried each prediction, and the nearest answers"
    )
    command = add("search", _search, "settings of the learner, by cross-validation on a run's answers", config=True)
    command.add_argument("--trials", type=arguments.natural, default=30, metavar="N", help="in all; default 30")
    command.add_argument("--folds", type=arguments.several, default=3, metavar="N", help="default 3")
    command.add_argument("--minutes", type=arguments.duration, metavar="M", help="begin no trial after so long")
    text = "masked-language-model pretraining on the pool, continued or from scratch"
    add("pretrain", _pretrain, text, config=True)
    arguments.add_bench(
        add("bench", _bench, "compare strategies and learners on labelled files, by simulated campaigns")
    )
    policy = commands.add_parser("policy", help="train an acquisition policy, or judge one")
    arguments.add_policy(policy, _train_policy, _evaluate_policy)
    arguments.add_ope(add("ope", _ope, "what another policy would have been worth, from a log of decisions"))
    command = add("doctor", _doctor, "what this machine offers, and what is wrong")
    command.add_argument("--run", type=arguments.folder, metavar="DIR", help="check this run folder too")
    return parser


if __name__ == "__main__":
    sys.exit(main())
