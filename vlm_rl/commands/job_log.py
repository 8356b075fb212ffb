"""The error inside of Hydra's wrappers; for the jobs of a sweep a log in each folder, and a list of those that failed."""

import contextlib
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf.errors import InterpolationResolutionError

from vlm_rl.commands.leaving import is_first_rank
from vlm_rl.commands.storable import as_written, overrides_as_written
from vlm_rl.run_folder import RunFolder, check_link

WRAPPERS = (InstantiationException, InterpolationResolutionError)
LOG = "train.log"
PLAIN = (ValueError, RuntimeError, NotImplementedError)
LOCAL_LAUNCHERS = ("BasicLauncher", "JoblibLauncher", "submitit_launcher.LocalLauncher")  # on the machine of the command itself
LINE = "%(asctime)s %(levelname)s %(message)s"


def innermost(error: Exception) -> Exception:
    """The error that Hydra's instantiate, or OmegaConf's resolver, wrapped; one from another process has only text behind it."""
    while isinstance(error, WRAPPERS) and isinstance(cause := error.__cause__, Exception):
        if type(cause).__name__ == "_RemoteTraceback":  # joblib's and the standard library's
            break
        error = cause
    return error


def is_of_local_sweep() -> bool:
    """Whether this job was started by a sweep on this machine: it ends with the command that a person typed, `study.py` perhaps."""
    config = HydraConfig.get()
    return config.mode == RunMode.MULTIRUN and str(config.launcher._target_).endswith(LOCAL_LAUNCHERS)


@contextlib.contextmanager
def logged(folder: RunFolder) -> Iterator[None]:
    """Writes when this job of a sweep began, how it ended, and every warning between; nothing outside of a sweep.

    Of several ranks the first one writes it; the others have logs of their own (rank_logs.py).
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        yield
        return
    check_link(folder.path / LOG, inside=folder.path)
    handler: logging.Handler = logging.NullHandler()
    if is_first_rank():
        handler = logging.FileHandler(folder.path / LOG, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter(LINE))
    job, root = logging.Logger("job"), logging.getLogger()
    job.addHandler(handler)
    # Without any handler Python prints warnings by its last resort; that goes on.
    added = [handler, *([logging.lastResort] if logging.lastResort and not root.handlers else [])]
    for each in added:
        root.addHandler(each)
    try:
        job.info("Begun: %s", " ".join(overrides_as_written()))
        yield
        job.info("Ended.")
    except SystemExit as leaving:
        job.info("Stopped with exit code %s.", leaving.code)
        raise
    except Exception as error:
        job.exception("Failed.")
        sent = portable(error)
        if sent is error:
            raise
        raise sent from None
    finally:
        for each in added:
            root.removeHandler(each)
        handler.close()


def portable(error: Exception) -> Exception:
    """The error as it gets back from another process: there a cause is lost, and some errors do not arrive and end the sweep."""
    cause = innermost(error)
    if type(cause) in PLAIN:
        return cause
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def is_of_jobs(error: BaseException) -> bool:
    """Whether an error is that of a job of a sweep."""
    return bool(_jobs(error))


def failed_jobs(error: BaseException, *, message_of: Callable[[Exception], str | None]) -> str:
    """Every failed job of a sweep: number, overrides, reason, folder; empty outside of one.

    Hydra raises the error of the first one only; all of them lie in the frame of its sweeper that raised it.
    """
    jobs = _jobs(error)
    failed = [job for job in jobs if job.status == JobStatus.FAILED]
    if not failed:
        return ""
    for job in failed[1:]:  # Hydra has named the first one
        with contextlib.suppress(BaseException):
            _ = job.return_value
    lines = [_line(job, message_of=message_of) for job in failed]
    return "\n".join(
        (f"{len(failed)} of {len(jobs)} jobs failed; the others ran to their end. Each folder has a {LOG}:", *lines)
    )


def _jobs(error: BaseException) -> Sequence[JobReturn]:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        results = frame.f_locals.get("results")
        if isinstance(results, list | tuple) and results and all(isinstance(job, JobReturn) for job in results):
            return results
    return ()


def _line(job: JobReturn, *, message_of: Callable[[Exception], str | None]) -> str:
    reason, hydra = job._return_value, job.hydra_cfg.hydra if job.hydra_cfg else None
    message = message_of(reason) if isinstance(reason, Exception) else None
    first_line = message.splitlines()[0] if message else traceback.format_exception_only(reason)[-1].strip()
    number, folder = (hydra.job.num, hydra.runtime.output_dir) if hydra else ("?", "?")
    return f"  #{number} {' '.join(as_written(job.overrides or ()))}: {first_line} ({folder})"
