"""`dry_run=rollouts`: show responses of the vanilla model and their rewards, without training."""

import math

from rich.console import Console
from rich.table import Table

from vlm_rl import ranks
from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import IMAGE_MARKER
from vlm_rl.pipeline.step3_trajectory_generation import ScoredTrajectory
from vlm_rl.types import QueryBatch, ResponseBatch, select

NUM_RESPONSES = 32


def show_rollouts(experiment: Experiment) -> None:
    """Collects and scores responses to the first training batch, shared out over the ranks; trains nothing and writes nothing."""
    module = experiment.module
    module.data_flow.start(first_step=0, rank=ranks.rank(), num_ranks=ranks.num_ranks())
    share = math.ceil(NUM_RESPONSES / ranks.num_ranks())
    queries = select(module.data_flow.queries(0), slice(0, share))
    responses = module.collect_responses(queries)
    scored = module.generate_trajectory(queries, responses)
    shown = sorted(line for lines in ranks.gathered(_lines(queries, responses, scored)) for line in lines)
    table = Table(show_lines=True)
    for title in ("question", "gold", "response", "verdict", *scored.scores.terms, "reward"):
        table.add_column(title, overflow="fold")
    for _, cells in shown[:NUM_RESPONSES]:
        table.add_row(*cells)
    console = Console(markup=False)  # responses may hold anything, square brackets too
    console.print("The first prompt, as the model reads it:", experiment.encoder.prompts.render(queries.rows[0]), sep="\n")
    console.print(table)


def _lines(queries: QueryBatch, responses: ResponseBatch, scored: ScoredTrajectory) -> list[tuple[int, tuple[str, ...]]]:
    """(place in the batch of all ranks, cells of the line) for the responses of this rank."""
    lines, scores, size = [], scored.scores, responses.num_samples
    for i, response in enumerate(responses.responses):
        row = queries.rows[i // size]
        question = row.question.replace(IMAGE_MARKER, f"{IMAGE_MARKER} ")
        numbers = [f"{values[i]:g}" for values in (*scores.terms.values(), scores.total)]
        place = queries.indices[i // size] * size + i % size
        lines.append((place, (question, row.answer, response.text, scores.verdicts[i].value, *numbers)))
    return lines
