"""The alert for responses that the judge did not judge. It needs no window: each of them is one too many."""

from dataclasses import dataclass

from vlm_rl.evaluation.alert_rules import recent
from vlm_rl.evaluation.alert_watch import History


@dataclass(frozen=True, kw_only=True)
class AnswersNotJudged:
    """Responses of the last generation step count as wrong without having been judged."""

    largest: int  # responses of a step, over all ranks

    def __call__(self, history: History) -> str | None:
        number = recent(history, "train/not_judged", window=1)
        if number is None or number <= self.largest:
            return None
        return (
            f"{number:.0f} responses of this step were not judged and count as wrong (limit {self.largest}): answers that are too costly "
            "used up reward.judge.budget_s, or something killed the judge's processes. Look at the answers that timed out; raise "
            "reward.judge.budget_s, or give the machine more memory (`dmesg` shows what its kernel killed)."
        )
