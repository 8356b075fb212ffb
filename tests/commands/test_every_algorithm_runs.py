"""`experiment=smoke algorithm=NAME` trains by each of the eight, with what it needs computed and nothing else."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import trained as trained_parameters
from torch.utils.data import DataLoader

from vlm_rl.callbacks.recorder import Recorder
from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.placement import trainer_of
from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow  # whole runs

ALGORITHMS = sorted(file.stem for file in Path(CONF_DIR, "algorithm").glob("*.yaml"))
SMALL = (  # 2 generation steps of 2 updates
    "experiment=smoke",
    "num_threads=1",
    "dataset.source.train_rows=8",
    "dataset.source.val_rows=2",
    "dataset.source.test_rows=2",
    "dataset.batch_size=4",
    "dataset.epochs=1",
    "dataset.max_new_tokens=12",
    "evaluation.scheme.splits=[val]",
    "reward=random",
    "rollout.temperature=4",  # the tiny model's first words are always the same
)
MORE = {  # 12 tokens end no response
    "dapo": ("algorithm.dynamic_sampling.metric=score", "dataset.source.train_rows=12"),  # a step samples 6 queries
    "reinforce_pp": ("algorithm.score_at=last_token", "algorithm.group_size=4"),
}
WITH_REFERENCE = {"grpo", "reinforce_pp", "reinforce_pp_baseline", "rloo"}  # a KL term in the loss or in the reward


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What was trained and the lines that its steps wrote."""

    name: str
    experiment: Experiment
    steps: list[dict[str, Any]]


@pytest.fixture(scope="module", params=ALGORITHMS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    name: str = request.param
    groups = () if name in ("sft", "reinforce_pp") else ("algorithm.group_size=4",)
    experiment = build(composed([*SMALL, f"algorithm={name}", *groups, *MORE.get(name, ())]), command="train")
    run = RunFolder(path=tmp_path_factory.mktemp(name))
    recorder = Recorder(folder=run, reflection=experiment.reflection)
    trainer = trainer_of(experiment.cfg.trainer, callbacks=[recorder])
    trainer.fit(experiment.module, DataLoader(experiment.module.data_flow, batch_size=None))
    experiment.reward.close()
    return Trained(name=name, experiment=experiment, steps=list(run.lines("metrics.jsonl")))


def test_there_are_eight() -> None:
    assert ALGORITHMS == ["dapo", "dr_grpo", "grpo", "gspo", "reinforce_pp", "reinforce_pp_baseline", "rloo", "sft"]


def test_what_its_updates_did_is_finite_and_what_it_has_not_is_missing(trained: Trained) -> None:
    assert [(line["generation_steps"], line["gradient_steps"]) for line in trained.steps] == [(1, 2), (2, 4)]
    for line in trained.steps:
        assert line["policy/skipped_updates"] == 0
        assert line["policy/gradient_norm"] > 0
        assert abs(line["policy/loss"]) < 100
        assert 0 < line["policy/entropy"] < 10
        assert (line["policy/ratio"] is None) == (line["policy/clip_fraction"] is None) == (trained.name == "sft")
        assert (line["policy/kl"] is not None) == (trained.name in WITH_REFERENCE)


def test_every_adapter_has_moved(trained: Trained) -> None:
    """An adapter begins as no change: its second factor is 0."""
    adapter = trained_parameters(trained.experiment.policy)
    largest = {name: float(weight.detach().abs().max()) for name, weight in adapter.items() if "lora_B" in name}
    assert largest
    assert min(largest.values()) > 0


EXPECTED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "dapo": lambda line: line["sampling/differing_groups"] <= 6 and line["sampling/thrown_away_groups"] == 2,
    "sft": lambda line: "train/reward" not in line,
}


def test_it_logs_what_is_its_own(trained: Trained) -> None:
    own = EXPECTED.get(trained.name, lambda line: "sampling/differing_groups" not in line and 0 <= line["train/reward"] <= 1)
    assert all(map(own, trained.steps))
