"""How long a run is, worked out by hand."""

from dataclasses import replace

from vlm_rl.preflight.steps import Steps

STEPS = Steps(train_rows=1_000, batch_size=64, epochs=4, group_size=8, updates_per_step=2, may_wait=False)


def test_a_run_is_counted_in_whole_batches() -> None:
    """1,000 rows make 15 batches of 64 and leave 40 over; four epochs are 60 steps of 512 responses and two updates."""
    first, second = STEPS.lines()
    assert "15 generation steps an epoch (40 rows of each epoch are left over), 30 updates an epoch." in first
    assert second == "In all: 4 epochs = 60 generation steps of 512 responses (30,720) and 2 updates (120)."


def test_with_dynamic_sampling_the_updates_are_the_most_that_there_can_be() -> None:
    *counted, last = replace(STEPS, may_wait=True).lines()
    assert counted == STEPS.lines()
    assert last.startswith(
        "Dynamic sampling: at most 120 updates. They wait until enough groups differ (algorithm.dynamic_sampling)"
    )
