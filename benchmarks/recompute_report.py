"""Is every number of a report right? Computes them again from the raw files of a study, with pandas, NumPy and SciPy alone.

    python benchmarks/recompute_report.py STUDY [REPORT_FOLDER]

Reads manifest.json, evaluations/, metrics.jsonl and cost.jsonl of each run, and report.json of a report on the whole study that was
made without settings of its own. Nothing of vlm_rl is imported: each formula is written anew, from docs/statistics.md and from the
notes under the tables. Prints how many numbers agree to 1e-6 (those inside sentences: as far as they are printed), what differs, and
what is left out for which reason. Exits with 1 if anything differs or a table is missing.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import recompute_costs as costs
import recompute_gains as gains
import recompute_plans as plans
import recompute_scores as scores
import recompute_texts as texts
import recompute_training as training
import recompute_verdicts as verdicts
from recompute_compare import Anew, Comparison, holds_number
from recompute_page import read_page
from recompute_study import Study, read_study

MAIN = ("decisions", "accuracy", "table_3", "verdicts", "accuracy_by_kind", "gain", "gain_split", "cost", "runs")
NOT_RECOMPUTED = {
    "config": "settings of configs, no measurements",
    "alerts": "a list of what alerts.jsonl says",
    "blind_controls": "controls were evaluated, and choose its seeds",
    "judged_again": "needs the judge",
    "changed_verdicts": "needs the judge",
    "kpi": "key figures are a team's own code",
    "kpi_correlations": "key figures are a team's own code",
}


def compare_report(study_folder: Path, report_folder: Path) -> Comparison:
    """Hold every number of a report against the files of its study."""
    report = json.loads((report_folder / "report.json").read_text(encoding="utf-8"))
    study, found = read_study(study_folder.resolve()), Comparison()
    refused = [card["arm"] for card in report["decision"]["verdicts"] if card["outcome"] == "not_judged"]
    judged = verdicts.judge(study, refused=refused)
    tables: Mapping[str, Sequence[Any]] = report["tables"]
    anew = {table.name: table for table in tables_of(study, judged=judged, pairs=tables.get("pairs", ()))}
    for name in tables:
        if name in anew:
            found.table(anew[name], tables[name])
        elif name in NOT_RECOMPUTED:
            numbers = sum(holds_number(cell) for row in tables[name] for cell in row.values())
            found.left_out[name, "all", NOT_RECOMPUTED[name]] += numbers
        else:
            found.differences.append(f"{name}: the report has a table that is not computed anew")
    for name in anew.keys() - tables.keys():
        if name in MAIN or anew[name].rows:
            found.differences.append(f"{name}: the report lacks this table")
    picture = [verdicts.by_place(row.pop("seeds")) | row for row in map(dict, report["decision"]["forest"] or ())]
    found.table(verdicts.forest(judged), picture)
    read_page(report, study=study, judged=judged, found=found)
    return found


def tables_of(study: Study, *, judged: Sequence[verdicts.Judged], pairs: Sequence[Any]) -> Iterator[Anew]:
    """Every table that is computed anew."""
    yield verdicts.decisions(judged, study)
    yield plans.power(judged)
    if len(study.arms) > 2:
        yield plans.pairs(study, rows=pairs)
    for table in (scores.accuracy, scores.table_3, scores.pass_at_k, scores.accuracy_by_kind, scores.marks):
        yield table(study)
    yield from (gains.gain(study), gains.gain_split(study), costs.cost(study), costs.fairness(study), costs.runs(study))
    yield from training.behaviour(study)
    for table in (texts.evaluation_behaviour, texts.length_held_fixed, texts.aggregates):
        yield table(study)
    if not any(any(run.folder.glob("evaluate/*")) for arm in [*study.arms, *study.others] for run in arm.runs):
        yield texts.blind_controls(study)
    for table in (training.words, training.correlations, training.seed_sensitivity, training.bottleneck):
        yield table(study)


def told(found: Comparison) -> Iterator[str]:
    """What came out, a line each."""
    for table, numbers in found.compared.items():
        yield f"{numbers:7,}  {table}"
    yield f"{found.compared.total():7,}  numbers compared"
    for (table, column, why), numbers in found.left_out.items():
        if numbers:
            yield f"left out: {table}, {column}: {numbers:,} numbers ({why})"
    yield from (f"DIFFERS: {difference}" for difference in found.differences)
    yield f"{len(found.differences)} differences"


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("study", type=Path, help="a study folder, as outputs/quickstart")
    parser.add_argument("report", type=Path, nargs="?", help="the folder of its report.json; by default the study folder")
    given = parser.parse_args()
    found = compare_report(given.study, given.report or given.study)
    print("\n".join(told(found)))
    return 1 if found.differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
