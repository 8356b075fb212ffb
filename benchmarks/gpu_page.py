"""The tables of benchmarks/gpu.py in Markdown, from gpu.json alone; what is missing there is a dash here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GIB = 2**30
NONE = "-"
PHASES = {
    "encode": "Step I: prompts, on the CPU",
    "look": "pictures through the vision tower",
    "sample": "Step II: sampling",
    "score": "Step III: rewards, reference",
    "learn": "Step IV: update",
    "check": "engine against trainer (beside the step)",
}
REPEATED = {
    "ids": "sampled ids",
    "engine_logprobs": "log-probabilities, engine",
    "trainer_logprobs": "log-probabilities, trainer",
    "reference_logprobs": "log-probabilities, reference",
    "gradients": "gradients",
}
Report = Mapping[str, Any]


def page(report: Report) -> str:
    """All tables."""
    parts = [heading(report), states(report), commands(report), synchronisations(report)]
    parts += [phases(report, model) for model in report["models"]]
    return "\n\n".join([*parts, sums(report)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown; numbers to the right."""
    lines = [columns, ["---", *["--:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "/") for cell in line) + " |" for line in lines)


def heading(report: Report) -> str:
    """The machine in one sentence."""
    machine = report["machine"]
    if not machine:
        return f"No part told of the machine. Sizes `{report['sizes']}` on `{report['device']}`, {report['seconds']:.0f} s."
    gpu = f"{machine['gpu']} ({machine['gpu_memory']}, driver {machine['driver']}, CUDA {machine['cuda']})"
    where = gpu if report["device"] == "cuda" else "no GPU: the CPU stands in for it, so no number below is one of a GPU"
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return f"{where}; {machine['cores']} CPU cores; {versions}. Sizes `{report['sizes']}`, {report['seconds']:.0f} s in all."


def states(report: Report) -> str:
    """How each part ended."""
    rows = [
        (
            name,
            part["state"],
            f"{part['seconds']:.0f}",
            ", ".join(part["not_reached"]) or NONE,
            first_line(part["reason"]) or NONE,
        )
        for name, part in report["parts"].items()
    ]
    return table(("part", "state", "seconds", "not reached", "why"), rows)


def first_line(text: str) -> str:
    """Of a message that may be long."""
    return text.strip().split("\n")[0][:200]


def commands(report: Report) -> str:
    """Exit codes, and whether a resumed run ends with the bits of a whole one."""
    found = numbers(report, "commands")
    rows = [
        (f"{stage}: `{line['command']}`", line["exit_code"], f"{line['seconds']:.0f}", sameness(line.get("adapter")))
        for stage, line in found.items()
    ]
    return table(("command", "exit code", "seconds", "adapter against the whole run's"), rows)


def synchronisations(report: Report) -> str:
    """Counts beside those that the project states."""
    found = numbers(report, "synchronisations")
    sampling, update = found.get("sampling"), found.get("update")
    rows: list[Sequence[object]] = []
    if sampling is not None:
        rows.append(("for each sampled token", f"{sampling['per_token']['total']:g}", sampling["stated_per_token"]))
        rows.append(("more for each layer", f"{sampling['per_token_and_layer']:g}", sampling["stated_per_layer"]))
        rows += [(f"a token: `{line}`", f"{count:g}", NONE) for line, count in sampling["per_token"]["lines"].items()]
    if update is not None:
        rows.append(("for each micro-batch of the update", f"{update['per_micro_batch']['total']:g}", NONE))
        rows += [(f"a micro-batch: `{line}`", f"{count:g}", NONE) for line, count in update["per_micro_batch"]["lines"].items()]
    return table(("host synchronisations", "counted", "stated"), rows)


def phases(report: Report, model: str) -> str:
    """Seconds, and memory beside the preflight's estimate."""
    measured = last_pass(report, model)
    estimated = numbers(report, f"estimate-{model}").get("estimate", {}).get("bytes", {})
    rows = [
        (words, seconds(measured, phase), gib(measured.get("peak_bytes", {}).get(phase)), gib(estimated.get(phase)))
        for phase, words in PHASES.items()
        if measured
    ]
    cold = " (first pass only: nothing was warm)" if measured and "repetition" not in measured else ""
    return table((f"{model}{cold}", "seconds", "peak GiB", "estimated GiB"), rows)


def sums(report: Report) -> str:
    """A column for each model."""
    models: list[str] = report["models"]
    ours = {model: last_pass(report, model) for model in models}
    theirs = {model: numbers(report, f"trl-{model}").get("timed step", {}) for model in models}

    def line(words: str, cell: Any) -> list[str]:
        return [words, *(cell(model) for model in models)]

    rows = [
        line("seconds of the step", lambda m: number(ours[m].get("step_seconds"))),
        line("seconds of TRL's step", lambda m: number(theirs[m].get("step_seconds"))),
        line("TRL's seconds over ours", lambda m: ratio(theirs[m].get("step_seconds"), ours[m].get("step_seconds"))),
        line("sampled tokens a second", lambda m: number(ours[m].get("tokens_per_second"))),
        line("TRL's sampled tokens a second", lambda m: number(theirs[m].get("tokens_per_second"))),
        line("peak GiB", lambda m: gib(max(ours[m].get("peak_bytes", {"": None}).values()) if ours[m] else None)),
        line("TRL's peak GiB", lambda m: gib(theirs[m].get("peak_bytes"))),
        line("engine against trainer, nats, mean", lambda m: number(ours[m].get("engine_against_trainer", {}).get("mean"))),
        line("engine against trainer, nats, largest", lambda m: number(ours[m].get("engine_against_trainer", {}).get("max"))),
        line("nats of a sampled token, mean", lambda m: number(ours[m].get("mean_surprise"))),
    ]
    rows += [
        line(f"repeated: {words}", lambda m, name=name: sameness(ours[m].get("repetition", {}).get(name)))
        for name, words in REPEATED.items()
    ]
    return table(("", *models), rows)


def numbers(report: Report, part: str) -> Mapping[str, Any]:
    """What a part noted, by stage; nothing where it did not run."""
    found: Mapping[str, Any] = report["parts"].get(part, {}).get("numbers", {})
    return found


def last_pass(report: Report, model: str) -> Mapping[str, Any]:
    """The warm pass, or the first one where there was no time for it."""
    found = numbers(report, f"step-{model}")
    made: Mapping[str, Any] = found.get("second pass") or found.get("first pass") or {}
    return made


def sameness(found: Mapping[str, Any] | None) -> str:
    """Same bits, or how far."""
    if found is None:
        return NONE
    if found["same_bits"]:
        return "same bits"
    share, most = 100 * found["differing_share"], found["largest_difference"]
    return f"{share:.2g} % of entries differ, by {most:.2g} at most (largest entry {found['largest_entry']:.2g})"


def seconds(measured: Mapping[str, Any], phase: str) -> str:
    """Of one phase."""
    return number(measured.get("seconds", {}).get(phase))


def number(value: float | None) -> str:
    """Three digits."""
    return NONE if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def gib(value: float | None) -> str:
    """Bytes in GiB."""
    return NONE if value is None else f"{value / GIB:.2f}"


def ratio(over: float | None, under: float | None) -> str:
    """One number over another."""
    return NONE if over is None or not under else f"{over / under:.2f}"
