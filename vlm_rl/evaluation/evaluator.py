"""The evaluation scheme (Sec. 4): each split under each setting, shared out over the ranks."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice, product
from typing import Any

import numpy as np
import pyarrow as pa

from vlm_rl import ranks
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.evaluation.description import Description as Description
from vlm_rl.evaluation.description import accuracy as accuracy
from vlm_rl.evaluation.description import describe as describe
from vlm_rl.evaluation.description import metrics as metrics
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.image_control import ImageControl
from vlm_rl.evaluation.records import SCHEMA, records
from vlm_rl.evaluation.settings import GenerationSetting
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.randomness import stream_seed
from vlm_rl.rewards.judge import Judge
from vlm_rl.rollout.engine import NoServerLeft, RolloutEngine, Sampling, SamplingSettings, ServedEngine, generate_each
from vlm_rl.types import ResponseBatch

Answer = Callable[[], pa.Table]
Keep = Callable[[Sequence[int], Answer], pa.Table]  # (places of the rows in the split, how to answer them) -> their records
Keeps = Mapping[str, Keep]  # by name of the setting
Answers = Callable[[], dict[str, ResponseBatch]]  # waits for them; by name of the setting
AHEAD = 3  # batches of questions that servers get before the first of them is waited for, so that they are never idle


def answered_anew(indices: Sequence[int], answer: Answer) -> pa.Table:
    """A `Keep` that knows nothing and stores nothing."""
    return answer()


def knows(keep: Keep, indices: Sequence[int]) -> bool:
    """Whether a `Keep` has the records of these rows already: one that stores them has a method that says so."""
    return bool(getattr(keep, "knows", lambda _: False)(indices))


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One batch of questions that is being answered."""

    split: str
    indices: range
    rows: list[Row]
    answers: Answers


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """What is evaluated, and when."""

    splits: Sequence[str]
    settings: Sequence[GenerationSetting]
    every_epochs: int
    image: ImageControl
    batch_rows: int  # questions answered together, by one rank: the same ones whatever the number of ranks
    endpoint: Endpoint  # what the study is judged by, and what selects a checkpoint

    @property
    def cells(self) -> list[tuple[str, GenerationSetting]]:
        """Each split under each setting."""
        return list(product(self.splits, self.settings))

    def check_endpoint(self) -> None:
        """Raise ValueError if the endpoint is not evaluated. Validation alone is allowed: a selection does not use the test split."""
        settings = [setting.name for setting in self.settings]
        judged = [] if list(self.splits) == [self.endpoint.picked_by] else [("split", self.endpoint.split, self.splits)]
        selecting = [("picked_by", self.endpoint.picked_by, self.splits), ("setting", self.endpoint.setting, settings)]
        for key, named, evaluated in (*selecting, *judged):
            if named not in evaluated:
                raise ValueError(
                    f"evaluation.scheme.endpoint.{key}={named} is not evaluated: no epoch could be selected, or none judged. "
                    f"Name one of {', '.join(evaluated)}, or add it to evaluation.scheme."
                )

    def check_epochs(self, epochs: int) -> None:
        """Raise ValueError if the trained model would never be evaluated."""
        if not 1 <= self.every_epochs <= epochs:
            raise ValueError(
                f"evaluation.scheme.every_epochs={self.every_epochs} with dataset.epochs={epochs}: the trained model would never be "
                f"evaluated. Give 1 to {epochs}."
            )


