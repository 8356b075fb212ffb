"""Errors as messages for users: what is wrong, where, and what to type instead. The message comes last, without Hydra's wrappers."""

import difflib
import errno
import os
import re
import shlex
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra.core.utils
from hydra.core.utils import JobReturn
from hydra.errors import HydraException, InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vlm_rl.commands import leaving, searchpath
from vlm_rl.commands.job_log import failed_jobs, innermost, is_of_jobs
from vlm_rl.commands.paths import CONF_DIR
from vlm_rl.commands.swept_groups import why_not_swept
from vlm_rl.datasets.shown import lines_shortened, shortened

USER_ERRORS = (ValueError, FileNotFoundError, RuntimeError, NotImplementedError)
EXIT_CODE = 2
TYPED = "VLM_RL_COMMAND"  # the variable that hands on what a person typed


def explained(run: Callable[[], object]) -> None:
    """Runs a Hydra main function; what goes wrong becomes a short message and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own message
    os.environ.setdefault(TYPED, as_typed())  # processes that a launcher starts have other words in sys.argv
    try:
        leaving.listen(leaving.stop)
        hydra.core.utils.JobReturn = ShortReturn  # type: ignore[misc]  # what a failed job is told by
        searchpath.check(searchpath.typed(sys.argv[1:]))
        run()
    except KeyboardInterrupt:
        leaving.leave_interrupted()
    except Exception as error:
        if leaving.was_interrupted():  # a library made another error of it
            leaving.leave_interrupted()
        if not is_of_jobs(error) and (message_of(error) is None or os.environ.get("VLM_RL_TRACEBACK")):
            raise
        leave_with(error)


def leave_with(error: Exception) -> NoReturn:
    """Ends the process with a short message and exit code 2; with the traceback where that is what helps."""
    message, jobs = message_of(error), failed_jobs(error, message_of=message_of)
    if message is None or os.environ.get("VLM_RL_TRACEBACK"):
        traceback.print_exception(error)
        print(jobs, file=sys.stderr, flush=True)
        sys.exit(1)
    _leave(f"{message}\n\n{jobs}" if jobs else message)


def as_typed() -> str:
    """The command line of this process, fit to be typed again."""
    return shlex.join(["python", *sys.argv]) if sys.argv[0].endswith(".py") else shlex.join(sys.argv)


class ShortReturn(JobReturn):
    """Hydra prints all overrides of a job that failed; of long ones this prints beginning and end."""

    @property
    def return_value(self) -> Any:
        self.overrides = [shortened(override, most=200) for override in self.overrides or ()]
        return super().return_value

    @return_value.setter
    def return_value(self, value: Any) -> None:
        self._return_value = value


def _leave(message: str) -> NoReturn:
    print(f"\nError: {lines_shortened(message)}", file=sys.stderr, flush=True)
    sys.exit(EXIT_CODE)


def message_of(error: Exception) -> str | None:
    """What to tell the user; None where it is no mistake of theirs and the traceback is what helps."""
    outer, error = error, innermost(error)
    if disk_is_full(error):
        return (
            f"The disk is full ({error}). Everything up to the last checkpoint is intact. "
            "Free some space and type the same command again."
        )
    if isinstance(error, (OSError, ValueError)) and (message := _of_model_name(str(error))):
        return message
    if "Config group override must be a string" in str(error):
        return _switched_off(sys.argv[1:])  # Hydra does not say which word it was
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return composition_message(error)
    if isinstance(error, OSError):
        return str(error)
    if isinstance(error, TypeError) and isinstance(outer, InstantiationException):  # an argument too many or too few
        unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        advice = f". Leave {_key_of(outer)}.{unknown[1]} out." if unknown else ""
        return f"{error} (built from the config key {_key_of(outer)!r}){advice}"
    if isinstance(error, ImportError) and str(outer).startswith("Error locating target"):
        what, *_, why = str(error).splitlines()
        return (
            f"{what.rstrip(':')}, the _target_ of the config key {_key_of(outer)!r}. {why} "
            "A package of your own is found where it is installed in this environment (pip install -e FOLDER), or on PYTHONPATH."
        )
    if isinstance(error, ValueError) and "trust_remote_code" in str(error):  # Transformers' advice is to let it
        who = str(error).split(" contains")[0]
        return f"{who} wants to run code of its own, which is never done here. Take a model that Transformers itself knows."
    if isinstance(error, USER_ERRORS):
        return f"{error}\n(VLM_RL_TRACEBACK=1 shows where it came from.)"
    return None


def _of_model_name(text: str) -> str | None:
    """What Transformers and the hub's client say of a model that they do not find, in the words of our configs."""
    if "We couldn't connect to" in text:
        return (
            "The model of model.name is not on this machine, neither as a folder nor in the hub's cache, and the hub cannot be reached. "
            "model.name=FOLDER takes a model from a folder; with HF_HUB_OFFLINE=1 the hub is not asked, and nothing waits for it."
        )
    name = re.search(r"Repo id must .*: '([^']*)'", text)
    if name is None or not (name[1].startswith(("/", "./", "../", "~")) or name[1].count("/") > 1):
        return None
    home = " The shell leaves a ~ within a word as it is: write $HOME." if name[1].startswith("~") else ""
    return f"There is no folder {name[1]}. model.name is a folder that is there, or OWNER/NAME on the Hugging Face hub.{home}"


