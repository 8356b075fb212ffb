"""What the environment says stays there: no key and no value of `${oc.env:...}` lies in a file of a run, report or export."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forking import Forking
from tiny_commands import BRIEF, only_run, train

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.commands.build import composed, plain
from vlm_rl.commands.storable import asks_environment, restored, storable

MARK = "s3cr3t-of-nobody"
SECRETS = {
    "WANDB_API_KEY": f"{MARK}-wandb-0123456789012345678901234567890123456789",
    "HF_TOKEN": f"hf_{MARK}",
    "HUGGING_FACE_HUB_TOKEN": f"hf_{MARK}2",
    "OUR_KEY": f"{MARK}-ours",
    "OUR_SIDE": "384",
    "WANDB_MODE": "offline",
}
WORDS = (
    "selection='chosen by ${oc.env:OUR_KEY}'",
    "pictures.max_side='${oc.decode:${oc.env:OUR_SIDE}}'",
    "dataset.prompt='{question} ${oc.env:OUR_KEY}'",
)


def test_a_value_of_the_environment_is_stored_as_it_was_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", MARK)
    cfg = composed(
        ["study=s", "selection='by ${oc.env:OUR_KEY}'", "dataset.name=${selection}", "num_threads='${oc.decode:${oc.env:N,2}}'"]
    )
    kept = storable(cfg)
    assert (kept["selection"], kept["dataset"]["name"]) == ("by ${oc.env:OUR_KEY}", "${selection}")
    assert kept["num_threads"] == "${oc.decode:${oc.env:N,2}}"
    assert asks_environment(kept)
    assert (plain(cfg)["selection"], plain(cfg)["num_threads"]) == (f"by {MARK}", 2)


def test_an_export_takes_the_environment_of_who_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_MODEL", "mine")
    kept = storable(composed(["study=s", "model.name=${selection}", "selection='${oc.env:OUR_MODEL}'"]))
    monkeypatch.setenv("OUR_MODEL", "yours")
    assert (kept["model"]["name"], restored(kept, "model")["name"]) == ("${selection}", "yours")


def test_without_the_environment_both_are_the_same() -> None:
    cfg = composed(["study=s", "model=qwen", "dataset=geo", "algorithm=grpo", "algorithm/dynamic_sampling=dapo", "logger=csv"])
    cfg.logger = None
    assert storable(cfg) == plain(cfg)
    assert not asks_environment({key: value for key, value in storable(cfg).items() if key != "preflight"})


def test_two_values_are_two_arms_though_the_files_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for value in ("a", "b"):
        monkeypatch.setenv("OUR_MODEL", value)
        cfg = composed(["study=s", "model.name=${oc.env:OUR_MODEL}"])
        found.append((arm_of(plain(cfg)), vanilla_of(plain(cfg)), storable(cfg)))
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    assert found[0][2] == found[1][2]


def content(path: Path) -> str:
    """What is in a file; of a table, which is compressed, its cells."""
    return str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_bytes().decode("latin-1")


@pytest.fixture(scope="module")
def keyholder() -> Iterator[Forking]:
    """Commands of somebody whose environment holds keys."""
    commands = Forking(**SECRETS)
    yield commands
    commands.close()


@pytest.mark.slow
def test_no_secret_lies_in_a_file_of_a_run_a_report_or_an_export(keyholder: Forking, tmp_path: Path) -> None:
    trained = train(keyholder, tmp_path, *BRIEF, "study=s", "logger=wandb", *WORDS)
    assert MARK not in trained.out + trained.err
    run = only_run(tmp_path, study="s").path
    for script, words in (
        ("evaluate.py", [f"checkpoint={run}", "dataset.evaluation_rows=1"]),
        ("report.py", ["studies=[outputs/s]"]),
        ("export.py", [f"checkpoint={run}", "folder=mine"]),
    ):
        finished = keyholder.run(script, words, cwd=tmp_path)
        assert finished.code == 0, finished.out + finished.err
        assert MARK not in finished.out + finished.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 20
    assert [path for path in files if MARK in content(path)] == []
    assert [path for path in tmp_path.rglob("*") if MARK in path.name] == []
