"""What the model of a run folder is, as its manifest says: no name of an algorithm decides it, for a team may name its own as it likes."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

Role = Literal[
    "policy",  # learns from its own responses
    "teacher",  # imitates texts that somebody else wrote
    "vanilla",  # the model before any training, evaluated once for all arms of its seed
    "evaluated",  # was only evaluated here, by evaluate.py
]
ROLES: tuple[Role, ...] = get_args(Role)
BEFORE_ROLES: dict[str, Role] = {"vanilla": "vanilla", "sft": "teacher", "evaluated": "evaluated"}  # all others: policy


def role_of(manifest: Mapping[str, Any]) -> Role:
    """The role that a manifest names, or, from before there were roles, that of its algorithm. ValueError where it is none."""
    if "role" not in manifest:
        return BEFORE_ROLES.get(str(manifest.get("algorithm")), "policy")
    role: Role = manifest["role"]
    if role not in ROLES:
        raise ValueError(f"role is {str(role)[:40]!r}, which is none of {', '.join(ROLES)}")
    return role