def _switched_off(words: list[str]) -> str:
    """Where null was to choose a file: what to type instead of each word."""
    chosen = [word for word in words if re.fullmatch(r"[\w/]+(@[\w.]+)?=null", word)]
    chosen = [word for word in chosen if "/" in (group := re.split("[@=]", word)[0]) or Path(CONF_DIR, group).is_dir()]
    messages = [f"{word} chooses no file. {_instead(word.removesuffix('=null'))}" for word in chosen]
    return " ".join(messages) or "null chooses no file of a group; a part is switched off with dots: GROUP.PART=null."


def _instead(choice: str) -> str:
    """A reward term is deleted; other parts are null, or `none`, or are always there."""
    group, _, package = choice.partition("@")
    *above, part = group.split("/")
    options = sorted(file.stem for file in Path(CONF_DIR, group).glob("*.yaml"))
    if package:
        return f"Leave that out by ~{package}."
    if "none" in options:
        return f"Switch that off by {group}=none."
    if above and (not options or any(part in OmegaConf.load(file) for file in Path(CONF_DIR, *above).glob("*.yaml"))):
        return f"A part is switched off with dots: {group.replace('/', '.')}=null."
    return f"Choose one: {', '.join(f'{group}={option}' for option in options)}."


def _key_of(error: Exception) -> str:
    key = re.search(r"full_key: (\S+)", str(error))
    return key[1] if key else "?"


def disk_is_full(error: BaseException) -> bool:
    """Python raises ENOSPC; safetensors and torch only write it into their messages."""
    text = str(error)
    numbered = isinstance(error, OSError) and error.errno == errno.ENOSPC
    torch_says = "inline_container" in text and ("unexpected pos" in text or "write failed" in text)
    return numbered or torch_says or "No space left on device" in text


def composition_message(error: BaseException) -> str:
    """Names the nearest key where a key does not exist."""
    text = str(error)
    match = re.search(r"Key '([^']+)' is not in struct|Could not override '([^']+)'", text)
    if match is None:
        text = re.sub(r"^\w+ raised while resolving interpolation: ", "", text)
        return re.split(r"\nConfig search path|\n +full_key:", text)[0].strip()
    key = match[1] or match[2]
    typed = (argument.split("=")[0].lstrip("+~") for argument in sys.argv[1:])
    key = next((whole for whole in typed if whole == key or whole.endswith(f".{key}")), key)
    if message := why_not_swept(key, words=sys.argv[1:]):
        return message
    if owners := _owners(key):
        return f"There is no config key {key!r} with what was chosen. It belongs to {', '.join(owners)}."
    from vlm_rl.commands.composing import composed

    groups = [word for word in sys.argv[1:] if re.fullmatch(r"(model|dataset|algorithm|reward|rollout)=[\w.-]+", word)]
    known = flat(OmegaConf.to_container(composed(groups, searchpath=searchpath.typed(sys.argv[1:])), resolve=False))
    nearest = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(nearest)}?" if nearest else "`--cfg job` prints every key."
    return f"There is no config key {key!r}. {hint}\nTo add a key that no config has, write +{key}=... ."


def _owners(key: str) -> list[str]:
    """The files to choose whose key it is: algorithm.score_at is of algorithm=reinforce_pp."""
    *group, name = re.split(r"[./]", key)
    files = sorted(Path(CONF_DIR, *group).glob("*.yaml")) if group else []
    return [f"{'/'.join(group)}={file.stem}" for file in files if name in _own_keys(file)]


def _own_keys(file: Path) -> set[str]:
    """The first level of keys of a config file, and the groups that are chosen from within it."""
    node = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert isinstance(node, dict)
    chosen = [choice for choice in node.get("defaults", ()) if isinstance(choice, dict)]
    return {*map(str, node), *(str(group) for choice in chosen for group in choice)} - {"defaults"}


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    """A nested config as one level of dotted keys, branches included as keys without value."""
    items: dict[str, Any] = {}
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in pairs:
        name = f"{prefix}{key}"
        if isinstance(value, dict | list) and value:
            items |= flat(value, f"{name}.")
        else:
            items[name] = value
    return items
