"""Dynamic sampling on two ranks: the same groups are selected, and what is learned from them is what one rank learns."""

from pathlib import Path
from typing import Any

import pytest
from forking import Forking
from safetensors.torch import load_file
from tiny_commands import only_run, train
from typed import TRAIN, typed

from vlm_rl.callbacks.saved_steps import saved_steps
from vlm_rl.run_folder import RunFolder

# A coin as the reward: there is something to learn whatever the weights. 2 steps sample 6 groups each and learn from 4.
SAMPLING = (
    "experiment=smoke",
    "reward=random",
    "dataset.batch_size=4",
    "dataset.epochs=1",
    "dataset.evaluation_rows=2",
    "parity.every=1",
    "num_threads=1",
    "algorithm=grpo",
    "algorithm.group_size=2",
    "algorithm/dynamic_sampling=dapo",
    "algorithm.dynamic_sampling.metric=score",
    "dataset.max_new_tokens=40",
)


def sampling(run: RunFolder) -> list[tuple[int, dict[str, Any]]]:
    """Of each generation step: optimizer steps so far, and what became of its groups."""
    lines = [line for line in run.lines("metrics.jsonl") if line["event"] == "train"]
    return [(line["gradient_steps"], {k: v for k, v in line.items() if k.startswith("sampling/")}) for line in lines]


def thrown_away(run: RunFolder) -> list[int | None]:
    """Tokens that nothing was learned from, in each step."""
    return [cost.get("tokens/thrown_away") for cost in run.lines("cost.jsonl")]


@pytest.mark.slow
def test_two_ranks_select_the_same_groups_and_learn_the_same(forking: Forking, tmp_path: Path) -> None:
    """The two find their config in a folder of their own, by whose name a started rank could stumble."""
    theirs = tmp_path / "josé, two"
    (theirs / "conf").mkdir(parents=True)
    (theirs / "conf" / "mine.yaml").write_text("defaults: [train, _self_]\nstudy: ranks\n")
    train(forking, tmp_path, *SAMPLING, "study=ranks")
    ended = typed((*TRAIN, "--config-dir=conf", "--config-name=mine", *SAMPLING, "trainer.devices=2"), cwd=theirs)
    assert ended.code == 0, ended.out
    one, two = only_run(tmp_path, study="ranks"), only_run(theirs, study="ranks")
    assert sampling(one) == sampling(two)
    assert len(sampling(one)) == 2 and sampling(one)[-1][0] == 4
    assert any(0 < numbers["sampling/differing_groups"] < 6 for _, numbers in sampling(one))
    assert thrown_away(one) == thrown_away(two)
    for key in ("policy/loss", "policy/gradient_norm", "policy/entropy"):  # what AdamW is given is the same to rounding
        left_values, right_values = (
            [line[key] for line in run.lines("metrics.jsonl") if line["event"] == "train"] for run in (one, two)
        )
        assert left_values == pytest.approx(right_values, rel=1e-4, abs=1e-7)
    left, right = (load_file(saved_steps(run)[-1].path / "adapter_model.safetensors") for run in (one, two))
    largest = max(float((left[name] - right[name]).abs().max()) for name in left)
    moved = max(float(tensor.abs().max()) for name, tensor in left.items() if "lora_B" in name)
    print(f"largest difference of the adapters: {largest:.2e}, largest weight {moved:.2e}")
    assert moved > 1e-4
    assert largest < 1e-5  # as at the end of the other runs on two ranks: AdamW divides by small gradients
