"""`report.py`: compose, find the runs, write the report. Leaves no Hydra folder and stays in the working directory."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands import check_study, searchpath, trust
from vlm_rl.commands.errors import explained
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.report_watch import watch_report
from vlm_rl.commands.setting_types import check_arguments, check_types
from vlm_rl.commands.storable import overrides_as_written
from vlm_rl.evaluation.kpi import Kpi
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.reading.training import WHOLE_WORDS, declared_rule
from vlm_rl.reports.report import make_report
from vlm_rl.reports.settings import ReaderSize, ReportSettings
from vlm_rl.rewards.judge import Judge

OWN = {  # the keys that are read here
    "studies": str | Sequence[str],
    "check": bool,
    "mend": bool,
    "watch": float | None,
    "watch_port": int,
    "report.out": str | None,
    "report.accept": Sequence[str],
    "report.language": str,
    "report.reference": str | None,
    "report.split": str | None,
    "report.setting": str | None,
    "report.breakdown": Sequence[str],
    "report.currency": str,
    "report.judge": Literal["stored", "current"],
    "report.smallest_effect": float | None,
    "report.bottleneck_gain": float,
    "report.price_per_device_hour": float | None,
    "report.wandb_workspace": str | None,
}
COPIED = (
    *("language", "reference", "split", "setting", "currency", "wandb_workspace"),
    *("smallest_effect", "bottleneck_gain", "price_per_device_hour"),
)
WATCH = re.compile(r"[+]*watch(_port)?=")  # not of the report: a page that is made again says how to make it once
KPI_PARTS = ("name", "unit", "higher_is_better", "__call__")


def run(config: DictConfig, *, command: str) -> Path:
    """Make the report that a composed config asks for and return the path of report.html."""
    _check_types(config)
    settings = settings_of(config, command=command)
    out = None if config.report.out is None else Path(config.report.out)
    with Judge() if config.report.judge == "current" else nullcontext() as judge:  # its processes end with the report
        return make_report(_studies(config), out=out, settings=settings, judge=None if judge is None else judge.judge)


def _check_types(config: DictConfig) -> None:
    if OmegaConf.is_missing(config, "studies"):
        raise ValueError(
            "studies is missing. Pass the folders to report on, as in: python report.py studies='[outputs/quickstart]'"
        )
    check_types(config, own=OWN, set_later=("evaluation.reflection.words",))  # these are texts whatever they look like
    check_arguments(ReaderSize, config.report.reader, key="report.reader")


def settings_of(config: DictConfig, *, command: str) -> ReportSettings:
    """The choices of a composed config, as the report takes them."""
    report = config.report
    return ReportSettings(
        **{key: report[key] for key in COPIED},
        breakdown=tuple(report.breakdown),
        accept=tuple(report.accept),
        reader=ReaderSize(**report.reader),
        reflection=_reflection_rule(config.evaluation.reflection, studies=_studies(config)),
        kpis=kpis_of(config.evaluation.get("kpi") or {}),
        command=command,
    )


def kpis_of(config: Mapping[str, DictConfig]) -> tuple[Kpi, ...]:
    """The key figures of a team, before anything is read; each has its own name."""
    found: dict[str, Kpi] = {}
    keys: dict[str, str] = {}
    for key, value in config.items():
        kpi = instantiate(value)
        if not isinstance(kpi, Kpi):
            missing = ", ".join(part for part in KPI_PARTS if not hasattr(kpi, part))
            raise ValueError(
                f"evaluation.kpi.{key}: {value.get('_target_', 'no _target_')} is no key figure: it lacks {missing}. "
                "docs/kpi.md shows one."
            )
        if kpi.name in found:
            raise ValueError(
                f"evaluation.kpi.{key} and evaluation.kpi.{keys[kpi.name]} are both named {kpi.name!r}, so that nobody could "
                "tell their rows apart. Leave one out, or give one another `name` (docs/kpi.md)."
            )
        found[kpi.name], keys[kpi.name] = kpi, key
    return tuple(found.values())


def _studies(config: DictConfig) -> list[Path]:
    return [Path(config.studies)] if isinstance(config.studies, str) else [Path(study) for study in config.studies]


def _reflection_rule(config: DictConfig, *, studies: Sequence[Path]) -> ReflectionRule | None:
    """None where the runs' own counts are good enough: our rule, and no words named. Another rule takes the runs' own words."""
    if config.words is None and config._target_ == WHOLE_WORDS:
        return None
    words = _words_of_all(studies) if config.words is None else tuple(map(str, config.words))
    rule: ReflectionRule = instantiate(config, words=words)
    return rule


def _words_of_all(studies: Sequence[Path]) -> tuple[str, ...]:
    """The one list of words that every run declares."""
    lists = {declared_rule(run.config)[1] for run in find_runs(studies).runs}
    if len(lists) > 1:
        raise ValueError(
            f"evaluation.reflection: these runs count {len(lists)} different lists of words, and another rule needs one list. "
            "Name it, as in: python report.py evaluation.reflection.words='[wait,verify]', or report on fewer studies."
        )
    return lists.pop()


def main() -> None:
    """The command; a mistake is answered in words, with exit code 2."""
    explained(_main)


def _main() -> None:
    sys.argv, trusted = trust.taken_out(sys.argv)

    @hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="report")
    def compose_and_run(config: DictConfig) -> None:
        if config.check:
            _check_types(config)
            check_study.check(_studies(config), make=config.mend, trusted=trusted)
            return
        overrides = [*searchpath.as_overrides(searchpath.in_use()), *overrides_as_written()]
        command = shlex.join(["python", "report.py", *(word for word in overrides if not WATCH.match(word))])
        if config.watch is not None:
            _check_types(config)
            watch_report(
                _studies(config),
                out=None if config.report.out is None else Path(config.report.out),
                settings=settings_of(config, command=command),
                current_judge=config.report.judge == "current",
                seconds=config.watch,
                port=config.watch_port,
            )
        path = run(config, command=command)
        print(f"report: {path}")

    compose_and_run()
