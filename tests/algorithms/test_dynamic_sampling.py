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
        DynamicSampling(metric="loss", update_share=1.0, patience=10)
    with pytest.raises(ValueError, match=r"algorithm.dynamic_sampling.patience=0; it is 1 or more"):
        DynamicSampling(metric="score", update_share=1.0, patience=0)
    for share in (0.0, 1.01):
        with pytest.raises(ValueError, match=rf"algorithm.dynamic_sampling.update_share={share}; it is above 0 and at most 1"):
            DynamicSampling(metric="score", update_share=share, patience=1)


@pytest.mark.parametrize(
    ("share", "batch_size", "groups"), [(1.0, 16, 16), (0.75, 16, 12), (0.75, 2, 1), (0.3, 10, 3), (0.1, 4, 1)]
)
def test_the_groups_of_an_update_are_a_share_of_those_sampled(share: float, batch_size: int, groups: int) -> None:
    assert DynamicSampling(metric="score", update_share=share, patience=1).groups_of_update(batch_size) == groups
