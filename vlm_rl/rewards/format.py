r"""Format: did the response end by itself with a boxed answer? Not in the paper's runs: it narrows exploration."""

from collections.abc import Sequence

from vlm_rl.datasets.row import Row
from vlm_rl.rewards.boxed import last_boxed
from vlm_rl.types import Response


class FormatTerm:
    r"""1.0 for a terminated response (finish reason `stop`) whose last `\boxed{}` closes and is not blank, else 0.0."""

    name = "format"

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [float(response.finish_reason == "stop" and _has_answer(response.text)) for response in responses]


def _has_answer(text: str) -> bool:
    return bool((last_boxed(text) or "").strip())
