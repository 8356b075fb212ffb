"""What the seeds say of behaviour, by hand: training records without files, and texts of evaluations."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import FOUR, sample_row, write_manifest, write_rows
from hand_runs import ENDPOINT, SETTING, VANILLA, cells_of, ends, estimate, estimates
from hand_runs import records_of as read
from hand_training import records_of, run_of

from vlm_rl.evaluation.dynamics import bin_by_length
from vlm_rl.evaluation.statistics import mean_interval
from vlm_rl.reports.tables import behaviour_tables as tables
from vlm_rl.reports.tables.evaluation_behaviour import evaluation_behaviour_table, mean_if_enough
from vlm_rl.reports.tables.table import cells


def ends_of(*values: float) -> Any:
    return pytest.approx(ends(mean_interval(values)))


def under(group: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{group}__{key}": of_steps for key, of_steps in values.items()}


def test_length_at_the_start_and_at_the_end_by_hand() -> None:
    """Ten steps: a fifth are two. Of a step's responses a share is cut off, and steps weigh by how many of a kind they have."""
    lengths: dict[str, list[float | None]] = {
        "mean_terminated": [60.0, 90.0, *[80.0] * 6, 100.0, 200.0],
        "mean_truncated": [140.0, None, *[150.0] * 6, 256.0, 256.0],
        "truncated": [0.5, 0.0, *[0.1] * 6, 0.25, 0.75],
    }
    means = {seed: {"mean": [100.0 + seed] * 8 + [140.0, 160.0]} for seed in (0, 2)}
    runs = [run_of(seed=seed, **under("response_length", lengths | mean)) for seed, mean in means.items()]
    first, last, change = tables.start_and_end_table(records_of(*runs), name="response_length").rows
    found = [(row["when"], ends(row["all"])) for row in (first, change)]
    assert found == [("first fifth", ends_of(100, 102)), ("change", ends_of(50, 48))]
    assert estimates(first, "terminated", "truncated") == pytest.approx([(60 * 0.5 + 90) / 1.5, 140])  # step 2: none cut off
    assert (last["when"], estimate(last["terminated"])) == ("last fifth", pytest.approx(100 * 0.75 + 200 * 0.25))
    assert estimate(change["cut_off"]) == pytest.approx(0.25)


def test_ratios_of_several_steps_are_those_of_the_pooled_counts() -> None:
    """Two steps of ten responses at either end: 4 and 1 reflect at first (2 and 1 of them right), 5 and 5 in the end."""
    ratios = {
        "reflection_ratio": [0.4, 0.1, *[0.2] * 6, 0.5, 0.5],
        "reflection_ratio_in_correct_answers": [2 / 6, 1 / 5, *[0.2] * 6, 4 / 8, 4 / 8],
        "reflection_ratio_in_incorrect_answers": [2 / 4, 0 / 5, *[0.2] * 6, 1 / 2, 1 / 2],
        "correct_ratio_in_reflection_texts": [2 / 4, 1 / 1, *[0.5] * 6, 4 / 5, 4 / 5],
        "correct_ratio_in_no_reflection_texts": [4 / 6, 4 / 9, *[0.5] * 6, 4 / 5, 4 / 5],
    }
    run = run_of(seed=0, train__accuracy=[0.6, 0.5, *[0.5] * 6, 0.8, 0.8], **under("reflection", ratios))
    first, last, _ = tables.start_and_end_table(records_of(run), name="reflection").rows
    assert estimates(first, *ratios) == pytest.approx([5 / 20, 3 / 11, 2 / 9, 3 / 5, 8 / 15])
    one_seed = pytest.approx((8 / 10, math.nan, math.nan), nan_ok=True)  # which has no interval
    assert ends(last["correct_ratio_in_reflection_texts"]) == one_seed


def test_only_words_that_occur_are_listed_and_the_change_is_that_of_each_seed() -> None:
    words = [{"reflection__word__wait": [seed, 4, 4, 4, 10], "reflection__word__check_again": [0] * 5} for seed in (0, 2)]
    (row,) = tables.word_table(records_of(*(run_of(seed=seed, **counts) for seed, counts in enumerate(words)))).rows
    assert (row["word"], ends(row["change"])) == ("wait", ends_of(10, 8))


