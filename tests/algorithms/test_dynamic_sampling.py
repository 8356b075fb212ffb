import pytest
import torch

from vlm_rl.algorithms.dynamic_sampling import DynamicSampling, differs


def test_a_group_differs_unless_all_of_its_responses_have_the_same_value() -> None:
    values = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 1, 0, 0.5, 0.5, 0.25])
    assert differs(values, group_size=3).tolist() == [False, False, True, True]
    assert differs(values, group_size=2).tolist() == [False, True, False, True, True, True]


def test_a_rank_without_queries_has_no_groups() -> None:
    assert differs(torch.zeros(0), group_size=4).shape == (0,)


def test_settings_that_make_no_sense_name_the_key_and_what_would() -> None:
    with pytest.raises(ValueError, match=r"algorithm.dynamic_sampling.metric is 'loss'; it is one of accuracy, score"):
        DynamicSampling(metric="loss", patience=10)
    with pytest.raises(ValueError, match=r"algorithm.dynamic_sampling.patience=0; it is 1 or more"):
        DynamicSampling(metric="score", patience=0)
