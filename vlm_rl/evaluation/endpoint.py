"""What a study is judged by, declared in its config before the first run: one split, one setting, one rule for the epoch."""

from dataclasses import dataclass

from vlm_rl.evaluation.settings import metric_name


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """All else is secondary and is never called an improvement."""

    split: str
    setting: str  # name of a generation setting, as pass@1_t0.6
    picked_by: str  # the split whose accuracy under the same setting chooses the epoch of each seed, the first of equals

    @property
    def pick(self) -> str:
        """`val/pass@1_t0.6/accuracy`: the metric that chooses."""
        return metric_name(self.picked_by, setting=self.setting)

    @property
    def name(self) -> str:
        """`test/pass@1_t0.6/accuracy`: the metric that is judged."""
        return metric_name(self.split, setting=self.setting)
