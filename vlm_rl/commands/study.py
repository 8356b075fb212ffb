"""`python study.py plan=NAME`: follows a plan that was declared before, from lot to lot and from stage to stage, until it stops."""

import json
import shlex
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from vlm_rl.callbacks.notifications import notify
from vlm_rl.commands import errors, leaving, resolvers
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.setting_types import check_types
from vlm_rl.commands.storable import overrides_as_written
from vlm_rl.commands.study_estimate import PlanEstimate, estimates_of, plan_estimate
from vlm_rl.commands.study_runs import RunEstimate, StudyRuns, read_costs
from vlm_rl.durable_files import write_whole
from vlm_rl.evaluation.sequential.decisions import Decision, add_step, read_steps
from vlm_rl.evaluation.sequential.plan import NAME, Plan
from vlm_rl.evaluation.sequential.progress import follow
from vlm_rl.reports.staged.page import write_study
from vlm_rl.reports.staged.said import headline
from vlm_rl.reports.staged.study import StudyPage
from vlm_rl.run_lock import held

ESTIMATE = "estimate.json"
OWN = {"study": str | None, "outputs": str, "language": str, "estimate": bool}


def main() -> None:
    """The console command."""
    resolvers.register()
    errors.explained(_main)


@hydra.main(version_base="1.3", config_path=CONF_DIR, config_name="study")
def _main(cfg: DictConfig) -> None:
    check_types(cfg, own=OWN)
    plan: Plan = instantiate(cfg.plan)
    study = cfg.study or str(HydraConfig.get().runtime.choices["plan"])
    if not NAME.fullmatch(study):
        raise ValueError(f"study={study} must be fit for a folder: letters, digits, _ and -.")
    run(plan, study=study, outputs=Path(cfg.outputs), language=cfg.language, estimate_only=cfg.estimate)


def run(plan: Plan, *, study: str, outputs: Path, language: str, estimate_only: bool = False) -> Decision | None:
    """Take every step that is left and write the page after each; None where only an estimate was asked for."""
    folder = outputs / study
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, command=errors.as_typed(), lost=leaving.leave_at_once):
        steps = read_steps(folder)
        runs = StudyRuns(plan=plan, study=study, outputs=outputs)
        estimate = _estimate(plan, runs=runs, folder=folder, again=estimate_only)
        print("\n".join(estimate.lines(plan)), flush=True)
        if estimate_only:
            return None
        step = None
        for step in follow(plan, steps=steps, runs=runs):
            if is_new := step not in steps:
                add_step(folder, step)
                steps.append(step)
            page = StudyPage(
                plan=plan,
                study=study,
                steps=tuple(steps),
                costs=tuple(read_costs(folder)),
                estimate=estimate,
                command=shlex.join(["python", "study.py", *overrides_as_written()]),
            )
            path = write_study(page, folder=folder, language=language)
            print(headline(page, step), flush=True)
            if is_new and step.decision is not Decision.GO_ON:
                notify(f"{study}: {step.decision.value}", body=headline(page, step))
        print(f"study: {path}", flush=True)
    assert step is not None
    return step.decision


def _estimate(plan: Plan, *, runs: StudyRuns, folder: Path, again: bool) -> PlanEstimate:
    """Kept from the first start of a plan on, so that the command goes on at once."""
    file = folder / ESTIMATE
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if again or kept.get("plan") != plan.hash:
        kept = {"plan": plan.hash, "runs": [[*key, list(one.hours), one.tokens] for key, one in estimates_of(plan).items()]}
        write_whole(file, lambda place: place.write_text(json.dumps(kept), encoding="utf-8"))
    found: list[list[Any]] = kept["runs"]
    runs.estimates = {(stage, arm): RunEstimate(hours=tuple(hours), tokens=tokens) for stage, arm, hours, tokens in found}
    return plan_estimate(plan, estimates=runs.estimates)
