"""Of many arms a picture shows a few in colour and the others in grey: which, and the figure that shows them so."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from vlm_rl.reports.figures.panels import Figure, Panel
from vlm_rl.reports.phrase import paragraph, say_named
from vlm_rl.reports.reading.arms import Arm
from vlm_rl.reports.verdicts.family import Judged

MOST_IN_FRONT = 8  # arms; as many as there are colours


def places_behind(arms: Sequence[Arm], *, verdicts: Sequence[Judged]) -> frozenset[int]:
    """Places of the arms that are drawn in grey: all but the reference and the highest and lowest effects; none of eight or fewer.

    `verdicts` are in order of effects.
    """
    places = {arm.label: place for place, arm in enumerate(arms)}
    references = {verdict.comparison.reference_name for verdict in verdicts} & places.keys()
    ranked = [verdict.arm for verdict in verdicts if verdict.difference is not None]
    half = (MOST_IN_FRONT - len(references)) // 2
    wanted = dict.fromkeys([*references, *ranked[:half], *ranked[::-1][:half], *ranked, *places])
    return frozenset(places[label] for label in list(wanted)[MOST_IN_FRONT:])


def few_in_front(figure: Figure, *, behind: Collection[int]) -> Figure:
    """The figure with the arms at these places in grey, and without a panel of their own."""
    shown = tuple(_few(panel, behind=behind) for panel in figure.panels)
    if not any(line.is_behind for panel in shown for line in panel.lines):
        return figure
    kept = tuple(panel for panel in shown if panel.in_front or not panel.behind)
    said = say_named("figures.few_in_front", shown=MOST_IN_FRONT, others=len(behind))
    return replace(figure, panels=kept, caption=paragraph(figure.caption, said))


def _few(panel: Panel, *, behind: Collection[int]) -> Panel:
    return replace(panel, lines=tuple(replace(line, is_behind=line.color in behind) for line in panel.lines))
