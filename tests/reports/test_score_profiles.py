"""Performance profile and probability of improvement, against rliable and by hand."""

import numpy as np
import pytest
from hand_runs import ENDPOINT
from judged_studies import FIVE, arm, gained, judged, records
from rliable import metrics

from vlm_rl.evaluation.bootstrap import score_distribution
from vlm_rl.reports.figures.score_profiles import THRESHOLDS, improvement_figure, profile_figure


def test_a_score_distribution_is_the_share_of_cells_above_and_undefined_cells_do_not_count() -> None:
    matrix = np.array([[0.2, 0.4], [0.6, np.nan]])
    found = score_distribution(np.stack([matrix, matrix + 0.3]), thresholds=np.array([0.0, 0.4, 0.8]))
    np.testing.assert_allclose(found, [[1, 1 / 3, 0], [1, 1, 1 / 3]])


def test_the_profile_of_an_arm_and_of_vanilla_is_the_share_of_runs_above_each_threshold() -> None:
    """One kind: a run is a cell. Vanilla 45 %; gains of 20, 25, 15, 20, 20 points."""
    study = records(gained("grpo", *FIVE))
    (panel,) = profile_figure(judged(study), arms=study.trained, endpoint=ENDPOINT).panels
    trained, vanilla = panel.lines
    assert (trained.label, vanilla.label, vanilla.color) == ("grpo", "the vanilla model", 1)
    at = {round(threshold, 2): share for threshold, share in zip(THRESHOLDS, trained.mean(), strict=True)}
    assert [at[place] for place in (0.58, 0.62, 0.68, 0.72)] == pytest.approx([1.0, 0.8, 0.2, 0.0])
    assert trained.interval is not None
    low, high = trained.interval
    assert (low <= trained.mean()).all() and (trained.mean() <= high).all() and (low < high).any()


def test_the_probability_of_improvement_is_rliables() -> None:
    """Levels by seed: 0.5, 0.4, 0.3 against 0.2, 0.4, 0.35: 3 wins, then 1 + 1 and a tie, then 1; 6.5 of 9."""
    before, after = ([[level] * 4 for level in levels] for levels in ((0.2, 0.4, 0.35), (0.5, 0.4, 0.3)))
    study = records(arm("grpo", before=before, after=after))
    (panel,) = improvement_figure(judged(study), arms=study.trained, endpoint=ENDPOINT).panels
    (line,) = panel.lines
    expected = metrics.probability_of_improvement(np.array([[0.5], [0.4], [0.3]]), np.array([[0.2], [0.4], [0.35]]))
    assert expected == pytest.approx(6.5 / 9)
    np.testing.assert_allclose(line.mean(), [expected])
    assert line.interval is not None and line.interval[0, 0] < expected < line.interval[1, 0]


def test_a_single_seed_has_neither_picture() -> None:
    study = records(gained("grpo", 0.2))
    figures = (draw(judged(study), arms=study.trained, endpoint=ENDPOINT) for draw in (profile_figure, improvement_figure))
    assert [figure.panels for figure in figures] == [(), ()]
