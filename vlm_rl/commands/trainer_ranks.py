"""How many processes a trainer's config stands for."""

from omegaconf import DictConfig, OmegaConf

from vlm_rl.preflight.device import num_ranks


def ranks_of(trainer: DictConfig) -> int:
    """Ranks that a run would have."""
    plain = OmegaConf.to_container(trainer, resolve=True)
    assert isinstance(plain, dict)
    return num_ranks(devices=plain["devices"], num_nodes=plain["num_nodes"], accelerator=str(plain["accelerator"]))
