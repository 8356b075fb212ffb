"""Two ranks that keep logs, for what gets into them."""

import os
import subprocess
import sys
import time
from pathlib import Path

from forked import run_case

from vlm_rl import ranks
from vlm_rl.commands import leaving, rank_logs


def talking(folder: Path, rank: int) -> object:
    """What this rank says before, in and after two starts, by Python and below it; and what it quotes of the other."""
    with (folder / f"terminal-{rank}").open("w") as terminal:
        os.dup2(terminal.fileno(), 1)
        os.dup2(terminal.fileno(), 2)
    for start in ("first", "second"):
        with rank_logs.written(folder, command=f"the {start} command"):
            print(f"printed at the {start} start by {rank}")
            print("\x1b[1mbold\x1b[0m", file=sys.stderr)
            print("\r\x1b[2Ka bar", flush=True)
            os.write(2, f"written below Python by {rank}\n".encode())
            subprocess.run(["echo", f"said by a process of {rank}"], check=True)
            if rank == 1 and start == "second":
                leaving.say("last words\n")
        print(f"afterwards {rank}", flush=True)
        ranks.gathered(None)
    return rank_logs.last_words(1 - rank)


def growing(folder: Path, rank: int) -> object:
    """More than a log may hold, and a line after that."""
    rank_logs.MOST_BYTES, rank_logs.LOOK_S = 10_000, 0.1
    with rank_logs.written(folder, command="a command"):
        print("x" * 20_000, flush=True)
        deadline = time.monotonic() + 30
        while not rank_logs.log_of(folder, rank).with_suffix(".old.log").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        print("after that", flush=True)
    return rank_logs.log_of(folder, rank).read_text()


def apart(folder: Path, rank: int) -> object:
    """Two machines with a folder of the same name each: as another name of another folder here."""
    rank_logs.NEWS_S = 0.5
    try:
        with rank_logs.written(folder / str(rank), command="a command"):
            return "written"
    except ValueError as error:
        return str(error)


def raising(folder: Path, rank: int) -> object:
    """An error on one rank, and an orderly end on the other."""
    try:
        with rank_logs.written(folder, command="a command"):
            if rank == 1:
                raise KeyError("a mistake")
            raise SystemExit(130)
    except (KeyError, SystemExit):
        return rank_logs.log_of(folder, rank).read_text()


if __name__ == "__main__":
    run_case(talking, growing, apart, raising)
