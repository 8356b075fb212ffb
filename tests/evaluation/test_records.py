"""One row for each sample, with all that a metric needs later."""

from tiny_runs import Sheet

from vlm_rl.datasets.row import Row
from vlm_rl.evaluation.records import SCHEMA, records
from vlm_rl.rewards.judge import JUDGE_VERSION, Verdict
from vlm_rl.types import Response


def test_a_record_holds_what_was_asked_said_and_decided() -> None:
    images = (Sheet(0), Sheet(1))
    further = {"level": "3"}
    row = Row(
        id="r", question="<image>Why?", answer="7", solution=None, images=images, kind="k", modality="text", fields=further
    )
    responses = [
        Response(text=r"So \boxed{7}", finish_reason="stop", num_tokens=5),
        Response(text="So 7 and", finish_reason="length", num_tokens=6),
    ]
    verdicts = [Verdict.CORRECT, Verdict.UNPARSABLE]
    table = records(
        [row, row], responses, verdicts, samples=[0, 1], split="val", setting="pass@8_t1.0", epoch=1.5, generation_steps=3
    )
    assert table.schema == SCHEMA
    first, second = table.to_pylist()
    assert first == {
        "row_id": "r",
        "image_id": f"{Sheet(0).key}+{Sheet(1).key}",
        "kind": "k",
        "modality": "text",
        "fields": '{"level": "3"}',
        "split": "val",
        "setting": "pass@8_t1.0",
        "epoch": 1.5,
        "generation_steps": 3,
        "sample": 0,
        "question": "Why?",
        "answer": "7",
        "response": r"So \boxed{7}",
        "verdict": "correct",
        "accuracy": 1.0,
        "boxed": True,
        "finish_reason": "stop",
        "response_length": 5,
        "judge_version": JUDGE_VERSION,
    }
    changed = ("unparsable", 0.0, False, "length", 1)
    assert tuple(second[k] for k in ("verdict", "accuracy", "boxed", "finish_reason", "sample")) == changed
