"""The error that a person should hear of, below those that Hydra and OmegaConf wrap around it."""

from hydra.errors import InstantiationException
from omegaconf.errors import InterpolationResolutionError

WRAPPERS = (InstantiationException, InterpolationResolutionError)


def innermost(error: Exception) -> Exception:
    """The error that Hydra's instantiate, or OmegaConf's resolver, wrapped; one from another process has only text behind it."""
    while isinstance(error, WRAPPERS) and isinstance(cause := error.__cause__, Exception) and not _is_traceback(cause):
        error = cause
    return error


def _is_traceback(cause: Exception) -> bool:
    return type(cause).__name__ == "_RemoteTraceback"  # joblib's and the standard library's
