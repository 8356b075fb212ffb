"""Reasons not to believe what lies in run folders: what does not agree with what was written when the runs were made.

An arm with a doubt is not judged, until it agrees or until the person who reports accepts that kind of doubt (`report.accept`).
"""

from dataclasses import dataclass
from typing import Literal, get_args

from vlm_rl.reports.phrase import Phrase

Kind = Literal[
    "missing_seeds",  # runs that were made or planned, and are not there or were not passed
    "changed_files",  # files that are not what was written, by their hashes or by what was logged of them
    "other_counts",  # questions, samples or epochs that are not those of the config
    "changed_config",  # a manifest, an arm's hash or a picked step that does not belong to its config
    "repeated_run",  # one run under two seeds
    "unplanned_look",  # one report more than was planned has judged these seeds
    "growing",  # runs of the study are still at work
    "staged",  # it is a stage of a study that its plan judges
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One thing that does not agree, in words."""

    kind: Kind
    said: Phrase
