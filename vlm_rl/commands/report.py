"""`report.py`: compose, find the runs, write the report. Leaves no Hydra folder and stays in the working directory."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands import searchpath
from vlm_rl.commands.errors import explained
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.setting_types import check_arguments, check_types
from vlm_rl.commands.storable import overrides_as_written
from vlm_rl.evaluation.kpi import Kpi
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.reading.rejudge import Judging
from vlm_rl.reports.reading.runs import find_runs
from vlm_rl.reports.reading.training import WHOLE_WORDS, declared_rule
from vlm_rl.reports.report import make_report
from vlm_rl.reports.settings import ReaderSize, ReportSettings
from vlm_rl.rewards.judge import Judge

JUDGES = ("stored", "current")
OWN = {  # the keys that are read here; numbers have a check of their own
    "studies": str | Sequence[str],
    "report.out": str | None,
    "report.language": str,
    "report.reference": str | None,
    "report.split": str | None,
    "report.setting": str | None,
    "report.breakdown": Sequence[str],
    "report.currency": str,
    "report.judge": str,
    "report.wandb_workspace": str | None,
}
KPI_PARTS = ("name", "unit", "higher_is_better", "__call__")


def run(config: DictConfig, *, command: str) -> Path:
    """Make the report that a composed config asks for and return the path of report.html."""
    if OmegaConf.is_missing(config, "studies"):
        raise ValueError(
            "studies is missing. Pass the folders to report on, as in: python report.py studies='[outputs/quickstart]'"
        )
    check_types(config, own=OWN, set_later=("evaluation.reflection.words",))  # these are texts whatever they look like
    check_arguments(ReaderSize, config.report.reader, key="report.reader")
    settings = settings_of(config, command=command)
    with _judge(config.report.judge) as judge:
        return make_report(
            _studies(config),
            out=None if config.report.out is None else Path(config.report.out),
            settings=settings,
            judge=judge,
        )


def settings_of(config: DictConfig, *, command: str) -> ReportSettings:
    """The choices of a composed config, as the report takes them."""
    report = config.report
    return ReportSettings(
        **{key: report[key] for key in ("language", "reference", "split", "setting", "currency", "wandb_workspace")},
        smallest_effect=_number(report, key="smallest_effect"),
        breakdown=tuple(report.breakdown),
        bottleneck_gain=_number(report, key="bottleneck_gain"),
        price_per_device_hour=None if report.price_per_device_hour is None else _number(report, key="price_per_device_hour"),
        reader=ReaderSize(**report.reader),
        reflection=_reflection_rule(config.evaluation.reflection, studies=_studies(config)),
        kpis=kpis_of(config.evaluation.get("kpi") or {}),
        command=command,
    )


@contextmanager
def _judge(name: str) -> Iterator[Judging | None]:
    """The judge of this version, whose processes end with the report; none where stored verdicts count."""
    if name not in JUDGES:
        raise ValueError(f"report.judge={name}: pass {' or '.join(JUDGES)}.")
    if name == "stored":
        yield None
        return
    with Judge() as judge:
        yield judge.judge


def _number(report: DictConfig, *, key: str) -> float:
    value = report[key]
    try:
        if not isinstance(value, bool):
            return float(value)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"report.{key}={value} is not a number. Pass one, as in report.{key}=0.5")


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


@hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="report")
def compose_and_run(config: DictConfig) -> None:
    """Print where the report lies."""
    overrides = [*searchpath.as_overrides(searchpath.in_use()), *overrides_as_written()]
    path = run(config, command=shlex.join(["python", "report.py", *overrides]))
    print(f"report: {path}")


def main() -> None:
    """The command; a mistake is answered in words, with exit code 2."""
    explained(compose_and_run)


if __name__ == "__main__":  # python -m; by its own name, so that a launcher's processes can import what they are sent
    from vlm_rl.commands import report as by_name

    by_name.main()
