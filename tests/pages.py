"""The pages of the queue without a browser, for the tests that send their forms."""

import html
import re

from sqlalchemy import select
from starlette.testclient import TestClient

from discover import tables
from discover.db import Database
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.web.app import create_app

CONFIG = LabelConfig(classes={"calm": "no wind", "storm": "too much of it", "fog": ""}, budget=20)
SCRIPT = {"Accept": "application/json"}


def client_of(queue: Queue, **options) -> TestClient:
    config = options.pop("config", CONFIG)
    app = create_app(queue, "margin", config, options.pop("progress", dict), options.pop("suggest", None), **options)
    return TestClient(app, base_url="http://localhost", follow_redirects=True)


def named(client: TestClient, name: str = "Ada") -> TestClient:
    client.post("/name", data={"name": name})
    return client


def fields(page: str) -> dict[str, str]:
    """The hidden fields of the page's answer form."""
    form = re.search(r'<form id="answer".*?</form>', page, re.DOTALL)
    assert form
    return {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)">', form[0])}


def answers(database: Database) -> list[tuple[str, str, str | None]]:
    columns = (tables.answer.c.annotator, tables.answer.c.action, tables.answer.c.label)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(tables.answer.c.id))]


def check_refused(client: TestClient, label: str | list[str], message: str) -> None:
    """An answer, as a form or from the script, and a correction."""
    sent = {**fields(client.get("/").text), "label": label}
    reply = client.post("/answer", data=sent)
    assert reply.status_code == 400 and message in html.unescape(reply.text)
    assert message in client.post("/answer", data=sent, headers=SCRIPT).json()["error"]
    assert client.post("/correct", data={"slot": sent["slot"], "label": label}).status_code == 400
