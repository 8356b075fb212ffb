import pytest

from vlm_rl.evaluation.endpoint import Endpoint, for_pick


def test_an_endpoint_names_what_picks_and_what_is_judged() -> None:
    endpoint = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
    assert (endpoint.pick, endpoint.name) == ("val/pass@1_t0.6/accuracy", "test/pass@1_t0.6/accuracy")
    assert endpoint.reference is None  # each arm's own vanilla model


def test_a_split_that_would_pick_its_own_best_epoch_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"split=test is judged at the epoch that test picks.* Let picked_by name another split"
    ):
        Endpoint(split="test", setting="pass@1_t0.6", picked_by="test")


def test_the_same_total_summed_in_another_order_is_equal_for_a_pick() -> None:
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert for_pick(0.1 + 0.2 + 0.3) == for_pick(0.3 + 0.2 + 0.1)
    assert for_pick(0.5) < for_pick(0.5 + 1e-9)  # one answer of a thousand million
