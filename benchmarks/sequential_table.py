"""The boundaries of usual designs of a staged study (vlm_rl/evaluation/sequential/boundaries.json): python benchmarks/sequential_table.py

About ten minutes of one core. What is not in the table is simulated in the same way, with fewer replications, when a plan asks for it.
"""

import json

from vlm_rl.evaluation.sequential.boundary import SHARES, TABLE, calibrated, information, key_of, p_values_without_effect
from vlm_rl.evaluation.sequential.spending import Spending, spent
from vlm_rl.evaluation.verdict import LEVEL

DESIGNS = ((3, 5, 7, 10), (3, 5, 10), (3, 5), (5, 10), (3, 5, 7), (3, 4, 5))
SPENDINGS: tuple[Spending, ...] = ("obrien_fleming", "pocock")
MOST_ARMS = 4
REPLICATIONS = 2_000_000
DIGITS = 4  # that count: more are noise


def main() -> None:
    """Simulate each design once for each share of questions; spending and level are then only read off."""
    table: dict[str, list[list[float]]] = {}
    for seeds in DESIGNS:
        for share in SHARES:
            p_values = p_values_without_effect(seeds, share=share, replications=REPLICATIONS)
            for spending in SPENDINGS:
                for level in (LEVEL / arms for arms in range(1, MOST_ARMS + 1)):
                    allowed = spent(information(seeds, share=share), spending=spending, level=level)
                    found = [float(f"{one:.{DIGITS}g}") for one in calibrated(p_values, allowed)]
                    table.setdefault(key_of(seeds, spending=spending, level=level), []).append(found)
        lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(rows)}" for key, rows in table.items())
        TABLE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
        print(seeds, flush=True)


if __name__ == "__main__":
    main()
