"""No dropout: what samples and what learns must be the same distribution, or the ratio of their probabilities is not 1."""

from collections.abc import Iterator

from transformers import PreTrainedConfig


def without_dropout(config: PreTrainedConfig, *, name: str) -> PreTrainedConfig:
    """The same config with every rate of dropout 0, parts included, in place; says which were not."""
    found = [f"{key}={rate}" for key, rate in _silenced(config)]
    if found:
        print(
            f"{name}: {', '.join(found)} in its config set to 0: with dropout, training would not see the probabilities "
            "that responses were sampled with.",
            flush=True,
        )
    return config


def _silenced(config: PreTrainedConfig, path: str = "") -> Iterator[tuple[str, float]]:
    """Rates that were above 0: attention_dropout, hidden_dropout_prob, resid_pdrop, drop_path_rate, layerdrop."""
    for key, rate in list(vars(config).items()):
        if "drop" in key and isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0:
            setattr(config, key, type(rate)(0))
            yield path + key, rate
    for part in config.sub_configs:
        if isinstance(inner := getattr(config, part, None), PreTrainedConfig):
            yield from _silenced(inner, f"{path}{part}.")
