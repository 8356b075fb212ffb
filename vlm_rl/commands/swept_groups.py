"""Keys that only the files of a swept group have: `algorithm=grpo,dapo algorithm.std_epsilon=1e-6 -m`.

Hydra first composes a sweep without what is swept, with the group's default, and would refuse a key that the default lacks. What is
swept, it leaves to the jobs. So such a word is handed on as a sweep over one value, which each job takes with its own file.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from vlm_rl.commands import searchpath
from vlm_rl.commands.paths import CONF_DIR

RUNS_ON = ("hydra", "trainer")  # what a launcher is told before there are jobs
GROUPS = frozenset(path.name for path in Path(CONF_DIR).iterdir() if path.is_dir()) - {*RUNS_ON}


def left_to_jobs(words: Sequence[str]) -> list[str]:
    """The words, with `choice()` around the value of each key that a swept group may or may not have."""
    parsed = {word: found for word in words if (found := _parsed(word)) is not None}
    swept = {_first(found) for found in parsed.values() if found.is_sweep_override()} & (GROUPS | {"trainer"})
    if not any(_is_group(found) for found in parsed.values() if found.is_sweep_override()):
        return list(words)
    return [_as_sweep(word, parsed.get(word), groups=GROUPS | swept) for word in words]


def why_not_swept(key: str, *, words: Sequence[str]) -> str | None:
    """Why a sweep over files has no such key, where some of these files have it."""
    from vlm_rl.commands.composing import composed

    group = re.split(r"[./]", key)[0]
    above, _, name = key.replace("/", ".").rpartition(".")
    having: list[str] = []
    lacking: list[str] = []
    for choice in (choice for word in words for choice in _choices(word, group=group)):
        node = OmegaConf.select(composed([choice], searchpath=searchpath.typed(words)), above)
        (having if isinstance(node, DictConfig) and name in node else lacking).append(choice)
    if not having:
        return None
    if lacking:
        return f"{' and '.join(lacking)} of this sweep has no config key {key!r}, which {' and '.join(having)} has. Sweep over these alone."
    return (
        f"{key}=null cannot be set for all of a sweep over {group}: Hydra hands no null on to jobs. "
        f"Run one command for each: {', '.join(having)}."
    )


def _choices(word: str, *, group: str) -> list[str]:
    found = _parsed(word)
    if found is None or found.key_or_group != group or not found.is_choice_sweep():
        return []
    return [f"{group}={value}" for value in found.sweep_string_iterator()]


def _parsed(word: str) -> Override | None:
    """None for a flag, and for what Hydra itself will refuse."""
    if word.startswith("-") or "=" not in word:
        return None
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None


def _first(override: Override) -> str:
    return re.split(r"[./@]", override.key_or_group)[0]


def _is_group(override: Override) -> bool:
    return Path(CONF_DIR, override.key_or_group).is_dir()


def _as_sweep(word: str, override: Override | None, *, groups: frozenset[str]) -> str:
    if override is None or override.is_sweep_override() or override.is_delete() or _first(override) not in groups:
        return word
    if override.key_or_group in groups:  # the choice of a group itself
        return word
    key, _, value = word.partition("=")
    rewritten = _parsed(f"{key}=choice({value})")
    same = rewritten is not None and list(rewritten.sweep_string_iterator()) == [override.get_value_element_as_str()]
    return f"{key}=choice({value})" if same else word
