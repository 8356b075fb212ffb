"""Pickles, models that bring code of their own and adapters in the place of a model are refused in words by every command."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exported_runs import export_of, run_of
from forking import Forking
from tiny_commands import TINY
from tiny_runs import Build

from vlm_rl.models.loading import load_pretrained, load_processor, resolve


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self._trace,)


def arm(file: Path) -> Path:
    """A pickle in this place; returns what would appear if somebody opened it."""
    trace = file.parent / "exploded"
    file.write_bytes(pickle.dumps(Bomb(trace)))
    return trace


def tiny_folder(path: Path) -> Path:
    """A copy of the tiny model to spoil."""
    shutil.copytree(resolve("tiny"), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train.py", "evaluate.py"])
def test_a_model_that_is_a_pickle_is_refused(forking: Forking, tmp_path: Path, script: str) -> None:
    folder = tiny_folder(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    trace = arm(folder / "pytorch_model.bin")
    which = [f"model.name={folder}", *TINY, "study=s"] if script == "train.py" else [f"checkpoint={folder}"]
    finished = forking.run(script, which, cwd=tmp_path)
    assert finished.code == 2
    assert "pytorch_model.bin, a pickle" in finished.err[finished.err.rindex("\nError: ") :]
    assert "Traceback" not in finished.err
    assert not trace.exists()


def with_code(folder: Path, file: str, **changes: Any) -> Path:
    """A config that names a class in a file beside it; returns what would appear if the file were imported."""
    settings = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(settings | changes))
    (folder / "evil.py").write_text("from pathlib import Path\nPath(__file__).with_name('exploded').touch()\nclass Evil: ...\n")
    return folder / "exploded"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "file"), [("train.py", "config.json"), ("evaluate.py", "config.json"), ("train.py", "processor_config.json")]
)
def test_a_model_that_needs_code_of_its_own_is_refused(forking: Forking, tmp_path: Path, script: str, file: str) -> None:
    folder = tiny_folder(tmp_path / "model")
    names = {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil", "AutoProcessor": "evil.Evil"}
    trace = with_code(folder, file, auto_map=names, model_type="evil", processor_class="Evil")
    which = [f"model.name={folder}", *TINY, "study=s"] if script == "train.py" else [f"checkpoint={folder}"]
    finished = forking.run(script, which, cwd=tmp_path)
    assert finished.code == 2, finished.out + finished.err
    assert "wants to run code of its own" in finished.err[finished.err.rindex("\nError: ") :]
    assert "Traceback" not in finished.err
    assert not trace.exists()


def test_code_beside_a_model_that_transformers_knows_is_not_run(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    trace = with_code(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    with_code(folder, "config.json", auto_map={"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"})
    load_processor(str(folder), {})
    load_pretrained(str(folder), dtype="float32", attention="sdpa")
    assert not trace.exists()


@pytest.mark.slow
def test_a_checkpoint_that_is_a_pickle_is_refused_by_evaluation_and_export(
    built: Build, forking: Forking, tmp_path: Path
) -> None:
    run = run_of(built("study=s"), tmp_path / "outputs/s/grpo/seed-0")
    checkpoint = run / "checkpoints/step-000002"
    (checkpoint / "adapter_model.safetensors").unlink()
    trace = arm(checkpoint / "adapter_model.bin")
    with pytest.raises(ValueError, match=r"adapter_model\.bin, a pickle"):
        export_of(run, tmp_path / "mine")
    finished = forking.run("evaluate.py", [f"checkpoint={run}", *TINY], cwd=tmp_path)
    assert finished.code == 2, finished.out + finished.err
    assert "adapter_model.bin, a pickle" in finished.err[finished.err.rindex("\nError: ") :]
    assert "Traceback" not in finished.err
    assert not trace.exists()


def test_a_pickle_under_the_name_of_safetensors_is_never_unpickled(built: Build, tmp_path: Path) -> None:
    run = run_of(built("study=s"), tmp_path / "outputs/s/grpo/seed-0")
    trace = arm(run / "checkpoints/step-000002/adapter_model.safetensors")
    with pytest.raises(ValueError, match="is no safetensors file"):
        export_of(run, tmp_path / "mine")
    assert not trace.exists()
    assert not (tmp_path / "mine").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("script", "more"), [("train.py", []), ("train.py", ["preflight=true"]), ("evaluate.py", [])])
def test_an_exported_adapter_in_the_place_of_a_model_is_told_with_the_way_to_one(
    built: Build, forking: Forking, tmp_path: Path, script: str, more: list[str]
) -> None:
    adapter = export_of(run_of(built("study=s"), tmp_path / "outputs/s/grpo/seed-0"), tmp_path / "mine")
    which = [f"model.name={adapter}", *TINY, "study=t"] if script == "train.py" else [f"checkpoint={adapter}"]
    finished = forking.run(script, [*which, *more], cwd=tmp_path)
    assert finished.code == 2, finished.out + finished.err
    told = finished.err[finished.err.rindex("\nError: ") :]
    assert "mine is an adapter" in told
    assert "export.py checkpoint=RUN merge=true" in told
    assert "Traceback" not in finished.err
