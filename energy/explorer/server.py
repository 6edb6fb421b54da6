"""The explorer's server: http.server's threads for connections, one thread for simulations, no other package.

Fragments are rendered where the numbers are, by the templates and figures of the reports, and some hundred lines of
script put them in their place. Starlette, NiceGUI, Panel and Dash bring a server, a session per window and megabytes
of script for widgets that a browser has; Streamlit runs the program anew on each move. None draws our figures, and
each would have to be there before the first look. A single user on a loopback needs none of that.

Security: it listens on the loopback; a request must name that host, so that no page of another site reads answers by
a name that it points here (DNS rebinding); only GET; words of an address are matched against shipped names and ranges
(``energy.explorer.state``); nothing of it names a file; pages load nothing from elsewhere and cannot be framed.
"""

import ipaddress
import json
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit

from energy.explorer.answers import answer_of
from energy.explorer.exports import report_html, study_yaml
from energy.explorer.limit import Overtime, limited
from energy.explorer.page import asset, map_html, page_html, refusal_html, result_html, why_not_json
from energy.explorer.state import State, read_address
from hw.errors import InputError
from sim import store

__all__ = ["Explorer", "Reply", "reply_to"]

_LOG = logging.getLogger(__name__)
_LOCAL = ("localhost", "127.0.0.1", "::1")
_HTML, _JSON, _TEXT = "text/html", "application/json", "text/plain"
_OWN = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self'"
_STATIC = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"  # a report is one file
_REDRAW_S = 0.15  # of a redraw on the server
_NEWS = 0.3  # weight of the latest redraw in what is expected of the next one
_GIVING_WAY = ("/result", "/map")  # what follows a redraw, unless somebody asks for something newer
_CLOSED = "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_ASSETS = {"/explorer.css": "text/css", "/explorer.js": "text/javascript"}


class Reply(NamedTuple):
    """What is sent."""

    status: HTTPStatus
    kind: str  # media type
    body: str
    policy: str = _OWN
    refused: bool = False
    name: str = ""  # of a file to be stored
    whole: bool = True  # False: some machines are still to be simulated


def reply_to(path: str, query: str) -> Reply:
    """The reply to a GET of ``path``; a state that cannot be is one line, with status 400."""
    if path in _ASSETS:
        return Reply(HTTPStatus.OK, _ASSETS[path], asset(path.removeprefix("/")))
    if path == "/favicon.ico":
        return Reply(HTTPStatus.NO_CONTENT, "image/x-icon", "")
    if path not in _PAGES:
        return Reply(HTTPStatus.NOT_FOUND, _TEXT, f"path must be one of {', '.join(_PAGES)}\n")
    try:
        state, pinned = read_address(query)
    except InputError as error:
        return _refusal(path, HTTPStatus.BAD_REQUEST, str(error), None, None)
    try:
        return _PAGES[path](state, pinned)
    except Overtime:
        return Reply(HTTPStatus.NO_CONTENT, _TEXT, "", whole=False)  # it gave way to a newer request
    except InputError as error:
        return _refusal(path, HTTPStatus.OK, str(error), state, pinned)


def _refusal(path: str, shown: HTTPStatus, reason: str, state: State | None, pinned: State | None) -> Reply:
    """In the form that the path has; a page that shows why a machine cannot be is no failure (``shown``)."""
    if path not in ("/", "/redraw", "/result"):
        return Reply(HTTPStatus.BAD_REQUEST, _JSON, json.dumps({"error": reason}) + "\n", refused=True)
    body = refusal_html(reason, state, pinned)
    if path == "/":
        body = page_html(state or State.default(), pinned, body)
    return Reply(shown, _HTML, body, refused=True)


def _page(state: State, pinned: State | None) -> Reply:
    body, whole = result_html(state, pinned)
    return Reply(HTTPStatus.OK, _HTML, page_html(state, pinned, body), whole=whole)


def _result(state: State, pinned: State | None) -> Reply:
    body, whole = result_html(state, pinned)
    return Reply(HTTPStatus.OK, _HTML, body, whole=whole)


def _map(state: State, pinned: State | None) -> Reply:
    return Reply(HTTPStatus.OK, _HTML, map_html(state, pinned))


def _why(state: State, _: State | None) -> Reply:
    return Reply(HTTPStatus.OK, _JSON, json.dumps(why_not_json(state)))


def _design(state: State, _: State | None) -> Reply:
    return Reply(HTTPStatus.OK, _JSON, json.dumps(answer_of(state).summary.model_dump(mode="json"), indent=1) + "\n")


def _study(state: State, _: State | None) -> Reply:
    return Reply(HTTPStatus.OK, "application/yaml", study_yaml(state), name="explorer.yaml")


