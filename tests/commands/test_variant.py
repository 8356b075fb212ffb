"""What a run's folder is called."""

import pytest

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.commands.build import composed, plain
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


def test_a_study_keeps_its_arm_and_its_folder_whichever_servers_sample() -> None:
    places = [
        "rollout.engine.servers=[http://a:1,http://b:2]",
        "rollout.engine.model=its-name-there",
        "rollout.engine.exchange=/elsewhere",
        "rollout.engine.requests_per_server=8",
        "rollout.engine.limits.request=5",
        "rollout.engine.api_key_variable=MY_KEY",
    ]
    here, there, overlapping = (
        plain(composed(["rollout=vllm", *more])) for more in ([], places, [*places, "rollout.overlap=1"])
    )
    assert arm_of(here) == arm_of(there) != arm_of(overlapping)
    assert vanilla_of(here) == vanilla_of(there) == vanilla_of(overlapping)
    assert variant(["rollout=vllm", *places]) == "rollout-vllm"


def test_the_arm_of_the_embedded_engine_is_as_it_was_before_there_were_servers() -> None:
    config = plain(composed([]))
    older = config | {
        "rollout": {key: value for key, value in config["rollout"].items() if not key.startswith(("correction", "overlap"))}
    }
    assert arm_of(config) == arm_of(older)
    assert vanilla_of(config) == vanilla_of(older)
