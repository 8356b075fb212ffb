"""The paper's Fig. 2 as a LightningModule. What is measured, written or stopped around it lives in callbacks."""

import contextlib
from dataclasses import dataclass

import lightning
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from vlm_rl.algorithms.algorithm import Algorithm
from vlm_rl.models import parts
from vlm_rl.models.policy import Policy
from vlm_rl.pipeline.step1_data_flow import DataFlow
from vlm_rl.pipeline.step2_response_collection import ResponseCollection
from vlm_rl.pipeline.step3_trajectory_generation import ScoredTrajectory, TrajectoryGeneration
from vlm_rl.pipeline.step4_policy_update import PolicyUpdate, Stepper
from vlm_rl.stopwatch import Stopwatch
from vlm_rl.types import QueryBatch, ResponseBatch, UpdateStats


@dataclass(frozen=True, kw_only=True)
class GenerationStep:
    """What one pass through the four steps made; the callbacks read it."""

    queries: QueryBatch
    responses: ResponseBatch
    scored: ScoredTrajectory
    stats: UpdateStats


@dataclass(kw_only=True)
class Progress:
    """The named x-axes of every curve; Lightning's own global_step counts optimizer steps under manual optimisation."""

    generation_steps: int = 0
    gradient_steps: int = 0
    steps_per_epoch: int = 1

    @property
    def epoch(self) -> float:
        """Passes over the training rows: generation steps done, over generation steps of an epoch."""
        return self.generation_steps / self.steps_per_epoch

    @property
    def axes(self) -> dict[str, float]:
        """The x-axes as metrics: each line of metrics.jsonl holds them."""
        return {"generation_steps": self.generation_steps, "gradient_steps": self.gradient_steps, "epoch": self.epoch}


class VLMReinforcement(lightning.LightningModule):
    """Policy, reference and objective, and the four steps that join them."""

    def __init__(
        self,
        *,
        policy: Policy,
        algorithm: Algorithm,
        data_flow: DataFlow,
        collection: ResponseCollection,
        generation: TrajectoryGeneration,
        update: PolicyUpdate,
        stopwatch: Stopwatch,
        progress: Progress,
        num_updates: int,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False  # one generation step holds N optimizer steps
        self.policy, self.algorithm, self.data_flow = policy, algorithm, data_flow
        self._collection, self._generation, self._update = collection, generation, update
        self.stopwatch, self.progress, self._num_updates = stopwatch, progress, num_updates
        self.last_step: GenerationStep | None = None
        self.stop_is_asked = False  # by a signal, on this rank; callbacks/interruption.py

    @property
    def collection(self) -> ResponseCollection:
        """Step II, with what a checkpoint keeps of it."""
        return self._collection

    def on_fit_start(self) -> None:
        """Gives the data flow this rank's rows. Without adapters, keeps a frozen copy of the model as the reference."""
        self.data_flow.start(
            first_step=self.data_flow.first_step, rank=self.trainer.global_rank, num_ranks=self.trainer.world_size
        )
        size = self.policy.keep_reference() if self.algorithm.needs_reference else 0
        if size and self.trainer.is_global_zero:
            print(f"Full fine-tuning keeps a frozen copy of the model as the reference: {size / 2**30:.2f} GiB.", flush=True)

    def training_step(self, queries: QueryBatch, batch_idx: int) -> None:  # Step I made `queries`
        responses = self.collect_responses(queries)  # Step II
        scored = self.generate_trajectory(queries, responses)  # Step III
        stats = self.update_policy(scored)  # Step IV: N gradient steps
        self.report(GenerationStep(queries=queries, responses=responses, scored=scored, stats=stats))

    def collect_responses(self, queries: QueryBatch) -> ResponseBatch:
        """Step II."""
        with self.stopwatch.measure("step2_response_collection"):
            return self._collection.collect(queries, self.policy)

    def generate_trajectory(self, queries: QueryBatch, responses: ResponseBatch) -> ScoredTrajectory:
        """Step III."""
        with self.stopwatch.measure("step3_trajectory_generation"):
            return self._generation.generate(queries, responses, self.policy)

    def update_policy(self, scored: ScoredTrajectory) -> UpdateStats:
        """Step IV."""
        with self.stopwatch.measure("step4_policy_update"):
            return self._update.update(scored.trajectory, self.policy, self._stepper(), step=self.progress.generation_steps)

    def report(self, step: GenerationStep) -> None:
        """Counts the step and keeps it for the callbacks."""
        self.progress.generation_steps += 1
        self.policy.version = self.progress.generation_steps
        self.progress.gradient_steps += self.algorithm.num_updates
        self.last_step = step

    def configure_model(self) -> None:
        """Nothing: a model that is shared out over ranks was so when it was read. Lightning asks for this method there."""

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[torch.optim.lr_scheduler.LambdaLR]]:
        """One optimizer with a group for each trained part; its schedule counts gradient steps."""
        settings = self.policy.optimization
        optimizer = settings.optimizer(parts.trained(self.policy.vlm), scale=self.algorithm.learning_rate_scale)
        return [optimizer], [settings.schedule(optimizer, num_updates=self._num_updates)]

    def _stepper(self) -> Stepper:
        optimizer, schedule = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(schedule, torch.optim.lr_scheduler.LRScheduler)
        return Stepper(
            backward=self._backward_on_this_rank, optimizer=optimizer.optimizer, step=optimizer.step, schedule=schedule
        )

    def _backward_on_this_rank(self, loss: Tensor) -> None:
        """Adds to this rank's gradients without DDP's own reduction: Step IV adds them up over ranks, once for each update."""
        model = self.trainer.model
        with model.no_sync() if isinstance(model, DistributedDataParallel) else contextlib.nullcontext():
            self.manual_backward(loss)


def reinforcement(module: lightning.LightningModule) -> VLMReinforcement:
    """The module that Lightning hands to a callback, as its own type."""
    assert isinstance(module, VLMReinforcement)
    return module
