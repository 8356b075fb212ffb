"""One row for each sample, in training and in evaluation: what every metric is computed from, now or later."""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from vlm_rl.datasets.row import IMAGE_MARKER, Row
from vlm_rl.rewards.boxed import has_box
from vlm_rl.rewards.judge import JUDGE_VERSION, Verdict
from vlm_rl.types import Response

SCHEMA = pa.schema(
    [
        # `fields` is a JSON object: what else the data says of the row.
        *((name, pa.string()) for name in ("row_id", "image_id", "kind", "modality", "fields", "split", "setting")),
        *(("epoch", pa.float64()), ("generation_steps", pa.int64()), ("sample", pa.int32())),
        *((name, pa.string()) for name in ("question", "answer", "response", "verdict")),
        *(("accuracy", pa.float32()), ("boxed", pa.bool_())),
        *(("finish_reason", pa.string()), ("response_length", pa.int32()), ("judge_version", pa.string())),
    ]
)


def records(
    rows: Sequence[Row],
    responses: Sequence[Response],
    verdicts: Sequence[Verdict],
    *,
    samples: Sequence[int],
    split: str,
    setting: str,
    epoch: float,
    generation_steps: int,
) -> pa.Table:
    """A table with one row for each response; `rows` and `samples` say what each one answers."""
    count = len(responses)
    columns = {
        "row_id": [row.id for row in rows],
        "image_id": ["+".join(image.key for image in row.images) for row in rows],
        "kind": [row.kind for row in rows],
        "modality": [row.modality for row in rows],
        "fields": [json.dumps(dict(row.fields), sort_keys=True) for row in rows],
        "split": [split] * count,
        "setting": [setting] * count,
        "epoch": [epoch] * count,
        "generation_steps": [generation_steps] * count,
        "sample": list(samples),
        "question": [row.question.replace(IMAGE_MARKER, "") for row in rows],
        "answer": [row.answer for row in rows],
        "response": [response.text for response in responses],
        "verdict": [verdict.value for verdict in verdicts],
        "accuracy": [float(verdict is Verdict.CORRECT) for verdict in verdicts],
        "boxed": [has_box(response.text) for response in responses],
        "finish_reason": [response.finish_reason for response in responses],
        "response_length": [response.num_tokens for response in responses],
        "judge_version": [JUDGE_VERSION] * count,
    }
    return pa.table(columns, schema=SCHEMA)


def by_question(
    samples: pa.Table, *, keys: Sequence[str], counted: Mapping[str, Bool[np.ndarray, " samples"]]
) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """The `keys` of each question in order of row id; and by question `num_samples`, and `num_<name>` of them that are `counted`."""
    columns = {key: samples[key] for key in keys} | {name: flags.astype(np.int64) for name, flags in counted.items()}
    sums = [(name, kind) for name in counted for kind in ("sum", "count")]
    found = pa.table(columns).group_by(list(keys), use_threads=False).aggregate(sums).sort_by("row_id")
    num_samples = found[f"{next(iter(counted))}_count"].to_numpy()
    return found.select(list(keys)), {"num_samples": num_samples} | {
        f"num_{name}": found[f"{name}_sum"].to_numpy() for name in counted
    }
