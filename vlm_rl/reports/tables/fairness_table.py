"""Whether the arms had the same chance: what each was given and how its learning rate was chosen."""

import math

from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.phrase import paragraph, say, say_named
from vlm_rl.reports.reading.arms import Arm, Records, RunRecords
from vlm_rl.reports.reading.json_lines import number as quantity
from vlm_rl.reports.tables.cost_tables import THROWN_AWAY, mean_or_the_same, seconds, total
from vlm_rl.reports.tables.fairness_note import differences, selections
from vlm_rl.reports.tables.table import Row, Table, table_of


def fairness_table(records: Records) -> Table:
    """Whether the arms had the same chance: data, passes, updates, learning rate and how it was chosen, tokens, seconds."""
    rows = tuple(_fairness_row(arm) for arm in records.trained)
    is_same_model = len({_model(arm) for arm in records.trained}) == 1
    return table_of(
        "fairness",
        rows,
        differences=paragraph(*differences(rows)),
        selections=paragraph(*selections(rows)),
        same_model=say_named("fairness.same_model" if is_same_model else "fairness.other_models"),
    )


def _fairness_row(arm: Arm) -> Row:
    def last(key: str) -> list[float]:
        return [max((quantity(line, key=key) for line in run.training), default=math.nan) for run in arm.used]

    config = arm.used[0].run.config
    batch_size = float((config.get("dataset") or {}).get("batch_size") or math.nan)
    used_in_epoch = [steps * batch_size / epochs for steps, epochs in zip(last("generation_steps"), last("epoch"), strict=True)]
    hashes = list(dict.fromkeys(run.run.data.get("train", "") for run in arm.used))
    return {
        "arm": arm.label,
        "seeds": len(arm.used),
        "model": _model(arm),
        "data": hashes[0][:8] if len(hashes) == 1 else say("differs by seed"),
        "rows": mean_or_the_same(used_in_epoch),
        "epochs": mean_or_the_same(last("epoch")),
        "updates": mean_or_the_same(last("gradient_steps")),
        "learning_rate": learning_rate(config),
        "selection": config.get("selection") or say("not said"),
        "tokens": mean_interval([_tokens_learned_from(run) for run in arm.used]),
        "seconds": mean_interval([seconds(run) for run in arm.used]),
    }


def _tokens_learned_from(run: RunRecords) -> float:
    thrown_away = total(run, name=THROWN_AWAY)
    return total(run, name="tokens/response") - (0 if math.isnan(thrown_away) else thrown_away)


def _model(arm: Arm) -> str:
    return str((arm.used[0].run.config.get("model") or {}).get("name") or "")


def learning_rate(config: dict[str, object]) -> float:
    """model.optimization.learning_rate, or the language part's own, x algorithm.learning_rate_scale; NaN without a config."""
    model, algorithm = config.get("model"), config.get("algorithm")
    optimization = model.get("optimization") if isinstance(model, dict) else None
    if not isinstance(optimization, dict) or not isinstance(algorithm, dict):
        return math.nan
    own = (optimization.get("part_learning_rates") or {}).get("language")
    return float(optimization["learning_rate"] if own is None else own) * float(algorithm.get("learning_rate_scale", 1.0))
