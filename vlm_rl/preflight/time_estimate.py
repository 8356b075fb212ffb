"""Time of a run before it begins: the operations of each traced phase on the device's measured speed.

Three cases, because nobody knows before how long the responses will be: from a quarter of `max_new_tokens` each to all of it, and
slower than the roofline, which leaves out the tokenizer, the judge, the loading of pictures and gaps between kernels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vlm_rl.preflight import phases
from vlm_rl.preflight.device import Machine
from vlm_rl.preflight.phases import TRACED_TOKENS, Phase
from vlm_rl.preflight.shapes import Workload

SLOWER = 3.0  # over the roofline, at the slow end; benchmarks/memory_estimate.py saw 1.1 to 2.4 on an idle CPU
CASES = ((0.25, 1.0), (0.5, 1.7), (1.0, SLOWER))  # mean response in shares of max_new_tokens, and times the roofline
LOOK, SAMPLE, SCORE, LEARN = "vision", "step 2, sampling", "step 3, log-probabilities", "step 4, update"


@dataclass(frozen=True, kw_only=True)
class Range:
    """From an optimistic number to a careful one."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True, kw_only=True)
class RunLength:
    """How often the steps are taken on this rank."""

    num_steps: int  # generation steps
    writes_responses: bool  # False: they are given (SFT), and the engine only works for evaluations
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
        spent = [(each.low, each.middle, each.high) for each in self.phases.values()]
        return _range([sum(case) for case in zip(*spent, strict=True)])


def _range(cases: Sequence[float]) -> Range:
    low, middle, high = cases
    return Range(low=low, middle=middle, high=high)


def duration(traced: Sequence[Phase], *, workload: Workload, length: RunLength, machine: Machine) -> TimeEstimate:
    """The whole run."""
    cases = [_Case(traced, workload=workload, machine=machine, share=share, slower=slower) for share, slower in CASES]
    steps = [case.step(length) for case in cases]
    runs = []
    for case, step in zip(cases, steps, strict=True):
        looks = length.num_rows if length.features_are_kept else length.num_steps * workload.num_queries
        stepping = (sum(step.values()) - step[LOOK]) * length.num_steps
        runs.append(case.look * looks + stepping + case.evaluation(length) * length.num_evaluations)
    return TimeEstimate(
        phases={name: _range([step[name] for step in steps]) for name in steps[0]},
        evaluation=_range([case.evaluation(length) for case in cases]),
        run=_range(runs),
    )


class _Case:
    """One of the cases."""

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

    def step(self, length: RunLength) -> dict[str, float]:
        """Seconds of a generation step whose pictures are new."""
        work = self._workload
        passes = int(work.needs_old_logprobs) + int(work.needs_reference)
        sampling = (self._prefill + self._token * self._tokens * work.group_size) * work.num_queries
        return {
            LOOK: self.look * work.num_queries,
            SAMPLE: sampling if length.writes_responses else 0.0,
            SCORE: self._score * passes * work.num_responses,
            LEARN: work.ppo_epochs * (self._learn * work.num_responses + self._optimize * work.num_minibatches),
        }

    def evaluation(self, length: RunLength) -> float:
        """Seconds of one evaluation; a picture that was looked at for one setting may be looked at again for the next."""
        asking = (self.look + self._prefill) * length.evaluated_rows
        return asking + self._token * self._tokens * length.evaluated_responses


def _area(pictures: Sequence[tuple[int, int]]) -> int:
    return sum(width * height for width, height in pictures)
