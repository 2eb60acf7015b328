"""Deadlines and repetition, from service_config.json: the same for the clients of all languages."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a method is called."""

    timeout: float
    repeats: bool = False  # a second call does no harm
    rounds: int = 1  # of all endpoints
    first_pause: float = 0.0
    factor: float = 1.0
    longest_pause: float = 0.0

    def pause(self, number: int) -> float:
        """The longest pause after a round, counted from 0; the jitter takes a part of it."""
        return min(self.first_pause * self.factor**number, self.longest_pause)


@functools.cache
def _policies() -> dict[tuple[str, str], Policy]:
    text = importlib.resources.files("jeton").joinpath("service_config.json").read_text(encoding="utf-8")
    found: dict[tuple[str, str], Policy] = {}
    for config in json.loads(text)["methodConfig"]:
        for name in config["name"]:
            found[name["service"], name.get("method", "")] = _policy(config)
    return found


def _policy(config: dict[str, Any]) -> Policy:
    retry = config.get("retryPolicy")
    timeout = _seconds(config["timeout"])
    if retry is None:
        return Policy(timeout)
    return Policy(
        timeout,
        True,
        retry["maxAttempts"],
        _seconds(retry["initialBackoff"]),
        retry["backoffMultiplier"],
        _seconds(retry["maxBackoff"]),
    )


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def policy(service: str, method: str) -> Policy:
    """Returns the policy of a method; one of its own comes before that of its service."""
    return _policies().get((service, method)) or _policies()[service, ""]
