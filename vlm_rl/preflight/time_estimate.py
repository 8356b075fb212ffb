"""Time of a run before it begins: the operations of each traced phase on the device's measured speed.

A range, because nobody knows before how long the responses will be: from SHORTEST of `max_new_tokens` each to all of it, and at the
upper end SLOWER than the roofline, which leaves out the tokenizer, the judge, the loading of pictures and gaps between kernels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.preflight import phases
from vlm_rl.preflight.machine import Machine
from vlm_rl.preflight.phases import TRACED_TOKENS, Phase
from vlm_rl.preflight.workload import Workload

SHORTEST = 0.25  # mean response of the quick end, in shares of max_new_tokens
SLOWER = 3.0  # over the roofline, at the slow end; benchmarks/memory_estimate.py saw 1.1 to 2.4 on an idle CPU
LOOK, SAMPLE, SCORE, LEARN = "vision", "step 2, sampling", "step 3, log-probabilities", "step 4, update"


@dataclass(frozen=True, kw_only=True)
class Range:
    """From an optimistic number to a careful one."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """How often the steps are taken on this rank."""

    num_steps: int  # generation steps
    num_rows: int  # training rows
    features_are_kept: bool  # the vision cache has room for all of them: each picture is looked at once in the run
    num_evaluations: int
    evaluated_rows: int  # questions of one evaluation, once for each setting
    evaluated_responses: int  # of one evaluation, over all its splits, settings and samples


@dataclass(frozen=True, kw_only=True)
class TimeEstimate:
    """Seconds of each phase of a generation step, and of all."""

    phases: Mapping[str, Range]
    evaluation: Range  # seconds of one
    run: Range  # seconds, evaluations included

    @property
    def step(self) -> Range:
        """Seconds of a generation step."""
        return Range(low=sum(r.low for r in self.phases.values()), high=sum(r.high for r in self.phases.values()))


def duration(traced: Sequence[Phase], *, workload: Workload, length: RunLength, machine: Machine) -> TimeEstimate:
    """The whole run."""
    quick = _Case(traced, workload=workload, machine=machine, share=SHORTEST, slower=1.0)
    slow = _Case(traced, workload=workload, machine=machine, share=1.0, slower=SLOWER)
    steps = {name: Range(low=quick.step[name], high=slow.step[name]) for name in quick.step}
    runs, evaluations = [], []
    for case in (quick, slow):
        evaluations.append(case.evaluation(length))
        looks = length.num_rows if length.features_are_kept else length.num_steps * workload.batch_size
        looking = case.look * looks
        stepping = (sum(case.step.values()) - case.step[LOOK]) * length.num_steps
        runs.append(looking + stepping + evaluations[-1] * length.num_evaluations)
    return TimeEstimate(
        phases=steps, evaluation=Range(low=evaluations[0], high=evaluations[1]), run=Range(low=runs[0], high=runs[1])
    )


class _Case:
    """One end of the range."""

    def __init__(self, traced: Sequence[Phase], *, workload: Workload, machine: Machine, share: float, slower: float) -> None:
        self._workload = workload
        self._tokens = max(1, round(workload.max_new_tokens * share))
        seconds = {p.name: slower * machine.seconds(p.operations) / p.num_sequences for p in traced}  # of one sequence
        longest, typical = workload.longest.tokens, workload.typical.tokens
        shorter = (typical + self._tokens) / (longest + workload.max_new_tokens)  # against what was traced
        per_image = _area(workload.typical.pictures) / (_area(workload.longest.pictures) or 1)
        self.look = seconds.get(phases.VISION, 0.0) * per_image
        self._prefill = seconds[phases.PREFILL] * typical / longest
        first, last = seconds[phases.FIRST_TOKENS] / TRACED_TOKENS, seconds[phases.LAST_TOKENS] / TRACED_TOKENS
        self._token = first + (last - first) * share / 2  # the cache grows evenly
        self._score = seconds[phases.SCORING] * shorter
        self._learn = seconds[phases.UPDATE] * shorter
        self._optimize = seconds[phases.OPTIMIZER_STEP] * workload.mini_batch

    @property
    def step(self) -> dict[str, float]:
        """Seconds of a generation step whose pictures are new."""
        work = self._workload
        passes = int(work.needs_old_logprobs) + int(work.needs_reference)
        return {
            LOOK: self.look * work.batch_size,
            SAMPLE: self._prefill * work.batch_size + self._token * self._tokens * work.num_responses,
            SCORE: self._score * passes * work.num_responses,
            LEARN: work.ppo_epochs * (self._learn * work.num_responses + self._optimize * work.num_minibatches),
        }

    def evaluation(self, length: RunLength) -> float:
        """Seconds of one evaluation; a picture that was looked at for one setting may be looked at again for the next."""
        asking = (self.look + self._prefill) * length.evaluated_rows
        return asking + self._token * self._tokens * length.evaluated_responses


def _area(pictures: Sequence[tuple[int, int]]) -> int:
    return sum(width * height for width, height in pictures)
