"""The queue as it is served beside a loop: its pages go with the settings that the run has now."""

import asyncio
import re
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from discover.campaign import Campaign
from discover.commands.serve import Pages
from discover.config import Config, save_config, validate
from discover.db import Database
from discover.start import start_run
from discover.tables import metric, step
from tests.labeling import add_documents
from tests.pages import fields, named


def config(*classes: str) -> Config:
    return validate(Config, {"name": "x", "label": {"classes": list(classes), "budget": 20}}, "here")


@pytest.fixture
def served(tmp_path: Path) -> TestClient:
    campaign = start_run(config("calm", "storm"), tmp_path / "run")
    ids = add_documents(campaign.database, 3)
    rows = [{"document_id": one, "kind": "policy", "position": place} for place, one in enumerate(ids)]
    with campaign.database.write() as connection:
        campaign.queue.put(connection, "auto", 1, rows)
    return named(TestClient(Pages(campaign), base_url="http://localhost"))


def test_a_class_that_is_added_meanwhile_can_be_answered(served: TestClient, tmp_path: Path) -> None:
    before = served.get("/")
    form = served.get("/questions").json()["form"]
    assert f'data-form="{form}"' in before.text and 'value="fog"' not in before.text
    start_run(config("calm", "storm", "fog"), tmp_path / "run").close()
    assert 'value="fog"' in served.get("/").text
    assert served.get("/questions").json()["form"] != form  # by which a page that was open before notices
    assert served.post("/answer", data={**fields(before.text), "label": "fog"}).status_code == 200
    assert "You said “fog”." in served.get("/").text


@pytest.mark.parametrize("content", ["label: [half", None])
def test_settings_that_cannot_be_read_change_nothing(served: TestClient, tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "run" / "config.yaml"
    path.write_text(content) if content else path.unlink()
    assert 'value="storm"' in served.get("/").text
    save_config(config("calm", "storm", "fog"), path)
    assert 'value="fog"' in served.get("/").text


def test_settings_of_before_keep_no_file_open(served: TestClient, tmp_path: Path) -> None:
    def opened() -> int:
        found = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return sum(path.parent == tmp_path / "run" for path in found)

    path = tmp_path / "run" / "config.yaml"
    with closing(Database(tmp_path / "run" / "discover.db")) as database, database.write() as connection:
        row = {"arm": "", "round": 0, "step": "intake", "output": {}, "seconds": 0.0}
        connection.execute(step.insert().values(**row))
    served.get("/")
    before = opened()
    for number in range(5):
        save_config(config("calm", "storm", f"fog {number}"), path)
        assert f'value="fog {number}"' in served.get("/").text
        save_config(config("calm", "gale"), path)  # which is refused
        assert f'value="fog {number}"' in served.get("/").text
    assert opened() == before


def test_a_request_that_began_before_is_answered_by_the_settings_of_then(tmp_path: Path, monkeypatch) -> None:
    campaign, closed = start_run(config("calm", "storm"), tmp_path / "run"), []
    monkeypatch.setattr(Campaign, "close", lambda self: closed.append(self))
    pages = Pages(campaign)

    async def play() -> None:
        began, go, answer = asyncio.Event(), asyncio.Event(), pages._app

        async def slowly(*request) -> None:
            began.set()
            await go.wait()
            await answer(*request)

        pages._app = slowly
        async with httpx.AsyncClient(transport=httpx.ASGITransport(pages), base_url="http://localhost") as client:
            slow = asyncio.create_task(client.get("/questions", headers={"Cookie": "discover_annotator=Ada"}))
            await began.wait()
            save_config(config("calm", "storm", "fog"), campaign.folder.config)
            assert (await client.get("/")).status_code == 200 and closed == []
            go.set()
            assert (await slow).status_code == 200 and closed == [campaign]

    asyncio.run(play())
    campaign.database.close()
    pages._campaign.database.close()


def test_before_the_first_choice_nothing_is_over(tmp_path: Path) -> None:
    campaign = start_run(config("calm", "storm"), tmp_path / "run")
    page = named(TestClient(Pages(campaign), base_url="http://localhost"))
    for round_, thanked in ((0, False), (1, True)):  # labels were imported: there are none to ask for at first
        with campaign.database.write() as connection:
            connection.execute(metric.insert().values(arm="auto", round=round_, row={"round": round_}))
            row = {"arm": "auto", "round": round_, "step": "query", "output": {"asked": 0}, "seconds": 0.0}
            connection.execute(step.insert().values(**row))
        assert ("Thank you!" in page.get("/").text) == thanked
    campaign.close()


def test_an_answer_meant_for_another_run_is_not_taken_and_not_given_up(served: TestClient, tmp_path: Path) -> None:
    sent, script = fields(served.get("/").text), {"Accept": "application/json"}
    other = Pages(start_run(config("calm", "storm"), tmp_path / "other"))
    with_name = named(TestClient(other, base_url="http://localhost"))
    run = re.search(r'data-run="(\w{16})"', served.get("/").text)[1]
    assert re.search(r'data-run="(\w{16})"', with_name.get("/").text)[1] != run
    reply = with_name.post("/answer", data=sent | {"label": "calm"}, headers=script | {"Discover-Run": run})
    assert reply.status_code == 503 and "another run is served here now" in reply.json()["error"]
    assert (
        served.post("/answer", data=sent | {"label": "calm"}, headers=script | {"Discover-Run": run}).status_code == 200
    )


def test_what_one_person_said_is_not_taken_for_anothers(served: TestClient) -> None:
    sent, script = fields(served.get("/").text) | {"label": "calm"}, {"Accept": "application/json"}
    ada, bob = {"Discover-Annotator": "Ada"}, {"Discover-Annotator": "B%C3%B6b"}
    named(served, "Böb")  # in another tab of the same browser
    reply = served.post("/answer", data=sent, headers=script | ada)
    assert reply.status_code == 503 and "someone else labels in this browser now" in reply.json()["error"]
    assert served.get("/questions", headers=script | bob).status_code == 200
    named(served)
    assert served.post("/answer", data=sent, headers=script | ada).status_code == 200


def test_what_a_run_that_has_begun_cannot_change_changes_nothing(served: TestClient, tmp_path: Path) -> None:
    path = tmp_path / "run" / "config.yaml"
    with Database(tmp_path / "run" / "discover.db").write() as connection:
        row = {"arm": "", "round": 0, "step": "intake", "output": {}, "seconds": 0.0}
        connection.execute(step.insert().values(**row))
    save_config(config("calm", "gale"), path)  # an answer of that class could never be learned
    assert 'value="storm"' in served.get("/").text
    save_config(config("calm", "storm", "fog"), path)
    assert 'value="fog"' in served.get("/").text
