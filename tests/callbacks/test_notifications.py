"""Messages to people: by Apprise's own URLs to a receiver on this machine, and what is never said of those URLs."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from vlm_rl.callbacks import notifications
from vlm_rl.callbacks.notifications import Outbox, notify, send_by_apprise

SECRETS = ("hunter2", "T0KEN", "somebody")  # password, token and user of the URLs below


@dataclass
class Receiver:
    """What came in, and where."""

    status: int = 200
    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"json://somebody:hunter2@127.0.0.1:{self.port}/T0KEN"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append({"path": self.path, **json.loads(body)})
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_message_reaches_every_place(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_RL_NOTIFY", f"{receiver.url}  {receiver.url}/second")
    send_by_apprise("s/default/seed-0: truncation", "Generation step 7: 38 % were cut off.")
    assert [one["path"] for one in receiver.got] == ["/T0KEN", "/T0KEN/second"]
    assert {(one["title"], one["message"]) for one in receiver.got} == {
        ("s/default/seed-0: truncation", "Generation step 7: 38 % were cut off.")
    }


def refused_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.mark.slow
def test_no_secret_is_said_where_places_refuse(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    gone = f"json://somebody:hunter2@127.0.0.1:{refused_port()}/T0KEN"
    monkeypatch.setenv("VLM_RL_NOTIFY", f"{receiver.url} {gone} T0KEN://hunter2")
    with caplog.at_level(logging.DEBUG):
        send_by_apprise("title", "body")
    said = capfd.readouterr()
    assert len(receiver.got) == 1
    assert "place 1 of 3 in VLM_RL_NOTIFY (JSON) did not take it" in said.out
    assert "place 2 of 3 in VLM_RL_NOTIFY (JSON) did not take it" in said.out
    assert "place 3 of 3 in VLM_RL_NOTIFY is no URL that Apprise knows" in said.out
    assert not [secret for secret in SECRETS if secret in said.out + said.err + caplog.text]


@pytest.mark.slow
def test_the_last_message_of_a_process_goes_out_and_training_does_not_wait(receiver: Receiver, tmp_path: Path) -> None:
    code = (
        "import time, logging; logging.basicConfig(level=logging.DEBUG)\n"
        "from vlm_rl.callbacks.notifications import notify\n"
        "begun = time.perf_counter(); notify('last', body='words'); print(time.perf_counter() - begun < 0.2)"
    )
    environment = os.environ | {"VLM_RL_NOTIFY": receiver.url}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert [one["title"] for one in receiver.got] == ["last"]
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]


def test_nothing_is_imported_or_started_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_RL_NOTIFY", " ")
    monkeypatch.setattr(notifications, "_outbox", lambda: pytest.fail("an outbox was opened"))
    notify("title", body="body")


def test_more_than_so_many_messages_are_held_back_and_counted() -> None:
    sent: list[str] = []
    outbox = Outbox(send=lambda title, _: sent.append(title), most=3, window_s=3600.0)
    for number in range(10):
        outbox.put(f"{number}", body="")
    outbox.close()
    assert sent == ["0", "1", "2", "vlm-rl: 7 messages were held back"]


def test_what_was_held_back_is_told_as_soon_as_there_is_a_place_again() -> None:
    told = threading.Event()

    def send(title: str, body: str) -> None:
        if "held back" in title:
            assert "At most 1 are sent" in body
            told.set()

    outbox = Outbox(send=send, most=1, window_s=0.3)
    outbox.put("first", body="")
    outbox.put("second", body="")
    assert told.wait(10)
    outbox.close()


def test_a_message_has_no_control_characters_and_an_end() -> None:
    sent: list[tuple[str, str]] = []
    outbox = Outbox(send=lambda title, body: sent.append((title, body)))
    outbox.put("two\nlines\x1b", body="x" * 5000 + "\ud800")
    outbox.close()
    ((title, body),) = sent
    assert title == "two lines " and body == "x" * 3999 + "…"