def _report(state: State, _: State | None) -> Reply:
    return Reply(HTTPStatus.OK, _HTML, report_html(state), _STATIC)


_PAGES: dict[str, Callable[[State, State | None], Reply]] = {
    "/": _page,
    "/redraw": _result,  # what can be simulated in time
    "/result": _result,  # all of it
    "/map": _map,
    "/why": _why,
    "/design.json": _design,
    "/study.yaml": _study,
    "/report": _report,
}


class Explorer(ThreadingHTTPServer):
    """The listening server.

    Raises:
        InputError: a host or port on which it cannot listen.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._simulations = ThreadPoolExecutor(1, "simulations")
        self._waiting, self._count = 0, threading.Lock()
        self._closing_s = 0.03  # from the run that was not begun until the redraw is drawn, lately
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            self._simulations.shutdown()
            raise InputError(
                f"host and port must be free to listen on, not {host}:{port} ({error}); give others by --host and "
                "--port, where 0 is any that is free"
            ) from None

    @property
    def url(self) -> str:
        """What a browser opens."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.server_address[1]}/"

    @property
    def is_local(self) -> bool:
        """Whether nothing but this machine reaches it."""
        return self._host == "localhost" or (_is_address(self._host) and ipaddress.ip_address(self._host).is_loopback)

    def admits(self, host: str | None) -> bool:
        """Whether a request may name this host: a name that is no own one may be pointed here by somebody else."""
        try:
            name = urlsplit(f"//{host or ''}").hostname or ""
        except ValueError:
            return False
        return name in (*_LOCAL, self._host) or (not self.is_local and _is_address(name))

    def warm(self) -> None:
        """Load what simulates, and answer the first view."""
        self._simulations.submit(_warm).result()

    def reply(self, path: str, query: str) -> Reply:
        """By the one thread that simulates."""
        begun = time.perf_counter()
        self._wait(1)
        return self._simulations.submit(self._reply, path, query, begun).result()

    def _reply(self, path: str, query: str, begun: float) -> Reply:
        """A redraw is in time; what follows one gives way to the requests that wait."""
        self._wait(-1)
        if path == "/redraw":
            return self._redraw(query, begun)
        with limited(lambda _: self._waiting > 0 and path in _GIVING_WAY):
            return reply_to(path, query)

    def _redraw(self, query: str, begun: float) -> Reply:
        """Begin runs that are expected to leave the time that drawing took lately."""
        checked, end = 0.0, begun + _REDRAW_S - self._closing_s

        def is_over(expected_s: float) -> bool:
            nonlocal checked
            checked = time.perf_counter()
            return self._waiting > 0 or checked + expected_s > end

        with limited(is_over):
            reply = reply_to("/redraw", query)
        if not reply.whole:
            took = min(_REDRAW_S, time.perf_counter() - checked)
            self._closing_s += _NEWS * (took - self._closing_s)
        return reply

    def _wait(self, more: int) -> None:
        """Count requests that wait for that thread."""
        with self._count:
            self._waiting += more

    def server_close(self) -> None:
        """Stop listening; a simulation that runs is the last."""
        super().server_close()
        self._simulations.shutdown(cancel_futures=True)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a connection may rest
    server: Explorer

    def do_GET(self) -> None:
        """Everything there is."""
        if not self.server.admits(self.headers.get("Host")):
            self._send(Reply(HTTPStatus.MISDIRECTED_REQUEST, _TEXT, "Host must be the explorer's own address\n"), 0.0)
            return
        start, parts = time.perf_counter(), urlsplit(self.path)
        try:
            reply = self.server.reply(parts.path, parts.query)
        except Exception:  # a defect: the traceback is for the terminal, the server goes on
            _LOG.exception("GET %s", self.path)
            reply = Reply(HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, "a defect; see the terminal of tritforge explore\n")
        self._send(reply, 1e3 * (time.perf_counter() - start))

    def _send(self, reply: Reply, milliseconds: float) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        headers = {
            "Content-Type": f"{reply.kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": reply.policy + _CLOSED,
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
            "X-Draw-Ms": f"{milliseconds:.0f}",
            "Server-Timing": f"draw;dur={milliseconds:.1f}",
        }
        headers |= {"X-Refused": "1"} if reply.refused else {}
        headers |= {} if reply.whole else {"X-Partial": "1"}
        headers |= {"Content-Disposition": f'attachment; filename="{reply.name}"'} if reply.name else {}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        """Requests are not worth a line each."""
        _LOG.debug(format, *words)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _warm() -> None:
    """The store of earlier processes is left alone: its runs would spare the kernels until a slider moves."""
    store.close()
    state = State.default()
    result_html(state, None)
    map_html(state, None)
    why_not_json(state)
