"""benchmarks/gpu.py at toy sizes on the CPU: every part on the same path as on a GPU, its page, its budgets."""

import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[1]
PHASES = {"encode", "look", "sample", "score", "learn", "check"}
MACHINE = {"gpu": "none", "gpu_memory": "", "driver": "", "cuda": "", "cores": 2, "machine": "", "versions": {"torch": "2"}}


@pytest.fixture(scope="module")
def bench() -> Iterator[SimpleNamespace]:
    """The modules of the benchmark; what they need lies beside them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        import gpu
        import gpu_device
        import gpu_notes
        import gpu_page
        import gpu_runner
        import gpu_sizes

        yield SimpleNamespace(
            main=gpu,
            device=gpu_device,
            notes=gpu_notes,
            page=gpu_page,
            runner=gpu_runner,
            sizes=gpu_sizes,
        )


@pytest.fixture(scope="module")
def found(bench: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What a part of the toy sizes notes, each run once and in this process."""
    work = tmp_path_factory.mktemp("gpu")
    known: dict[str, dict[str, Any]] = {}

    def run(name: str) -> dict[str, Any]:
        if name not in known:
            part = next(part for part in bench.main.parts_of("toy") if part.name == name)
            setting = bench.sizes.Setting(sizes="toy", device=bench.device.Host(), work=work)
            told = bench.notes.carry_out(part, setting, work / f"{name}.json")
            assert told == json.loads((work / f"{name}.json").read_text())
            missing = [stage for stage in part.stages if stage not in told["stages"]]
            known[name] = told | {"not_reached": missing, "numbers": told["stages"], "seconds": 1.0}
        return known[name]

    return run


def check_finite(node: object) -> None:
    """No NaN and no infinity, however deep."""
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        check_finite(value)
    assert not isinstance(node, float) or math.isfinite(node)


def check_whole(told: dict[str, Any]) -> dict[str, Any]:
    """A part that is done has all its numbers."""
    assert (told["state"], told["not_reached"]) == ("done", [])
    check_finite(told["numbers"])
    numbers: dict[str, Any] = told["numbers"]
    return numbers


@pytest.mark.slow
def test_the_step_has_seconds_and_memory_of_each_phase_and_repeats_bit_for_bit(found: Callable[[str], dict[str, Any]]) -> None:
    second = check_whole(found("step-toy-B"))["second pass"]
    assert set(second["seconds"]) == set(second["peak_bytes"]) == PHASES
    assert second["sampled_tokens"] == 2 * 2 * 8  # prompts x group x tokens: no response ends early
    assert second["step_seconds"] == pytest.approx(sum(second["seconds"].values()) - second["seconds"]["check"])
    assert second["engine_against_trainer"]["max"] < 1e-4
    assert all(repeated["same_bits"] for repeated in second["repetition"].values())
    assert second["repetition"]["gradients"]["largest_entry"] > 0  # there is something to repeat


@pytest.mark.slow
def test_trl_takes_the_same_prompts_and_trains_as_many_weights(found: Callable[[str], dict[str, Any]]) -> None:
    """That the ids are ours is checked inside; another processor would be a failed part."""
    theirs, ours = check_whole(found("trl-toy-B"))["timed step"], found("step-toy-B")["numbers"]["second pass"]
    assert theirs["trained_parameters"] == ours["trained_parameters"]
    assert theirs["sampled_tokens"] == ours["sampled_tokens"]
    assert theirs["beta"] == 0.04
    assert 0 < sum(theirs["seconds"].values()) <= theirs["step_seconds"] * 1.001


@pytest.mark.slow
def test_synchronisations_are_counted_by_line_of_the_package(found: Callable[[str], dict[str, Any]]) -> None:
    numbers = check_whole(found("synchronisations"))
    assert numbers["sampling"]["per_token_and_layer"] == 0
    assert numbers["sampling"]["per_token"]["total"] == 0  # the one wait for each token, a transfer, is not seen on the CPU
    assert numbers["update"]["per_micro_batch"]["total"] > 0


