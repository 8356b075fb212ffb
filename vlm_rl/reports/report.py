"""From run folders to report.html, report.json and, in report_files/, tables as CSV and figures as PNG and PDF."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.settings import title_of
from vlm_rl.reports.arms import Records, read_records
from vlm_rl.reports.content import Content, content_of
from vlm_rl.reports.figures import write_figure
from vlm_rl.reports.html import render_html
from vlm_rl.reports.runs import ReportError, find_runs


def make_report(
    studies: Sequence[Path], *, out: Path | None, setting: str, reflection: ReflectionRule | None, command: str
) -> Path:
    """Write the report on study, variant or run folders to `out`, by default the first of them, and return report.html's path.

    `setting` (as pass@1_t0.6) speaks where one setting has to stand for all; `reflection` counts the words again in every
    stored completion, None takes the counts that the runs logged; `command` is printed, to make the report again.
    """
    records = read_records(find_runs(studies), reflection=reflection)
    content = content_of(records, setting=_checked(setting, records=records), command=command)
    return write_report(content, folder=studies[0] if out is None else out)


def write_report(content: Content, *, folder: Path) -> Path:
    """Write every file of a report; report.html appears last and whole, or not at all."""
    files = folder / "report_files"
    files.mkdir(parents=True, exist_ok=True)
    for table in content.tables:
        table.write_csv(files / f"{table.name}.csv")
    for figure in content.figures:
        write_figure(figure, folder=files)
    numbers = json.dumps(content.as_json(), indent=1, ensure_ascii=False, allow_nan=False)
    _write(folder / "report.json", text=numbers + "\n")
    return _write(folder / "report.html", text=render_html(content))


def _write(path: Path, *, text: str) -> Path:
    half_written = path.with_name(path.name + ".tmp")
    half_written.write_text(text, encoding="utf-8", errors="replace")  # a lone surrogate must not cost the report
    os.replace(half_written, path)
    return path


def _checked(setting: str, *, records: Records) -> str:
    title_of(setting)  # refuses what is not the name of a setting
    present = records.settings()
    if present and setting not in present:
        raise ReportError(
            f"report.setting={setting}, but the runs were evaluated under {', '.join(present)}. Pass one of these."
        )
    return setting
