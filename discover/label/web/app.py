"""The labeling queue in a browser: plain forms that work without JavaScript, and one script that makes them quick.

A request touches the database only, never a model, so an annotator never waits for a training.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import Depends, FastAPI, Form, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from discover.errors import DiscoverError, Unavailable
from discover.label.config import LabelConfig
from discover.label.queue import Queue
from discover.label.slots import NAME_LENGTH, SNIPPET
from discover.label.web.desk import PAGE, Desk, Explain, Suggest
from discover.label.web.guard import Guard
from discover.pool.document import clean
from discover.pool.labels import NONE

HERE = Path(__file__).parent
NAME = "discover_annotator"
YEAR = 365 * 24 * 3600

SlotId = Annotated[int, Field(ge=1, le=2**63 - 1)]  # what the database can look for
Slot = Annotated[SlotId, Form()]
Skip = Annotated[int, Query(ge=0, le=2**31)]  # answers that are newer than the first on the page
Token = Annotated[str, Form(min_length=32, max_length=32)]
Key = Annotated[str, Form(pattern="^[0-9a-f]{32}$")]
Given = Annotated[list[str], Form(default_factory=list)]  # the label; or each that is ticked, or that none fits


class _Nameless(Exception):
    """The visitor has not said who they are."""


def create_app(
    queue: Queue,
    arm: str,
    config: LabelConfig,
    progress: Callable[[], dict[str, Any]],
    suggest: Suggest | None = None,
    explain: Explain | None = None,
    *,
    token: str | None = None,
    run: str = "",
) -> FastAPI:
    """Make the pages; `uvicorn.run` serves them.

    Args:
        queue: the questions.
        arm: whose questions are asked.
        config: classes, question and budget.
        progress: see `Desk.progress`; called with each page, so it must be quick.
        suggest: see `Desk.suggest`.
        explain: see `Desk.explain`.
        token: what visitors must bring once, as ``/?token=…``; without one only loopback host names are answered.
        run: names the run, so that an answer that waits in a browser goes to no other.
    """

    def meant(request: Request) -> None:
        if request.headers.get("discover-run", run) != run:
            raise Unavailable("another run is served here now: reload the page for it, or bring the one before back")
        by = request.headers.get("discover-annotator")
        if by is not None and unquote(by) != _annotator(request):
            raise Unavailable("someone else labels in this browser now: reload the page; what you said waits for you")

    guard = [Middleware(Guard, token=token)]
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, middleware=guard, dependencies=[Depends(meant)])
    pages = Jinja2Templates(HERE / "templates")
    pages.env.globals["run"] = run
    desk = Desk(queue, arm, config, progress, suggest, explain)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    _handle_errors(app, pages)
    _ask(app, pages, desk)
    _look_back(app, pages, desk)
    return app


def _annotator(request: Request) -> str:
    name = _clean_name(unquote(request.cookies.get(NAME, "")))
    if not name:
        raise _Nameless
    return name


Annotator = Annotated[str, Depends(_annotator)]


def _clean_name(name: str) -> str:
    return " ".join(clean(name).split())[:NAME_LENGTH].strip()


def _by_script(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _choices(desk: Desk) -> dict[str, Any]:
    """What both pages need to know of an answer."""
    return {"multilabel": desk.multilabel, "none_fits": NONE, "spans": desk.spans}


def _ask(app: FastAPI, pages: Jinja2Templates, desk: Desk) -> None:
    """The page with the question, and what its buttons do."""

    def now(request: Request, annotator: str, overruled: bool = False) -> Response:
        if _by_script(request):
            return JSONResponse(desk.state(annotator, overruled))
        return RedirectResponse("/?overruled=true" if overruled else "/", 303)

    @app.get("/")
    def question(request: Request, annotator: Annotator, overruled: bool = False) -> Response:
        state = desk.state(annotator, overruled)
        context = {"state": state, "labels": desk.labels(), "asked": desk.config.question, "annotator": annotator}
        return pages.TemplateResponse(request, "question.html", {**context, **_choices(desk)})

    @app.get("/questions")
    def questions(annotator: Annotator) -> Response:
        return JSONResponse(desk.state(annotator))

    @app.post("/answer")
    def answer(request: Request, annotator: Annotator, slot: Slot, token: Token, key: Key, label: Given) -> Response:
        outcome = desk.queue.answer(slot, token, annotator, desk.read(slot, label), key)
        return now(request, annotator, outcome.overruled)

    @app.post("/skip")
    def skip(request: Request, annotator: Annotator, slot: Slot, token: Token, key: Key) -> Response:
        desk.queue.skip(slot, token, annotator, key)
        return now(request, annotator)

    @app.post("/undo")
    def undo(request: Request, annotator: Annotator, slot: Slot) -> Response:
        desk.queue.undo(annotator, desk.arm, slot)  # a second click on the same button undoes no second answer
        return now(request, annotator)

    @app.post("/correct")
    def correct(annotator: Annotator, slot: Slot, label: Given) -> Response:
        desk.earlier(annotator, slot)  # of another's answers nothing is changed
        desk.queue.correct(slot, annotator, desk.read(slot, label))
        return RedirectResponse(f"/answers#slot-{slot}", 303)


def _look_back(app: FastAPI, pages: Jinja2Templates, desk: Desk) -> None:
    """The annotator's own answers, and who the annotator is."""

    @app.get("/answers")
    def answers(request: Request, annotator: Annotator, skip: Skip = 0) -> Response:
        history, classes = desk.history(annotator, skip), list(desk.config.classes)
        context = {"history": history, "classes": classes, "annotator": annotator, "snippet": SNIPPET}
        context |= {"skip": skip, "page": PAGE}
        return pages.TemplateResponse(request, "answers.html", {**context, **_choices(desk)})

    @app.get("/answers/{slot}")
    def marked(request: Request, annotator: Annotator, slot: SlotId) -> Response:
        if not desk.spans:  # other answers are corrected where they are listed
            return RedirectResponse(f"/answers#slot-{slot}", 303)
        context = {"past": desk.earlier(annotator, slot), "labels": desk.labels(), "annotator": annotator}
        return pages.TemplateResponse(request, "correct.html", context)

    @app.post("/name")
    def name(request: Request, name: Annotated[str, Form()]) -> Response:
        cleaned = _clean_name(name)
        if not cleaned:
            raise DiscoverError("a name needs at least one visible character: go back and type one")
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(NAME, quote(cleaned), YEAR, httponly=True, samesite="lax", secure=secure)
        return response

    @app.post("/stop")
    def stop(annotator: Annotator) -> Response:
        desk.queue.release(annotator)
        response = RedirectResponse("/", 303)
        response.delete_cookie(NAME)
        return response


