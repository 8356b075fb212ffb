"""What the model of a run folder is, as its manifest says: no name of an algorithm decides it, for a team may name its own as it likes."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

Role = Literal[
    "policy",  # learns from its own responses
    "teacher",  # imitates texts that somebody else wrote
    "vanilla",  # the model before any training, evaluated once for all arms of its seed
    "evaluated",  # was only evaluated here, by evaluate.py
]

UNTRAINED: tuple[Role, ...] = ("vanilla", "evaluated")  # no run of theirs trains


def role_of(manifest: Mapping[str, Any]) -> Role:
    """The role that a manifest names, `policy` where it names none. Raises ValueError for any other word."""
    role: Role = manifest.get("role", "policy")
    if role not in get_args(Role):
        raise ValueError(f"role is {str(role)[:40]!r}, which is none of {', '.join(get_args(Role))}")
    return role
