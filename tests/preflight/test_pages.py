"""What is said of rows, steps, memory and time, and the prompts that memory and time are worked out with; by hand."""

import io

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from rich.console import Console
from rich.table import Table

from vlm_rl.commands.build import composed
from vlm_rl.datasets.dataset import Dataset
from vlm_rl.datasets.picture_check import Pictures
from vlm_rl.datasets.row import Row
from vlm_rl.datasets.row_check import RowProblem
from vlm_rl.datasets.row_scan import DataCheck, overlap
from vlm_rl.datasets.split_check import PromptLength, SplitCheck
from vlm_rl.preflight.data_page import Verdict, bars, longest_prompts, rows_table, steps_page, tokens_table
from vlm_rl.preflight.device import Device, device_of, num_bytes
from vlm_rl.preflight.estimate_page import in_words, judge_room, memory_table, not_counted, size, time_lines
from vlm_rl.preflight.phase import Phase
from vlm_rl.preflight.time_estimate import TimeEstimate
from vlm_rl.preflight.workload import prompt_sizes

GIB = 2**30
TEN = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 35])  # sorted: 1 1 2 3 4 5 5 6 9 35


def phase(name: str, *, only_adapters: bool = False, resident: int = 10, **parts: int) -> Phase:
    """Parts by their names, with _ for a space."""
    sizes = {part.replace("_", " "): size for part, size in parts.items()}
    return Phase(name=name, parts=sizes, resident=resident, operations=(), num_sequences=1, only_adapters=only_adapters)


PHASES = (
    phase("prefill", weights=14 * GIB, kv_cache=20 * GIB, resident=14 * GIB),
    phase("update", weights=14 * GIB, activations=30 * GIB, resident=14 * GIB),
)


def device(free: int, *, is_certain: bool = True, on_gpu: bool = False) -> Device:
    """A device with so many GiB free."""
    cpu = torch.device("cpu")
    return Device(device=cpu, name="card", free_bytes=free * GIB, on_gpu=on_gpu, is_certain=is_certain)


@pytest.mark.parametrize(
    ("found", "advice"),
    [
        (phase("last tokens", weights=50, kv_cache=40, activations=5), "rollout.engine.forward_batch_size"),
        (
            phase("update", weights=50, logits=20, activations=60),
            "model.gradient_checkpointing=true or model.optimization.micro_batch_tokens",
        ),
        (phase("update", weights=50, logits=60, activations=5), "model.optimization.micro_batch_tokens"),
        (phase("scoring", optimizer_states=60), "fewer trained parts (model.freeze) or LoRA (model.lora)"),
        (phase("scoring", optimizer_states=60, only_adapters=True), "a smaller model.lora.rank or fewer model.lora.targets"),
        (
            phase("vision", weights=50),
            "model.dtype=bfloat16, model.quantization=nf4 with adapters, or a smaller model.name",
        ),
    ],
)
def test_the_setting_is_named_that_makes_the_largest_part_beside_the_weights_smaller(found: Phase, advice: str) -> None:
    assert found.smaller_by == advice


def test_each_phase_is_a_line_with_its_peak_its_own_part_and_what_helps() -> None:
    out = io.StringIO()
    Console(file=out, width=160).print(memory_table(PHASES, device=device(79)))
    lines = [[cell.strip() for cell in line.strip("│ \n").split("│")] for line in out.getvalue().splitlines() if "│" in line]
    assert lines[0] == ["prefill", "34.0 GiB", "20.0 GiB", "kv cache (20.0 GiB)", "rollout.engine.forward_batch_size"]
    assert lines[1][:4] == ["update", "44.0 GiB", "30.0 GiB", "activations (30.0 GiB)"]
    assert "card: 79.0 GiB free" in out.getvalue()
    assert "CUDA context" in not_counted(device(1, on_gpu=True))
    assert "libraries themselves (about 1 GiB)" in not_counted(device(1))


