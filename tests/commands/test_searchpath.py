"""Where configs of a team are searched, how a run remembers it, and that no hash depends on where the folder lies."""

import shutil
from pathlib import Path

import pytest

from vlm_rl.arm_hash import arm_of, vanilla_of
from vlm_rl.commands import searchpath
from vlm_rl.commands.build import composed, plain
from vlm_rl.commands.paths import CONF_DIR

CONF = Path(__file__).parents[2] / "examples" / "team_overlay" / "team_overlay" / "conf"


def test_every_way_to_name_a_folder_means_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    there = f"file://{tmp_path}/ours"
    for words in (
        ["hydra.searchpath=[file://ours]"],
        ["reward=a", "hydra.searchpath=[ours]"],
        [f"hydra.searchpath=['{tmp_path}/ours']"],
        ["--config-dir", "ours"],
        ["--config-dir=ours", "-m"],
        ["-cd", "ours"],
    ):
        assert searchpath.typed(words) == [there], words
    assert searchpath.typed(["hydra.searchpath=[pkg://a.conf,b]"]) == ["pkg://a.conf", f"file://{tmp_path}/b"]
    assert searchpath.typed(["reward=a", "seed=0,1", "-m"]) == []


@pytest.mark.parametrize("path", ["file:///a b/c,d/[e]", 'file:///a "b"/=c', "file:///ü{x}/it's", "pkg://team.conf"])
def test_an_override_of_any_path_is_read_back_as_it_was(path: str) -> None:
    assert searchpath.typed(searchpath.as_overrides([path, "pkg://other"])) == [path, "pkg://other"]


def test_a_folder_in_the_working_directory_is_remembered_from_the_run_so_that_both_can_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = Path("outputs/s/v/seed-0")
    kept = searchpath.remembered([f"file://{tmp_path}/here/conf", "file:///shared/conf", "pkg://team.conf"], run=run)
    assert kept == ["file://../../../../conf", "file:///shared/conf", "pkg://team.conf"]
    moved = tmp_path / "there" / run
    assert searchpath.found(kept, run=moved) == [f"file://{tmp_path}/there/conf", "file:///shared/conf", "pkg://team.conf"]


def test_what_is_typed_comes_before_what_a_run_remembers(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "old").mkdir()
    new, old = f"file://{tmp_path}/new", f"file://{tmp_path}/old"
    words = searchpath.with_kept(["evaluate.py", f"hydra.searchpath=[{new}]", "seed=1"], kept=[old, "pkg://vlm_rl.conf_of_old"])
    assert words[:2] == ["evaluate.py", "seed=1"]
    assert searchpath.typed(words) == [new, old]
    assert searchpath.with_kept(["evaluate.py", "seed=1"], kept=[]) == ["evaluate.py", "seed=1"]


def test_a_folder_that_a_run_remembers_and_that_is_gone_is_an_error_that_says_what_to_type(tmp_path: Path) -> None:
    gone = f"file://{tmp_path}/gone"
    with pytest.raises(
        FileNotFoundError, match=r"there is no folder .*/gone\. Say where .* by 'hydra\.searchpath=\[file://FOLDER\]'"
    ):
        searchpath.with_kept(["evaluate.py"], kept=[gone])
    with pytest.raises(FileNotFoundError, match=r"pkg://nobodys\.conf: no such package is installed here"):
        searchpath.check(["pkg://nobodys.conf"])


def test_hashes_and_names_do_not_depend_on_where_the_folder_lies(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "elsewhere")
    here, there = (
        plain(composed(["experiment=gauges", "study=s"], searchpath=[f"file://{folder}"]))
        for folder in (CONF, tmp_path / "elsewhere")
    )
    assert here["dataset"]["source"]["_target_"] == "team_overlay.dataset.GaugeSource"
    assert (arm_of(here), vanilla_of(here)) == (arm_of(there), vanilla_of(there))


@pytest.mark.parametrize("place", ["file", "package"])
def test_a_file_by_the_name_of_one_of_ours_is_an_error_that_says_how_to_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "shadowing_team" / "reward").mkdir(parents=True)
    (tmp_path / "shadowing_team" / "reward" / "accuracy.yaml").write_text("accuracy_weight: 99\n")
    (tmp_path / "shadowing_team" / "reward" / "ours.yaml").write_text("accuracy_weight: 99\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = "pkg://shadowing_team" if place == "package" else f"file://{tmp_path}/shadowing_team"
    with pytest.raises(ValueError, match=r"reward/accuracy\.yaml would be ignored.*begin it with ours \(defaults: \[accuracy,"):
        searchpath.check([path])


def test_our_example_and_a_plain_copy_of_our_own_configs_hide_nothing(tmp_path: Path) -> None:
    shutil.copytree(CONF_DIR, tmp_path / "conf")
    searchpath.check([f"file://{CONF}", f"file://{tmp_path}/conf", f"file://{CONF_DIR}"])
    with (tmp_path / "conf" / "train.yaml").open("a") as file:
        file.write("\n# edited\n")
    with pytest.raises(ValueError, match=r"conf: train\.yaml would be ignored"):
        searchpath.check([f"file://{tmp_path}/conf"])


def test_a_team_may_have_a_main_config_of_its_own(tmp_path: Path) -> None:
    """As `--config-dir . --config-name team` has it."""
    (tmp_path / "team.yaml").write_text("defaults:\n  - train\n  - _self_\nselection: ours\n")
    config = composed(["study=s", "algorithm=grpo"], config_name="team", searchpath=[f"file://{tmp_path}"])
    assert (config.selection, config.dataset.name) == ("ours", "micro_geometry")
