"""What every request passes first: host, token, origin and size are checked, and every answer carries strict headers.

Refusals are plain text. Not here: who the annotator is, which is a name they choose, not a login.
"""

import hashlib
import hmac
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BODY_BYTES = 64 << 10
COOKIE = "discover_token"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # no-referrer would make browsers send `Origin: null` with our own forms
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware around the pages.

    Args:
        app: what is guarded.
        token: asked of every visitor; None lets everyone in, and then only by a loopback name, because a page from
            elsewhere may point its own host name at this machine.
    """

    def __init__(self, app: ASGIApp, token: str | None):
        self.app = app
        self.token = token
        self.cookie = hashlib.sha256(token.encode()).hexdigest() if token else ""
        self.name = f"{COOKIE}_{self.cookie[:8]}"  # of its own: a host's ports share their cookies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the request, then pass it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        refusal = self._check_visitor(scope, headers) or _check_origin(scope, headers)
        if refusal is None and scope["method"] == "POST":
            try:
                body = await _read(receive, headers)
            except ClientDisconnect:  # of half a form nothing counts, and nobody is there to be told
                return
            if body is None:
                refusal = PlainTextResponse(f"a form has at most {BODY_BYTES} bytes", 413)
            else:
                receive = _replay(body, receive)
        if scope["method"] == "HEAD":  # as monitors ask; the server, which knows the true method, sends no body
            scope = {**scope, "method": "GET"}
        await (refusal or self.app)(scope, receive, send_strict)

    def _check_visitor(self, scope: Scope, headers: Headers) -> Response | None:
        if self.token is None:
            if _host_name(headers.get("host", "")) not in LOOPBACK:
                return PlainTextResponse("served on this machine only: open it as http://127.0.0.1", 403)
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if hmac.compare_digest(given.encode(), self.token.encode()):
            response = RedirectResponse("/", 303)
            secure = scope["scheme"] == "https"
            response.set_cookie(self.name, self.cookie, httponly=True, samesite="lax", secure=secure)
            return response
        if hmac.compare_digest(Request(scope).cookies.get(self.name, "").encode(), self.cookie.encode()):
            return None
        return PlainTextResponse("open the address that `discover serve` printed: it ends in ?token=…", 401)


def _host_name(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _check_origin(scope: Scope, headers: Headers) -> Response | None:
    """Let a form in only from our own pages. A client that says nothing of its origin is no browser, so no forgery."""
    if scope["method"] in ("GET", "HEAD"):
        return None
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    host = headers.get("host", "")
    own = site == "same-origin" if site else origin in (None, f"http://{host}", f"https://{host}")
    return None if own else PlainTextResponse("this form was sent by a page from elsewhere", 403)


async def _read(receive: Receive, headers: Headers) -> bytes | None:
    """The whole body, or None when it is too large, whether it says so beforehand or not.

    Raises:
        ClientDisconnect: it broke off.
    """
    declared = headers.get("content-length", "0")
    if not declared.isdigit() or int(declared) > BODY_BYTES:
        return None
    body, more = b"", True
    while more and len(body) <= BODY_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body if len(body) <= BODY_BYTES else None


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [body]

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replay
