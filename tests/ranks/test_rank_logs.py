"""`ranks/rank-0001.log`: all that a rank says, start after start; what the first one says is also where the command was typed."""

from pathlib import Path

import logging_ranks
import pytest
from forked import on_ranks
from forking import Forking

from vlm_rl.commands import rank_logs

SCRIPT = logging_ranks.__file__
pytestmark = pytest.mark.slow


def test_a_log_has_all_that_a_rank_says_and_the_terminal_only_what_the_first_one_says(forking: Forking, tmp_path: Path) -> None:
    of_second, of_first = on_ranks(forking, SCRIPT, "talking", tmp_path)
    first, second = (rank_logs.log_of(tmp_path, rank).read_text() for rank in (0, 1))
    for log in (first, second):
        head, *starts = log.split("\n=== ")
        assert head == "" and [start.partition("\n")[0].rpartition(": ")[2] for start in starts] == [
            "the first command",
            "the second command",
        ]
        assert all("bold" in start and start.endswith("\nEnded.\n") for start in starts)
    below = ("written below Python by 1", "said by a process of 1")
    assert all(second.count(line) == 2 for line in ("printed at the first start by 1", *below)[1:])
    assert "printed at the first start by 0" in first and "printed at the second start by 0" in first
    assert "by a process" not in first and "a bar" not in first and "afterwards" not in first + second
    typed = [(tmp_path / f"terminal-{rank}").read_text() for rank in (0, 1)]
    assert "printed at the first start by 0" in typed[0] and "said by a process of 0" in typed[0] and "a bar" in typed[0]
    assert typed[1] == "afterwards 1\nlast words\nafterwards 1\n"
    log = rank_logs.log_of(tmp_path, 1)
    assert of_second.startswith(f" Its log is {log}, and ends:\n  printed at the second start by 1\n")
    assert "last words" in of_second and "first" not in of_second
    assert of_first.startswith(f" Its log is {rank_logs.log_of(tmp_path, 0)}, and ends:")


def test_a_log_does_not_grow_without_end(forking: Forking, tmp_path: Path) -> None:
    for rank, log in enumerate(on_ranks(forking, SCRIPT, "growing", tmp_path)):
        assert log == "after that\nEnded.\n"
        old = rank_logs.log_of(tmp_path, rank).with_suffix(".old.log")
        assert old.stat().st_size > 20_000 and "rank-000" in old.name
    assert len(list((tmp_path / rank_logs.FOLDER).iterdir())) == 4


def test_machines_that_do_not_share_the_folder_are_told_so(forking: Forking, tmp_path: Path) -> None:
    """Each would write its part of the records into its own, and find no checkpoint to go on from."""
    for said in on_ranks(forking, SCRIPT, "apart", tmp_path):
        assert "is not the folder that the first rank writes to" in said
        assert "All machines of a run need one file system that holds its outputs." in said


def test_a_log_says_how_it_ended(forking: Forking, tmp_path: Path) -> None:
    first, second = on_ranks(forking, SCRIPT, "raising", tmp_path)
    assert first.endswith("\nEnded with exit code 130.\n")
    assert second.endswith("\nKeyError: 'a mistake'\n") and "Traceback (most recent call last)" in second


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "run" / "ranks").mkdir(parents=True)
    (tmp_path / "run" / "ranks" / "rank-0000.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is a link that leads out of the run's folder"):
        rank_logs.check_places(tmp_path / "run", rank=0)
