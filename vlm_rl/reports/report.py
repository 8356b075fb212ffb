"""From run folders to report.html, report.json and, in report_files/, tables as CSV, Markdown and LaTeX, figures as PNG and PDF."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlm_rl.evaluation.verdict import Outcome
from vlm_rl.reports.composition import Content, content_of
from vlm_rl.reports.export import latex, markdown
from vlm_rl.reports.figures.drawing import write_figure, write_forest
from vlm_rl.reports.memory import Memory
from vlm_rl.reports.page.html import render_html
from vlm_rl.reports.phrase import Catalogue, catalogue_of
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.at_work import find_at_work
from vlm_rl.reports.reading.records import read_records
from vlm_rl.reports.reading.rejudge import Judging
from vlm_rl.reports.reading.runs import ReportError, find_runs
from vlm_rl.reports.settings import ReportSettings
from vlm_rl.reports.tables.table import write_whole
from vlm_rl.reports.verdicts.looks import Looks, keep_looks, read_looks
from vlm_rl.reports.wandb_workspace import save_workspace

SUFFIXES = (".csv", ".md", ".tex", ".png", ".pdf")  # of all that is written to report_files/


def make_report(studies: Sequence[Path], *, out: Path | None, settings: ReportSettings, judge: Judging | None = None) -> Path:
    """Write the report on study, variant or run folders to `out`, by default the first of them, and return report.html's path.

    `judge` (as Judge.judge) judges every stored answer again; None takes the verdicts as stored.
    """
    with Memory().making():  # files that several arms share are read once
        records, looks = _read(studies, settings=settings, judge=judge)
        content = content_of(records, settings=settings, looks=looks)
        path = write_report(content, folder=studies[0] if out is None else out, language=settings.language)
    keep_what_was_judged(content, looks=looks)
    if settings.wandb_workspace is not None:  # last: whatever the network does, the report is there
        print(f"workspace: {save_workspace(records, path=settings.wandb_workspace)}")
    return path


def read_content(
    studies: Sequence[Path], *, settings: ReportSettings, judge: Judging | None, lately: Collection[Path]
) -> tuple[Content, Looks]:
    """What a report says, and the looks that its studies keep; `lately`: studies where somebody was at work a moment ago."""
    records, looks = _read(studies, settings=settings, judge=judge, lately=lately)
    return content_of(records, settings=settings, looks=looks), looks


def _read(
    studies: Sequence[Path], *, settings: ReportSettings, judge: Judging | None, lately: Collection[Path] = ()
) -> tuple[Records, Looks]:
    found = find_runs(studies)
    at_work = find_at_work(found, lately=lately)
    records = read_records(found, reflection=settings.reflection, judge=judge, at_work=at_work)
    problems: list[str] = []
    looks = read_looks(dict.fromkeys(run.run.study_folder for arm in records.trained for run in arm.runs), problems=problems)
    return replace(records, problems=(*records.problems, *problems)), looks


def keep_what_was_judged(content: Content, *, looks: Looks) -> None:
    """What was judged by a declared endpoint is a look at the study: the next report counts it. Of a growing study nothing is."""
    judged = (one for one in content.verdicts if one.outcome is not Outcome.NOT_JUDGED)
    try:
        keep_looks((one.comparison for one in judged if one.comparison.choice.is_declared), looks=looks)
    except OSError as error:
        print(
            f"That this study was judged could not be kept ({error}): the next report will not count it as a look.", flush=True
        )


def write_report(content: Content, *, folder: Path, language: str, with_pictures: bool = True) -> Path:
    """Write every file of a report; report.html appears last and whole, or not at all.

    Without PNG and PDF, which take longest, older ones are removed: they would not belong to this report.
    """
    files = folder / "report_files"
    _make_folder(files)
    written = set(_write_files(content, folder=files, catalogue=catalogue_of(language), with_pictures=with_pictures))
    for stale in (path for path in files.iterdir() if path.suffix in SUFFIXES and path not in written):
        stale.unlink()  # of an earlier report on other runs or settings
    numbers = json_text(content.as_json())
    write_whole(folder / "report.json", text=numbers + "\n")
    return write_whole(folder / "report.html", text=render_html(content, language=language))


def json_text(content: Mapping[str, Any]) -> str:
    """A line for each part, and for each table and figure: indented numbers would take Python ten times as long."""
    write = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    lines = []
    for key, part in content.items():
        if key in ("tables", "figures"):
            inside = ",\n".join(f"  {write(name)}: {write(one)}" for name, one in part.items())
            lines.append(f" {write(key)}: {{\n{inside}\n }}")
        else:
            lines.append(f" {write(key)}: {write(part)}")
    return "{\n" + ",\n".join(lines) + "\n}"


def _make_folder(files: Path) -> None:
    """The folder of a report's files, without links: whoever gave this folder may not say which other files are overwritten."""
    if files.is_symlink() or (files.exists() and not files.is_dir()):
        raise ReportError(f"{files} is a link or no folder, and a report would be written elsewhere. Remove it, or pass out=.")
    files.mkdir(parents=True, exist_ok=True)
    for link in (path for path in files.iterdir() if path.is_symlink()):
        link.unlink()


def _write_files(content: Content, *, folder: Path, catalogue: Catalogue, with_pictures: bool) -> Iterator[Path]:
    """Tables and figures for other people's documents."""
    for table in content.tables:
        yield table.write_csv(folder / f"{table.name}.csv")
        yield write_whole(folder / f"{table.name}.md", text=markdown(table, catalogue=catalogue))
        yield write_whole(folder / f"{table.name}.tex", text=latex(table))
    if with_pictures:
        yield from _write_pictures(content, folder=folder)


def draw_pictures(content: Content, *, folder: Path, is_newest: Callable[[], bool]) -> None:
    """PNG and PDF of a report that is written, one figure after the other, as long as no newer report is to be made."""
    for _ in _write_pictures(content, folder=folder / "report_files"):
        if not is_newest():
            return


def _write_pictures(content: Content, *, folder: Path) -> Iterator[Path]:
    for figure in content.figures:
        yield from write_figure(figure, folder=folder)
    if content.decision.forest is not None:
        yield from write_forest(content.decision.forest, folder=folder)
