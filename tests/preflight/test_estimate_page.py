"""What is said of memory and time, and the prompts that they are worked out with."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.picture import picture_file
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_check import RowProblem
from vlm_rl.preflight.data_page import Verdict, rows_table
from vlm_rl.preflight.device import Device, device_of, num_bytes, num_ranks
from vlm_rl.preflight.estimate_page import (
    in_words,
    judge_room,
    memory_table,
    not_counted,
    size,
    time_lines,
    too_large,
)
from vlm_rl.preflight.memory import MemoryEstimate, PhaseMemory
from vlm_rl.preflight.pictures import Cache, look_at, named
from vlm_rl.preflight.rows import SplitCheck
from vlm_rl.preflight.scan import DataCheck, overlap
from vlm_rl.preflight.shapes import PromptShape, longest, typical
from vlm_rl.preflight.time_estimate import Range, TimeEstimate

GIB = 2**30
ESTIMATE = MemoryEstimate(
    phases=(
        PhaseMemory(name="prefill", parts={"weights": 14 * GIB, "kv cache": 20 * GIB}, resident=14 * GIB),
        PhaseMemory(name="update", parts={"weights": 14 * GIB, "activations": 30 * GIB}, resident=14 * GIB),
    )
)


def device(free: int, *, is_certain: bool = True, on_gpu: bool = False) -> Device:
    """A device with so many GiB free."""
    name = torch.device("cpu")
    return Device(device=name, name="card", free_bytes=free * GIB, on_gpu=on_gpu, is_certain=is_certain)


def test_the_largest_phase_decides_whether_a_run_fits() -> None:
    assert too_large(ESTIMATE, device=device(44)) is None
    told = too_large(ESTIMATE, device=device(43))
    assert told is not None
    assert "phase 'update' needs 44.0 GiB, of which activations is the most, and card has 43.0 GiB free" in told
    assert told.endswith("Smaller by model.gradient_checkpointing=true or model.optimization.micro_batch_tokens.")


def test_from_nine_tenths_of_the_free_memory_on_it_is_tight() -> None:
    """44 of 49 GiB are 89.8 %, 44 of 48 are 91.7 %."""
    for free, reservations in (
        (49, []),
        (48, ["memory would be tight: phase 'update' needs 92% of the 48.0 GiB that are free"]),
    ):
        assert list(judge_room(ESTIMATE, device=device(free), verdict=(verdict := Verdict()))) == []
        assert [told.split(", and ")[0] for told in verdict.reservations] == reservations
        assert not verdict.problems


def test_a_cpu_that_nobody_asked_for_is_no_reason_to_refuse_the_run() -> None:
    (note,) = judge_room(ESTIMATE, device=device(43, is_certain=False), verdict=(verdict := Verdict()))
    assert "It would not fit" in note and "figures of this machine's CPU" in note and "preflight.device_memory=80GiB" in note
    assert verdict.sentence.startswith("Training could start, as far as was checked; it would not fit this machine's CPU")
    assert list(judge_room(ESTIMATE, device=device(43), verdict=(certain := Verdict()))) == []
    assert certain.sentence.startswith("Training could not start:\nIt would not fit: phase 'update' needs 44.0 GiB")


def test_what_is_not_counted_is_said() -> None:
    assert "CUDA context" in not_counted(device(1, on_gpu=True))
    assert "libraries themselves (about 1 GiB)" in not_counted(device(1))


@pytest.mark.parametrize(
    ("words", "size"), [("80GiB", 80 * GIB), ("1.5 kb", 1_500), ("40 GB", 40_000_000_000), (7, 7), ("2mib", 2 * 2**20)]
)
def test_a_device_s_memory_is_read_in_both_kinds_of_units(words: str | int, size: int) -> None:
    assert num_bytes(words) == size


def test_stated_memory_is_a_gpu_s_wherever_it_is() -> None:
    found = device_of("auto", memory="80GiB")
    assert (found.free_bytes, found.on_gpu, found.is_certain) == (80 * GIB, True, True)
    assert found.is_here == torch.cuda.is_available()
    with pytest.raises(ValueError, match=r"preflight\.device_memory=much is no size"):
        device_of("auto", memory="much")


def test_the_columns_of_time_say_what_they_are() -> None:
    spent = Range(low=1.0, middle=2.0, high=90.0)
    table, words = time_lines(TimeEstimate(phases={"vision": spent}, evaluation=spent, run=spent))
    assert isinstance(table, Table)
    assert [str(c.header) for c in table.columns] == ["phase", "a quarter, full speed", "half, 1/1.7 of it", "all, 1/3 of it"]
    assert [list(c.cells) for c in table.columns[1:]] == [["1 s", "1 s"], ["2 s", "2 s"], ["1.5 min", "1.5 min"]]
    assert "The whole run, evaluations included: 1 s to 1.5 min, 2 s between." in str(words)


def test_less_than_a_gibibyte_is_said_in_mebibytes() -> None:
    assert (size(5 * 2**20), size(GIB - 1), size(GIB)) == ("5.0 MiB", "1024.0 MiB", "1.0 GiB")


def test_each_phase_is_a_line_with_its_peak_its_own_part_and_what_helps() -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(memory_table(ESTIMATE, device=device(79)))
    lines = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in out.getvalue().splitlines() if "│" in line]
    assert lines[0] == ["prefill", "34.0 GiB", "20.0 GiB", "kv cache (20.0 GiB)", "rollout.engine.forward_batch_size"]
    assert lines[1][:4] == ["update", "44.0 GiB", "30.0 GiB", "activations (30.0 GiB)"]
    assert "card: 79.0 GiB free" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0123, "0.012 s"), (59.0, "59 s"), (90.0, "1.5 min"), (5_400.0, "1.5 h"), (216_000.0, "2.5 d")]
)
def test_times_are_said_in_the_largest_unit_that_fits(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(("devices", "ranks"), [(4, 8), ([0, 2, 3], 6), ("auto", 2), (-1, 2)])
def test_ranks_are_devices_times_nodes(devices: object, ranks: int) -> None:
    assert num_ranks(devices=devices, num_nodes=2, accelerator="cpu") == ranks


def test_the_cpu_says_what_is_free() -> None:
    found = device_of("cpu", memory=None)
    assert found.device.type == "cpu" and found.is_certain and found.is_here
    assert 2**20 < found.free_bytes < 2**50


@pytest.fixture
def data(tmp_path: Path) -> tuple[Dataset, DataCheck]:
    """Training prompts of 10, 20 and 90 tokens, the last over the limit of a bad row; validation has one of 30."""
    for name, shape in (("small", (8, 8)), ("large", (80, 40))):
        Image.new("L", shape).save(tmp_path / f"{name}.png")
    small, large = (picture_file(tmp_path / f"{name}.png") for name in ("small", "large"))
    rows = {
        "train": [row("a", small), row("b", large), row("c", large)],
        "val": [row("d", small), row("e", large)],
        "test": [row("f", small)],
    }

    class Source:
        def rows(self, split: str) -> list[Row]:
            return rows[split]

    dataset = Dataset(
        name="d",
        source=Source(),
        prompt="{question}",
        batch_size=1,
        epochs=1,
        max_prompt_tokens=80,
        max_new_tokens=8,
        max_pixels=800,
        evaluation_rows=None,
        on_bad_row="skip",
    )
    tokens = {"train": [10, 20, 90], "val": [5, 30], "test": [5]}
    splits = {split: check(split, rows[split], tokens[split], bad={"c"}) for split in rows}
    looked = look_at(named([small, large]), decode="headers", cache=Cache(folder=None))
    return dataset, DataCheck(splits=splits, looked=looked, num_golds=1, num_unfit_golds=0, overlap=overlap(splits))


def row(name: str, image: object) -> Row:
    """One question about a picture."""
    return Row(id=name, question="<image>Q", answer="7", solution=None, images=(image,))  # type: ignore[arg-type]


def check(split: str, rows: list[Row], tokens: list[int], *, bad: set[str]) -> SplitCheck:
    """What the check would have said; half of the tokens are the image's."""
    problems = tuple(RowProblem(row_id=row.id, message="long", reason="long") for row in rows if row.id in bad)
    half = np.array(tokens) // 2
    return SplitCheck(
        split=split,
        num_rows=len(rows),
        problems=problems,
        keys=tuple(row.id.encode() for row in rows if row.id not in bad),
        ids=tuple(row.id for row in rows),
        places=np.arange(len(rows)),
        text_tokens=np.array(tokens) - half,
        image_tokens=half,
        solution_tokens=np.array([], dtype=np.int64),
    )


