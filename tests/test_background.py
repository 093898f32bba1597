"""A crawl beside the loop: `crawl.background`."""

import json
from pathlib import Path

from discover.campaign import open_run
from tests.commands import command
from tests.crawl_site import SPIDER, TREE, Site


def config(folder: Path, site: Site, spider: str = SPIDER, **label: object) -> Path:
    """A run over the site's tree; a leaf's label is whether its number is even."""
    (folder / "leaves.py").write_text(spider)
    table = {str(number): ("odd" if number % 2 else "even") for number in range(TREE + 1)}
    content = {
        "name": "tree",
        "crawl": {
            "spider": f"{folder / 'leaves.py'}:leaves",
            "start": [f"{site.url}/tree/1"],
            "allow_private": [site.pair],
            "max_depth": 20,
            "delay": 0,
            "concurrency": 1,
            "background": True,
        },
        "label": {
            "classes": ["even", "odd"],
            "oracle": "page_table",
            "options": {"table": table},
            "budget": 60,
            "seed": 10,
            **label,
        },
        "query": {"strategy": "margin", "batch": 10},
        "learn": {"method": "head"},
    }
    file = folder / "tree.yaml"
    file.write_text(json.dumps(content))  # JSON is YAML
    return file


def test_the_loop_learns_while_the_crawl_goes_on(tmp_path: Path):
    with Site(delay=0.1) as site:
        file = config(tmp_path, site)
        done = command("run", file, "--run", tmp_path / "run")
        assert done.returncode == 0, done.stderr
        campaign = open_run(tmp_path / "run")
        rows = campaign.metrics()
        assert rows[0]["pool"] < rows[-1]["pool"], "the pool grew between the rounds"
        assert rows[-1]["labels"] == 60 and campaign.queue.spent("margin") == 60
        ids, _ = campaign.pool.ids(split=None)
        assert sorted(campaign.retriever.store.ids.tolist()) == sorted(ids.tolist()), "each document is embedded once"
        campaign.close()


def test_a_finished_crawl_is_not_repeated(tmp_path: Path):
    with Site() as site:
        file = config(tmp_path, site, budget=80)
        assert command("run", file, "--run", tmp_path / "run").returncode == 0
        asked = len(site.asked)
        assert asked >= TREE
        assert command("run", file, "--run", tmp_path / "run").returncode == 0
        again = command("crawl", file, "--run", tmp_path / "run")
        assert again.returncode == 0 and "finished before" in again.stdout
        assert len(site.asked) == asked


def test_a_finished_crawl_goes_on_with_what_failed_once_its_spider_is_mended(tmp_path: Path):
    broken = SPIDER.replace("        for par", "        assert not response.url.endswith('7')\n        for par")
    with Site() as site:
        first = command("crawl", config(tmp_path, site, broken), "--run", tmp_path / "run")
        assert first.returncode == 0 and "spider error" in first.stdout, first.stderr
        again = command("crawl", config(tmp_path, site), "--run", tmp_path / "run")
        assert again.returncode == 0, again.stderr
    campaign = open_run(tmp_path / "run")
    assert campaign.pool.counts()["found"] == TREE and campaign.pool.counts()["rejected"] == {}
    campaign.close()


def test_a_crawl_that_fails_is_told_at_once_and_after_what_it_found_is_learned(tmp_path: Path):
    dying = SPIDER.replace(
        "        for par", "        if response.url.endswith('/60'): import os; os._exit(3)\n        for par"
    )
    with Site() as site:
        # More than it finds, so that the loop is not over before the crawl fails.
        done = command("run", config(tmp_path, site, dying, budget=80), "--run", tmp_path / "run")
    assert done.returncode == 1, done.stdout
    told, last = done.stderr.strip().splitlines()
    assert last.startswith("discover: the crawl failed: it ended with status 3")
    assert told == f"{last}; the loop goes on with what it has brought"
    campaign = open_run(tmp_path / "run")
    found = campaign.pool.count("pool", TREE)
    assert 20 < found < 60 and campaign.metrics()[-1]["labels"] == found
    campaign.close()


def test_a_crawl_that_cannot_begin_is_told_and_not_the_empty_pool(tmp_path: Path):
    broken = SPIDER.replace("def parse_page(self, response):", "def parse(self, response):")
    with Site() as site:
        done = command("run", config(tmp_path, site, broken), "--run", tmp_path / "run")
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert line.startswith("discover: the crawl failed: crawl.spider:") and "needs a method parse_page" in line


def test_the_first_round_waits_for_the_seed_labels_and_the_test_set(tmp_path: Path):
    with Site(delay=0.05) as site:
        file = config(tmp_path, site, seed=25, budget=30)
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {"loop": {"test": 30}}))
        done = command("run", file, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    campaign = open_run(tmp_path / "run")
    first = campaign.metrics()[0]
    assert first["labels"] == 25 and first["source"] == "test" and len(campaign.pool.ids(split="test")[0]) == 30
    campaign.close()
