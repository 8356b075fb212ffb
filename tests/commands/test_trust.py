"""A run folder that somebody gave us is data: nothing that it names is imported, run, read or written outside of it."""

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exported_runs import export_of, run_of
from foreign_names import ALLOWED, FOREIGN, PLACES, WORDS
from forking import ROOT, Forking
from tiny_commands import BRIEF, only_run, train
from tiny_runs import Build
from watched import watched

from vlm_rl.commands import stored_verdict, trust
from vlm_rl.commands.evaluation_target import find, kept_searchpath

sys.path.append(str(ROOT / "examples" / "team_overlay"))


@contextlib.contextmanager
def touching_nothing_outside(folder: Path) -> Iterator[None]:
    """Fails where anything is run, opened outside of a folder, or imported."""
    before = set(sys.modules)
    with watched(folder) as seen:
        yield
    assert seen == []
    assert [name for name in set(sys.modules) - before if not name.startswith("encodings.")] == []


def edited(run: Path, **changes: Any) -> Path:
    """The run with other words in its manifest."""
    file = run / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return run


def with_target(run: Path, target: object) -> Path:
    """The run with such a `_target_` among the terms of its reward."""
    config = json.loads((run / "manifest.json").read_text())["config"]
    config["reward"]["terms"]["x"] = {"weight": 1.0, "term": {"_target_": target, "a": 1}}
    return edited(run, config=config)


