"""The README's recipes, run as they stand there."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import discover
from discover.cli import main
from discover.query import strategies
from discover.query.strategy import load_strategy
from discover.query.view import View
from tests.contracts import test_strategies as contract
from tests.labelled_files import write_pair

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(heading: str, language: str = "python") -> str:
    """The first code block of a language under a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return textwrap.dedent(re.search(rf"```{language}\n(.*?)```", section, re.DOTALL).group(1))


@pytest.mark.parametrize("where", ["in the project", "in a folder of one's own"])
def test_add_a_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    (tmp_path / "boldest.py").write_text(block("Add a strategy"))
    if where == "in the project":  # as if the file lay beside the others
        monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
        word = "boldest"
    else:
        word = f"{tmp_path / 'boldest.py'}:boldest"
    strategy = load_strategy(word, {"power": 2})
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(4), size=50)
    view = View(
        ids=np.arange(50),
        generator=np.full(50, "uniform"),
        age=np.zeros(50),
        costs=np.ones(50),
        temperature=0.0,
        floor=0.0,
        make_probabilities=lambda: probabilities,
    )
    picks = strategy(view, 3, rng)
    assert set(picks.indices) == set(np.argsort(-probabilities.max(1))[:3])
    contract.test_what_costs_less_is_likelier_where_all_else_is_alike(word)


def test_a_learner_of_ones_own_in_a_bench(tmp_path: Path) -> None:
    (tmp_path / "tfidf.py").write_text(block("Try it on your own labelled data"))
    train, test = write_pair(tmp_path)
    more = ["--learner", f"{tmp_path / 'tfidf.py'}:tfidf", "--seeds", "1", "--budget", "50", "--jobs", "1"]
    assert main(["bench", "--train", str(train), "--test", str(test), "--output", str(tmp_path / "out"), *more]) == 0
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 2 * 2 + 1


def test_judge_another_policy_from_a_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    section = README.split("## Judge another policy from a log\n", 1)[1].split("\n## ", 1)[0]
    made, judged = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    exec(made, {})
    (command,) = re.findall(r"^    discover (ope clicks.csv .*)$", section, re.MULTILINE)
    assert main(command.split()) == 0
    (shown,) = re.findall(r"^    1,000 picks.*?\n\n", section, re.MULTILINE | re.DOTALL)
    assert textwrap.dedent(shown).strip().splitlines() == capsys.readouterr().out.splitlines()
    exec(judged, {})
    found = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any(row[0] == "snips" and float(row[2]) < 0.28 < float(row[3]) for row in found)


def test_an_episode_of_the_environment(capsys) -> None:
    exec(block("Learn what to ask"), {})
    first, last = re.search(r"macro-F1 ([\d.]+) to ([\d.]+)", capsys.readouterr().out).groups()
    assert float(last) > float(first)


def test_compare_policies_offline(capsys) -> None:
    script = block("Compare policies offline").replace(
        "CAMPAIGNS, ROUNDS, SLOTS = 2000,", "CAMPAIGNS, ROUNDS, SLOTS = 100,"
    )
    found: dict = {}
    exec(script, found)
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 9 and shown[0].startswith("uniform")
    assert found["chances"].shape == (8, 100, 10)
    errors = [float(re.search(r"\+- ([\d.]+)", line).group(1)) for line in shown[:8]]
    assert (np.abs(np.subtract(found["estimated"], found["true"])) < 2 * np.array(errors)).all()
    assert found["regret"] < 0.5


def test_the_first_screen_shows_both_commands_and_the_curve() -> None:
    first = README.splitlines()[:45]
    assert any("make demo" in line for line in first) and any("make test" in line for line in first)
    assert any("learning_curve.png" in line for line in first)
    assert (ROOT / "runs" / "learning_curve.png").is_file()


@pytest.mark.parametrize("where", ["in the project", "in a folder of one's own"])
def test_add_a_spider(tmp_path: Path, where: str) -> None:
    environment = dict(os.environ)
    if where == "in the project":  # a copy of it, with one more file
        shutil.copytree(ROOT / "crawlers", tmp_path / "copy" / "crawlers")
        (tmp_path / "copy" / "crawlers" / "spiders" / "quotes.py").write_text(block("Add a spider"))
        environment["PYTHONPATH"] = str(tmp_path / "copy")
        word = "quotes"
    else:
        (tmp_path / "quotes.py").write_text(block("Add a spider"))
        word = f"{tmp_path / 'quotes.py'}:quotes"
    quote = "It is not the documents we read that cost us, but the ones we read twice."
    second = "A label is a small promise that somebody looked."
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text(f"<blockquote>{quote}</blockquote><a href='two.html'>two</a>")
    (tmp_path / "site" / "two.html").write_text(f"<blockquote>{second}</blockquote>")
    with loopback_site(tmp_path / "site") as pair:
        crawl = {"spider": word, "start": [f"http://{pair}/index.html"], "allow_private": [pair], "delay": 0}
        (tmp_path / "mine.yaml").write_text(json.dumps({"crawl": crawl, "label": {"classes": ["a", "b"]}}))
        command = [sys.executable, "-m", "discover.cli", "crawl", tmp_path / "mine.yaml", "--run", tmp_path / "run"]
        crawled = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment, timeout=120
        )
    assert crawled.returncode == 0, crawled.stderr
    campaign = discover.open(tmp_path / "run")
    campaign.pool.intake()
    assert {document.text for document in campaign.documents()} == {quote, second}
    campaign.close()


@contextmanager
def loopback_site(folder: Path) -> Iterator[str]:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