def _handle_errors(app: FastAPI, pages: Jinja2Templates) -> None:
    """Every refusal is one sentence, on a page or as JSON."""

    def tell(request: Request, message: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
        if _by_script(request):
            return JSONResponse({"error": message}, status, headers)
        return pages.TemplateResponse(request, "message.html", {"message": message}, status, headers)

    @app.exception_handler(DiscoverError)
    def refused(request: Request, error: DiscoverError) -> Response:
        return tell(request, str(error), 400)

    @app.exception_handler(Unavailable)
    def unavailable(request: Request, error: Unavailable) -> Response:
        return tell(request, str(error), 503)  # not 400, on which the script gives an answer up: it sends it again

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        fields = ", ".join(str(problem["loc"][-1]) for problem in error.errors())
        return tell(request, f"the form's {fields} cannot be read: reload the page and try again", 400)

    @app.exception_handler(HTTPException)
    def missing(request: Request, error: HTTPException) -> Response:
        return tell(request, f"{request.url.path}: {error.detail.lower()}", error.status_code, error.headers)

    @app.exception_handler(_Nameless)
    def nameless(request: Request, _error: _Nameless) -> Response:
        if _by_script(request):
            return JSONResponse({"error": "say who you are first: reload the page"}, 401)
        lost = request.method == "POST"
        context = {"length": NAME_LENGTH, "lost": lost}
        return pages.TemplateResponse(request, "name.html", context, 401 if lost else 200)
