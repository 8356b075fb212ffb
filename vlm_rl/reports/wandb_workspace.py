"""A Weights & Biases workspace that lays studies side by side: accuracy, dynamics, behaviour, cost and completions.

For looking around: a verdict is in the report, not here. Runs are grouped by study and variant, so that a curve is an arm,
the mean over its seeds with the range from the lowest to the highest.
"""

import os
from collections.abc import Sequence
from typing import Any

from vlm_rl.reports.phrase import words
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.reading.runs import ReportError


def build_workspace(records: Records, *, path: str) -> Any:
    """The workspace, not saved yet; `path` is ENTITY/PROJECT, where the runs were logged to."""
    try:  # an extra, imported when it is needed
        import wandb_workspaces.reports.v2 as wr
        import wandb_workspaces.workspaces as ws
    except ModuleNotFoundError as error:
        raise ReportError("A W&B workspace needs the package wandb-workspaces: pip install 'vlm-rl[workspace]'.") from error

    def section(name: str, metrics: Sequence[str], *, x: str) -> Any:
        by_arm = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax", "max_runs_to_show": 100}
        panels = [wr.LinePlot(title=metric, x=x, y=[metric], **by_arm) for metric in metrics]
        return ws.Section(name=name, panels=panels, is_open=name == "Accuracy")

    entity, project = split_path(path)
    studies = sorted({run.run.study for arm in records.arms for run in arm.runs})
    accuracy = [f"{split}/{setting}/accuracy" for split in records.splits() for setting in records.settings()]
    tables = [wr.WeavePanelSummaryTable(table_name=f"completions/{split}") for split in ("train", *records.splits()[:1])]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"vlm-rl: {', '.join(studies)}",
        sections=[
            section("Accuracy", (*accuracy, "train/accuracy_in_epoch"), x="epoch"),
            *(section(name, metrics, x="generation_steps") for name, metrics in words("workspace").items()),
            ws.Section(name="Completions", panels=tables, is_open=False),
        ],
        settings=ws.WorkspaceSettings(x_axis="generation_steps", max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=[ws.Config("study").isin(studies)],
            groupby=[ws.Config("study"), ws.Config("variant")],
            order=[ws.Ordering(ws.Config("seed"), ascending=True)],
        ),
    )


def save_workspace(records: Records, *, path: str) -> str:
    """Saves the workspace and returns its address. Offline, or without an account, it cannot be: a ReportError that says what to do."""
    workspace = build_workspace(records, path=path)
    import wandb

    if os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled") or not wandb.api.api_key:
        raise ReportError(
            f"The W&B workspace {path} was not saved: W&B is offline here. Log in (`wandb login`, or WANDB_API_KEY), upload "
            "the runs (`wandb sync outputs/<study>/*/seed-*/wandb/offline-run-*`) and make the report again. "
            "Until then `wandb leet` shows offline runs."
        )
    try:
        workspace.save()
    except (wandb.Error, OSError, ValueError) as error:
        raise ReportError(
            f"The W&B workspace {path} was not saved: {error}. Is there such a project, and may you write to it?"
        ) from error
    return str(workspace.url)


def split_path(path: str) -> tuple[str, str]:
    """`ENTITY/PROJECT` in two."""
    entity, _, project = path.partition("/")
    if not entity or not project or "/" in project:
        raise ReportError(f"report.wandb_workspace={path} is no ENTITY/PROJECT, as in report.wandb_workspace=my-team/vlm-rl.")
    return entity, project
