"""The evaluation scheme (Sec. 4): each split under each setting, shared out over the ranks; and the figures of one evaluation."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

from vlm_rl import ranks
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.row import Row
from vlm_rl.evaluation.endpoint import Endpoint
from vlm_rl.evaluation.image_control import ImageControl
from vlm_rl.evaluation.pass_at_k import pass_at_1_to_k, pass_at_k_by_question
from vlm_rl.evaluation.records import SCHEMA, by_question, records
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.evaluation.response_metrics import VERDICTS, count_responses, is_correct
from vlm_rl.evaluation.settings import GenerationSetting, metric_name
from vlm_rl.evaluation.statistics import Interval, share_interval
from vlm_rl.models.encoding import PromptEncoder
from vlm_rl.models.policy import Policy
from vlm_rl.randomness import stream_seed
from vlm_rl.rewards.judge import Judge
from vlm_rl.rollout.engine import RolloutEngine, SamplingSettings, generate_each
from vlm_rl.types import ResponseBatch

Answer = Callable[[], pa.Table]
Keep = Callable[[Sequence[int], Answer], pa.Table]  # (places of the rows in the split, how to answer them) -> their records


def answered_anew(indices: Sequence[int], answer: Answer) -> pa.Table:
    """A `Keep` that knows nothing and stores nothing."""
    return answer()


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
        return self._tables(policy, split=split, settings=[setting], keeps={setting.name: keep}, where=where)[setting.name]

    def evaluate_split(
        self, policy: Policy, *, split: str, epoch: float, generation_steps: int, keeps: Mapping[str, Keep]
    ) -> dict[str, pa.Table]:
        """The same of the settings that `keeps` names. Whichever they are, a question is answered under all settings of the scheme at
        once, so that no answer depends on what was known before."""
        where = {"epoch": epoch, "generation_steps": generation_steps}
        return self._tables(policy, split=split, settings=self.scheme.settings, keeps=keeps, where=where)

    def _tables(
        self,
        policy: Policy,
        *,
        split: str,
        settings: Sequence[GenerationSetting],
        keeps: Mapping[str, Keep],
        where: dict[str, Any],
    ) -> dict[str, pa.Table]:
        rows = self.rows(split)
        self._engine.load(policy)
        tables = {name: [SCHEMA.empty_table()] for name in keeps}  # a rank may have no row
        for indices in self.batches(len(rows)) if keeps else ():
            chosen = [rows[i] for i in indices]
            answers = cache(partial(self._answers, chosen, indices, settings, split=split, step=where["generation_steps"]))
            for name, keep in keeps.items():
                table = partial(self._records, chosen, answers, split=split, setting=name, **where)
                tables[name].append(keep(indices, table))
        order = [("row_id", "ascending"), ("sample", "ascending")]
        return {name: ranks.gather_table(pa.concat_tables(parts)).sort_by(order) for name, parts in tables.items()}

    def _answers(
        self, rows: Sequence[Row], indices: Sequence[int], settings: Sequence[GenerationSetting], *, split: str, step: int
    ) -> dict[str, ResponseBatch]:
        """By name of the setting."""
        samplings = [
            SamplingSettings(
                temperature=setting.temperature,
                top_p=setting.top_p,
                max_new_tokens=self._dataset.max_new_tokens,
                num_samples=setting.num_samples,
            )
            for setting in settings
        ]
        queries = self._encoder.batch(rows, indices=indices, step=step)
        seeds = [self.seeds(rows, split=split, setting=setting) for setting in settings]
        answers = generate_each(self._engine, queries, samplings, seeds)
        return {setting.name: answer for setting, answer in zip(settings, answers, strict=True)}

    def _records(
        self, rows: Sequence[Row], answers: Callable[[], dict[str, ResponseBatch]], *, setting: str, **where: Any
    ) -> pa.Table:
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


def accuracy(table: pa.Table, *, k: int) -> float:
    """Mean over questions of the unbiased pass@k."""
    _, counts = by_question(table, keys=["row_id"], counted={"correct": is_correct(table)})
    return float(pass_at_k_by_question(counts["num_correct"], num_samples=counts["num_samples"], k=k).mean())


def metrics(tables: Mapping[tuple[str, str], pa.Table], *, settings: Sequence[GenerationSetting]) -> dict[str, float]:
    """`val/pass@8_t1.0/accuracy` and its like, from the tables of (split, setting name)."""
    k = {setting.name: setting.k for setting in settings}
    return {metric_name(split, setting=name): accuracy(table, k=k[name]) for (split, name), table in tables.items()}


@dataclass(frozen=True, kw_only=True)
class Description:
    """One split under one generation setting."""

    accuracy: Interval  # pass@k, 95 % over new questions like these: this model only
    num_questions: int
    num_clusters: int  # images, where several questions share one
    pass_at: tuple[float, ...]  # pass@1, ..., pass@n, unbiased; n is the smallest number of samples of a question
    response_length: Mapping[str, float]  # tokens, and the share cut off, under the names of metrics.jsonl
    reflection: Mapping[str, float]  # the five ratios of Table 2
    verdicts: Mapping[str, int]  # samples by the decision of the judge

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def describe(samples: pa.Table, *, k: int, reflection: ReflectionRule) -> Description:
    """From the sample records of one evaluation, texts included."""
    counts = count_responses(samples, rule=reflection)
    questions, sums = by_question(samples, keys=("row_id", "image_id"), counted={"correct": counts.correct})
    num_correct, num_samples = sums["num_correct"], sums["num_samples"]
    scores = pass_at_k_by_question(num_correct, num_samples=num_samples, k=k)
    clusters = [question["image_id"] or question["row_id"] for question in questions.to_pylist()]
    verdicts = samples["verdict"].to_pylist()
    return Description(
        accuracy=share_interval(scores[None], images=clusters),
        num_questions=scores.size,
        num_clusters=len(set(clusters)),
        pass_at=tuple(pass_at_1_to_k(num_correct, num_samples=num_samples, k=int(num_samples.min())).mean(axis=0).tolist()),
        response_length=counts.length_metrics,
        reflection=counts.reflection.ratios(),
        verdicts={verdict: verdicts.count(verdict) for verdict in VERDICTS},
    )