def test_rows_that_were_not_looked_at_are_told(data: tuple[Dataset, DataCheck]) -> None:
    """Three rows to train on, of which two are checked; validation has two."""
    for checked_rows, columns in ((None, ["rows", "kept"]), (2, ["rows", "checked", "kept"])):
        table = rows_table(data[1], checked_rows=checked_rows)
        assert [str(column.header) for column in table.columns[1:-2]] == columns
    assert list(table.columns[2].cells) == ["2", "2", "1"]


def test_the_longest_usable_prompt_of_all_splits_is_taken_with_its_pictures_within_the_budget(
    data: tuple[Dataset, DataCheck],
) -> None:
    """80 x 40 pixels are four times the budget of 800: 40 x 20."""
    assert longest(*data) == PromptShape(tokens=30, pictures=((40, 20),))


def test_the_typical_prompt_is_the_mean_of_the_usable_training_rows(data: tuple[Dataset, DataCheck]) -> None:
    """Of 10 and 20 tokens: 15, and of two that are as near the earlier one's picture."""
    assert typical(*data) == PromptShape(tokens=15, pictures=((8, 8),))


def test_without_a_usable_row_there_is_nothing_to_estimate_with(data: tuple[Dataset, DataCheck]) -> None:
    dataset, found = data
    nothing = {split: check(split, [], [], bad=set()) for split in found.splits}
    empty = DataCheck(splits=nothing, looked=found.looked, num_golds=0, num_unfit_golds=0, overlap=overlap(nothing))
    assert (longest(dataset, empty), typical(dataset, empty)) == (None, None)
