"""What is said of memory and time, and the prompts that they are worked out with."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.picture import picture_file
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_check import RowProblem
from vlm_rl.preflight.cache import Cache
from vlm_rl.preflight.device import Device, device_of, num_ranks
from vlm_rl.preflight.estimate_page import in_words, memory_table, size, too_large
from vlm_rl.preflight.memory import MemoryEstimate, PhaseMemory
from vlm_rl.preflight.overlap import overlap
from vlm_rl.preflight.pictures import look_at, named
from vlm_rl.preflight.prompt_shapes import longest, typical
from vlm_rl.preflight.rows import SplitCheck
from vlm_rl.preflight.scan import DataCheck
from vlm_rl.preflight.shapes import PromptShape

GIB = 2**30
ESTIMATE = MemoryEstimate(
    phases=(
        PhaseMemory(name="prefill", parts={"weights": 14 * GIB, "kv cache": 20 * GIB}, resident=14 * GIB),
        PhaseMemory(name="update", parts={"weights": 14 * GIB, "activations": 30 * GIB}, resident=14 * GIB),
    )
)


def device(free: int) -> Device:
    """A device with so many GiB free."""
    return Device(device=torch.device("cpu"), name="card", free_bytes=free * GIB)


def test_the_largest_phase_decides_whether_a_run_fits() -> None:
    assert too_large(ESTIMATE, device=device(44)) is None
    told = too_large(ESTIMATE, device=device(43))
    assert told is not None
    assert "phase 'update' needs 44.0 GiB, of which activations is the most, and card has 43.0 GiB free" in told
    assert told.endswith("Smaller by model.gradient_checkpointing=true or model.optimization.micro_batch_tokens.")


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
    found = device_of("cpu")
    assert found.device.type == "cpu"
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
