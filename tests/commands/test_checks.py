"""One list of checks: each refuses what it should, and train, evaluate and preflight make it in the same order and words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from vlm_rl.commands import checks, evaluate, preflight, resolvers, training
from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import CHECKS, TRAINING, Check, Command
from vlm_rl.commands.evaluation_target import find
from vlm_rl.models.parts import PARTS
from vlm_rl.rollout.huggingface_engine import HuggingFaceEngine
from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow

SMOKE = ("experiment=smoke", "num_threads=1", "dataset.max_new_tokens=4", "dataset.batch_size=16")
OVERSAMPLE = ("algorithm/dynamic_sampling=dapo", "algorithm.dynamic_sampling.metric=score", "algorithm.group_size=2")


class Unsynced(HuggingFaceEngine):
    """An engine that never gets the language model's weights."""

    synced_parts = frozenset(PARTS) - {"language"}


REFUSED = {  # a check -> what it refuses, and words of the message
    "preflight is no setting": ("preflight.run=true", "write preflight=true on the command line"),
    "the seed is an integer": ("seed=1.5", "seed=1.5 is no integer"),
    "parts of an algorithm are configs": ("algorithm.rollout_correction=mask", "puts a bare value where a config"),
    "values have the types of their keys": ("dataset.epochs=1.5", "dataset.epochs=1.5, but it takes an integer"),
    "a batch has a query": ("dataset.batch_size=0 algorithm.num_minibatches=1", "dataset.batch_size=0 is no batch"),
    "the strategy keeps whole copies": ("trainer.strategy=fsdp", "trainer.strategy=fsdp is not supported"),
    "precision is the model's": ("trainer.precision=16-mixed", "trainer.precision=16-mixed is not supported"),
    "the devices are here": ("trainer.accelerator=gpu trainer.devices=[93,94,95,96,97]", "cannot be had on this machine"),
    "all processes are ranks": ("", "torchrun has 2 processes, but trainer.devices x trainer.num_nodes is 1"),
    "ranks share the name of the study": ("trainer.devices=2", "would give it another: add study=NAME"),
    "responses are of the right origin": ("rollout=solutions", "learns from what the policy itself answers"),
    "dynamic sampling sees what is scored": ("algorithm=dapo reward=random", "metric=accuracy keeps groups that are right"),
    "penalties reach long responses": ("+reward/term@reward.terms.cut=truncation", "reward.terms.cut is against long"),
    "ranks share out a step": ("trainer.devices=5", "cannot be shared out over 5 ranks"),
    "mini-batches share out the responses": ("algorithm.num_minibatches=3", "algorithm.num_minibatches=3 does not divide the"),
    "training samples untruncated": ("rollout.top_p=0.9", "rollout.top_p is 0.9: training samples from the policy itself"),
    "engines see what is trained": (f"rollout.engine._target_={__name__}.Unsynced", "would ignore what language learns"),
    "endpoint is evaluated": ("evaluation.scheme.endpoint.split=hard", "endpoint.split=hard is not evaluated"),
    "the trained model is evaluated": ("evaluation.scheme.every_epochs=3", "would never be evaluated. Give 1 to 2."),
    "an epoch has a step": (" ".join(["algorithm=grpo", *OVERSAMPLE]), "(24 with algorithm.dynamic_sampling.oversample) is more"),
    "an epoch has a batch": ("dataset.batch_size=18", "dataset.batch_size=18 is more than the 16 training rows"),
}  # fmt: skip
STAGES = ("settings", "machine", "algorithm", "sizes", "objects", "rows")


def begin(command: Command, words: str, folder: Path) -> None:
    """The command up to its first generation step; what preflight finds wrong is raised as one error."""
    cfg = composed([*SMOKE, "dry_run=rollouts", *words.split()])
    if command == "train":
        training.train(cfg, folder=RunFolder(path=folder / "run"))
    elif command == "evaluate":
        evaluate.evaluate(cfg, replace(find("tiny"), out=folder / "out"))
    elif problems := preflight.preflight(cfg, title="t").problems:
        raise ValueError("\n".join(problems))


COLLECTED = [check for check in CHECKS if "preflight" in check.commands and check.stage not in ("settings", "algorithm")]
CASES = [(command, check) for check in CHECKS for command in check.commands if command != "preflight" or check not in COLLECTED]


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No answers, no estimate of memory and time, and no words to start other ranks by, which Hydra's main function knows."""
    monkeypatch.setattr(preflight, "estimates", lambda *_, **__: ())
    monkeypatch.setattr(training, "again", lambda *_, **__: ())
    monkeypatch.setattr(evaluate, "_evaluate", lambda *_: {})


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize(("command", "check"), CASES, ids=lambda value: getattr(value, "name", value))
def test_each_check_refuses_in_each_command_in_the_same_words(
    command: Command, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, message = REFUSED[check.name]
    if check.name in ("all processes are ranks", "ranks share the name of the study"):
        monkeypatch.setattr(TorchElasticEnvironment, "detect", lambda: True)
        monkeypatch.setattr(resolvers, "TIME_IS_INHERITED", False)
        for name, value in {"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is compared below
        begin(command, words, tmp_path)
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("surroundings")
def test_preflight_collects_all_that_does_not_keep_it_from_reading_the_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the messages are compared below
        begin("preflight", " ".join(REFUSED[check.name][0] for check in reversed(COLLECTED)), tmp_path)
    assert len(COLLECTED) == 10
    for check in COLLECTED:
        assert REFUSED[check.name][1] in str(caught.value)


@pytest.mark.usefixtures("surroundings")
def test_a_run_is_evaluated_whatever_training_refuses_since(tmp_path: Path) -> None:
    """All that only training refuses at once, on one rank."""
    only_training = [
        check.name for check in CHECKS if check.stage not in ("settings", "machine") and check.commands == TRAINING
    ]
    words = {name: REFUSED[name][0] for name in only_training if name != "ranks share out a step"}
    del words["dynamic sampling sees what is scored"]  # by its metric, where "an epoch has a step" has another
    begin("evaluate", " ".join(words.values()), tmp_path)
    assert len(words) == 5


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("command", ["train", "evaluate", "preflight"])
def test_each_command_makes_its_checks_in_the_order_of_the_list(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def noted(check: Check) -> Check:
        def refuse(*subjects: Any) -> None:
            made.append(check.name)
            check.refuse(*subjects)

        return replace(check, refuse=refuse)

    monkeypatch.setattr(checks, "CHECKS", [noted(check) for check in CHECKS])
    begin(command, "", tmp_path)
    assert made == [check.name for check in CHECKS if command in check.commands]


def test_the_list_is_in_the_order_of_its_stages() -> None:
    places = [STAGES.index(check.stage) for check in CHECKS]
    assert places == sorted(places)
    assert [check.name for check in CHECKS] == [*REFUSED]
