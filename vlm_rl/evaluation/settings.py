"""How an evaluation samples (Sec. 4), and the names that metrics and files take from it. Sampling itself is the engine's."""

import re
from dataclasses import dataclass

SETTING_NAME = re.compile(r"pass@(?P<k>\d+)_t(?P<temperature>\d+(?:\.\d+)?)")


@dataclass(frozen=True, kw_only=True)
class GenerationSetting:
    """One way to sample answers and to score them: pass@k from `num_samples` >= k samples of each question."""

    k: int  # a question counts as solved if one of k samples is right
    temperature: float
    top_p: float
    num_samples: int  # more than k makes the unbiased estimate of pass@k less noisy

    def __post_init__(self) -> None:
        """Raise ValueError where pass@k cannot be estimated."""
        if self.k < 1:
            raise ValueError(f"evaluation setting: k={self.k}, but pass@k needs k >= 1.")
        if self.num_samples < self.k:
            raise ValueError(
                f"evaluation setting {self.name}: num_samples={self.num_samples} samples cannot estimate pass@{self.k}. "
                f"Set num_samples to {self.k} or more."
            )
        if self.temperature <= 0 or not 0 < self.top_p <= 1:
            raise ValueError(
                f"evaluation setting {self.name}: temperature={self.temperature} must be above 0 (0.01 is nearly greedy) "
                f"and top_p={self.top_p} above 0 and at most 1."
            )

    @property
    def name(self) -> str:
        """`pass@8_t1.0`: what is estimated and at which temperature; it names metrics and files."""
        return f"pass@{self.k}_t{float(self.temperature)}"


def metric_name(split: str, *, setting: str) -> str:
    """`val/pass@8_t1.0/accuracy`."""
    return f"{split}/{setting}/accuracy"


def k_of(setting_name: str) -> int:
    """The k in the name of a generation setting."""
    return int(_parts(setting_name)["k"])


def title_of(setting_name: str) -> str:
    """`pass@8, T = 1.0`: the name as a person reads it."""
    parts = _parts(setting_name)
    return f"pass@{parts['k']}, T = {parts['temperature']}"


def _parts(setting_name: str) -> dict[str, str]:
    match = SETTING_NAME.fullmatch(setting_name)
    if match is None:
        raise ValueError(f"{setting_name!r} is not the name of a generation setting. Names look like pass@8_t1.0.")
    return match.groupdict()
