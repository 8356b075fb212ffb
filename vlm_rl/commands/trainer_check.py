"""What Lightning would refuse late, or in words about its own arguments: said before anything is built."""

import logging

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from vlm_rl.commands.errors import innermost


def check_precision(trainer: DictConfig) -> None:
    """A `-true` precision would cast what is trained, and Lightning fails at the first batch of it."""
    precision = str(trainer.precision)
    if precision not in ("32", "32-true") and not precision.endswith("-mixed"):
        raise ValueError(
            f"trainer.precision={precision} would cast the trained weights too, which stay float32 here. "
            "Keep trainer.precision=32-true; the precision of the base weights is model.dtype, as in model.dtype=bfloat16."
        )


def check_devices(trainer: DictConfig) -> None:
    """Whether this machine has what the trainer is to run on."""
    logging.disable(logging.INFO)  # what Lightning greets with: the run's own trainer says it
    try:
        instantiate(trainer, logger=False)
    except InstantiationException as error:
        why = innermost(error)
        if not isinstance(why, MisconfigurationException):
            raise
        raise ValueError(
            f"trainer.accelerator={trainer.accelerator} with trainer.devices={trainer.devices} cannot be had on this machine: "
            f"{' '.join(str(why).split())} trainer.accelerator=auto takes what is there."
        ) from why
    finally:
        logging.disable(logging.NOTSET)
