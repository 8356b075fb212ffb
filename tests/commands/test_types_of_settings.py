"""Every setting has the type that its constructor, or the command that reads it, asks for; else it is told before anything is built."""

import copy
import functools
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from forking import ROOT, Forking
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from tiny_commands import TINY

from vlm_rl.commands.build import composed
from vlm_rl.commands.checks import refuse
from vlm_rl.commands.export import Request
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.setting_types import check_arguments, check_types

INTEGER, NUMBER, BOOL, TEXT, LIST, MAPPING = (
    "an integer",
    "a number",
    "true or false",
    "a word",
    "a list",
    r"a mapping \(\{name: value\}\)",
)
JSONL = ("dataset=jsonl", "dataset.source.folder=x")
OVERLAY = [f"file://{ROOT}/examples/team_overlay/team_overlay/conf"]


@functools.cache
def shipped() -> DictConfig:
    """As no word at all composes it."""
    return composed([])


def with_words(*words: str) -> DictConfig:
    """The config that these words compose; where they only set values, without composing anew, which takes long."""
    parsed = OverridesParser.create().parse_overrides(list(words))
    if any(override.is_add() or Path(CONF_DIR, override.key_or_group).is_dir() for override in parsed):
        return composed(list(words))
    cfg = copy.deepcopy(shipped())
    for override in parsed:
        OmegaConf.update(cfg, override.key_or_group, override.value(), merge=isinstance(override.value(), dict))
    return cfg


def refusal(*words: str) -> str:
    """What is said of words that cannot be meant."""
    cfg = with_words(*words)
    with pytest.raises(ValueError, match="but it takes") as caught:
        refuse("train", "settings", cfg)
    return str(caught.value)


WRONG = [  # a word to type, the key that is named and what it takes
    ("dataset.epochs=1.5", INTEGER),
    ("dataset.epochs=true", INTEGER),
    ("dataset.epochs='3'", INTEGER),
    ("dataset.epochs=null", INTEGER),
    ("dataset.max_pixels=big", f"{INTEGER} or null"),
    ("dataset.prompt=[a]", TEXT),
    ("dataset.subset=5", rf"{MAPPING} or null"),
    ("dataset.source.carry_share=half", NUMBER),
    ("dataset.source.solutions.corrected=true", NUMBER),
    ("model.untrained=no", BOOL),
    ("model.autocast=null", BOOL),
    ("model.freeze=vision", LIST),
    ("model.optimization.learning_rate='1e-3'", NUMBER),
    ("evaluation.pass_at_1_samples=2.0", INTEGER),
    ("evaluation.scheme.endpoint.split=null", TEXT),
    ("trainer.deterministic=maybe", f"{BOOL} or warn or null"),
    ("num_threads=1.0", f"{INTEGER} or null"),
    ("dry_run=true", "rollouts or null"),
    ("identity.weights=slow", "fast or all"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "wanted"), WRONG)
def test_a_value_of_another_type_is_named_with_its_key_and_something_that_is_taken(word: str, wanted: str) -> None:
    key = word.split("=")[0]
    said = refusal(word)
    assert re.match(rf"{re.escape(key)}=.*, but it takes {wanted}\. That is ", said), said
    for typed in re.findall(rf"Write it as ({re.escape(key)}=\S+),", said):
        if "NAME" not in typed:
            check_types(with_words(typed))  # whatever else it means, the type is right
    for typed in re.findall(r'"(\S+=\'.*\')"', said):
        assert isinstance(OverridesParser.create().parse_override(typed).value(), str)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.optimization.betas=[0.9,much]"], r"model\.optimization\.betas\[1\]=much, .* a number\..*whole list"),
        (["dataset.subset={train:5.5}"], r"dataset\.subset\.train=5\.5, .* an integer or null"),
        (["evaluation.scheme.settings.0.k=1.0"], r"evaluation\.scheme\.settings\[0\]\.k=1\.0, .* an integer"),
        (["evaluation.scheme.settings=[{k:1}]"], r"settings\[0\]=.*k.*, but it takes an object of GenerationSetting"),
        (["reward.judge=fast"], r"reward\.judge=fast, but it takes an object of Judge.*reward\.judge\.NAME=VALUE"),
        (["model.optimization=null"], r"model\.optimization=null, but it takes an object of Optimization"),
        (["+reward/term@reward.terms.length=length", "reward.terms.length.term.max_length=9.5"], r"reward\.terms\.length\.term\.max_len"),
        ([*JSONL, "dataset.source.columns.marker=[IMG]"], r"columns\.marker=\[\"IMG\"\], .* a word\..*Brackets need quotes"),
        ([*JSONL, "dataset.source.columns.images=[1]"], r"columns\.images\[0\]=1, .* a word"),
    ],
)  # fmt: skip
def test_so_is_one_inside_of_a_list_a_mapping_or_another_object(words: list[str], said: str) -> None:
    assert re.match(f".*{said}", refusal(*words))


@pytest.mark.parametrize(
    "word",
    [
        "model.optimization.learning_rate=1",
        "model.optimization.learning_rate=1e-5",
        "model.optimization.betas=[0,1]",
        "model.lora.targets.vision=qkv",
        "+model.processor.size={longest_edge:42}",
        "model.optimization.part_learning_rates.language=1e-4",
        "trainer.devices=auto",
        "trainer.max_time=00:11:30:00",
        "trainer.deterministic=warn",
        "dataset.filter={train:{level:[1,2],has_image:true}}",
        "dataset.name='123'",
        "study=2024",
        "preflight.device_memory=80GiB",
    ],
)
def test_a_value_of_the_right_type_is_taken(word: str) -> None:
    refuse("train", "settings", with_words(word))


