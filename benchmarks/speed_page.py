"""The tables of benchmarks/speed.py, in Markdown: a column for each case that was measured."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

MIB = 2**20
PHASES = {
    "ours": {"I": "I, prompts", "II": "II, sampling", "III": "III, log-probabilities", "IV": "IV, update"},
    "theirs": {"generate": "generate", "score": "score", "learn": "learn and the rest"},
}
OURS, THEIRS = "ours", "theirs"
Report = Mapping[str, Any]  # of one case; see speed.py


def of_side(report: Report, side: str, value: Callable[[Mapping[str, Any]], float]) -> list[float]:
    """Of each process of a side: the median over its measured steps."""
    return [median(value(step) for step in pair[side]["steps"]) for pair in report["pairs"]]


def ratios(report: Report, value: Callable[[Mapping[str, Any]], float]) -> list[float]:
    """Ours over theirs, pair by pair."""
    return [a / b for a, b in zip(of_side(report, OURS, value), of_side(report, THEIRS, value), strict=True)]


def seconds(step: Mapping[str, Any]) -> float:
    """Wall clock."""
    return float(step["seconds"])


def cpu_seconds(step: Mapping[str, Any]) -> float:
    """Of all threads of the process."""
    return float(step["cpu_seconds"])


def num_tokens(step: Mapping[str, Any]) -> float:
    """Sampled in a step."""
    return float(sum(step["response_tokens"]))


def memory_of(report: Report, side: str) -> float | None:
    """MiB beyond the loaded model, the median over processes; None where it is not known."""
    found = [pair[side]["memory"] for pair in report["pairs"] if pair[side]["memory"] is not None]
    return median(found) / MIB if found else None


def rows_of(report: Report) -> dict[str, str]:
    """The column of a case: its cells by the words of their rows."""
    rival, cells = report["rival"], {}
    for side, name in ((OURS, "ours"), (THEIRS, rival)):
        cells[f"seconds of a step, {name}"] = f"{median(of_side(report, side, seconds)):.2f}"
    found = ratios(report, seconds)
    cells["**ratio, median of the pairs**"] = f"**{median(found):.2f}**"
    cells["ratio, pair by pair"] = ", ".join(f"{ratio:.2f}" for ratio in found)
    cells["ratio of CPU seconds"] = f"{median(ratios(report, cpu_seconds)):.2f}"
    for side, name in ((OURS, "ours"), (THEIRS, rival)):
        tokens = of_side(report, side, num_tokens)
        each = of_side(report, side, lambda step: num_tokens(step) / seconds(step))
        cells[f"sampled tokens of a step, and a second of it, {name}"] = f"{median(tokens):,.0f}, {median(each):,.0f}"
    for side, name in ((OURS, "ours"), (THEIRS, rival)):
        memory = memory_of(report, side)
        cells[f"peak MiB beyond the loaded model, {name}"] = "-" if memory is None else f"{memory:,.0f}"
    cells["ratio of these"] = _ratio(memory_of(report, OURS), memory_of(report, THEIRS))
    for side, name in ((OURS, "ours"), (THEIRS, rival)):
        known = PHASES[OURS] if side == OURS or report["is_ours_too"] else PHASES[THEIRS]
        for phase, words in known.items():
            of_phase = of_side(report, side, lambda step, phase=phase: step["phases"][phase])
            cells[f"{name}: {words}, seconds"] = f"{median(of_phase):.2f}"
    if report["trl_micro_batches"]:
        cells["TRL: responses of a micro-batch"] = next(iter(report["trl_micro_batches"]))
    return cells | floor_rows(report)


def floor_rows(report: Report) -> dict[str, str]:
    """Ours beside the model's bare calls and the arithmetic: the fastest step of all beside the fastest call, both little disturbed."""
    floor = report["floor"]
    cells = {}
    for part, phase in (("update", "IV"), ("decode", "II")):
        ours = min(step["phases"][phase] for pair in report["pairs"] for step in pair[OURS]["steps"])
        bare, arithmetic = floor[f"{part}_seconds"], floor[f"{part}_flop"] / floor["flop_per_second"]
        cells[f"fastest {part}: ours, bare model, seconds"] = f"{ours:.2f}, {bare:.2f}"
        cells[f"**{part} / bare model**"] = f"**{ours / bare:.2f}**"
        cells[f"arithmetic of the {part}: GFLOP, seconds"] = f"{floor[f'{part}_flop'] / 1e9:.1f}, {arithmetic:.3f}"
    return cells | {"GFLOP a second of a product": f"{floor['flop_per_second'] / 1e9:.0f}"}


def _ratio(ours: float | None, theirs: float | None) -> str:
    return "-" if ours is None or not theirs else f"{ours / theirs:.2f}"


def words_of(case: Mapping[str, Any]) -> str:
    """The head of a column."""
    length = f"{case['response_tokens']} tokens each" if case["response_tokens"] else "own ends"
    pictures = f", {case['image_tokens']:,} image tokens" if case["image_tokens"] else ""
    updates = f"{case['updates']} update{'s' * (case['updates'] > 1)}"
    return f"{case['label']}: {case['num_prompts']} x {case['group_size']}{pictures}, {length}, {updates}"


def table(reports: Sequence[Report]) -> str:
    """All cases side by side; a cell that a case has not is a dash."""
    columns = [rows_of(report) for report in reports]
    rows = list(dict.fromkeys(row for column in columns for row in column))
    heads = " | ".join(words_of(report["case"]) for report in reports)
    lines = [f"| | {heads} |", f"|---|{'---:|' * len(reports)}"]
    return "\n".join([*lines, *(f"| {row} | {' | '.join(column.get(row, '-') for column in columns)} |" for row in rows)])


def settings(report: Report) -> str:
    """One sentence on the machine, and TRL's micro-batches."""
    machine, case = report["machine"], report["case"]
    versions = ", ".join(
        f"{name} {version}" for name, version in machine["versions"].items() if name in ("torch", "transformers")
    )
    return f"{report['date']}, {machine['cores']} cores, threads: {case['threads']}, {versions}, pairs: {len(report['pairs'])}."
