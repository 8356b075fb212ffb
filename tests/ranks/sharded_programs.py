"""What ranks do in test_sharded_model.py: five generation steps on the same responses, however many ranks share them and the model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from forked import run_case
from tiny_runs import Hand, Sheet, trained
from torch import Tensor
from torch.distributed.tensor import DTensor

from vlm_rl.callbacks.checkpoint import save_whole
from vlm_rl.callbacks.optimizer_state import load_moments, moments_of_parts, without_parts
from vlm_rl.commands.build import Experiment, build, composed
from vlm_rl.commands.placement import Placement
from vlm_rl.pipeline.step3_trajectory_generation import concatenate
from vlm_rl.ranks import is_first, num_ranks
from vlm_rl.rollout.written import finish
from vlm_rl.types import Samples, select

NUM_QUERIES, GROUP, NUM_STEPS = 8, 2, 5
SHARES = {1: [16], 2: [10, 6], 4: [2, 8, 4, 2]}  # rows of each rank, whole groups
CHECKPOINT = "checkpoints/step-000005"


def experiment_of(rank: int, overrides: list[str]) -> Experiment:
    """The smoke experiment on this rank; `trainer/strategy=fsdp2` among the overrides shares the model out."""
    ranks = num_ranks()
    words = [
        "experiment=smoke",
        "parity.tolerance=1000",
        "algorithm=grpo",
        "algorithm.kl_loss_coef=0.05",
        f"algorithm.group_size={GROUP}",
    ]
    cfg = composed([*words, f"trainer.devices={ranks}", "trainer.accelerator=cpu", *overrides])
    cpu = torch.device("cpu")
    place = Placement(device=cpu, rank=rank, local_rank=rank, num_local_ranks=ranks, num_nodes=1, are_started=True)
    return build(cfg, command="train", placement=place)


def samples_of(experiment: Experiment) -> Samples:
    """Responses of unlike lengths to prompts with pictures of unlike sizes; the last prompt has none."""
    policy, generator = experiment.policy, torch.Generator().manual_seed(3)
    rows = [
        replace(row, images=(Sheet(i, width=56 + 28 * (i % 3), height=56),) if i < NUM_QUERIES - 1 else ())
        for i, row in enumerate(experiment.dataset.train[i] for i in range(NUM_QUERIES))
    ]
    rows = [replace(row, question=f"<image>{i} + 1 = ?" if row.images else f"{i} + 2 = ?") for i, row in enumerate(rows)]
    with policy.layout.gathered():
        queries = experiment.encoder.batch(rows, indices=range(NUM_QUERIES), step=0)
    ids = torch.randint(0, 90, (NUM_QUERIES * GROUP, 20), generator=generator)
    lengths = torch.randint(3, 21, (len(ids), 1), generator=generator)
    ids = torch.where(torch.arange(20) < lengths, ids, -1)
    responses = finish(policy, ids, torch.full(ids.shape, -3.0), GROUP)
    return concatenate(queries, responses, scores=torch.rand(len(ids), generator=generator))


def own(samples: Samples, rank: int) -> Samples:
    """The rows of this rank."""
    start = sum(SHARES[num_ranks()][:rank])
    return select(samples, torch.arange(start, start + SHARES[num_ranks()][rank]))


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be shared out; every rank must call this."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


def steps(experiment: Experiment, rank: int, hand: Hand, *, first: int = 0, count: int = NUM_STEPS) -> dict[str, Any]:
    """Steps III and IV on this rank's rows, the pass of the reference before each update."""
    policy, module, losses, norms = experiment.policy, experiment.module, list[float](), list[float]()
    samples = own(samples_of(experiment), rank)
    for step in range(first, first + count):
        trajectory = module._generation._with_logprobs(samples, policy, step=step, sources=None, by=None)
        stats = module._update.update(trajectory, policy, hand.stepper, step=step)
        losses.append(stats.loss)
        norms.append(stats.gradient_norm)
    local = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in policy.vlm.parameters())
    return {
        "losses": losses,
        "norms": norms,
        "weights": {name: whole(p) for name, p in trained(policy).items()},
        "share": local / sum(p.numel() for p in policy.vlm.parameters()),
        "kinds": {type(p.data).__name__ for p in policy.trained_parameters},
    }


def prepared(folder: Path, rank: int) -> tuple[Experiment, Hand]:
    """As on_fit_start and configure_optimizers of module.py do it."""
    experiment = experiment_of(rank, torch.load(folder / "overrides.pt"))
    if experiment.algorithm.needs_reference:
        experiment.policy.keep_reference()
    return experiment, Hand(experiment)


def five_steps(folder: Path, rank: int) -> dict[str, Any]:
    """From the beginning."""
    experiment, hand = prepared(folder, rank)
    found = steps(experiment, rank, hand)
    experiment.reward.close()
    return found


def five_steps_and_one(folder: Path, rank: int) -> dict[str, Any]:
    """From the beginning, a checkpoint after five, then a sixth."""
    experiment, hand = prepared(folder, rank)
    steps(experiment, rank, hand)
    policy = experiment.policy
    state: dict[str, Any] = {"optimizer": without_parts(hand.optimizer.state_dict())}
    state["schedule"] = hand.stepper.schedule.state_dict()
    if is_first() or policy.layout.trains_parts:
        save_whole(folder / CHECKPOINT, policy, state, record={}, moments=moments_of_parts(hand.optimizer, policy.vlm))
    found = steps(experiment, rank, hand, first=NUM_STEPS, count=1)
    experiment.reward.close()
    return found


def sixth_step(folder: Path, rank: int) -> dict[str, Any]:
    """From that checkpoint."""
    experiment, hand = prepared(folder, rank)
    experiment.policy.load(folder / CHECKPOINT)
    state = torch.load(folder / CHECKPOINT / "trainer_state.pt", weights_only=True)
    hand.optimizer.load_state_dict(state["optimizer"])
    load_moments(hand.optimizer, experiment.policy.vlm, folder=folder / CHECKPOINT)
    hand.stepper.schedule.load_state_dict(state["schedule"])
    found = steps(experiment, rank, hand, first=NUM_STEPS, count=1)
    experiment.reward.close()
    return found


if __name__ == "__main__":
    run_case(five_steps, five_steps_and_one, sixth_step)
