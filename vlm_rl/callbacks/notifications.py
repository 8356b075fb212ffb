"""Messages to people, by mail, Slack, Teams, a webhook or whatever else Apprise knows, at the URLs in VLM_RL_NOTIFY.

URLs hold tokens and passwords. They stay in the environment: a process of its own (notification_sender.py) reads them there, and its
output is thrown away, so that no line of a library brings one into a log. It also keeps a slow service from holding up training.
"""

import atexit
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

VARIABLE = (
    "VLM_RL_NOTIFY"  # URLs as Apprise has them, with spaces between: mailto://..., slack://..., msteams://..., json://...
)
MOST_MESSAGES, WINDOW_S = 20, 3600.0  # of one process; what is more is counted, and the count is sent
TIME_LIMIT_S = 30  # for one message to all its places
CLOSING_S = 15.0  # that the end of a process waits for its last messages
LONGEST_TITLE, LONGEST_BODY = 200, 4000  # characters
SENDER = Path(__file__).with_name("notification_sender.py")
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

Send = Callable[[str, str], None]  # (title, body)


def notify(title: str, *, body: str) -> None:
    """Tell people, without waiting for it. Does nothing where VLM_RL_NOTIFY is unset; never raises."""
    if os.environ.get(VARIABLE, "").split():
        _outbox().put(title, body=body)


class Outbox:
    """Sends messages one after another from a thread, at most so many in a time; then one that says how many were held back."""

    def __init__(self, *, send: Send, most: int = MOST_MESSAGES, window_s: float = WINDOW_S) -> None:
        self._send, self._most, self._window_s = send, most, window_s
        self._queue: queue.SimpleQueue[tuple[str, str] | None] = queue.SimpleQueue()
        self._sent: deque[float] = deque()  # when, within the window
        self._held = 0
        self._thread = threading.Thread(target=self._work, name="notifications", daemon=True)
        self._thread.start()

    def put(self, title: str, *, body: str) -> None:
        """Returns at once."""
        self._queue.put((_plain(title.replace("\n", " "), most=LONGEST_TITLE), _plain(body, most=LONGEST_BODY)))

    def close(self, *, timeout_s: float = CLOSING_S) -> None:
        """Wait for what is on its way, and no longer than `timeout_s`."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            try:
                message = self._queue.get(timeout=self._until_a_place() if self._held else None)
            except queue.Empty:
                self._tell_held()
                continue
            if message is None:
                break
            if self._has_place():
                self._send_now(*message)
            else:
                self._held += 1
        if self._held:
            self._tell_held()

    def _until_a_place(self) -> float:
        """Seconds."""
        return 0.0 if self._has_place() else max(0.0, self._sent[0] + self._window_s - time.monotonic())

    def _has_place(self) -> bool:
        while self._sent and self._sent[0] + self._window_s <= time.monotonic():
            self._sent.popleft()
        return len(self._sent) < self._most

    def _send_now(self, title: str, body: str) -> None:
        self._sent.append(time.monotonic())
        self._send(title, body)

    def _tell_held(self) -> None:
        held, self._held = self._held, 0
        count = "1 message was" if held == 1 else f"{held} messages were"
        body = (
            f"At most {self._most} are sent in {self._window_s / 60:.0f} minutes. The alerts stand in alerts.jsonl of each run."
        )
        self._send_now(f"vlm-rl: {count} held back", body)


def send_by_apprise(title: str, body: str) -> None:
    """To every URL of VLM_RL_NOTIFY. Prints which places did not take it, by their number and service alone."""
    message = {"title": title, "body": body, "limit_s": TIME_LIMIT_S, "variable": VARIABLE}
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(SENDER)],
            input=json.dumps(message).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIME_LIMIT_S + 5,
            check=False,
        )
        places = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        print(f"A message could not be sent within {TIME_LIMIT_S} s ({VARIABLE}): {title}", flush=True)
        return
    for number, place in enumerate(places, start=1):
        if not place["is_sent"]:
            why = "did not take it" if place["service"] else "is no URL that Apprise knows"
            service = f" ({place['service']})" if place["service"] else ""
            print(f"A message could not be sent: place {number} of {len(places)} in {VARIABLE}{service} {why}.", flush=True)


def _plain(text: str, *, most: int) -> str:
    """Without control characters, half surrogate pairs and what is too long for a message."""
    clean = UNPRINTABLE.sub(" ", text).encode(errors="replace").decode()
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"


_opened: list[Outbox] = []
_lock = threading.Lock()


def _outbox() -> Outbox:
    """That of this process."""
    with _lock:
        if not _opened:
            _opened.append(Outbox(send=send_by_apprise))
            atexit.register(_opened[0].close)
        return _opened[0]
