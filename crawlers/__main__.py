"""``python -m crawlers``: the crawl, as a process of its own."""

import argparse
import json
import os
import signal
import sys

from discover.errors import UNFINISHED, DiscoverError, Unfinished
from discover.run import RunFolder


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns:
        the exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m crawlers", description="Crawl into a run's pool.")
    commands = parser.add_subparsers(dest="command", required=True)
    crawling = commands.add_parser("crawl", help="crawl as RUN_FOLDER/config.yaml says, or go on with it")
    crawling.add_argument("run_folder", metavar="RUN_FOLDER")
    crawling.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="for servers that fail, when nothing else is left to do; inf: for pages that are due again, too",
    )
    extracting = commands.add_parser("extract", help="print what the crawler would keep of one page, as JSON")
    extracting.add_argument("place", metavar="FILE_OR_ADDRESS")
    extracting.add_argument(
        "--allow-private",
        action="append",
        default=[],
        metavar="HOST:PORT",
        help="a host on a private network to let through",
    )
    options = parser.parse_args(arguments)
    try:
        if options.command == "crawl":
            from crawlers.crawl import crawl

            return crawl(RunFolder(options.run_folder), options.wait)
        from crawlers.fetch import extract_from

        print(json.dumps(extract_from(options.place, options.allow_private).as_json(), ensure_ascii=False))
        return 0
    except DiscoverError as error:
        if waiting := os.environ.get("DISCOVER_FAILURE"):  # the command that started this one tells it
            os.write(int(waiting), str(error).encode())
        else:
            print(f"discover: {error}", file=sys.stderr)
        return UNFINISHED if isinstance(error, Unfinished) else 1


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # until Scrapy runs; then the crawl stops in its own way
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    sys.exit(main())