def test_a_learning_rate_in_a_file_may_be_written_without_a_point(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").write_text("defaults: [tiny, _self_]\noptimization:\n  learning_rate: 1e-5\n")
    refuse("train", "settings", composed(["model=mine"], searchpath=[f"file://{tmp_path}"]))


def test_what_the_environment_holds_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EPOCHS_OF_MINE", "s3cret")
    said = refusal("dataset.epochs=${oc.env:EPOCHS_OF_MINE}")
    assert said.startswith("dataset.epochs=${oc.env:EPOCHS_OF_MINE}, but it takes an integer.")
    assert "s3cret" not in said


class Annotated:
    """Of a team: annotations of many kinds."""

    def __init__(
        self,
        *,
        count: int = 1,
        share: "float | None" = None,
        pair: tuple[float, float] = (0.0, 1.0),
        names: frozenset[str] = frozenset(),
        place: Path = Path(),
        raw: DictConfig | None = None,
        free=None,  # type: ignore[no-untyped-def]  # noqa: ANN001
        **more: object,
    ) -> None: ...


class Bare:
    """Of a team that annotates nothing."""

    def __init__(self, count, *rest, **more) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003


def annotated(count: int, names: Sequence[str] = ()) -> int:
    """A function is built from, too."""
    return count + len(names)


@pytest.mark.parametrize(
    ("made", "settings", "said"),
    [
        (Annotated, {"count": "two"}, r"thing\.count=two, .* an integer"),
        (Annotated, {"share": True}, r"thing\.share=true, .* a number or null"),
        (Annotated, {"pair": [0.5, "x"]}, r"thing\.pair\[1\]=x, .* a number"),
        (Annotated, {"names": "ab"}, r"thing\.names=ab, .* a list"),
        (Annotated, {"place": 3}, r"thing\.place=3, .* a path"),
        (Annotated, {"raw": 3}, r"thing\.raw=3"),
        (Annotated, {"pair": [0, 1], "names": ["a"], "place": "x", "raw": {"a": 1}, "share": 1, "free": {}}, None),
        (Bare, {"count": "two", "other": []}, None),
        (annotated, {"count": 1.0}, r"thing\.count=1\.0, .* an integer"),
        (annotated, {"count": 1, "names": "ab"}, r"thing\.names=ab, .* a list"),
        (annotated, {"count": "???", "_partial_": True}, None),
        (annotated, {"count": {"_target_": "builtins.int"}}, None),
    ],
)  # fmt: skip
def test_a_class_or_function_from_outside_is_asked_for_what_it_annotates(
    made: object, settings: dict[str, object], said: str | None
) -> None:
    name = f"{__name__}.{getattr(made, '__name__', '')}"
    cfg = OmegaConf.create({"thing": {"_target_": name, **settings}})
    if said is None:
        check_types(cfg)
    else:
        with pytest.raises(ValueError, match=said):
            check_types(cfg)


def test_an_overlay_is_checked_by_its_own_annotations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples" / "team_overlay")
    words = ["experiment=gauges", "study=s"]
    refuse("train", "settings", composed(words, searchpath=OVERLAY))
    for word, said in (
        ("dataset.source.train_rows=8.0", r"dataset\.source\.train_rows=8\.0, .* an integer"),
        ("reward.terms.closeness.term.reach=far", r"reward\.terms\.closeness\.term\.reach=far, .* a number"),
    ):
        with pytest.raises(ValueError, match=said):
            refuse("train", "settings", composed([*words, word], searchpath=OVERLAY))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"merge": "yes"}, "merge=yes, but it takes true or false"),
        ({"folder": 2024}, "folder=2024, but it takes a word"),
        ({"private": 1}, "private=1, but it takes true or false"),
        ({"dtype": 16}, "dtype=16, but it takes a word or null"),
    ],
)
def test_the_keys_of_an_export_are_checked(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_arguments(Request, OmegaConf.create(settings))


@pytest.mark.parametrize(
    ("script", "words", "said"),
    [
        ("train.py", [*TINY, "study=s", "dataset.epochs=1.5"], "dataset.epochs=1.5, but it takes an integer."),
        ("train.py", [*TINY, "study=s", "seed=0,1", "tf32=no", "-m"], "tf32=no, but it takes true or false."),
        ("evaluate.py", ["checkpoint=tiny", "dataset.epochs=4.0"], "dataset.epochs=4.0, but it takes an integer."),
        ("export.py", ["checkpoint=nothing", "folder=x", "merge=yes"], "merge=yes, but it takes true or false."),
        ("report.py", ["studies=[s]", "report.reader.longest=long"], "report.reader.longest=long, but it takes an integer."),
        ("report.py", ["studies=[s]", "evaluation.kpi.minutes_saved.by_hand=x"], "evaluation.kpi.minutes_saved.by_hand=x, but it takes a "),
        ("report.py", ["studies=[s]", "report.smallest_effect=true"], "report.smallest_effect=true, but it takes a number or null."),
    ],
)  # fmt: skip
def test_every_command_says_it_at_once(forking: Forking, tmp_path: Path, script: str, words: list[str], said: str) -> None:
    finished = forking.run(script, words, cwd=tmp_path)
    assert finished.code == 2, finished.out + finished.err
    assert finished.err[finished.err.rindex("\nError: ") :].startswith(f"\nError: {said}")
    assert "Traceback" not in finished.err
    assert not list(tmp_path.glob("outputs/*/*/*/metrics.jsonl"))
