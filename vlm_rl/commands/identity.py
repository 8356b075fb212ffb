"""What a run is by content, and what has changed since it began: other data or weights are refused, all else is told and kept.

The history of a manifest has one entry for each start: time, host, the generation step that it went on from, and each value that
was not as before, `before` and `now`. The values of the first start stay where they are.
"""

import hashlib
import inspect
import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from vlm_rl.commands.trust import TARGET, targets_of
from vlm_rl.datasets.row import Row
from vlm_rl.models.weights_identity import DIGITS, hash_of_all
from vlm_rl.run_folder import RunFolder

Manifest = Mapping[str, Any]
REFUSED = ("data", "rows", "weights")
OF_A_START = ("judge_version", "code", "versions", "git", "machine", "threads", "command", "config")
FOLLOWING = (
    "study",
    "variant",
    "checkpoint",
    "overrides",
    "config_name",
    "searchpath",
)  # where a run is, and its configs are, now
FILES, CODE = "weights.files.", "code."
SHOWN = 3  # names in a line
PACKAGE = Path(__file__).parents[1]


def rows_identity(rows: Sequence[Row]) -> dict[str, str | int]:
    """The `content` of a split, as studies compare it (questions, answers, pictures), its `hash` (all that a run computes with and
    stores, and the order of the rows), and the `count` of its rows."""
    content, whole = hashlib.sha256(), hashlib.sha256()
    for row in rows:
        content.update(row.content_key.encode())
        texts = [row.id, row.question, row.answer, row.solution, row.kind, row.modality, dict(row.fields)]
        whole.update(json.dumps([*texts, [image.key for image in row.images]], sort_keys=True).encode() + b"\n")
    return {"content": content.hexdigest()[:DIGITS], "hash": whole.hexdigest()[:DIGITS], "count": len(rows)}


def code_identity(config: Mapping[str, Any]) -> dict[str, str | None]:
    """Hash of the source file of each class that a config names, of a team as ours, None where there is none; `vlm_rl`: all of ours."""
    ours = hashlib.sha256()
    for file in sorted(PACKAGE.rglob("*.py")):
        ours.update(f"{file.relative_to(PACKAGE).as_posix()}\n".encode() + file.read_bytes())
    targets = sorted({target for target in targets_of(config) if TARGET.fullmatch(target)})
    return {"vlm_rl": ours.hexdigest()[:DIGITS]} | {target: _source_hash(target) for target in targets}


def _source_hash(target: str) -> str | None:
    try:
        file = inspect.getsourcefile(get_object(target))
    except (TypeError, ImportError):  # of a language other than Python; what cannot be imported was not built either
        return None
    return None if file is None else hash_of_all(Path(file))


