"""The labeling queue, served: the web pages are handed what they need of the run."""

import secrets
import socket
from collections import Counter
from typing import Any

from discover.campaign import Campaign
from discover.config import load_config
from discover.errors import DiscoverError
from discover.evaluate import explained
from discover.start import check_saved

RUN = "run"  # the note in the database
SHOWN = 1500  # characters of a text whose words are marked
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(campaign: Campaign, host: str, port: int) -> None:
    """Serve until stopped. Beyond loopback a token is asked for, new at each start and printed here.

    Raises:
        DiscoverError: the address is taken or not this machine's.
    """
    import uvicorn

    token = None if host in LOOPBACK else secrets.token_urlsafe(24)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            port = probe.getsockname()[1]  # 0 asked for any that is free
    except OSError as error:
        raise DiscoverError(
            f"{host}:{port} cannot be served on ({error.strerror}): choose another --host or --port"
        ) from error
    shown = f"[{host}]" if ":" in host else host
    print(f"label at http://{shown}:{port}/{f'?token={token}' if token else ''}  (Ctrl-C ends it)", flush=True)
    pages = Pages(campaign, token)
    # Not `uvicorn.run`, which swallows the signal that ended it: how a command was stopped shows in its status.
    uvicorn.Server(uvicorn.Config(pages, host=host, port=port, log_level="warning", lifespan="off")).run()


class Pages:
    """The pages of a run, an ASGI app; a class or a budget that `discover run` is told of meanwhile is theirs too.

    Args:
        campaign: the run.
        token: see `create_app`.
    """

    def __init__(self, campaign: Campaign, token: str | None = None):
        self._token = token
        self._answering: Counter[Campaign] = Counter()  # requests that began with one, and are not answered yet
        self._stamp = _stamp(campaign)
        self._run = _run(campaign)
        self._show(campaign)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request by the settings that the run has now."""
        self._follow()
        campaign = self._campaign
        self._answering[campaign] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._answering[campaign] -= 1
            self._let_go()

    def _let_go(self) -> None:
        """Close what is served no longer, once its last request is answered: those run in threads of their own."""
        for campaign in [one for one, left in self._answering.items() if not left and one is not self._campaign]:
            del self._answering[campaign]
            campaign.close()

    def _show(self, campaign: Campaign) -> None:
        from discover.label.web.app import create_app

        arm = campaign.arms[0]
        self._campaign = campaign
        self._answering[campaign] = 0
        self._app = create_app(
            campaign.queue,
            arm,
            campaign.config.label,
            lambda: _progress(campaign, arm),
            campaign.suggestion,
            lambda document: _reasons(campaign, document),
            token=self._token,
            run=self._run,
        )

    def _follow(self) -> None:
        stamp = _stamp(self._campaign)
        if stamp == self._stamp:
            return
        self._stamp, folder = stamp, self._campaign.folder
        try:
            config = load_config(folder.config)
            if config != self._campaign.config:
                campaign = Campaign(folder, config)
                try:
                    check_saved(campaign)
                except BaseException:
                    campaign.close()
                    raise
                self._show(campaign)
        except DiscoverError:  # changed by hand, say, and not to the end: the settings of before will do
            return


def _run(campaign: Campaign) -> str:
    """Names the run wherever it lies; made when it is first served."""
    if campaign.database.noted(RUN) is None:
        campaign.database.note(RUN, secrets.token_hex(8))
    return str(campaign.database.noted(RUN))


def _stamp(campaign: Campaign) -> int:
    """Another number where the run's config.yaml has been written anew; 0 where there is none."""
    try:
        return campaign.folder.config.stat().st_mtime_ns
    except OSError:
        return 0


def _reasons(campaign: Campaign, document: int) -> list[dict[str, object]]:
    """What the desk shows of an explanation."""
    found = campaign.explanation(document) if campaign.config.label.explain else None
    return explained.shown(found, SHOWN, campaign.config.label.task == "multilabel") if found else []


def _progress(campaign: Campaign, arm: str) -> dict[str, object]:
    last = campaign.last_metrics(arm) or {}
    round_ = last.get("round")
    asked = 0 if round_ is None else (campaign.output(arm, round_, "query") or {}).get("asked", 0)
    # Round 0 asks for the seed labels, of which there may be none; the first choice is still to come then.
    over = round_ is not None and (round_ == campaign.config.loop.rounds or (round_ > 0 and not asked))
    finished = over and not campaign.queue.waiting(arm)
    return {key: last.get(key) for key in ("accuracy", "low", "high")} | {"finished": finished}
