"""What the README tells people to type composes, and what it links to is there. That the commands run is tested in commands/."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from vlm_rl.commands.build import composed

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^(?:\$ )?(python (?:train|evaluate)\.py.*)$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_composes(command: str) -> None:
    words = shlex.split(command, comments=True)[2:]
    overrides = [word for word in words if "=" in word and not word.startswith(("-", "checkpoint="))]
    parsed = OverridesParser.create().parse_overrides(overrides)
    single = [text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    assert composed(single)


def test_the_readme_has_commands_to_test() -> None:
    assert len(COMMANDS) >= 8


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))))
def test_a_make_target_of_the_readme_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
