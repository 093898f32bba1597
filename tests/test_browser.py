"""The queue in a real browser: Debian's headless Chromium, driven over loopback."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright
from sqlalchemy import case, select, update

from discover import tables
from discover.db import Database
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.web.app import create_app
from discover.pool.labels import Multilabel, Spans
from tests.conftest import room_for
from tests.labeling import add_documents, filled

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONFIG = LabelConfig(
    classes={"calm": "no wind at all", "storm": "too much of it", "fog": "nothing to see"},
    question="What will the weather be?",
    budget=20,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not CHROMIUM.exists(),
        reason=f"THE PAGES ARE NOT TESTED IN A BROWSER: {CHROMIUM} is missing (apt install chromium)",
    ),
]


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Site:
    """The pages under a real uvicorn, which can go away and come back at the same address."""

    def __init__(self, app):
        self.app = app
        self.port = 0

    def start(self) -> None:
        config = uvicorn.Config(
            self.app, host="127.0.0.1", port=self.port, log_level="warning", ws="none", lifespan="off"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self.server.should_exit = self.server.force_exit = True
        self.thread.join()


@pytest.fixture
def site(database: Database) -> Iterator[Site]:
    made = Site(create_app(Queue(database, 30), "margin", CONFIG, dict))
    made.start()
    yield made
    made.stop()


def enter(page, site: Site) -> None:
    page.goto(f"http://127.0.0.1:{site.port}/")
    page.fill("#name", "Ada")
    page.click("text=Start")
    page.wait_for_selector("nav")
    page.wait_for_load_state()  # a click does not wait for the script of the page it leads to


@pytest.fixture
def page(chromium, site: Site):
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    opened = context.new_page()
    opened.problems = []
    opened.on("console", lambda said: opened.problems.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: opened.problems.append(str(error)))
    enter(opened, site)
    yield opened
    context.close()


def saved(database: Database) -> list[tuple[str, str | None]]:
    with database.read() as connection:
        wanted = select(tables.answer.c.action, tables.answer.c.label).order_by(tables.answer.c.id)
        return [tuple(row) for row in connection.execute(wanted)]


def answer_by_key(page, key: str, text: str) -> None:
    """Press a key, and wait for the text of the next question."""
    page.keyboard.press(key)
    page.wait_for_function("text => document.getElementById('text').textContent.startsWith(text)", arg=text)


def settled(page, sentence: str) -> None:
    page.wait_for_function("text => document.getElementById('sentences').textContent.includes(text)", arg=sentence)


def test_five_by_keys_one_skipped_undo_and_a_correction(database: Database, page, tmp_path: Path) -> None:
    queue, ids = filled(database, 12)
    page.reload()
    for i, key in enumerate("12312"):
        answer_by_key(page, key, f"text {i + 1} ")
    answer_by_key(page, "s", "text 6 ")
    settled(page, "5 of 20 labels")
    settled(page, "5 of 12 answered, 1 skipped")
    answer_by_key(page, "u", "text 5 ")
    answer_by_key(page, "3", "text 6 ")
    settled(page, "6 of 20 labels")
    page.click("text=Your answers")
    row = page.locator("li", has_text="text 0 ")
    row.locator("select").select_option("fog")
    row.locator("button").click()
    page.wait_for_url("**/answers#slot-1")
    page.click("text=Questions")
    assert page.locator("#text").text_content().startswith("text 6 ")
    told = {ids.index(row.document_id): row.label for row in queue.labels("margin")}
    assert told == {0: "fog", 1: "storm", 2: "fog", 3: "calm", 4: "storm", 5: "fog"}
    assert saved(database) == [
        *(("answer", label) for label in ("calm", "storm", "fog", "calm", "storm")),
        ("skip", None),
        ("undo", None),
        ("answer", "fog"),
        ("answer", "fog"),
    ]
    assert page.problems == []


def test_the_next_question_is_there_before_the_server_has_replied(database: Database, site: Site, page) -> None:
    filled(database, 4)
    page.reload()
    page.wait_for_function("() => performance.getEntriesByName(location.origin + '/questions').length > 0")
    page.wait_for_load_state("networkidle")
    site.stop()
    answer_by_key(page, "2", "text 1 ")  # the server is away, and yet
    page.wait_for_selector("#trouble:has-text('1 not saved yet: the server does not answer')")
    page.keyboard.press("3")
    page.wait_for_selector("#trouble:has-text('2 not saved yet')")
    page.goto("about:blank")  # and the tab closed meanwhile
    assert saved(database) == []
    site.start()
    page.goto(f"http://127.0.0.1:{site.port}/")
    settled(page, "2 of 20 labels")
    page.wait_for_selector("#text:has-text('text 2 ')")
    assert saved(database) == [("answer", "storm"), ("answer", "fog")]


def test_an_answer_waits_here_while_the_disk_is_full(database: Database, page) -> None:
    filled(database, 3)
    page.reload()
    page.wait_for_load_state("networkidle")
    with room_for(0):
        answer_by_key(page, "2", "text 1 ")
        page.wait_for_selector("#trouble:has-text('1 not saved yet: the database')")
    settled(page, "1 of 20 labels")
    assert saved(database) == [("answer", "storm")]


def test_an_answer_is_sent_where_the_browser_keeps_nothing(database: Database, page) -> None:
    filled(database, 4)
    page.reload()
    full = "() => { throw new DOMException('full', 'QuotaExceededError'); }"
    page.evaluate(f"() => {{ Storage.prototype.setItem = {full}; }}")
    answer_by_key(page, "2", "text 1 ")
    answer_by_key(page, "3", "text 2 ")
    settled(page, "2 of 20 labels")
    assert saved(database) == [("answer", "storm"), ("answer", "fog")]


def test_an_answer_that_waits_is_sent_as_its_annotators_alone(database: Database, site: Site, page) -> None:
    filled(database, 4)
    page.reload()
    page.wait_for_load_state("networkidle")
    page.route("**/answer", lambda route: route.abort())
    answer_by_key(page, "2", "text 1 ")
    page.wait_for_selector("#trouble:has-text('1 not saved yet')")
    page.click("text=Stop")
    page.fill("#name", "Bob")
    page.unroute("**/answer")
    page.click("text=Start")
    page.wait_for_selector("nav")
    page.wait_for_load_state("networkidle")
    assert saved(database) == []
    page.click("text=Stop")
    enter(page, site)
    settled(page, "1 of 20 labels")
    with database.read() as connection:
        assert connection.execute(select(tables.answer.c.annotator)).scalars().all() == ["Ada"]


def test_focus_stays_and_a_double_click_answers_once(database: Database, page) -> None:
    filled(database, 4)
    page.reload()
    page.focus("[data-key='2']")
    answer_by_key(page, "Enter", "text 1 ")
    assert page.evaluate("document.activeElement.value") == "storm"
    settled(page, "1 of 20 labels")  # so the question after the next is here too
    page.dblclick("[data-key='1']")
    settled(page, "2 of 20 labels")
    assert page.locator("#text").text_content().startswith("text 2 ")
    assert saved(database) == [("answer", "storm"), ("answer", "calm")]
    page.uncheck("#shortcuts input")
    page.keyboard.press("3")
    page.reload()
    page.keyboard.press("3")
    page.wait_for_load_state("networkidle")
    assert len(saved(database)) == 2, "shortcuts are off, and stay off"


def test_a_new_batch_appears_by_itself(database: Database, page) -> None:
    page.wait_for_selector("#wait:has-text('The next batch is being chosen.')")
    filled(database, 1)
    page.wait_for_selector("#ask:has-text('text 0')")
    page.keyboard.press("1")
    page.wait_for_selector("#wait:has-text('The next batch is being chosen.')")
    assert saved(database) == [("answer", "calm")] and page.problems == []


def test_a_page_says_that_labels_were_added_since_it_was_opened(database: Database, site: Site, page) -> None:
    filled(database, 3)
    page.wait_for_selector("#ask:has-text('text 0')")
    answer_by_key(page, "1", "text 1")
    settled(page, "1 of 20 labels")
    assert page.is_hidden("#notice")
    site.stop()
    more = CONFIG.model_copy(update={"classes": {**CONFIG.classes, "hail": "ice"}})
    site.app = create_app(Queue(database, 30), "margin", more, dict)
    site.start()
    answer_by_key(page, "2", "text 2")
    page.wait_for_selector("#notice:has-text('The labels have changed since this page was opened')")
    page.reload()
    page.click("button:has-text('hail')")
    settled(page, "3 of 20 labels")
    assert page.is_hidden("#notice")
    assert saved(database) == [("answer", "calm"), ("answer", "storm"), ("answer", "hail")]


def test_it_works_without_javascript(database: Database, chromium, site: Site) -> None:
    filled(database, 3)
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    enter(page, site)
    page.click("button:has-text('storm')")
    page.wait_for_selector("text=You said “storm”.")
    page.click("#skip")
    page.wait_for_selector("text=You skipped the last question.")
    page.click("text=Undo")
    page.wait_for_selector("text=You said “storm”.")
    page.click("button:has-text('calm')")
    page.wait_for_selector("text=2 of 20 labels")
    context.close()
    assert saved(database) == [("answer", "storm"), ("skip", None), ("undo", None), ("answer", "calm")]


def test_77_classes_are_found_by_typing_and_200_percent_fits(database: Database, chromium) -> None:
    filled(database, 3)
    address = f"https://example.org/{'guideline' * 20}"  # nothing that a browser would break by itself
    classes = {f"intent number {i}": f"what people say in case {i}" for i in range(76)} | {"intent number 76": address}
    config = LabelConfig(classes=classes, question=f"Which one, by {address}?")
    site = Site(create_app(Queue(database, 30), "margin", config, dict))
    site.start()
    try:
        context = chromium.new_context(viewport={"width": 640, "height": 400})  # 1280 × 800 at 200 %
        page = context.new_page()
        enter(page, site)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing scrolls sideways"
        page.keyboard.press("/")
        page.keyboard.type("number 76")
        assert page.locator(".labels button:visible").count() == 1
        answer_by_key(page, "Enter", "text 1 ")
        settled(page, "1 of 500 labels")
        assert saved(database) == [("answer", "intent number 76")]
        assert page.evaluate("document.activeElement.id") == "filter"
        assert page.locator(".labels button:visible").count() == 77
        context.close()
    finally:
        site.stop()


def test_several_labels_are_ticked_by_keys_and_saved_once(database: Database, chromium) -> None:
    filled(database, 5)
    config = CONFIG.model_copy(update={"task": "multilabel"})
    site = Site(create_app(Queue(database, 30, Multilabel(tuple(config.classes))), "margin", config, dict))
    site.start()
    try:
        context = chromium.new_context()
        page = context.new_page()
        enter(page, site)
        assert page.is_disabled("#save") and page.is_enabled("#none")
        page.keyboard.press("Enter")  # nothing is ticked: nothing is said
        page.keyboard.press("3")
        page.keyboard.press("1")
        assert page.is_enabled("#save") and page.is_disabled("#none")
        answer_by_key(page, "Enter", "text 1 ")
        assert page.locator(":checked:visible").count() == 1, "only the switch of the keys"
        page.focus(".choice input")
        page.keyboard.press("2")
        answer_by_key(page, "Enter", "text 2 ")  # in a box, where a browser would submit the form by itself
        answer_by_key(page, "0", "text 3 ")
        page.click("text=nothing to see")
        page.click("#save")
        settled(page, "4 of 20 labels")
        told = ['["calm", "fog"]', '["storm"]', '["none of these"]', '["fog"]']
        assert saved(database) == [("answer", label) for label in told]
        context.close()
    finally:
        site.stop()


def test_a_hostile_text_is_shown_and_does_nothing(database: Database, page) -> None:
    evil = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    queue = Queue(database, 30)
    ids = [*add_documents(database, 2, title=evil)]
    with database.write() as connection:
        connection.execute(update(tables.document).values(text=tables.document.c.text + evil))
        queue.put(connection, "margin", 1, [{"document_id": i, "kind": "policy", "position": i} for i in ids])
    page.reload()
    assert evil in page.locator("#text").text_content() and page.locator("#title").text_content() == evil
    answer_by_key(page, "1", "text 1 ")
    assert evil in page.locator("#text").text_content()
    page.click("text=Your answers")
    assert "owned" not in page.title() and page.locator("article img, li img, main script").count() == 0
    assert page.problems == []


WHY = [
    {
        "label": "fog",
        "pieces": [["<b>dim</b>", 4, False], [" and ", 0, False], ["bright", -2, True]],
        "neighbours": [{"label": "storm", "pieces": [["a ", 0, False], ["<i>gale</i>", 0, True]]}],
    },
    {"label": "none", "pieces": [["so", 0, False]], "neighbours": []},
]


@pytest.fixture
def explained(database: Database) -> Iterator[Site]:
    made = Site(create_app(Queue(database, 30), "margin", CONFIG, dict, explain=lambda document: WHY))
    made.start()
    yield made
    made.stop()


def test_why_is_shown_after_an_answer(database: Database, chromium, explained: Site) -> None:
    filled(database, 2)
    context = chromium.new_context()
    page, problems = context.new_page(), []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    enter(page, explained)
    assert page.locator("#why").is_hidden()
    answer_by_key(page, "2", "text 1 ")
    page.click("#why summary")
    assert page.locator(".reason h3").all_inner_texts() == ["fog", "none"]
    assert page.locator(".reason .text").all_inner_texts() == ["<b>dim</b> and bright", "so"]
    assert page.locator(".reason li").all_inner_texts() == ["storm a <i>gale</i>"]
    assert page.locator(".held").all_inner_texts() == ["bright", "<i>gale</i>"]
    shades = page.eval_on_selector_all(
        ".reason .text mark", "marks => marks.map(m => getComputedStyle(m).backgroundColor)"
    )
    assert len(set(shades)) == 2 and "rgba(0, 0, 0, 0)" not in shades
    page.reload()
    assert page.locator("#why").is_visible() and page.locator(".reason .text mark").count() == 2
    page.keyboard.press("s")
    page.wait_for_selector("#why", state="hidden")
    assert problems == []
    context.close()


NAMES = LabelConfig(task="spans", classes={"person": "a human", "place": "where it is"}, budget=20)
WRITTEN = "😀 Ada O’Neill met Zoë in New York, <b>Oslo</b>. "


@pytest.fixture
def marking(database: Database) -> Iterator[Site]:
    queue = Queue(database, 30, Spans(tuple(NAMES.classes)))
    ids = add_documents(database, 4)
    with database.write() as connection:
        start = case((tables.document.c.id == ids[2], "עדה גרה בלונדון. "), else_=WRITTEN)
        connection.execute(update(tables.document).values(text=start + tables.document.c.text))
        queue.put(connection, "margin", 1, [{"document_id": i, "kind": "policy", "position": i} for i in ids])
    made = Site(create_app(queue, "margin", NAMES, dict))
    made.start()
    yield made
    made.stop()


def press(page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def spot(page, text: str, last: bool = False) -> tuple[float, float]:
    """Where the first (or last) character of a piece of the text is on the screen."""
    found = page.evaluate(
        """([text, last]) => {
            const walker = document.createTreeWalker(document.getElementById('text'), NodeFilter.SHOW_TEXT);
            while (walker.nextNode() && !walker.currentNode.data.includes(text));
            const range = document.createRange();
            const at = walker.currentNode.data.indexOf(text) + (last ? text.length - 1 : 0);
            range.setStart(walker.currentNode, at);
            range.setEnd(walker.currentNode, at + 1);
            const { left, right, top, height } = range.getBoundingClientRect();
            return [last ? right - 1 : left + 1, top + height / 2];
        }""",
        [text, last],
    )
    return found[0], found[1]


def drag(page, start: str, end: str) -> None:
    """Select from before one piece of the text to behind another, by the mouse."""
    page.mouse.move(*spot(page, start))
    page.mouse.down()
    page.mouse.move(*spot(page, end, last=True), steps=4)
    page.mouse.up()


def held(kept: str | None, text: str) -> list[tuple[str, str]]:
    return [(text[one["start"] : one["end"]], one["label"]) for one in json.loads(kept)]


def test_entities_are_marked_by_mouse_and_by_keys(database: Database, chromium, marking: Site) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page, problems = context.new_page(), []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    enter(page, marking)
    marks = page.locator("#text mark")
    # The mouse: a drag, a double click, a type by its key or by a click; what overlaps is told, what is wrong removed.
    assert page.is_disabled("#save") and page.is_enabled("#none") and page.locator("#text b").count() == 0
    page.keyboard.press("1")
    assert "Nothing is selected." in page.inner_text("#marked")
    drag(page, "Ada", "Neill")
    assert page.inner_text("#marked") == "Selected: “Ada O’Neill”"
    page.keyboard.press("1")
    assert page.inner_text("#marked") == "Marked: “Ada O’Neill” (person)"
    drag(page, "Neill", "Zoë")
    page.click("[data-type=place]")
    assert "“Ada O’Neill” is marked already" in page.inner_text("#marked") and marks.count() == 1
    page.mouse.dblclick(*spot(page, "Oslo"))
    page.click("[data-type=person]")
    page.click("[aria-label='Remove person: Oslo']")
    assert page.inner_text("#marked") == "Removed: “Oslo” (person)"
    assert marks.count() == 1 and page.is_enabled("#save") and page.is_disabled("#none")
    # The keys: words by arrows, more of them with Shift; touching entities, another type, one that is taken away again.
    drag(page, "met", "met")
    press(page, "ArrowRight", "2", "ArrowRight", "ArrowRight", "Shift+ArrowRight", "2", "ArrowRight", "1")
    assert marks.all_inner_texts()[1:] == [
        "Zoëplace ×",
        "New Yorkplace ×",
        ",person ×",
    ]
    press(page, "ArrowLeft", "ArrowRight", "Delete")
    press(page, "ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft", "1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#text:has-text('text 1 ')")
    assert marks.count() == 0
    settled(page, "1 of 20 labels")
    page.keyboard.press("0")
    page.wait_for_selector("#text:has-text('text 2 ')")
    # Right to left, the left arrow goes on.
    press(page, "ArrowLeft", "1", "ArrowLeft", "ArrowLeft", "2", "Enter")
    settled(page, "3 of 20 labels")
    with database.read() as connection:
        texts = list(connection.execute(select(tables.document.c.text).order_by(tables.document.c.id)).scalars())
    kept = [label for _, label in saved(database)]
    assert held(kept[0], texts[0]) == [("Ada O’Neill", "person"), ("Zoë", "person"), ("New York", "place")]
    assert kept[1] == "[]" and held(kept[2], texts[2]) == [("עדה", "person"), ("בלונדון", "place")]
    # Undo brings the entities back to go on from; a correction begins with those that were said.
    page.keyboard.press("u")
    page.wait_for_selector("#text:has-text('text 2 ')")
    expect(marks).to_have_count(2)
    page.click("text=Your answers")
    page.click("#slot-1 >> text=Change")
    expect(marks).to_have_count(3)
    page.click("[aria-label='Remove person: Zoë']")
    page.click("#save")
    page.wait_for_url("**/answers#slot-1")
    assert page.locator("#slot-1 mark").count() == 2
    assert held(saved(database)[-1][1], texts[0]) == [("Ada O’Neill", "person"), ("New York", "place")]
    assert problems == []
    context.close()