def start(*, generation_steps: int, changed: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the history: a start just now, from a generation step on."""
    time = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": time, "host": socket.gethostname(), "generation_steps": generation_steps, "changed": dict(changed)}


def in_force(manifest: Manifest) -> dict[str, Any]:
    """Dotted key -> value, as of the newest start."""
    values = _leaves({key: manifest[key] for key in (*REFUSED, *OF_A_START, *FOLLOWING) if key in manifest})
    for entry in history_of(manifest):
        values |= {key: change["now"] for key, change in entry["changed"].items()}
    return values


def history_of(manifest: Manifest) -> list[dict[str, Any]]:
    """The entries of all starts; none of an older version."""
    history: list[dict[str, Any]] = manifest.get("history", [])
    return history


def stored_manifest(folder: RunFolder) -> dict[str, Any] | None:
    """That of a run which began before, None for a fresh folder. Raise ValueError where its history cannot be read."""
    stored = folder.manifest
    history = [] if stored is None else stored.get("history", [])
    entries = history if isinstance(history, list) else [None]
    if not all(isinstance(entry, dict) and isinstance(entry.get("changed"), dict) for entry in entries):
        raise ValueError(
            f"{folder.path / 'manifest.json'}: `history` is no list of starts. Ask for a whole copy of that run, or remove its folder."
        )
    return stored


def differences(stored: Manifest, now: Manifest, *, splits: Sequence[str]) -> Iterator[str]:
    """What a run must not go on with, in words: other rows of these splits, other files of the base model.

    What was not recorded, by an older version, is no difference.
    """
    before, after = in_force(stored), _leaves(now)
    kinds = ("data", "rows.hash")
    others = [split for split in splits if any(_differs(before, after, key=f"{kind}.{split}") for kind in kinds)]
    if others:
        counts = [f"{split} ({_count(before, split)} then, {_count(after, split)} now)" for split in others]
        yield f"the rows have changed: {', '.join(counts)}"
    if files := list(_changed_files(before, after)):
        yield f"the base model has changed: {', '.join(files)}"


def changes(stored: Manifest, now: Manifest, *, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Dotted key -> its value `before` and `now`, of all that differs among these keys. A file that the hub's cache lacks today is
    no change of the model."""
    before, after = in_force(stored), _leaves(now)
    names = [name for name in sorted(before.keys() | after.keys()) if name.split(".")[0] in keys]
    return {
        name: {"before": before.get(name), "now": after.get(name)}
        for name in names
        if before.get(name) != after.get(name) and not (name.startswith(FILES) and name not in after)
    }


def told(changed: Mapping[str, Any]) -> Iterator[str]:
    """A line for each change, the judge's first; what was not recorded before is one line."""
    if (judge := changed.get("judge_version")) is not None:
        yield (
            f"THE JUDGE HAS CHANGED: {judge['before']} before, {judge['now']} now. Records of two judges will be in this folder, and their "
            "accuracies do not compare: report.py report.judge=current judges all of them again."
        )
    known = {name: change for name, change in changed.items() if not _is_new(name, change)}
    for name, change in known.items():
        if name.startswith(CODE):
            yield f"the source of {name.removeprefix(CODE)} has changed"
        elif name not in ("judge_version", "overrides"):  # said above, and by the command
            yield f"{name}: {_shown(change['before'])} before, {_shown(change['now'])} now"
    if new := [name for name in changed if name not in known]:
        more = f" and {len(new) - SHOWN} more" if len(new) > SHOWN else ""
        yield f"not recorded until now, and so not compared: {', '.join(new[:SHOWN])}{more}"


def _is_new(name: str, change: Mapping[str, Any]) -> bool:
    """Whether an earlier start did not record it, as an older version does not."""
    return change["before"] is None and name.split(".")[0] in (*REFUSED, "code")


def continued(stored: Manifest, now: Manifest, *, generation_steps: int, folder: Path) -> dict[str, Any]:
    """The manifest of a run that goes on: the stored one with an entry more in its history. What has changed is printed."""
    changed = changes(stored, now, keys=(*REFUSED, *OF_A_START, *FOLLOWING))
    tell(changed, what=f"{folder} goes on from generation step {generation_steps}")
    entry = start(generation_steps=generation_steps, changed=changed)
    following = {key: now[key] for key in FOLLOWING if key in now}
    return {**stored, **following, "status": "running", "history": [*history_of(stored), entry]}


def tell(changed: Mapping[str, Any], *, what: str) -> None:
    """Print what has changed, if anything."""
    if lines := list(told(changed)):
        print("\n  ".join([f"{what}. Not as it was (`history` in manifest.json keeps it):", *lines]), flush=True)


def check_identity(stored: Manifest, now: Manifest, *, splits: Sequence[str], folder: Path) -> None:
    """Raise ValueError where a run would go on with other data or another base model than it began with."""
    if reasons := list(differences(stored, now, splits=splits)):
        raise ValueError(
            f"{folder} was begun with something else: {'; '.join(reasons)}. Nothing was written. Put back what it was begun with, give "
            "this run another study=NAME, or remove that folder."
        )


def _leaves(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; a list is a value."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def _differs(before: Mapping[str, Any], after: Mapping[str, Any], *, key: str) -> bool:
    """Whether both have a value, and not the same."""
    return None not in (before.get(key), after.get(key)) and before[key] != after[key]


def _count(values: Mapping[str, Any], split: str) -> str:
    count = values.get(f"rows.count.{split}")
    return "unknown" if count is None else f"{count} rows"


def _changed_files(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Files whose size or hash differs, and files that only one of them has, unless both are one commit of the hub: its cache fills."""
    known, found = _files(before), _files(after)
    commit = before.get("weights.commit")
    is_one_commit = commit is not None and commit == after.get("weights.commit")
    for name in sorted(known.keys() | found.keys()) if known else ():
        if name in known and name in found:
            if any(known[name][part] != found[name][part] for part in known[name].keys() & found[name].keys()):
                yield name
        elif not is_one_commit:
            yield f"{name} (not there {'now' if name in known else 'then'})"


def _files(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    files: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        if key.startswith(FILES) and value is not None:
            name, _, part = key.removeprefix(FILES).rpartition(".")
            files.setdefault(name, {})[part] = value
    return files


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
