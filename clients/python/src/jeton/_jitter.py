"""The pause after failures."""

from __future__ import annotations

import random


def full_jitter(first_s: float, longest_s: float, failures: int) -> float:
    """Seconds: a random time up to the first pause, which each further failure in a row doubles, up to the longest."""
    longest = min(longest_s, first_s * 2.0 ** min(failures - 1, 30))
    return random.uniform(0, longest)  # noqa: S311 # jitter is no secret
