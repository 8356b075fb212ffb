import dataclasses

import pytest

from vlm_rl.evaluation.endpoint import Endpoint, for_selection
from vlm_rl.evaluation.settings import GenerationSetting, k_of, title_of


@pytest.mark.parametrize(
    ("k", "temperature", "name"),
    [(8, 1.0, "pass@8_t1.0"), (1, 0.6, "pass@1_t0.6"), (1, 0.01, "pass@1_t0.01"), (4, 1, "pass@4_t1.0")],
)
def test_a_setting_has_the_name_that_metrics_and_files_carry(k: int, temperature: float, name: str) -> None:
    assert GenerationSetting(k=k, temperature=temperature, top_p=1.0, num_samples=8).name == name


def test_a_name_gives_back_its_k_and_reads_well() -> None:
    assert k_of("pass@8_t1.0") == 8
    assert title_of("pass@1_t0.01") == "pass@1, T = 0.01"
    with pytest.raises(ValueError, match=r"'pass8' is not .* look like pass@8_t1.0"):
        k_of("pass8")


def test_fewer_samples_than_k_are_refused_with_the_number_that_would_do() -> None:
    with pytest.raises(ValueError, match=r"pass@8_t1.0: num_samples=4 .* Set num_samples to 8 or more"):
        GenerationSetting(k=8, temperature=1.0, top_p=1.0, num_samples=4)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"temperature": 0.0}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_what_cannot_be_sampled_is_refused(wrong: dict[str, float]) -> None:
    setting = GenerationSetting(k=1, temperature=0.6, top_p=1.0, num_samples=1)
    with pytest.raises(ValueError, match="evaluation setting"):
        dataclasses.replace(setting, **wrong)


def test_an_endpoint_names_what_selects_and_what_is_judged_and_refuses_a_split_that_selects_its_own_epoch() -> None:
    endpoint = Endpoint(split="test", setting="pass@1_t0.6", picked_by="val")
    assert (endpoint.selection_metric, endpoint.name) == ("val/pass@1_t0.6/accuracy", "test/pass@1_t0.6/accuracy")
    with pytest.raises(
        ValueError, match=r"split=test is judged at the epoch that test selects.* Let picked_by name another split"
    ):
        dataclasses.replace(endpoint, picked_by="test")


def test_the_same_total_summed_in_another_order_selects_the_same_epoch() -> None:
    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert for_selection(0.1 + 0.2 + 0.3) == for_selection(0.3 + 0.2 + 0.1)
    assert for_selection(0.5) < for_selection(0.5 + 1e-9)  # one answer of a thousand million
