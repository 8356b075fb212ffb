"""A negative control: a random reward. A loop that seems to improve with it does not measure learning."""

import hashlib
import json
from collections.abc import Sequence

from vlm_rl.datasets.row import Row
from vlm_rl.types import Response


class RandomTerm:
    """0.0 or 1.0, a pure function of (root seed, row id, response text): a resumed run and other ranks see the same."""

    name = "random"

    def __init__(self, *, seed: int) -> None:
        self._seed = seed

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [self._coin(row.id, response.text) for response, row in zip(responses, rows, strict=True)]

    def _coin(self, row_id: str, text: str) -> float:
        key = json.dumps([self._seed, "random reward", row_id, text])
        return float(hashlib.sha256(key.encode()).digest()[0] & 1)
