"""Sends one message to every URL of VLM_RL_NOTIFY, in a process of its own: `notifications.py` starts it.

Standard input: the message as JSON. Standard output: what became of each place, without any part of its URL. What Apprise, or a library
below it, logs or prints ends with this process: their lines may hold URLs, and these tokens and passwords.
"""

import contextlib
import json
import logging
import os
import signal
import sys


def send(urls: list[str], *, title: str, body: str) -> list[dict[str, object]]:
    """For each URL the name of its service, empty where Apprise does not know it, and whether the message was taken."""
    from apprise import Apprise, AppriseAsset, NotifyFormat

    found: list[dict[str, object]] = []
    for url in urls:
        place, service, is_sent = None, "", False
        with contextlib.suppress(Exception):  # its text may hold the URL
            place = Apprise.instantiate(
                url, asset=AppriseAsset(async_mode=False, secure_logging=True), suppress_exceptions=False
            )
        if place is not None:
            service = str(getattr(place, "service_name", ""))
            with contextlib.suppress(Exception):
                is_sent = bool(place.notify(body=body, title=title, body_format=NotifyFormat.TEXT))
        found.append({"service": service, "is_sent": is_sent})
    return found


def main() -> None:
    """One message from standard input."""
    message = json.load(sys.stdin)
    signal.alarm(int(message["limit_s"]))  # ends this process, also where the one that started it is gone
    answer = os.dup(1)
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    logging.disable(logging.CRITICAL)
    found = send(os.environ[message["variable"]].split(), title=message["title"], body=message["body"])
    os.write(answer, json.dumps(found).encode())


if __name__ == "__main__":
    main()
