"""What a reader of runs may choose about a report. What a study is judged by was declared by its runs and is only overridden here."""

from collections.abc import Sequence
from dataclasses import dataclass

from vlm_rl.evaluation.kpi import Kpi
from vlm_rl.evaluation.reflection import ReflectionRule
from vlm_rl.reports.phrase import catalogue_of
from vlm_rl.reports.reading.doubts import KINDS, Kind


@dataclass(frozen=True, kw_only=True)
class ReaderSize:
    """How many completions the page carries to be read there; the run folders keep all."""

    cases_per_group: int  # of each run, phase, split and verdict
    aha_cases: int  # first right answers with a reflection word, of each run
    longest: int  # characters of a response
    image_bytes: int  # of all pictures together


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The keys under `report` and `evaluation` of conf/report.yaml."""

    language: str  # en or ja
    reference: str | None  # label or variant of the arm that all others are compared with; None: each arm's own vanilla model
    smallest_effect: float | None  # delta: a smaller difference of shares would not matter; None: as the runs declared
    setting: str | None  # None: as the runs declared
    split: str | None
    breakdown: Sequence[str]  # fields of a row by which accuracy is broken down
    bottleneck_gain: float  # share; training accuracy that never again gains as much has met its bottleneck
    price_per_device_hour: float | None
    currency: str
    reader: ReaderSize
    reflection: ReflectionRule | None  # None: as each run declares
    kpis: Sequence[Kpi]
    wandb_workspace: str | None  # ENTITY/PROJECT, where a workspace that compares these studies is saved; None: nowhere
    command: str  # makes this report again
    accept: Sequence[Kind] = ()  # kinds of doubts that the person who reports accepts; the page says so

    def __post_init__(self) -> None:
        """Refuse what no report can be made with."""
        catalogue_of(self.language)
        if unknown := set(self.accept) - set(KINDS):
            raise ValueError(f"report.accept names {', '.join(sorted(unknown))}. Kinds of doubts are {', '.join(KINDS)}.")
        if self.smallest_effect is not None and not 0 < self.smallest_effect < 1:
            raise ValueError(
                f"report.smallest_effect={self.smallest_effect} must lie between 0 and 1: it is a share, 0.02 is 2 points."
            )
        if self.price_per_device_hour is not None and self.price_per_device_hour < 0:
            raise ValueError(f"report.price_per_device_hour={self.price_per_device_hour} must not be negative.")
