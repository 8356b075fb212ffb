"""Blind controls, as evaluate.py leaves them beside a model, by hand."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fake_runs import write_evaluation, write_manifest, write_rows
from hand_runs import ENDPOINT, SETTING, VANILLA, cells_of, estimate, estimates, records_of, write_by_hand

from vlm_rl.reports.phrase import Phrase
from vlm_rl.reports.tables.control_tables import chance, control_table
from vlm_rl.reports.tables.table import Row

TRAINED = {(VANILLA, 0, 0): 4, (VANILLA, 1, 0): 4} | {
    ("grpo", seed, epoch): count for seed in (0, 1) for epoch, count in ((1, 6), (2, 9), (3, 7))
}


def write_control(model: Path, *, control: str, epoch: int, right: int) -> None:
    """What `evaluate.py checkpoint=<model> evaluation/image=<control>` leaves; ten questions, the first ones right."""
    seed = int(model.name.removeprefix("seed-"))
    folder = model / "evaluate" / f"step-{epoch}-{control}" / model.name
    config = {"evaluation": {"image": {"_target_": f"vlm_rl.evaluation.image_control.{control.capitalize()}"}}}
    write_manifest(folder, algorithm="evaluated", seed=seed, arm="e" * 16, vanilla=None, config=config)
    write_evaluation(folder, epoch=epoch, split="val", setting=SETTING, outcome=lambda q, s: q < right, questions=10, samples=1)


def by_model(study: Path) -> dict[tuple[object, object], Row]:
    """Rows by model and modality."""
    return {(row["model"], row["modality"]): row for row in control_table(records_of(study), endpoint=ENDPOINT).rows}


def test_each_model_stands_with_right_blank_and_shuffled_figures_by_modality(tmp_path: Path) -> None:
    study = write_by_hand(tmp_path / "s", right=TRAINED)
    for seed, control, right in ((0, "blank", 5), (0, "shuffled", 4), (1, "blank", 7), (1, "shuffled", 6)):
        write_control(study / "grpo" / f"seed-{seed}", control=control, epoch=2, right=right)
    write_control(study / VANILLA / "seed-0", control="blank", epoch=0, right=1)
    rows = by_model(study)
    assert list(rows) == [(model, where) for model in ("Vanilla", "grpo") for where in ("text", "vision", "anywhere")]
    assert all(isinstance(where, Phrase) for _, where in rows)  # said in the language of the page
    anywhere, vision = rows["grpo", "anywhere"], rows["grpo", "vision"]  # vision: questions 4 to 7
    found = estimates(anywhere, "intact", "blank", "shuffled", "drop_blank", "drop_shuffled")
    assert found == pytest.approx([0.9, 0.6, 0.5, ((0.9 - 0.5) + (0.9 - 0.7)) / 2, ((0.9 - 0.4) + (0.9 - 0.6)) / 2])
    assert estimates(vision, "intact", "blank", "shuffled") == pytest.approx([1.0, (1 + 3) / 8, (0 + 2) / 8])
    assert [cells_of(row, "to_do", "questions", "seeds") for row in (anywhere, vision)] == [("", 10, 2), ("", 4, 2)]
    assert estimates(rows["Vanilla", "anywhere"], "blank", "drop_blank") == pytest.approx([0.1, 0.3])


def test_a_row_adds_up_where_only_some_seeds_have_controls(tmp_path: Path) -> None:
    """Seed 0 is right in 9 of 10, seed 1 in 5 of 10; only seed 0 was asked without its figures."""
    study = write_by_hand(tmp_path / "s", right=TRAINED | {("grpo", 1, epoch): 5 for epoch in (1, 2, 3)})
    write_control(study / "grpo" / "seed-0", control="blank", epoch=2, right=2)
    row, vanilla = (by_model(study)[model, "anywhere"] for model in ("grpo", "Vanilla"))
    assert estimates(row, "intact", "blank", "drop_blank") == pytest.approx([0.9, 0.2, 0.7])
    assert (row["seeds"], vanilla["seeds"]) == (1, 2)  # no seed of the vanilla model has a control: all are shown


def test_a_model_without_controls_names_the_commands_that_make_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    study = write_by_hand(tmp_path / "s", right=TRAINED)
    write_control(study / "grpo" / "seed-0", control="shuffled", epoch=2, right=1)
    write_control(study / "grpo" / "seed-0", control="blank", epoch=3, right=1)  # of another step than the picked one
    rows = by_model(study)
    assert rows["grpo", "anywhere"]["to_do"] == f"python evaluate.py checkpoint={study}/grpo/seed-0 evaluation/image=blank"
    assert str(rows["Vanilla", "anywhere"]["to_do"]).count(f"checkpoint=s/{VANILLA}/seed-0") == 2
    assert rows["grpo", "text"]["to_do"] == ""  # once for each model is enough


def test_chance_is_the_share_of_the_most_frequent_answer(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, epoch=1, split="val", setting=SETTING, outcome=lambda q, s: True, questions=8, samples=2)
    seven = ("val-0000", "val-0003", "val-0005")
    rows = [row | {"answer": " 7" if row["row_id"] in seven else row["row_id"]} for row in pq.read_table(path).to_pylist()]
    write_rows(path, rows=rows)
    assert (chance(path), chance(path, modality="vision")) == (3 / 8, 1 / 4)  # questions 4 to 7: all answers different
    write_by_hand(tmp_path / "s", right={(VANILLA, 0, 0): 4})
    assert estimate(by_model(tmp_path / "s")["Vanilla", "anywhere"]["intact"]) == pytest.approx(0.4)