class Evaluator:
    """Draws depend on (root seed, split, setting, row, sample): the same at every epoch and for every arm of a seed."""

    def __init__(
        self, *, scheme: Scheme, dataset: Dataset, encoder: PromptEncoder, engine: RolloutEngine, judge: Judge, seed: int
    ) -> None:
        self.scheme = scheme
        self._dataset, self._encoder, self._engine, self._judge, self._seed = dataset, encoder, engine, judge, seed
        self._served = engine if isinstance(engine, ServedEngine) else None

    @property
    def is_served(self) -> bool:
        """Whether servers answer, which can go on while the policy changes."""
        return self._served is not None

    def rows(self, split: str) -> Sequence[Row]:
        """The questions of a split, with the figures that the model is shown."""
        return self.scheme.image(self._dataset.split(split))

    def batches(self, num_rows: int) -> list[range]:
        """Places of the questions that this rank answers together: whole batches in turn, so that no number depends on how many
        ranks there are."""
        size = self.scheme.batch_rows
        starts = range(ranks.rank() * size, num_rows, ranks.num_ranks() * size)
        return [range(start, min(start + size, num_rows)) for start in starts]

    def share(self, split: str) -> int:
        """Questions of a split that this rank answers."""
        return sum(map(len, self.batches(len(self._dataset.split(split)))))

    def evaluate(
        self,
        policy: Policy,
        *,
        split: str,
        setting: GenerationSetting,
        epoch: float,
        generation_steps: int,
        keep: Keep = answered_anew,
    ) -> pa.Table:
        """One record for each sample of each question, on every rank, of one setting. `keep` may store a batch of rows, or know it
        already."""
        where = {"epoch": epoch, "generation_steps": generation_steps}
        self._engine.load(policy)
        asked = self._asked({split: {setting.name: keep}}, settings=[setting], step=generation_steps)
        ((_, tables),) = self._whole(policy, asked, {split: {setting.name: keep}}, where=where)
        return tables[setting.name]

    def evaluate_split(
        self, policy: Policy, *, split: str, epoch: float, generation_steps: int, keeps: Keeps
    ) -> dict[str, pa.Table]:
        """The same of the settings that `keeps` names. Whichever they are, a question is answered under all settings of the scheme at
        once, so that no answer depends on what was known before."""
        ((_, tables),) = self.evaluate_splits(policy, epoch=epoch, generation_steps=generation_steps, keeps={split: keeps})
        return tables

    def evaluate_splits(
        self, policy: Policy, *, epoch: float, generation_steps: int, keeps: Mapping[str, Keeps], in_background: bool = False
    ) -> Iterator[tuple[str, dict[str, pa.Table]]]:
        """The same of several splits, each as soon as it is whole; servers get them as one stream of requests.

        With `in_background` all requests begin in this call, and give way to those of training; the weights are those of this call.
        """
        where = {"epoch": epoch, "generation_steps": generation_steps}
        self._engine.load(policy)  # by every rank, also one that has no question
        asked = self._asked(keeps, settings=self.scheme.settings, step=generation_steps, in_background=in_background)
        return self._whole(policy, iter([*asked]) if in_background else asked, keeps, where=where)

    def _asked(
        self,
        keeps: Mapping[str, Keeps],
        *,
        settings: Sequence[GenerationSetting],
        step: int,
        in_background: bool = False,
    ) -> Iterator[_Asked]:
        """The batches of this rank, split by split. Servers have those of the next ones already."""
        waiting: deque[_Asked] = deque()
        for split, of_split in keeps.items():
            rows = self.rows(split)
            for indices in self.batches(len(rows)) if of_split else ():
                chosen = [rows[i] for i in indices]
                ask = partial(self._ask, chosen, indices, settings, split=split, step=step)
                is_known = all(knows(keep, indices) for keep in of_split.values())
                answers = (
                    cache(lambda ask=ask: ask()()) if self._served is None or is_known else ask(in_background=in_background)
                )
                waiting.append(_Asked(split=split, indices=indices, rows=chosen, answers=answers))
                if self._served is None or len(waiting) > AHEAD:
                    yield waiting.popleft()
        yield from waiting

    def _whole(
        self, policy: Policy, asked: Iterator[_Asked], keeps: Mapping[str, Keeps], *, where: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, pa.Table]]]:
        """The records of each split, on every rank."""
        for split, of_split in keeps.items():
            num_batches = len(self.batches(len(self.rows(split)))) if of_split else 0
            take = partial(self._taken, asked, num_batches, of_split, where=where)
            order = [("row_id", "ascending"), ("sample", "ascending")]
            with policy.layout.whole() if self._served is None else nullcontext():
                tables = ranks.together(take, fails=NoServerLeft)
            yield split, {name: ranks.gather_table(pa.concat_tables(parts)).sort_by(order) for name, parts in tables.items()}

    def _taken(
        self, asked: Iterator[_Asked], num_batches: int, keeps: Keeps, *, where: dict[str, Any]
    ) -> dict[str, list[pa.Table]]:
        """The records of the next so many batches, which are those of one split on this rank."""
        tables = {name: [SCHEMA.empty_table()] for name in keeps}  # a rank may have no row
        for batch in islice(asked, num_batches):
            for name, keep in keeps.items():
                table = partial(self._records, batch.rows, batch.answers, split=batch.split, setting=name, **where)
                tables[name].append(keep(batch.indices, table))
        return tables

    def _ask(
        self,
        rows: Sequence[Row],
        indices: Sequence[int],
        settings: Sequence[GenerationSetting],
        *,
        split: str,
        step: int,
        in_background: bool = False,
    ) -> Answers:
        samplings = [
            SamplingSettings(
                temperature=setting.temperature,
                top_p=setting.top_p,
                max_new_tokens=self._dataset.max_new_tokens,
                num_samples=setting.num_samples,
            )
            for setting in settings
        ]
        queries = self._encoder.batch(rows, indices=indices, step=step, has_images=self._served is None)
        seeds = [self.seeds(rows, split=split, setting=setting) for setting in settings]
        if self._served is None:
            sampling: Sampling = partial(generate_each, self._engine, queries, samplings, seeds)
        else:
            sampling = self._served.begin(queries, samplings, seeds, in_background=in_background)
        names = [setting.name for setting in settings]
        return cache(lambda: dict(zip(names, sampling(), strict=True)))

    def _records(self, rows: Sequence[Row], answers: Answers, *, setting: str, **where: Any) -> pa.Table:
        """The judged answers under one setting."""
        batch = answers()[setting]
        repeated = [row for row in rows for _ in range(batch.num_samples)]
        verdicts = self._judge.judge([response.text for response in batch.responses], [row.answer for row in repeated])
        samples = list(range(batch.num_samples)) * len(rows)
        return records(repeated, batch.responses, verdicts, samples=samples, setting=setting, **where)

    def seeds(self, rows: Sequence[Row], *, split: str, setting: GenerationSetting) -> np.ndarray:
        """A 63-bit seed for each (row, sample)."""
        path = ("evaluation", split, setting.name)
        seeds = [[stream_seed(self._seed, *path, row.id, k) for k in range(setting.num_samples)] for row in rows]
        return np.array(seeds, dtype=np.int64)
