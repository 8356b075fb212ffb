"""`report.py watch=60`: the report on a page of this machine, made again as the runs go on."""

import os
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import NoReturn

from vlm_rl.callbacks.notifications import notify
from vlm_rl.commands import leaving
from vlm_rl.reports.composition import Content
from vlm_rl.reports.reading.at_work import RunState
from vlm_rl.reports.report import draw_pictures, keep_what_was_judged, read_content, write_report
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.watching.loop import Watcher, new_board, watch
from vlm_rl.rewards.judge import Judge

ENDED = b"\nStopped watching. The last report stays where it is.\n"
AT_WORK, STOPPED = ("running", "starting", "waiting"), ("failed", "interrupted")


def watch_report(
    studies: Sequence[Path], *, out: Path | None, settings: ReportSettings, current_judge: bool, seconds: float, port: int
) -> None:
    """Serve the report until Ctrl-C."""
    check_watch(settings, seconds=seconds)
    leaving.listen(stop_watching)
    folder = studies[0] if out is None else out
    with Judge() if current_judge else nullcontext() as current:
        judge = None if current is None else current.judge

        def make(lately: Collection[Path]) -> Content:
            content, looks = read_content(studies, settings=settings, judge=judge, lately=lately)
            write_report(content, folder=folder, language=settings.language, with_pictures=False)
            keep_what_was_judged(content, looks=looks)
            return content

        def draw(content: Content, is_newest: Callable[[], bool]) -> None:
            draw_pictures(content, folder=folder, is_newest=is_newest)

        watcher = Watcher(
            studies=studies,
            make=make,
            draw=draw,
            tell=tell,
            language=settings.language,
            board=new_board(language=settings.language),
        )
        watch(watcher, folder=folder, seconds=seconds, port=port)


def check_watch(settings: ReportSettings, *, seconds: float) -> None:
    """Refuse what would be done again with each report."""
    if seconds < 1:
        raise ValueError(f"watch={seconds:g} must be at least 1: it is the number of seconds between two looks.")
    if settings.wandb_workspace is not None:
        raise ValueError("watch and report.wandb_workspace do not go together. Save the workspace with a report of its own.")
    if "growing" in settings.accept:
        raise ValueError(
            "watch and report.accept=[growing] do not go together: each report would be a look at the study. "
            "Make a single report with report.accept=[growing]."
        )


def tell(before: Sequence[RunState], content: Content) -> None:
    """People are told of runs that stopped before their end, and of the verdict once all have finished."""
    was = {one.run: one.state for one in before}
    for one in content.states:
        if one.state in STOPPED and was.get(one.run) in AT_WORK:
            notify(f"{one.run}: {one.state}", body=str(one.what))
    if any(one.state in AT_WORK for one in before) and all(one.state == "finished" for one in content.states):
        notify(f"{content.title}: all runs have finished", body=f"{content.decision.headline}\n{content.decision.action}")


def stop_watching(number: int, frame: FrameType | None) -> NoReturn:
    """Ctrl-C, whatever is being made: report.html is whole at any moment."""
    os.write(1, ENDED)
    os._exit(leaving.INTERRUPTED)
