"""What people are told to type composes; what pages name and link to exists. That the commands run is tested in commands/."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vlm_rl.commands.build import composed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {page: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
TRAINING = re.compile(r"^(?:\$ )?(python (?:train|evaluate)\.py.*)$", flags=re.MULTILINE)
COMMANDS = TRAINING.findall(README)
OF_ALGORITHMS = [
    command for name in ("algorithms.md", "rollout_correction.md") for command in TRAINING.findall(PAGES[ROOT / "docs" / name])
]
LINKS = sorted({(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^):]+)\)", text)})
NAMING = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
SOURCES = [
    path
    for folder in ("vlm_rl", "conf", "tests", "benchmarks", "launchers", "examples")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in (".py", ".yaml", ".toml", ".sh", ".html", ".json")
]
NOT_OURS = {"team_kpi.py", "torch.use_deterministic_algorithms"}


@pytest.mark.parametrize("command", [*COMMANDS, *OF_ALGORITHMS])
def test_a_command_that_people_are_told_to_type_composes(command: str) -> None:
    words = shlex.split(command, comments=True)[2:]
    overrides = [word for word in words if "=" in word and not word.startswith(("-", "checkpoint="))]
    parsed = OverridesParser.create().parse_overrides(overrides)
    single = [text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    assert composed(single)


def test_the_readme_has_commands_to_test() -> None:
    assert len(COMMANDS) >= 8
    assert len(OF_ALGORITHMS) >= 3


@pytest.mark.parametrize(("page", "link"), LINKS, ids=[f"{page.name}-{link}" for page, link in LINKS])
def test_a_link_leads_somewhere(page: Path, link: str) -> None:
    file, _, anchor = link.partition("#")
    target = page.parent / file if file else page
    assert target.exists()
    headings = re.findall(r"^#+ (.*)", target.read_text(encoding="utf-8"), flags=re.MULTILINE) if anchor else []
    assert not anchor or anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Names of files, and every word of the code, the configs and the tests."""
    words = {word for path in SOURCES for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    return words | {name for path in SOURCES for name in (path.name, path.stem)}


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.name)
def test_a_file_a_function_and_a_key_that_a_page_names_exist(page: Path, known: set[str]) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    names = set(re.findall(r"`([\w./-]+\.py|(?:\w+\.)*[a-z]\w*_\w+)(?:\(.*?\)|=[^`]*)?`", prose)) - NOT_OURS
    assert {
        name for name in names if (Path(name).name if name.endswith(".py") else name.rpartition(".")[2]) not in known
    } == set()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))))
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
