"""What report.py refuses before it reads anything."""

from dataclasses import dataclass
from typing import Any

import pytest
from omegaconf import OmegaConf

from vlm_rl.commands.build import composed
from vlm_rl.commands.report import kpis_of, settings_of

UNCHECKED = {"_target_": "vlm_rl.evaluation.kpi.UncheckedShare", "confidence": 0.9, "threshold": None}


@dataclass(frozen=True, kw_only=True)
class Nameless:
    """A function is not yet a key figure."""

    unit = "none"
    higher_is_better = True

    def __call__(self, records: object) -> float:
        return 0.0


def kpi_config(**kpis: Any) -> Any:
    return OmegaConf.create(kpis)


def test_an_object_that_is_no_key_figure_is_named_with_its_key_and_what_it_lacks() -> None:
    config = kpi_config(unchecked=UNCHECKED, mine={"_target_": f"{__name__}.Nameless"})
    with pytest.raises(ValueError, match=r"evaluation\.kpi\.mine: .*Nameless is no key figure: it lacks name\. docs/kpi\.md"):
        kpis_of(config)
    with pytest.raises(ValueError, match=r"evaluation\.kpi\.typo: no _target_ is no key figure"):
        kpis_of(kpi_config(typo={"confidence": 0.9}))


def test_two_key_figures_of_one_name_are_refused() -> None:
    config = kpi_config(strict=UNCHECKED | {"threshold": 1.0}, loose=UNCHECKED | {"threshold": 0.5})
    with pytest.raises(
        ValueError, match=r"evaluation\.kpi\.loose and evaluation\.kpi\.strict are both named 'answers that need no check'"
    ):
        kpis_of(config)


@pytest.mark.parametrize("key", ["price_per_device_hour", "smallest_effect", "bottleneck_gain"])
def test_a_number_that_is_none_is_named_by_its_key(key: str) -> None:
    config = composed([f"report.{key}=abc"], config_name="report")
    with pytest.raises(ValueError, match=rf"report\.{key}=abc is not a number\. Pass one"):
        settings_of(config, command="")


def test_two_of_one_class_are_told_apart_by_the_name_that_the_message_asks_for() -> None:
    strict = {**UNCHECKED, "name": "strict"}
    assert [kpi.name for kpi in kpis_of(kpi_config(loose=UNCHECKED, strict=strict))] == ["answers that need no check", "strict"]
