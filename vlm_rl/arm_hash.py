"""What makes two runs one arm: hashes of a resolved config, for those who write manifests and for those who check them."""

import hashlib
import json
from typing import Any

# Keys that cannot change what a run computes: not part of the arm, not compared on resume.
WITHOUT_EFFECT = (
    *("study", "job", "dry_run", "preflight", "checkpoint", "logger", "identity"),
    *("alerts", "completion_tables", "pictures", "selection", "ranks"),
)
NEWER = ("chat_template", "quantization")  # of `model`: empty or null is as before there was such a key
# Of `evaluation.scheme.endpoint`: what verdicts are made by, which changes nothing that a run computes.
PLAN = ("reference", "smallest_effect", "planned_seeds", "planned_looks")
# Of `rollout.engine`: where servers are, what they call the model, and how long they are waited for.
OF_SERVERS = ("servers", "model", "exchange", "requests_per_server", "attempts", "api_key_variable", "limits")
# Of `trainer`: a run may go on elsewhere, and seeds of one arm may run on different machines; results differ by rounding.
WHERE_AND_HOW_LONG = ("accelerator", "devices", "num_nodes", "strategy", "max_time")


def comparable(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that must be equal for one run to continue another."""
    kept = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT}
    if kept.get("bottleneck") is None:  # as before there was such a key
        kept.pop("bottleneck", None)
    kept["trainer"] = _without(config["trainer"], *WHERE_AND_HOW_LONG)
    kept["model"] = _without_empty(config["model"])
    if "rollout" in kept:
        kept["rollout"] = _without_servers(kept["rollout"])
    return kept


def _without_servers(rollout: dict[str, Any]) -> dict[str, Any]:
    """Without the places of servers, and without keys that an older version did not have, where they change nothing."""
    kept = _without(rollout, "correction", "correction_of_sequences")  # the algorithm has the one that it uses
    kept = kept if kept.get("overlap") else _without(kept, "overlap")
    engines = {
        name: _without(engine, *OF_SERVERS) for name, engine in kept.items() if isinstance(engine, dict) and "servers" in engine
    }
    return kept | engines


def _without_empty(model: dict[str, Any]) -> dict[str, Any]:
    """Without keys that an older version did not have, where they change nothing."""
    return _without(model, *(key for key in NEWER if not model.get(key)))


def _without(settings: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in keys}


def arm_of(config: dict[str, Any]) -> str:
    """Hash of the config but for the seed: runs of one arm differ by their seed alone.

    The seed also appears where configs refer to it (a random reward), so every use of it is taken out.
    """
    text = json.dumps(_without_seed(comparable(_without_plan(config))), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def vanilla_of(config: dict[str, Any]) -> str:
    """Folder of the vanilla model: named by the hash of all that its evaluation depends on, but for the seed."""
    model = {key: config["model"][key] for key in ("name", "untrained", "dtype", "autocast", "attention", "processor")}
    model |= {key: value for key, value in _without_empty(config["model"]).items() if key in NEWER}
    evaluation = _without_plan(config)["evaluation"]
    relevant = [
        model,
        config["dataset"],
        evaluation,
        _without_servers(config["rollout"])["evaluation_engine"],
        config["num_threads"],
        config["tf32"],
    ]
    text = json.dumps(_without_seed({"relevant": relevant}), sort_keys=True, default=str)
    return f"vanilla-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _without_plan(config: dict[str, Any]) -> dict[str, Any]:
    """Without the plan of the comparison (reference, smallest effect, seeds, looks): it changes nothing that a run computes."""
    evaluation = config["evaluation"]
    scheme = evaluation["scheme"]
    endpoint = {key: value for key, value in scheme["endpoint"].items() if key not in PLAN}
    return config | {"evaluation": evaluation | {"scheme": scheme | {"endpoint": endpoint}}}


def _without_seed(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_seed(value) for key, value in node.items() if key not in ("seed", "root_seed")}
    return [_without_seed(value) for value in node] if isinstance(node, list) else node
