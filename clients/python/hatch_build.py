"""Generates the stubs whenever a wheel is built, an editable one included: they are not in the repository."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StubsHook(BuildHookInterface):  # type: ignore[type-arg] # hatchling's own spelling
    """Called by hatchling."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Writes src/jeton/v1."""
        runpy.run_path(str(Path(self.root) / "generate.py"))["generate"]()
