"""With a single move to the device taken out of the package, the logical GPU finds a fault."""

import pytest
from moves import CAUGHT_BY, IN_TESTS
from mutants import caught, scenario_of
from mutations import places
from scenarios import SCENARIOS, WAITS
from shared_runs import Seen


def test_every_place_that_names_a_device_has_a_scenario_that_fails_without_it() -> None:
    """Where this fails: put the new place into moves.py beside a scenario, and see that `mutants.py` catches it."""
    listed = [place for listed in CAUGHT_BY.values() for place in listed]
    assert sorted(listed) == sorted(place.name for place in places())
    assert CAUGHT_BY.keys() <= SCENARIOS.keys() | {WAITS}


@pytest.mark.parametrize("place", IN_TESTS)
def test_without_it_the_logical_gpu_finds_a_fault(place: str, seen: Seen) -> None:
    assert caught(seen(scenario_of(place), place)) is not None
    assert caught(seen(scenario_of(place))) is None
