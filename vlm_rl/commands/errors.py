"""Errors as a person reads them: what, where, and what to type instead; our own message last, no chain of wrappers."""

import difflib
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

from hydra.errors import HydraException, InstantiationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

USER_ERRORS = (ValueError, FileNotFoundError, RuntimeError, NotImplementedError)
EXIT_CODE = 2


def explained(run: Callable[[], object]) -> None:
    """Runs a Hydra main function; what goes wrong becomes a short message and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing its own message
    try:
        run()
    except (HydraException, OmegaConfBaseException) as error:
        _leave(composition_message(innermost(error)))
    except OSError as error:
        _leave(os_message(error))
    except USER_ERRORS as error:
        if os.environ.get("VLM_RL_TRACEBACK"):
            raise
        _leave(f"{innermost(error)}\n(VLM_RL_TRACEBACK=1 shows where it came from.)")


def _leave(message: str) -> None:
    print(f"\nError: {message}", file=sys.stderr, flush=True)
    sys.exit(EXIT_CODE)


def innermost(error: BaseException) -> BaseException:
    """The error that Hydra's instantiate wrapped."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def os_message(error: OSError) -> str:
    """Disk full is said as such."""
    if error.errno == errno.ENOSPC:
        return (
            f"The disk is full: {error.filename or error}. Everything up to the last checkpoint is intact. "
            "Free some space and type the same command again."
        )
    return str(error)


def composition_message(error: BaseException) -> str:
    """Names the nearest key where a key does not exist."""
    text = str(error)
    match = re.search(r"Key '([^']+)' is not in struct|Could not override '([^']+)'", text)
    if match is None:
        return text
    asked = _asked_key(match[1] or match[2])
    known = list(_known_keys())
    nearest = difflib.get_close_matches(asked, known, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(nearest)}?" if nearest else "`--cfg job` prints every key."
    return f"There is no config key {asked!r}. {hint}\nTo add a key that no config has, write +{asked}=... ."


def _asked_key(fallback: str) -> str:
    for argument in sys.argv[1:]:
        key = argument.split("=")[0].lstrip("+~")
        if key == fallback or key.endswith(f".{fallback}"):
            return key
    return fallback


def _known_keys() -> Iterator[str]:
    from vlm_rl.commands.build import composed

    groups = [
        argument for argument in sys.argv[1:] if re.fullmatch(r"(model|dataset|algorithm|reward|rollout)=[\w.-]+", argument)
    ]
    cfg = composed(groups)
    yield from flat(OmegaConf.to_container(cfg, resolve=False))


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
