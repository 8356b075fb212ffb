"""What a run's folder is called."""

import pytest

from vlm_rl.commands.resolvers import variant


def test_a_study_keeps_its_folder_whatever_machine_it_goes_on_on() -> None:
    where = [
        "trainer.devices=8",
        "trainer.num_nodes=2",
        "trainer.accelerator=cpu",
        "trainer.strategy=ddp",
        "++trainer.strategy.timeout=60",
        "trainer/strategy=fsdp",
    ]
    assert variant(["lr=1e-5", *where, "seed=3"]) == variant(["lr=1e-5"]) == "lr-1e-5"
    assert variant(where) == "default"


@pytest.mark.parametrize("other", ["trainer.precision=bf16-mixed", "trainer.devices_of_mine=8", "trainer=mine"])
def test_what_else_a_trainer_is_told_makes_a_variant(other: str) -> None:
    assert variant([other]) == other.replace("=", "-")