@pytest.fixture(scope="module")
def whole_run(built: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run to copy."""
    return run_of(built("study=s"), tmp_path_factory.mktemp("run") / "seed-0")


@pytest.fixture
def given(whole_run: Path, tmp_path: Path) -> Path:
    """A run that somebody gave us, outside of the working directory."""
    return shutil.copytree(whole_run, tmp_path / "given" / "s" / "grpo" / "seed-0")


@pytest.mark.parametrize("target", FOREIGN, ids=repr)
def test_code_that_is_not_ours_is_named_and_neither_imported_nor_run(given: Path, target: object) -> None:
    run = with_target(given, target)
    with (
        pytest.raises(ValueError, match=r"manifest\.json: .*names code that vlm-rl does not bring") as refused,
        touching_nothing_outside(given),
    ):
        find(str(run))
    assert "reward.terms.x.term._target_" in str(refused.value)
    assert "trust=[" in str(refused.value) or "Take it out of the manifest" in str(refused.value)


def test_the_same_in_an_override_of_the_stored_command(given: Path) -> None:
    kept = json.loads((given / "manifest.json").read_text())["overrides"]
    for target in (target for target in FOREIGN if isinstance(target, str) and target.isprintable()):
        for word in (f"+reward.terms.x._target_={target}", f"+reward.terms.x={{term: {{'_target_': '{target}', a: 1}}}}"):
            with pytest.raises(ValueError, match=r"manifest\.json"):
                find(str(edited(given, overrides=[*kept, word])))


@pytest.mark.parametrize("place", PLACES, ids=repr)
def test_a_place_of_configs_that_is_not_ours_is_not_searched(given: Path, place: str) -> None:
    run = edited(given, searchpath=[place])
    with (
        pytest.raises(ValueError, match=r"manifest\.json: the configs of this run lie in") as refused,
        touching_nothing_outside(given),
    ):
        kept_searchpath(str(run))
    assert "trust=[" in str(refused.value) or "'hydra.searchpath=[" in str(refused.value)
    assert kept_searchpath(str(given), typed=["file:///new"]) == []  # what is typed stands in for it


@pytest.mark.parametrize("word", WORDS)
def test_a_stored_override_speaks_of_the_run_only(given: Path, word: str) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json: the override .* Nothing of it was read"):
        find(str(edited(given, overrides=[word])))


@pytest.mark.parametrize(
    "changes",
    [
        {"overrides": "seed=1"},
        {"overrides": [1]},
        {"config": []},
        {"config": "algorithm"},
        {"config_name": "../../x"},
        {"config_name": 3},
        {"picked_step": "2; rm"},
        {"role": "student"},
        {"role": ["policy"]},
    ],
    ids=str,
)
def test_a_manifest_that_is_none_is_told_so(given: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json"):
        find(str(edited(given, **changes)))


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, "\xff\xfe"])
def test_a_manifest_that_cannot_be_read_is_named(given: Path, text: str) -> None:
    (given / "manifest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"manifest\.json is no"):
        find(str(given))


@pytest.mark.parametrize("name", ["manifest.json", "checkpoints", "evaluate", "wandb"])
def test_a_link_that_leads_out_of_the_run_is_not_followed(given: Path, tmp_path: Path, name: str) -> None:
    if (given / name).exists():
        (given / name).rename(tmp_path / "elsewhere")
    else:
        (tmp_path / "elsewhere").mkdir()
    (given / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"is a link that leads out of the run's folder"), touching_nothing_outside(given):
        find(str(given))


@pytest.mark.parametrize("target", ALLOWED)
def test_what_our_own_configs_build_needs_no_trust(given: Path, target: str) -> None:
    assert find(str(with_target(given, target))).run == given


def test_trust_is_by_name_and_reaches_no_further_than_the_package(given: Path) -> None:
    mine = with_target(given, "team_overlay.reward.ClosenessTerm")
    with pytest.raises(ValueError, match=r"trust=\[team_overlay\]"):
        find(str(mine), trusted=["team_over", "sympy"])
    assert find(str(mine), trusted=["team_overlay"]).run == given
    with pytest.raises(ValueError, match="names code"):  # imported there, not written there
        find(str(with_target(given, "team_overlay.reading.last_boxed")), trusted=["team_overlay"])
    assert kept_searchpath(str(edited(given, searchpath=["pkg://team_overlay.conf"])), trusted=["team_overlay"]) == [
        "pkg://team_overlay.conf"
    ]


def test_trust_is_a_word_of_the_command_line_and_no_setting() -> None:
    assert trust.taken_out(["evaluate.py", "seed=1", "trust=[a.b,c]"]) == (["evaluate.py", "seed=1"], ("a.b", "c"))
    assert trust.taken_out(["x", "trust=a", "+trust=[b]"]) == (["x"], ("a", "b"))
    assert trust.taken_out(["x", *trust.as_words(("a", "b"))])[1] == ("a", "b")
    with pytest.raises(ValueError, match="no name of a package"):
        trust.taken_out(["trust=[../x]"])


@pytest.fixture(scope="module")
def trained(forking: Forking, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a run of our own."""
    cwd = tmp_path_factory.mktemp("trained")
    train(forking, cwd, *BRIEF, "study=s")
    return cwd


@pytest.mark.slow
@pytest.mark.parametrize("script", ["evaluate.py", "export.py", "train.py"])
def test_every_command_stops_before_it_runs_what_a_manifest_names(
    forking: Forking, trained: Path, tmp_path: Path, script: str
) -> None:
    word = "+reward.terms.x={weight: 1, term: {_target_: sympy.sympify, a: CODE}}"
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    run = only_run(tmp_path, study="s").path
    told = json.loads((run / "manifest.json").read_text())
    canary = tmp_path / "canary"
    code = f'__import__("pathlib").Path("{canary}").touch()'
    config = told["config"] | {"logger": {"_target_": "sympy.sympify", "a": code}}
    edited(run, overrides=[*told["overrides"], word.replace("CODE", f"'{code}'")], config=config)
    words = {"train.py": [*BRIEF, "study=s"], "export.py": [f"checkpoint={run}", f"folder={tmp_path}/e"]}
    finished = forking.run(script, words.get(script, [f"checkpoint={run}"]), cwd=tmp_path)
    assert finished.code == 2, finished.out + finished.err
    said = finished.err[finished.err.rindex("\nError: ") :]
    assert "manifest.json" in said
    assert "sympy.sympify" in said
    assert "trust=[" in said
    assert "Traceback" not in finished.err
    assert not canary.exists()


@pytest.mark.slow
def test_a_report_builds_nothing_that_a_run_names(forking: Forking, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    run = only_run(tmp_path, study="s").path
    told = json.loads((run / "manifest.json").read_text())
    told["config"]["evaluation"]["reflection"] = {
        "_target_": "pathlib.Path.touch",
        "self": str(tmp_path / "canary"),
        "words": None,
    }
    told["config"]["evaluation"]["kpi"] = {"x": {"_target_": "os.system", "command": f"touch {tmp_path}/canary"}}
    edited(run, config=told["config"], searchpath=["pkg://antigravity"])
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "outputs/s/report.html").symlink_to(tmp_path / "precious")
    (tmp_path / "outputs/s/report_files").mkdir()
    (tmp_path / "outputs/s/report_files/runs.csv").symlink_to(tmp_path / "precious")
    finished = forking.run("report.py", ["studies=[outputs/s]"], cwd=tmp_path)
    assert finished.code == 0, finished.out + finished.err
    assert not (tmp_path / "canary").exists()
    assert (tmp_path / "precious").read_text() == "mine"
    assert not (tmp_path / "outputs/s/report.html").is_symlink()


def test_an_export_of_a_config_that_is_none_is_told_so(given: Path, tmp_path: Path) -> None:
    config = json.loads((given / "manifest.json").read_text())["config"]
    del config["model"]
    with pytest.raises(ValueError, match=r"manifest\.json: `config` is no config of a run"):
        export_of(edited(given, config=config), tmp_path / "mine")


def test_a_report_that_names_runs_elsewhere_is_no_verdict(given: Path) -> None:
    told = json.loads((given / "manifest.json").read_text())
    for name in ("../../elsewhere/x/seed-0", "s/../../../x/seed-0", "/etc/x/seed-0"):
        with pytest.raises(ValueError, match="names a run outside"):
            list(stored_verdict._beside([name], study=given.parents[1], manifest=told | {"study": "s"}))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["images", "vanilla"])
def test_a_study_that_goes_on_writes_through_no_link(forking: Forking, trained: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    run = only_run(tmp_path, study="s").path
    edited(run, status="running")
    (linked,) = (tmp_path / "outputs" / "s").glob(f"{name}*")
    linked.rename(tmp_path / "elsewhere")
    linked.symlink_to(tmp_path / "elsewhere")
    finished = forking.run("train.py", [*BRIEF, "study=s"], cwd=tmp_path)
    assert finished.code == 2, finished.out + finished.err
    assert "is a link that leads out" in finished.err


@pytest.mark.slow
def test_settings_that_our_configs_do_not_give_a_foreign_class_are_refused_and_a_place_outside(
    forking: Forking, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "outputs", tmp_path / "outputs")
    run = only_run(tmp_path, study="s").path
    told = json.loads((run / "manifest.json").read_text())
    for words in (["+trainer.default_root_dir=/tmp/x"], ["logger=csv", f"logger.save_dir={tmp_path.parent}"]):
        edited(run, overrides=[*told["overrides"], *words])
        finished = forking.run("evaluate.py", [f"checkpoint={run}", "dataset.evaluation_rows=1"], cwd=tmp_path)
        assert finished.code == 2, finished.out + finished.err
        assert "settings that it does not have" in finished.err
        assert list(tmp_path.iterdir()) == [tmp_path / "outputs"]