def test_what_cuda_warns_of_is_counted_and_other_warnings_are_not(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA's mode and its warning, played by hand: each time, not once for each line."""
    modes: list[object] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with bench.device.Cuda().counted() as lines:
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation (Triggered internally at x.cpp:1)", UserWarning, stacklevel=1)
        warnings.warn("Synchronization debug mode is a prototype feature", UserWarning, stacklevel=1)
    assert modes == ["warn", 0]
    assert list(lines.values()) == [3]
    assert "test_gpu_benchmark.py:" in next(iter(lines))  # this caller is not inside vlm_rl, which the line says


@pytest.mark.slow
def test_the_page_has_a_row_for_everything(bench: SimpleNamespace, found: Callable[[str], dict[str, Any]]) -> None:
    names = ["synchronisations", "step-toy-B", "trl-toy-B"]
    report = {"machine": MACHINE, "sizes": "toy", "device": "cpu", "seconds": 9.0, "models": ["toy-A", "toy-B"]}
    report["parts"] = {name: found(name) for name in names}
    page = bench.page.page(report)
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    assert "no number below is one of a GPU" in page
    assert {*names, *bench.page.PHASES.values(), "for each sampled token", "TRL's seconds over ours", "toy-B"} <= rows.keys()
    assert rows["repeated: gradients"].split("|")[2:4] == [" - ", " same bits "]  # toy-A did not run
    widths = [len(line.split("|")) for table in page.split("\n\n") for line in table.splitlines() if line.startswith("|")]
    assert min(widths) > 3


SCRIPT = """
import json, sys, time
name, file = sys.argv[1:]
told = {"machine": None, "stages": {"one": {"x": 1.0}}, "state": None, "reason": "", "ended_at": time.time()}
if name == "good":
    told |= {"state": "done", "stages": {"one": {}, "two": {}}}
open(file, "w").write(json.dumps(told))
if name == "slow":
    time.sleep(60)
if name == "broken":
    sys.exit(3)
"""


def test_a_part_that_fails_or_runs_out_of_its_time_is_named_and_the_others_run(
    bench: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(part: Any, file: Path) -> list[str]:
        return [sys.executable, "-c", SCRIPT, part.name, str(file)]

    runner = bench.runner.Runner(command=command, work=tmp_path, log=tmp_path / "gpu.log", environment={})
    budgets = {"slow": 1.5, "broken": 20, "good": 20}
    parts = [bench.notes.Part(name=name, measure=None, stages=("one", "two"), budget=n) for name, n in budgets.items()]
    seen: list[int] = []
    outcomes = runner.run(parts, told=lambda known: seen.append(len(known)))
    assert {name: outcome["state"] for name, outcome in outcomes.items()} == {
        "slow": "out of time",
        "broken": "failed",
        "good": "done",
    }
    assert outcomes["slow"]["not_reached"] == ["two"]
    assert outcomes["slow"]["numbers"] == {"one": {"x": 1.0}}  # what it had reached is kept
    assert "exit code 3" in outcomes["broken"]["reason"]
    assert seen == [1, 2, 3, 3]
    assert "slow" in (said := capsys.readouterr().out)
    assert "not reached: two" in said


def test_without_a_gpu_one_sentence_and_exit_code_2(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main.main(["--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("No GPU is to be had here")
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_the_script_starts_its_parts_and_leaves_its_files(bench: SimpleNamespace, tmp_path: Path) -> None:
    """With the commands, and the part that says how much memory each measured phase should take."""
    words = ["--device", "cpu", "--sizes", "toy", "--out", str(tmp_path), "--only", "estimate-toy-A", "commands"]
    assert bench.main.main(words) == 0
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert set(check_whole(parts["estimate-toy-A"])["estimate"]["bytes"]) == {"look", "sample", "score", "learn"}
    commands = check_whole(parts["commands"])
    assert [line["exit_code"] for line in commands.values()] == [0, 130, 0, 0]
    assert commands["resumed run"]["adapter"]["same_bits"]
    assert "| estimate-toy-A | done |" in (tmp_path / "gpu.md").read_text()
    assert "==== estimate-toy-A" in (tmp_path / "gpu.log").read_text()


def test_the_budgets_leave_room_within_nine_minutes(bench: SimpleNamespace) -> None:
    real = bench.main.parts_of("real")
    assert sum(part.budget for part in real if not part.beside) <= 520
    assert {part.name for part in real} == {*bench.main.SECONDS, "estimate-3B", "estimate-7B"}


@pytest.mark.slow
def test_the_large_models_have_the_shapes_of_qwen2_5_vl(bench: SimpleNamespace, tmp_path: Path) -> None:
    """Parameters of the published models: 3.75 and 8.29 thousand million."""
    from vlm_rl.models.loading import load_untrained

    for name, billions in (("3B", 3.755), ("7B", 8.292)):
        setting = bench.sizes.Setting(sizes="real", device=bench.device.Host(), work=tmp_path)
        with torch.device("meta"):
            vlm = load_untrained(setting.case(name).at, dtype="bfloat16", attention="sdpa", root_seed=0)
        assert sum(p.numel() for p in vlm.parameters()) / 1e9 == pytest.approx(billions, abs=0.01)
