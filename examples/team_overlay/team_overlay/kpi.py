"""A key figure of one's own: what the people who read gauges would ask for."""

from dataclasses import dataclass

import pyarrow as pa

from team_overlay.reading import reading_error


@dataclass(frozen=True, kw_only=True)
class WithinTolerance:
    """Share of answers that are within the tolerance of the true reading; those without a number are not."""

    tolerance: float  # units of the scale

    name = "readings within tolerance"
    unit = "share"
    higher_is_better = True

    def __call__(self, records: pa.Table) -> float:
        if not records.num_rows:
            return float("nan")
        pairs = zip(records["response"].to_pylist(), records["answer"].to_pylist(), strict=True)
        errors = [reading_error(response, answer) for response, answer in pairs]
        return sum(error is not None and error <= self.tolerance for error in errors) / len(errors)