def test_the_largest_phase_decides_whether_a_run_fits() -> None:
    """44 of 49 GiB are 89.8 %, 44 of 48 are 91.7 %: from nine tenths of the free memory on it is tight."""
    tight = ["memory would be tight: phase 'update' needs 92% of the 48.0 GiB that are free"]
    too_large = (
        "It would not fit: phase 'update' needs 44.0 GiB, of which activations is the most, and card has 43.0 GiB free. "
        "Smaller by model.gradient_checkpointing=true or model.optimization.micro_batch_tokens."
    )
    for free, reservations, problems in ((49, [], []), (48, tight, []), (43, [], [too_large])):
        assert list(judge_room(PHASES, device=device(free), verdict=(verdict := Verdict()))) == []
        assert [reservation.split(", and ")[0] for reservation in verdict.reservations] == reservations
        assert verdict.problems == problems


def test_a_cpu_that_nobody_asked_for_is_no_reason_to_refuse_the_run() -> None:
    (note,) = judge_room(PHASES, device=device(43, is_certain=False), verdict=(verdict := Verdict()))
    assert "It would not fit" in note and "figures of this machine's CPU" in note and "preflight.device_memory=80GiB" in note
    assert verdict.sentence.startswith("Training could start, as far as was checked; it would not fit this machine's CPU")


@pytest.mark.parametrize(
    ("words", "size"), [("80GiB", 80 * GIB), ("1.5 kb", 1_500), ("40 GB", 40_000_000_000), (7, 7), ("2mib", 2 * 2**20)]
)
def test_a_device_s_memory_is_read_in_both_kinds_of_units(words: str | int, size: int) -> None:
    assert num_bytes(words) == size


def test_stated_memory_is_a_gpu_s_wherever_it_is_and_the_cpu_says_what_is_free() -> None:
    found = device_of("auto", memory="80GiB")
    assert (found.free_bytes, found.on_gpu, found.is_certain) == (80 * GIB, True, True)
    assert found.is_here == torch.cuda.is_available()
    with pytest.raises(ValueError, match=r"preflight\.device_memory=much is no size"):
        device_of("auto", memory="much")
    cpu = device_of("cpu", memory=None)
    assert cpu.device.type == "cpu" and cpu.is_certain and cpu.is_here
    assert 2**20 < cpu.free_bytes < 2**50


def test_the_columns_of_time_say_what_they_are() -> None:
    seconds = np.array([1.0, 2.0, 90.0])
    table, words = time_lines(TimeEstimate(phases={"vision": seconds}, evaluation=seconds, run=seconds))
    assert isinstance(table, Table)
    assert [str(c.header) for c in table.columns] == ["phase", "a quarter, full speed", "half, 1/1.7 of it", "all, 1/3 of it"]
    assert [list(c.cells) for c in table.columns[1:]] == [["1 s", "1 s"], ["2 s", "2 s"], ["1.5 min", "1.5 min"]]
    assert "The whole run, evaluations included: 1 s to 1.5 min, 2 s between." in str(words)


def test_sizes_and_times_are_said_in_the_largest_unit_that_fits() -> None:
    assert list(map(size, (5 * 2**20, GIB - 1, GIB))) == ["5.0 MiB", "1024.0 MiB", "1.0 GiB"]
    seconds = (0.0123, 59.0, 90.0, 5_400.0, 216_000.0)
    assert list(map(in_words, seconds)) == ["0.012 s", "59 s", "1.5 min", "1.5 h", "2.5 d"]


def test_bars_have_equal_widths_and_a_bin_that_is_not_empty_has_at_least_a_thin_one() -> None:
    """1 to 35 are 35 whole numbers, in bins of 4: 1-4 has five of the values. Of 400 values one is less than half a sign."""
    lines = bars(TEN, title="t").splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["1", "to", "4", "█" * 40, "5"],
        ["5", "to", "8", "█" * 24, "3"],
        ["9", "to", "12", "█" * 8, "1"],
    ]
    assert (len(lines), lines[-1].split()) == (10, ["33", "to", "36", "█" * 8, "1"])
    lines = bars(np.array([1] * 399 + [3]), title="t").splitlines()
    assert lines == ["t", "  1  " + "█" * 40 + " 399", "  2   0", "  3  ▏ 1"]


