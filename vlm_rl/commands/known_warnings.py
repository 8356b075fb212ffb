"""Warnings of libraries about things that are done on purpose here, and are not shown."""

import logging
import os
import warnings

EXPECTED = (
    "Your `IterableDataset` has `__len__` defined",  # one process loads the data, so the length is right
    "Found .* module.* in eval mode at the start of training",  # there is no dropout to switch on
    ".*treespec.*is deprecated",  # Lightning's own use of torch
    "`is_gradient_checkpointing` is deprecated",  # PEFT's own use of transformers
    "The `srun` command is available on your system but is not used",  # on a login node, or one process of a job
    "The 'train_dataloader' does not have many workers",  # the encoder shares the policy's vision cache
)
GREETING = ("lightning.pytorch", "lightning.fabric")  # they tell at level INFO of what goes well

OF_JOBLIB = (
    "ignore::UserWarning:joblib.externals.loky.backend.resource_tracker"  # after Ctrl-C its process tidies up, and says so
)


def silence_joblib() -> None:
    """For the process that joblib starts beside its workers, which reads only the environment."""
    os.environ["PYTHONWARNINGS"] = ",".join(filter(None, (os.environ.get("PYTHONWARNINGS"), OF_JOBLIB)))


def silence_known_warnings() -> None:
    """For this process: expected warnings, greetings and progress bars of loading are not shown; all other warnings are."""
    for message in EXPECTED:
        warnings.filterwarnings("ignore", message=message)
    for library in GREETING:
        logging.getLogger(library).setLevel(logging.WARNING)
    from transformers.utils import logging as transformers_logging  # takes a second, which joblib's silence need not wait for

    transformers_logging.disable_progress_bar()
