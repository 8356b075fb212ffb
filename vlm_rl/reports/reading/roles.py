"""What the model of a run folder is, as its manifest says: no name of an algorithm decides it, for a team may name its own as it likes."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

Role = Literal[
    "policy",  # learns from its own responses
    "teacher",  # imitates texts that somebody else wrote
    "untrained",  # the model before any training, evaluated once for all arms of its seed
    "evaluated",  # was only evaluated here, by evaluate.py
]
ROLES: tuple[Role, ...] = get_args(Role)
BEFORE_ROLES: dict[
    str, Role
] = {  # algorithm -> role, for manifests that were written before they had a role; all others: policy
    "vanilla": "untrained",
    "sft": "teacher",
    "evaluated": "evaluated",
}


def role_of(manifest: Mapping[str, Any]) -> Role:
    """The role that a manifest names. Raises ValueError where it is none of them."""
    if "role" not in manifest:
        return BEFORE_ROLES.get(str(manifest.get("algorithm")), "policy")
    named = manifest["role"]
    found = next((role for role in ROLES if role == named), None)
    if found is None:
        raise ValueError(f"role is {str(named)[:40]!r}, which is none of {', '.join(ROLES)}")
    return found