def test_a_run_is_counted_in_whole_batches() -> None:
    """1,000 rows make 15 batches of 64 and leave 40 over; four epochs are 60 steps of 512 responses and two updates. Where 96 are
    sampled for each 64, they make 10 batches."""
    sizes = ["dataset.batch_size=64", "dataset.epochs=4", "algorithm.group_size=8", "algorithm.num_minibatches=2"]
    for algorithm, first, second in (
        (
            "grpo",
            "= 15 generation steps an epoch (40 rows",
            "60 generation steps of 512 responses (30,720) and 2 updates (120).",
        ),
        (
            "dapo",
            "= 10 generation steps an epoch (40 rows",
            "40 generation steps of 768 responses (30,720) and 2 updates (80).",
        ),
    ):
        cfg = composed(["experiment=smoke", f"algorithm={algorithm}", *sizes, "dataset.source.train_rows=1000"])
        lines = list(steps_page(instantiate(cfg.dataset), instantiate(cfg.algorithm)))
        assert first in lines[0] and lines[1] == f"In all: 4 epochs = {second}"
        assert [line.split(",")[0] for line in lines[2:]] == (
            ["Dynamic sampling: each step learns from 64 of its 96 queries"] if algorithm == "dapo" else []
        )


@pytest.fixture
def data() -> tuple[Dataset, DataCheck]:
    """Training prompts of 10, 20 and 90 tokens, the last one a bad row; validation has prompts of 5 and 30."""
    rows = {split: [row(name) for name in names] for split, names in (("train", "abc"), ("val", "de"), ("test", "f"))}

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
    return dataset, check_of({split: check(rows[split], tokens[split], bad={"c"}) for split in rows})


def check_of(splits: dict[str, SplitCheck]) -> DataCheck:
    none = Pictures(by_name={}, num_known=0)
    return DataCheck(
        splits=splits, pictures=none, num_golds=1, num_unfit_golds=0, notices=(), overlap=overlap(splits, dataset="d")
    )


def row(name: str) -> Row:
    return Row(id=name, question="Q", answer="7", solution=None, images=())


def check(rows: list[Row], tokens: list[int], *, bad: set[str]) -> SplitCheck:
    """What the check would have said; half of the tokens are the image's."""
    half = np.array(tokens, dtype=np.int64) // 2
    return SplitCheck(
        num_rows=len(rows),
        problems=tuple(RowProblem(row_id=row.id, message="long", reason="long") for row in rows if row.id in bad),
        keys=tuple(row.id.encode() for row in rows if row.id not in bad),
        ids=tuple(row.id for row in rows),
        places=np.arange(len(rows)),
        text_tokens=np.array(tokens, dtype=np.int64) - half,
        image_tokens=half,
        solution_tokens=np.array([], dtype=np.int64),
    )


def test_rows_that_were_not_checked_are_counted(data: tuple[Dataset, DataCheck]) -> None:
    """Three rows to train on, of which two are checked; validation has two."""
    for checked_rows, columns in ((None, ["rows", "kept"]), (2, ["rows", "checked", "kept"])):
        table = rows_table(data[1], checked_rows=checked_rows)
        assert [str(column.header) for column in table.columns[1:-2]] == columns
    assert [list(column.cells) for column in table.columns[2:]] == [
        ["2", "2", "1"],
        ["2", "2", "1"],
        ["1", "0", "0"],
        ["1 long", "", ""],
    ]


def test_quantiles_are_values_that_occur_and_the_longest_prompts_are_named(data: tuple[Dataset, DataCheck]) -> None:
    """Of TEN half is five values: the fifth is 4. 90 % is nine: 9. 99 % is all ten: 35. Of equal ones the earlier row is named."""
    found = check([row(name) for name in "abcdefghij"], TEN.tolist(), bad=set())
    assert longest_prompts(found) == "'j' (35), 'f' (9), 'h' (6), 'e' (5), 'i' (5)"
    table = tokens_table(check_of({**data[1].splits, "train": found}), limit=80)
    assert [next(iter(column.cells)) for column in table.columns] == ["train: prompt", "1", "4", "9", "35", "35"]


def test_the_longest_usable_prompt_of_all_splits_counts_and_the_mean_of_the_training_rows(
    data: tuple[Dataset, DataCheck],
) -> None:
    found = prompt_sizes(*data)
    assert found is not None
    assert (found.row.id, found.longest, found.mean) == ("e", PromptLength(text=15, image=15), PromptLength(text=8, image=8))


def test_without_a_usable_row_there_is_nothing_to_estimate_with(data: tuple[Dataset, DataCheck]) -> None:
    dataset, found = data
    assert prompt_sizes(dataset, check_of({split: check([], [], bad=set()) for split in found.splits})) is None
