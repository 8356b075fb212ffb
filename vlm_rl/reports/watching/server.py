"""Serves a report on 127.0.0.1 while it is made again: a frame that asks for news, the report in it, and the files beside it.

report.html stays as it lies on disk, without a server. Known files are answered, to GET and HEAD, for this machine's own names: a page of
somebody else, whose name leads here for a moment, reads nothing.
"""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

HOSTS = ("127.0.0.1", "localhost")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".tex": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".pdf": "application/pdf",
}
REPORT, NUMBERS, FILES = "report.html", "report.json", "report_files"
HERE = Path(__file__).parent
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}

News = Mapping[str, Any]  # what the frame shows; `version` changes with each report


class Board:
    """What the frame says, written by the loop and read by the server's threads."""

    def __init__(self, news: News) -> None:
        self._lock, self._news = threading.Lock(), dict(news)

    def put(self, **news: Any) -> None:
        """Replace some of it."""
        with self._lock:
            self._news |= news

    def read(self) -> News:
        """All of it."""
        with self._lock:
            return dict(self._news)


def frame_html(*, language: str) -> tuple[str, str]:
    """The page around the report, and the policy that lets nothing but its own script run."""
    style, script = ((HERE / f"frame.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    template = jinja2.Environment(autoescape=True).from_string((HERE / "frame.html.j2").read_text(encoding="utf-8"))
    page = template.render(language=language, style=Markup(style), script=Markup(script))
    allowed = " ".join(f"{kind}-src '{_hash(text)}';" for kind, text in (("script", script), ("style", style)))
    return page, f"default-src 'none'; {allowed} connect-src 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def serve(board: Board, *, folder: Path, port: int, language: str) -> ThreadingHTTPServer:
    """Answer from threads that end with the process; port 0: any free one."""
    page, policy = frame_html(language=language)

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout = "vlm-rl", "", 30

        def do_GET(self) -> None:
            self._answer(has_body=True)

        def do_HEAD(self) -> None:
            self._answer(has_body=False)

        def _answer(self, *, has_body: bool) -> None:
            if not _is_own(self.headers.get_all("Host", []), port=self.connection.getsockname()[1]):
                self._send(
                    b"This server answers to 127.0.0.1 and localhost.", status=HTTPStatus.MISDIRECTED_REQUEST, has_body=has_body
                )
                return
            path = self.path.partition("?")[0]
            if path == "/":
                self._send(page.encode(), kind=".html", policy=policy, has_body=has_body)
            elif path == "/news.json":
                self._send(json.dumps(board.read()).encode(), kind=".json", has_body=has_body)
            elif (file := known_files(folder).get(path.removeprefix("/"))) is not None and (content := _read(file)) is not None:
                self._send(content, kind=file.suffix, policy="frame-ancestors 'self'", has_body=has_body)
            else:
                self._send(b"There is no such file here.", status=HTTPStatus.NOT_FOUND, has_body=has_body)

        def _send(
            self, content: bytes, *, kind: str = ".tex", policy: str = "", status: HTTPStatus = HTTPStatus.OK, has_body: bool
        ) -> None:
            self.send_response(status)
            extra = {"Content-Type": TYPES[kind], "Content-Length": str(len(content))}
            for name, value in (HEADERS | extra | ({"Content-Security-Policy": policy} if policy else {})).items():
                self.send_header(name, value)
            self.end_headers()
            if has_body:
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a page that asks for news every few seconds would fill the terminal."""

    server = _server(port, handler=Handler)
    threading.Thread(target=server.serve_forever, name="report server", daemon=True).start()
    return server


def _server(port: int, *, handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((HOSTS[0], port), handler)
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"watch_port={port} cannot be served ({error}). Pass another, or leave it out for any free one."
        ) from None


def _is_own(hosts: list[str], *, port: int) -> bool:
    return len(hosts) == 1 and hosts[0] in {name for host in HOSTS for name in (host, f"{host}:{port}")}


def known_files(folder: Path) -> dict[str, Path]:
    """By path on the server: the report and what it wrote beside itself, never what a link leads to."""
    beside = folder / FILES
    there = [folder / REPORT, folder / NUMBERS, *(beside.iterdir() if beside.is_dir() and not beside.is_symlink() else ())]
    files = [file for file in there if file.suffix in TYPES and file.is_file() and not file.is_symlink()]
    return {file.relative_to(folder).as_posix(): file for file in files}


def _read(file: Path) -> bytes | None:
    """None where it has gone since, as files of the last report may."""
    try:
        return file.read_bytes()
    except OSError:
        return None
