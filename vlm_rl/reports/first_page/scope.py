"""What the results speak of: which model and which data, and which arms nobody compared. Read from the manifests."""

from collections.abc import Sequence

from vlm_rl.reports.phrase import Phrase, listed, paragraph, say, told
from vlm_rl.reports.reading.arms import Records
from vlm_rl.reports.verdicts.arm_verdict import ArmVerdict


def scope_of(records: Records, *, verdicts: Sequence[ArmVerdict]) -> Phrase:
    """A paragraph to read with the headline; empty where nothing was trained."""
    if not records.trained:
        return paragraph()
    models, data = _names(records, group="model"), _names(records, group="dataset")
    return paragraph(
        say("Model: {model}; data: {data}.", model=listed(models), data=listed(data)) if models and data else "",
        say("All of this speaks of new seeds and of questions like these; not of other models, data or longer training."),
        _pairs() if records.has_many_arms else _not_compared(verdicts),
    )


def _names(records: Records, *, group: str) -> list[str]:
    """What the runs' configs call it, each once."""
    configs = (run.run.config.get(group) or {} for arm in records.trained for run in arm.used)
    return list(dict.fromkeys(str(config["name"]) for config in configs if config.get("name")))


def _pairs() -> Phrase:
    """Where a ranking would be looked for."""
    return told("scope.pairs")


def _not_compared(verdicts: Sequence[ArmVerdict]) -> str:
    """Two gains over one reference invite a ranking that no test stands behind."""
    compared = [verdict for verdict in verdicts if verdict.difference is not None]
    if len(compared) < 2:
        return ""
    return told("scope.not_compared", arm=compared[0].arm)
