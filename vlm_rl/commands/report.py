"""`report.py`: compose, find the runs, write the report. Leaves no Hydra folder and stays in the working directory."""

import shlex
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands.errors import explained
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.evaluation.reflection import PAPER_REFLECTION_WORDS, ReflectionRule, WholeWords
from vlm_rl.reports.report import make_report

WHOLE_WORDS = f"{WholeWords.__module__}.{WholeWords.__qualname__}"


def run(config: DictConfig, *, command: str) -> Path:
    """Make the report that a composed config asks for and return the path of report.html."""
    if OmegaConf.is_missing(config, "studies"):
        raise ValueError(
            "studies is missing. Pass the folders to report on, as in: python report.py studies='[outputs/quickstart]'"
        )
    studies = [config.studies] if isinstance(config.studies, str) else list(config.studies)
    return make_report(
        [Path(study) for study in studies],
        out=None if config.report.out is None else Path(config.report.out),
        setting=config.report.setting,
        reflection=_reflection_rule(config.evaluation.reflection),
        command=command,
    )


def _reflection_rule(config: DictConfig) -> ReflectionRule | None:
    """None where the runs' own counts are good enough: our rule, and no words named."""
    if config.words is None and config._target_ == WHOLE_WORDS:
        return None
    words = PAPER_REFLECTION_WORDS if config.words is None else tuple(map(str, config.words))
    rule: ReflectionRule = instantiate(config, words=words)
    return rule


@hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="report")
def compose_and_run(config: DictConfig) -> None:
    """Print where the report lies."""
    path = run(config, command=shlex.join(["python", "report.py", *HydraConfig.get().overrides.task]))
    print(f"report: {path}")


def main() -> None:
    """The command; a mistake is answered in words, with exit code 2."""
    explained(compose_and_run)
