"""`evaluate.py checkpoint=...` takes what train.py printed, as it stands there, and finds what the run itself found."""

import csv
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import Finished, Forking
from tiny_commands import BRIEF, content, only_run, train

from vlm_rl.arm_hash import vanilla_of
from vlm_rl.commands.build import composed, plain
from vlm_rl.commands.evaluation_target import find, taken_out
from vlm_rl.reports.reading.runs import find_runs, vanilla_folder
from vlm_rl.run_folder import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def run(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of RL on a random reward, alone in its study for now."""
    cwd = tmp_path_factory.mktemp("arms")
    train(forking, cwd, *BRIEF, "study=rl")
    return only_run(cwd, study="rl")


@pytest.fixture(scope="session")
def arms(run: RunFolder) -> Path:
    """The working folder of that run."""
    return run.path.parents[3]


def evaluated(forking: Forking, cwd: Path, *arguments: str) -> tuple[Finished, Path]:
    """The evaluation's output and the folder it names."""
    finished = forking.run("evaluate.py", arguments, cwd=cwd)
    assert finished.code == 0, finished.out + finished.err
    named = re.search(r"Every sample is in (.+)", finished.out)
    assert named is not None
    return finished, cwd / named[1].strip()


def short_path(run: RunFolder) -> str:
    """The run as a person names it, from the folder where train.py ran."""
    assert "," in run.path.parent.name  # what Hydra's grammar chokes on
    return str(run.path.relative_to(run.path.parents[3]))


def test_the_printed_path_of_a_run_is_evaluated_at_the_step_that_validation_picked(
    forking: Forking, run: RunFolder, arms: Path
) -> None:
    assert run.manifest is not None
    assert run.manifest["picked_step"] == 2
    assert "experiment=smoke" in run.manifest["overrides"]
    before = content(run)
    _, folder = evaluated(forking, arms, f"checkpoint={run.path}", "logger=csv")
    assert content(run) == before
    (file,) = arms.rglob("metrics.csv")
    (tracked,) = csv.DictReader(file.open())
    assert (tracked["generation_steps"], tracked["epoch"]) == ("2", "1.0")
    assert 0 <= float(tracked["val/pass@1_t0.6/accuracy"]) <= 1
    for file in sorted((run.path / "evaluations" / "epoch-0001").glob("*.parquet")):
        again = pq.read_table(folder / "evaluations" / "epoch-0001" / file.name)
        assert again.equals(pq.read_table(file)), file.name
    (line,) = (line for line in run.lines("metrics.jsonl") if line["event"] == "evaluation" and line["epoch"] == 1)
    told = json.loads((folder / "evaluation.json").read_text())
    assert told["metrics"] == {key: value for key, value in line.items() if key.endswith("/accuracy")}


def test_what_an_evaluation_says_beside_accuracy_agrees_with_its_samples(forking: Forking, run: RunFolder, arms: Path) -> None:
    finished, folder = evaluated(forking, arms, f"checkpoint={short_path(run)}")
    told = json.loads((folder / "evaluation.json").read_text())
    for name, cell in told["cells"].items():
        split, setting = name.split("/")
        samples = pq.read_table(folder / "evaluations" / "epoch-0001" / f"{split}_{setting}.parquet").to_pylist()
        assert sum(cell["verdicts"].values()) == len(samples)
        assert cell["response_length"]["response_length/mean"] == pytest.approx(
            sum(sample["response_length"] for sample in samples) / len(samples)
        )
        assert cell["accuracy"]["estimate"] == told["metrics"][f"{name}/accuracy"]
        assert len(cell["pass_at"]) == len(samples) / cell["num_questions"]
    assert f"{short_path(run)}/checkpoints/step-000002: shares in %" in finished.out


def test_an_evaluated_checkpoint_is_an_arm_of_a_report_beside_its_own_vanilla_model(
    forking: Forking, run: RunFolder, arms: Path
) -> None:
    _, folder = evaluated(forking, arms, f"checkpoint={short_path(run)}")
    (found,) = find_runs([folder]).runs
    assert (found.algorithm, found.study, found.seed, found.finished) == ("evaluated", "rl", 0, True)
    trained, vanilla = (find_runs([path]).runs[0] for path in (run.path, *run.path.parents[1].glob("vanilla-*/seed-0")))
    assert found.data == trained.data
    assert found.judge_version == trained.judge_version
    assert found.arm != trained.arm
    shared = vanilla_folder(found)
    assert shared is not None
    assert shared.resolve() == vanilla.path.resolve()
    assert [each.path for each in find_runs([run.path.parents[1]]).runs if each.algorithm == "evaluated"] == []


def parts_of(cwd: Path) -> list[Path]:
    """Batches of rows that are answered but not yet part of a whole."""
    return list(cwd.glob("outputs/evaluate/*/seed-0/parts/*/*/rows-*.*.parquet"))


def evaluation_bytes(cwd: Path) -> Iterator[tuple[str, bytes]]:
    """What the evaluation found, file by file."""
    for file in sorted(cwd.glob("outputs/evaluate/*/seed-0/evaluations/*/*.parquet")):
        yield file.name, file.read_bytes()


def test_an_evaluation_killed_between_parts_goes_on_and_ends_as_if_nothing_had_happened(
    forking: Forking, tmp_path: Path
) -> None:
    arguments = ["checkpoint=tiny", "num_threads=1", "dataset.source.val_rows=8", "evaluation.scheme.splits=[val]"]
    arguments += ["experiment=smoke", "evaluation.scheme.batch_rows=2", "dataset.max_new_tokens=24"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    evaluated(forking, whole, *arguments)
    kept: list[dict[str, int]] = []
    for least in (2, 3):  # of four
        command = forking.start("evaluate.py", arguments, cwd=killed)
        assert command.wait_until(lambda least=least: len(parts_of(killed)) >= least), "ended before it could be killed"
        command.send(signal.SIGKILL)
        assert command.wait().code == -signal.SIGKILL
        kept.append({file.name: file.stat().st_mtime_ns for file in parts_of(killed)})
        assert len(dict(evaluation_bytes(killed))) < 3
    assert kept[0].items() <= kept[1].items(), "what had been answered was answered again"
    parts_of(killed)[0].write_bytes(b"half of a file")
    evaluated(forking, killed, *arguments)
    assert dict(evaluation_bytes(killed)) == dict(evaluation_bytes(whole))
    left = next(killed.glob("outputs/evaluate/*/seed-0")) / "parts/epoch-0000/val_pass@1_t0.6"  # killed before it was removed
    left.mkdir(parents=True)
    (left / "rows-000000.0123456789abcdef.parquet").touch()
    evaluated(forking, killed, *arguments)
    assert not left.exists()
    assert len(dict(evaluation_bytes(whole))) == 3
    assert parts_of(killed) == [] and not list(killed.rglob("*.tmp"))


def test_the_vanilla_model_of_a_study_has_its_blind_control_under_its_own_folder(
    forking: Forking, run: RunFolder, arms: Path
) -> None:
    (vanilla,) = run.path.parents[1].glob("vanilla-*/seed-0")
    _, folder = evaluated(forking, arms, f"checkpoint={vanilla.relative_to(arms)}", "evaluation/image=blank")
    assert folder.parents[1] == vanilla / "evaluate"
    assert (folder / "evaluations" / "epoch-0000" / "val_pass@1_t0.6.parquet").exists()
    with pytest.raises(ValueError, match=r"holds an evaluation. Pass what it evaluated: checkpoint=.*vanilla-"):
        find(str(folder))


def test_a_plain_model_is_evaluated_and_what_is_done_is_not_done_again(forking: Forking, arms: Path) -> None:
    small = [argument for argument in BRIEF if argument.startswith(("dataset.", "evaluation"))]
    small.append("algorithm.num_minibatches=1")
    finished, folder = evaluated(forking, arms, "checkpoint=tiny", *small)
    assert "val, pass@8, T = 1.0: 2/2 questions, 0 s left" in finished.out  # where there is no terminal
    files = {file: file.stat().st_mtime_ns for file in folder.rglob("*.parquet")}
    assert len(files) == 3
    evaluated(forking, arms, "checkpoint=tiny", *small)
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.parquet")} == files
    damaged, *others = files
    content = damaged.read_bytes()
    damaged.write_bytes(bytes(len(content)))
    again, _ = evaluated(forking, arms, "checkpoint=tiny", *small)
    assert f"{damaged.relative_to(arms)} is not what was written: bytes have changed. It is made again." in again.out
    assert damaged.read_bytes() == content
    assert {file: file.stat().st_mtime_ns for file in others} == {file: files[file] for file in others}


def test_vanilla_is_evaluated_once_for_each_seed_and_shared_by_the_arms_of_a_study(forking: Forking, arms: Path) -> None:
    (vanilla,) = (arms / "outputs" / "rl").glob("vanilla-*/seed-0")
    before = {file: file.stat().st_mtime_ns for file in vanilla.glob("evaluations/*/*.parquet")}
    sft = [argument for argument in BRIEF if not argument.startswith(("algorithm", "reward"))]
    train(forking, arms, *sft, "algorithm=sft", "algorithm.num_minibatches=1", "study=rl")
    assert {file: file.stat().st_mtime_ns for file in vanilla.glob("evaluations/*/*.parquet")} == before
    assert len(before) == 3
    told = RunFolder(path=vanilla).manifest
    assert told is not None
    assert (told["algorithm"], told["status"], told["vanilla"]) == ("vanilla", "finished", None)
    runs = [path for path in (arms / "outputs" / "rl").glob("*/seed-0") if path != vanilla]
    assert len(runs) == 2
    first = [next(RunFolder(path=path).lines("metrics.jsonl")) for path in runs]
    assert first[0] == first[1]
    assert {(RunFolder(path=path).manifest or {})["vanilla"] for path in runs} == {vanilla.parent.name}


def test_another_model_data_set_or_evaluation_has_another_vanilla_but_not_another_seed_or_algorithm() -> None:
    def vanilla(*overrides: str) -> str:
        return vanilla_of(plain(composed([*overrides, "study=s", "logger=none"])))

    assert vanilla() == vanilla("seed=3") == vanilla("algorithm=sft") == vanilla("reward=random", "model.lora.rank=4")
    others = ["model=qwen", "dataset.data_seed=1", "dataset.max_new_tokens=8", "evaluation/image=shuffled"]
    others[1] = "dataset.source.data_seed=1"
    assert len({vanilla(), *(vanilla(other) for other in others)}) == 5


def test_the_checkpoint_is_taken_out_before_hydra_reads_the_arguments() -> None:
    others, checkpoint = taken_out(["evaluate.py", "checkpoint=outputs/s/a-b,c/seed-0/", "evaluation/image=blank"])
    assert checkpoint == "outputs/s/a-b,c/seed-0"
    assert others == ["evaluate.py", "evaluation/image=blank"]
    with pytest.raises(ValueError, match=r"checkpoint=\.\.\. is missing"):
        find(taken_out(["evaluate.py"])[1])


def test_a_checkpoint_that_is_not_there_is_said_with_those_that_are(
    run: RunFolder, arms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(arms)
    with pytest.raises(FileNotFoundError, match=r"step-000009 is not there; this run has step-000001, step-000002"):
        find(f"{short_path(run)}/checkpoints/step-000009")
    with pytest.raises(FileNotFoundError, match=r"outputs/nothing holds no run"):
        find("outputs/nothing")
