r"""Language: a penalty for writing in another script. The authors count Chinese characters; this is a share.

Mathematics is not a language: Greek letters, LaTeX commands, digits, signs and Unicode's mathematical alphabets cost
nothing.
"""

from collections.abc import Sequence

from vlm_rl.datasets.row import Row
from vlm_rl.rewards.foreign_letters import foreign_share
from vlm_rl.types import Response


class LanguageTerm:
    """Minus the share of letters outside the Latin and Greek scripts: 0 for English, -1 for all in another script."""

    name = "language"

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [-foreign_share(response.text) for response in responses]
