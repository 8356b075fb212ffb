"""What README and docs tell people to type composes, and what they link to is there. That the commands run is tested in commands/."""

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
LINKS = sorted({(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)#:]+)\)", text)})


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


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{page.name}-{target}" for page, target in LINKS])
def test_a_link_leads_somewhere(page: Path, target: str) -> None:
    assert (page.parent / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))))
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
