"""`dry_run=rollouts`: what the untrained model answers and what each reward term says, before an hour is spent on it."""

from rich.console import Console
from rich.table import Table

from vlm_rl.commands.build import Experiment
from vlm_rl.datasets.row import IMAGE_MARKER

NUM_RESPONSES = 32


def show_rollouts(experiment: Experiment) -> None:
    """Collects and scores responses to the first training batch; trains nothing and writes nothing."""
    module = experiment.module
    queries = module.policy.look(module.data_flow.queries(0).select(slice(0, NUM_RESPONSES)))
    responses = module.collect_responses(queries)
    scores = module.generate_trajectory(queries, responses).scores
    table = Table(show_lines=True)
    for title in ("question", "gold", "response", "verdict", *scores.terms, "reward"):
        table.add_column(title, overflow="fold")
    for i, response in enumerate(responses.responses[:NUM_RESPONSES]):
        row = queries.rows[i // responses.num_samples]
        numbers = [f"{values[i]:g}" for values in (*scores.terms.values(), scores.total)]
        question = row.question.replace(IMAGE_MARKER, f"{IMAGE_MARKER} ")
        table.add_row(question, row.answer, response.text, scores.verdicts[i].value, *numbers)
    console = Console(markup=False)  # responses may hold anything, square brackets too
    console.print("The first prompt, as the model reads it:", experiment.encoder.prompts.render(queries.rows[0]), sep="\n")
    console.print(table)
