"""A reward that ends its process at the third step, or hangs there as NCCL may: a file says which rank does what."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from vlm_rl import ranks
from vlm_rl.datasets.row import Row
from vlm_rl.rewards.random_score import RandomTerm
from vlm_rl.types import Response

WORD = "reward.terms.random.term._target_=dying.Dying"
STEP = 3
DEATHS = "deaths.json"  # in the working directory, as {"1": "exit", "0": "hang"}; without it all live on


class Dying(RandomTerm):
    """`random`, until then."""

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed)
        self._calls = 0

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        self._calls += 1
        file = Path(DEATHS)
        how = json.loads(file.read_text()).get(str(ranks.rank())) if self._calls == STEP and file.exists() else None
        if how == "exit":
            os.write(2, b"a library below Python says this\n")
            os._exit(3)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "raise":
            raise KeyError("a mistake on one rank only")
        if how == "hang":
            time.sleep(10_000)
        return super().__call__(responses, rows)