def test_a_quantity_that_no_run_has_is_a_dash_an_arm_without_any_no_row_and_unfinished_runs_are_in_no_mean() -> None:
    """Clipped: 0.1 and 0.3 % at first; the change is -0.1 and +0.1 points: no share, and its interval may end below zero."""
    clipped = [[a] * 2 + [0.0] * 6 + [b] * 2 for a, b in ((0.001, 0.0), (0.003, 0.004))]
    running = run_of(seed=2, policy__clip_fraction=[0.9] * 10, finished=False)
    records = records_of(*(run_of(seed=seed, policy__clip_fraction=of_run) for seed, of_run in enumerate(clipped)), running)
    table = tables.start_and_end_table(records, name="policy")
    first, _, change = ({column.key: shown for column, shown in cells(table, row=row)} for row in table.rows)
    assert (first["seeds"].text, first["clip_fraction"].text, first["kl"].text) == ("2", "0.200", "–")
    assert (change["clip_fraction"].text, change["clip_fraction"].detail) == ("0.000", "[-1.271, 1.271]")  # 12.706 times 0.1
    assert tables.start_and_end_table(records, name="reflection").rows == tables.length_held_fixed_table(records).rows == ()


def test_reflection_against_length_by_hand() -> None:
    ratios = ([0.1, 0.3, 0.2, 0.5, 0.4], [0.2, 0.1, 0.3, 0.5, 0.4], [0.1] * 5)  # rho = 0.8, 0.8, none
    runs = [run_of(seed=s, response_length__mean=[1.0, 2, 3, 4, 5], reflection__reflection_ratio=ratios[s]) for s in range(3)]
    (row,) = tables.correlation_table(records_of(*runs)).rows
    assert cells_of(row, "pair", "seeds", "by_seed") == ("reflection and response length", 2, "+0.80, +0.80, –")
    assert ends(row["rho"]) == pytest.approx((0.8, 0.8, 0.8))


def test_length_held_fixed_by_hand() -> None:
    """A hundred responses a step, twenty in each fifth, the same in both seeds but for ten verdicts."""
    lengths, reflective = np.repeat(np.arange(10), 10), np.repeat([True, False] * 5, 10)
    bins = [bin_by_length(lengths, reflective=reflective, correct=reflective & (np.arange(100) >= wrong)) for wrong in (0, 10)]
    table = tables.length_held_fixed_table(records_of(*(run_of(seed=seed, bins=of_run) for seed, of_run in enumerate(bins))))
    shortest, *_, longest = table.rows
    assert cells_of(shortest, "quintile", "responses", "reflective", "seeds") == ("shortest fifth", 40, 20, 2)
    assert estimates(shortest, "reflection_ratio", "difference") == [0.5, 0.5]
    assert ends(shortest["correct_if_reflective"]) == ends_of(1.0, 0.0)
    assert (longest["quintile"], ends(longest["difference"])) == ("longest fifth", pytest.approx((1.0, 1.0, 1.0)))


@pytest.mark.parametrize(
    ("counts", "is_shown"),
    [((10, 10, 0), False), ((9, 9, 1), False), ((9, 10, 1), True), ((10, 10), True), ((20,), True), ((19,), False)],
)
def test_few_reflective_responses_or_few_seeds_that_have_one_make_no_share(counts: tuple[int, ...], is_shown: bool) -> None:
    assert math.isnan(mean_if_enough([0.5] * len(counts), counts=counts).estimate) is not is_shown


def test_where_nearly_all_reflect_the_others_make_no_share_either() -> None:
    """Three seeds of forty responses of one length, which is the third fifth; 35 of each reflect, every second one is right."""
    half = np.arange(40) % 2 == 0
    bins = bin_by_length(np.ones(40), reflective=np.arange(40) < 35, correct=half)
    third = tables.length_held_fixed_table(records_of(*(run_of(seed=seed, bins=bins) for seed in range(3)))).rows[2]
    found = estimates(third, "reflection_ratio", "correct_if_reflective", "correct_if_plain", "difference")
    assert found == pytest.approx([35 / 40, 18 / 35, math.nan, math.nan], nan_ok=True)


