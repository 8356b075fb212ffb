r"""Language: a penalty for letters of another script. The authors count Chinese characters; this uses a share.

Mathematics is not penalised: Greek letters, LaTeX commands, digits, signs and Unicode's mathematical alphabets.
"""

from collections.abc import Sequence

from vlm_rl.datasets.row import Row
from vlm_rl.rewards.foreign_letters import foreign_share
from vlm_rl.types import Response


class LanguageTerm:
    """Minus the share of letters that are neither Latin nor Greek: 0 for English, -1 for a text all in another script."""

    name = "language"

    def __call__(self, responses: Sequence[Response], rows: Sequence[Row]) -> list[float]:
        return [-foreign_share(response.text) for response in responses]
