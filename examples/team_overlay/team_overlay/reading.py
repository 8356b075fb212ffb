"""What a model read off a gauge, as a number: the reward and the key figure must mean the same by it."""

from vlm_rl.rewards.boxed import last_boxed


def reading_error(response: str, answer: str) -> float | None:
    """How far the boxed reading is from the true one, in units of the scale; None where there is no number."""
    try:
        return abs(float(last_boxed(response) or "") - float(answer))
    except ValueError:
        return None
