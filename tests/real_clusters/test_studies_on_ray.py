"""Studies by launchers/ray.sh on a real Ray that was started in another folder."""

from collections.abc import Callable

from studies import LONG, Checkout, Run, until

Reference = Callable[[int], Run]


def test_a_worker_that_ends_itself_is_started_again_by_ray(on_ray: Checkout, undisturbed: Reference) -> None:
    runs = {seed: on_ray.run("again", seed=seed) for seed in range(2)}
    command = on_ray.typed("ray.sh", "study=again", *LONG, "seed=0,1")
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    on_ray.end_itself(runs[0])
    command.finishes()
    assert all(run.metrics == undisturbed(seed).metrics for seed, run in runs.items())
    assert [run.num_starts for run in runs.values()] == [2, 1]


def test_a_worker_that_is_gone_for_good_is_reported_and_taken_up_again_by_the_same_command(
    on_ray: Checkout, undisturbed: Reference
) -> None:
    """Ray is asked not to try again, as it is after three times."""
    runs = {seed: on_ray.run("gone", seed=seed) for seed in range(2)}
    words = ("study=gone", *LONG, "seed=0,1", "++hydra.launcher.ray.remote.max_retries=0")
    command = on_ray.typed("ray.sh", *words)
    until(lambda: all(run.has_steps(2) for run in runs.values()), command=command)
    on_ray.end_itself(runs[0])
    code, said = command.ended()
    print(said)
    assert code == 2
    assert "1 of 2 jobs failed" in said
    (line,) = (line for line in said.splitlines() if line.startswith("  #0 "))
    assert str(runs[0].folder) in line
    assert runs[1].is_finished and not runs[0].is_finished
    on_ray.typed("ray.sh", *words).finishes()
    assert all(run.metrics == undisturbed(seed).metrics for seed, run in runs.items())
