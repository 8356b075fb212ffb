"""The trained adapter as folders that servers read: a new name for each version, made of its content, so that none can be stale."""

import hashlib
import shutil
from pathlib import Path

import torch

from vlm_rl.durable_files import make_folder, sync
from vlm_rl.models.policy import Policy
from vlm_rl.rollout.server import Adapter

DIGITS = 10  # of the hash in a name


class AdapterVersions:
    """The folder `<exchange>/<run>` with `v<generation steps>-<hash>` for each version that is in use."""

    def __init__(self, *, exchange: Path, run: str) -> None:
        self._folder, self._run = exchange.absolute() / run, run.replace("/", ".")

    def written(self, policy: Policy) -> Adapter | None:
        """The adapter of now on the disk, whole; None for the untrained one, which changes nothing."""
        digest = content_hash(policy)
        if digest is None:
            return None
        version = f"v{policy.version:06d}-{digest[:DIGITS]}"
        path = self._folder / version
        if not path.exists():
            make_folder(self._folder)
            temporary = path.with_name(f"{version}.tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            policy.save(temporary)
            for file in temporary.iterdir():
                sync(file)
            temporary.replace(path)
            sync(self._folder)
        return Adapter(name=f"{self._run}.{version}", path=str(path))

    @staticmethod
    def remove(adapter: Adapter) -> None:
        """Delete the folder of a version that nobody samples from any more."""
        shutil.rmtree(adapter.path, ignore_errors=True)

    def remove_all(self) -> None:
        """Delete what this run has written."""
        shutil.rmtree(self._folder, ignore_errors=True)


def content_hash(policy: Policy) -> str | None:
    """SHA-256 of the trained weights; None where they are those of an adapter that changes nothing (every B is 0)."""
    digest, changes = hashlib.sha256(), False
    for name, parameter in policy.named_parameters():
        if parameter.requires_grad:
            values = parameter.detach().cpu()
            changes |= ".lora_A." not in name and bool(values.any())
            digest.update(name.encode())
            digest.update(values.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest() if changes else None
