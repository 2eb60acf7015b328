"""The catalogue of reasons, as the comments of error_reason.proto tell it."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from typing import Any

TIME = "2026-01-02T03:04:05Z"


@dataclasses.dataclass
class Entry:
    """A reason, its code, metadata by which to try it, and the typed fields that come of them."""

    name: str
    code: str
    metadata: dict[str, str]
    fields: dict[str, Any]


def reasons(root: pathlib.Path) -> list[Entry]:
    text = (root / "proto/jeton/v1/error_reason.proto").read_text()
    entries, comment = [], ""
    for line in text[text.index("enum ErrorReason") :].splitlines()[1:]:
        line = line.strip()
        if line.startswith("//"):
            comment += " " + line.removeprefix("//").strip()
        elif found := re.match(r"ERROR_REASON_(\w+) = (\d+);", line):
            if found[2] != "0":
                entries.append(_entry(found[1], comment.strip()))
            comment = ""
    return entries


def _entry(name: str, comment: str) -> Entry:
    code = comment.split(".")[0]
    _, _, told = comment.partition("Metadata: ")
    keys = re.findall(
        r"[a-z][A-Za-z]+", " ".join(part.strip().removeprefix("and ").split(" ")[0] for part in told.split(","))
    )
    metadata, fields = {}, {}
    for number, key in enumerate(keys):
        value, field, typed = _tried(key, 3 + number)
        metadata[key], fields[field] = value, typed
    return Entry(name, code, metadata, fields)


def _tried(key: str, number: int) -> tuple[str, str, Any]:
    """A value of metadata, and the name and value of its field."""
    plain = re.sub(r"(?<=[a-z])([A-Z])", lambda found: "_" + found[1].lower(), key)
    if key.endswith("Seconds"):
        return str(number), plain.removesuffix("_seconds"), float(number)
    if key.endswith("Millis"):
        return str(number * 500), plain.removesuffix("_millis"), number * 0.5
    if key.endswith("Time"):
        return TIME, plain, TIME
    counts = key.endswith(("Bytes", "Count", "Sessions"))
    if counts or key in ("size", "maxSize", "heldRevocations", "highWater", "limitPerSecond"):
        return str(number), plain, number
    return f"value-{number}", plain, f"value-{number}"
