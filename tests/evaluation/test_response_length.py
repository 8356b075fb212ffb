import math

import pytest

from vlm_rl.evaluation.response_length import count_response_lengths


def test_lengths_by_hand() -> None:
    metrics = count_response_lengths([3, 5, 10, 10], truncated=[False, False, True, True]).metrics()
    assert metrics == {
        "response_length/mean": 7.0,
        "response_length/min": 3.0,
        "response_length/max": 10.0,
        "response_length/truncated": 0.5,
        "response_length/mean_terminated": 4.0,
        "response_length/mean_truncated": 10.0,
    }


@pytest.mark.parametrize("cut", range(5))
def test_any_two_shards_add_up_to_the_whole(cut: int) -> None:
    lengths, truncated = [3, 5, 10, 10], [False, True, False, True]
    first = count_response_lengths(lengths[:cut], truncated=truncated[:cut])
    second = count_response_lengths(lengths[cut:], truncated=truncated[cut:])
    assert first + second == count_response_lengths(lengths, truncated=truncated)


def test_what_is_undefined_is_missing() -> None:
    assert all(map(math.isnan, count_response_lengths([], truncated=[]).metrics().values()))
    metrics = count_response_lengths([4], truncated=[False]).metrics()
    assert math.isnan(metrics["response_length/mean_truncated"])
    assert metrics["response_length/truncated"] == 0.0
