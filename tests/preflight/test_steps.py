"""How long a run is, worked out by hand."""

from dataclasses import replace

from vlm_rl.preflight.steps import Steps

STEPS = Steps(train_rows=1_000, batch_size=64, epochs=4, group_size=8, updates_per_step=2, batch_size_of_update=64)


def test_a_run_is_counted_in_whole_batches() -> None:
    """1,000 rows make 15 batches of 64 and leave 40 over; four epochs are 60 steps of 512 responses and two updates."""
    first, second = STEPS.lines()
    assert "15 generation steps an epoch (40 rows of each epoch are left over), 30 updates an epoch." in first
    assert second == "In all: 4 epochs = 60 generation steps of 512 responses (30,720) and 2 updates (120)."


def test_with_dynamic_sampling_steps_are_counted_in_what_is_sampled_and_each_makes_its_updates() -> None:
    """1,000 rows make 10 batches of 96 and leave 40 over; four epochs are 40 steps of 768 responses and two updates."""
    first, second, last = replace(STEPS, batch_size=96).lines()
    assert "10 generation steps an epoch (40 rows of each epoch are left over), 20 updates an epoch." in first
    assert second == "In all: 4 epochs = 40 generation steps of 768 responses (30,720) and 2 updates (80)."
    assert last == (
        "Dynamic sampling: each step learns from 64 of its 96 queries, first from those whose responses differ "
        "(algorithm.dynamic_sampling)."
    )


def test_where_nothing_is_sampled_beyond_the_batch_there_is_nothing_to_say_of_it() -> None:
    assert len(STEPS.lines()) == 2
