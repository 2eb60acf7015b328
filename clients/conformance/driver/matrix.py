"""Writes target/conformance.json, and holds docs/clients-matrix.md to it."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

HEAD = """# Which client does what

`make conformance` runs every scenario of [clients/conformance](../clients/conformance/README.md) against every client,
on a real jeton with two replicas. `JETON_WRITE_MATRIX=1 make conformance` writes this page; without that, the run fails
if the page says something else than the run.

"""


def page(scenarios: list[dict[str, Any]], results: dict[str, dict[str, str]]) -> str:
    columns = list(results)
    lines = [f"| scenario | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for scenario in scenarios:
        cells = ["passes" if not results[column][scenario["name"]] else "**fails**" for column in columns]
        lines.append(f"| {scenario['says']} | {' | '.join(cells)} |")
    return HEAD + "\n".join(lines) + "\n"


def write(root: pathlib.Path, scenarios: list[dict[str, Any]], results: dict[str, dict[str, str]]) -> None:
    told = {
        column: {name: "pass" if not why else f"fail: {why}" for name, why in names.items()}
        for column, names in results.items()
    }
    (root / "target").mkdir(exist_ok=True)
    (root / "target" / "conformance.json").write_text(json.dumps(told, indent=2) + "\n")
    matrix = root / "docs" / "clients-matrix.md"
    text = page(scenarios, results)
    if os.environ.get("JETON_WRITE_MATRIX"):
        matrix.write_text(text)
    elif not matrix.exists() or matrix.read_text() != text:
        raise SystemExit("docs/clients-matrix.md says something else: JETON_WRITE_MATRIX=1 make conformance")
