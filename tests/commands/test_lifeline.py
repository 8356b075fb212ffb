"""Ranks as connections in one process: who is told of whose death, and of whose not."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from vlm_rl.commands import lifeline
from vlm_rl.commands.lifeline import Lifeline, Lost, held

SOON = timedelta(seconds=10)


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], tuple[list[Lifeline], dict[int, Lost]]]]:
    """So many ranks that hold together, and what ended each of them."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(lifeline, "GATHERING_S", 0.2)
    monkeypatch.setattr(lifeline, "PATIENCE_S", 0.1)
    ends: list[Callable[..., object]] = []
    monkeypatch.setattr(lifeline.atexit, "register", lambda *end: ends.append(lambda: end[0](*end[1:])))

    def make(num_ranks: int) -> tuple[list[Lifeline], dict[int, Lost]]:
        store, made, left = HashStore(), {}, {}  # type: ignore[var-annotated]

        def join(rank: int) -> None:
            made[rank] = held(store, rank=rank, num_ranks=num_ranks, limit=SOON, leave=lambda lost: left.setdefault(rank, lost))

        joining = [threading.Thread(target=join, args=(rank,)) for rank in range(num_ranks)]
        for thread in joining:
            thread.start()
        for thread in joining:
            thread.join()
        return [made[rank] for rank in range(num_ranks)], left

    yield make
    for end in ends:
        end()


def die(line: Lifeline) -> None:
    """As the system does where a process has been killed."""
    line._connection.shutdown(socket.SHUT_RDWR)


def wait_until(seen: Callable[[], bool]) -> None:
    """A few seconds at most."""
    deadline = time.monotonic() + 10
    while not seen() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert seen()


def test_a_rank_that_is_killed_ends_all_others(lines: Callable[[int], tuple[list[Lifeline], dict[int, Lost]]]) -> None:
    made, left = lines(4)
    die(made[2])
    wait_until(lambda: {0, 1, 3} <= left.keys())
    for rank in (0, 1, 3):
        assert left[rank].rank == 2
        assert left[rank].what.startswith("(process ") and "ended without a word: it was killed" in left[rank].what


def test_without_the_first_rank_all_others_end(lines: Callable[[int], tuple[list[Lifeline], dict[int, Lost]]]) -> None:
    """Its process held the hub, too: each rank sees its connection close."""
    made, left = lines(3)
    for line in made[1:]:
        die(line)
    wait_until(lambda: left.keys() >= {1, 2})
    assert {left[rank].rank for rank in (1, 2)} == {0}


def test_the_rank_to_blame_is_named_though_another_complains_first(
    lines: Callable[[int], tuple[list[Lifeline], dict[int, Lost]]],
) -> None:
    made, left = lines(3)
    told: list[Lost | None] = []
    complaining = threading.Thread(
        target=lambda: told.append(made[1].failed("failed: Connection closed by peer", blames_another=True))
    )
    complaining.start()
    time.sleep(0.05)
    assert made[2].failed("failed: KeyError: 'x'", blames_another=False) == Lost(rank=2, what="failed: KeyError: 'x'")
    complaining.join()
    assert told[0] is not None and told[0].rank == 2
    wait_until(lambda: left.keys() == {0, 1, 2})


def test_a_rank_whose_work_is_done_is_not_lost(lines: Callable[[int], tuple[list[Lifeline], dict[int, Lost]]]) -> None:
    made, left = lines(3)
    made[1].done()
    die(made[1])
    time.sleep(0.5)
    assert left.keys() <= {1} and made[0].lost is None and made[2].lost is None
    die(made[2])
    wait_until(lambda: 0 in left)


def test_a_stranger_is_not_a_rank(lines: Callable[[int], tuple[list[Lifeline], dict[int, Lost]]]) -> None:
    made, left = lines(2)
    port = made[0]._connection.getpeername()[1]
    for text in (b'{"token": "guessed", "rank": 1}\n{"lost": {"rank": 1, "what": "x"}}\n', b"no json\n", b"[]\n"):
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(text)
            assert stranger.recv(1) == b""
    assert not left and made[1].lost is None


def test_a_rank_that_does_not_come_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with pytest.raises(ValueError, match=r"Not all 3 ranks of this run came within 0:00:00.2\d*. Missing: 1, 2."):
        held(HashStore(), rank=0, num_ranks=3, limit=timedelta(seconds=0.2), leave=print)