def test_the_share_of_length_between_seeds_epoch_by_epoch() -> None:
    runs = [run_of(seed=seed, response_length__mean=[10.0 * seed + 1, 10.0 * seed + 3, 5.0, 7.0]) for seed in range(3)]
    first, second = tables.seed_sensitivity_table(records_of(*runs)).rows
    assert cells_of(first, "epoch", "seeds", "steps", "spread") == (1, 3, 2, 10.0)
    assert estimates(first, "share", "length") == pytest.approx([(200 - 2) / (200 + 2), 12.0])  # as in test_dynamics.py
    assert (estimate(second["share"]), second["spread"]) == (0.0, 0.0)
    assert not tables.seed_sensitivity_table(records_of(runs[0])).rows


def test_the_bottleneck_of_the_mean_over_seeds() -> None:
    """Two steps an epoch; the epoch's accuracy is that of its last step. Means: 0.40, 0.50, 0.504."""
    low = run_of(seed=0, train__accuracy_in_epoch=[0.1, 0.30, 0.1, 0.40, 0.1, 0.408])
    high = run_of(seed=1, train__accuracy_in_epoch=[0.1, 0.50, 0.1, 0.60, 0.1, 0.600])
    keys = ("seeds", "epochs", "bottleneck", "accuracy", "best_later", "last")
    (row,) = tables.bottleneck_table(records_of(low, high), gain=0.01).rows
    assert cells_of(row, *keys) == (2, 3, 2, *map(pytest.approx, (0.5, 0.504, 0.504)))
    fell = run_of(seed=0, train__accuracy_in_epoch=[0.1, 0.4, 0.1, 0.6, 0.1, 0.2, 0.1, 0.3])
    (row,) = tables.bottleneck_table(records_of(fell), gain=0.01).rows
    assert cells_of(row, *keys[1:]) == (4, 2, 0.6, 0.3, 0.3)
    table = tables.bottleneck_table(records_of(low, high), gain=0.001)
    assert (*cells_of(table.rows[0], *keys[2:5]), "0.1 points" in table.note) == (None, None, None, True)
    assert not tables.bottleneck_table(records_of(run_of(seed=0, policy__kl=[1.0])), gain=0.01).rows


def test_models_answer_vanilla_picked_and_last(tmp_path: Path) -> None:
    """Val and test alike, each text in five samples, the first `rights` texts right; validation picks epoch 1 of 2."""
    for seed in (0, 1):
        vanilla, run = (tmp_path / "s" / variant / f"seed-{seed}" for variant in (VANILLA, "algorithm-sft"))
        write_manifest(vanilla, algorithm="vanilla", seed=seed, arm="0" * 16, vanilla=None)
        write_manifest(run, algorithm="sft", seed=seed, arm="b" * 16, vanilla=VANILLA)
        for folder, epoch, rights in ((vanilla, 0, 1), (run, 1, 3), (run, 2, 2)):
            for split in ("val", "test"):
                where = {"split": split, "setting": SETTING, "epoch": epoch}
                texts = [row | where | {"correct": place < rights} for place, row in enumerate(FOUR)]
                rows = [sample_row(**row, sample=sample) for row in texts for sample in range(5)]
                write_rows(folder / "evaluations" / f"epoch-{epoch:04d}" / f"{split}_{SETTING}.parquet", rows=rows)
    rows = evaluation_behaviour_table(read(tmp_path / "s"), endpoint=ENDPOINT).rows
    stages = [(split, stage) for split in ("val", "test") for stage in ("vanilla", "picked by validation", "last")]
    assert [cells_of(row, "split", "stage", "seeds", "reflective") for row in rows] == [(*stage, 2, 20) for stage in stages]
    keys = ("reflection_ratio", "length", "truncated", "foreign_share", "correct_ratio_in_reflection_texts")
    assert estimates(rows[0], *keys) == pytest.approx([0.5, 30.0, 0.25, (2 / 6) / 4, 0.5])  # right: the first of two
    assert estimate(rows[1]["correct_ratio_in_no_reflection_texts"]) == 0.5  # three right: the second, not the fourth
    write_manifest(tmp_path / "empty" / "v" / "seed-0", algorithm="grpo", seed=0, arm="a", vanilla=None)
    assert evaluation_behaviour_table(read(tmp_path / "empty"), endpoint=ENDPOINT).rows == ()
