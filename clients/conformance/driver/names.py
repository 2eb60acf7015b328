"""Holds the manifest of every client to ../names.toml."""

from __future__ import annotations

import json
import pathlib
import re
from typing import Any


def wrong(root: pathlib.Path, names: dict[str, Any], toml: Any) -> list[str]:
    """Returns what differs, a sentence each."""
    clients = root / "clients"
    found: list[tuple[str, str, str]] = []  # the place, what it says, what it should say

    def table(path: pathlib.Path) -> dict[str, Any]:
        return toml.loads(path.read_text())

    found.append(
        ("the version in Cargo.toml", table(root / "Cargo.toml")["workspace"]["package"]["version"], names["version"])
    )
    found.append(("the crate", table(clients / "rust/Cargo.toml")["package"]["name"], names["rust"]["crate"]))
    manifest = clients / "python/pyproject.toml"
    if manifest.exists():
        project = table(manifest)["project"]
        found += [
            ("the Python package", project["name"], names["python"]["package"]),
            ("its version", project["version"], names["version"]),
            ("its licence", project["license"], names["licence"]),
        ]
        own = re.search(r'__version__ = "(.*)"', (clients / "python/src/jeton/__init__.py").read_text())
        found.append(("its __version__", own[1] if own else "", names["version"]))
    manifest = clients / "go/go.mod"
    if manifest.exists():
        found.append(("the Go module", manifest.read_text().split()[1], names["go"]["module"]))
    manifest = clients / "typescript/package.json"
    if manifest.exists():
        package = json.loads(manifest.read_text())
        found += [
            ("the npm package", package["name"], names["typescript"]["package"]),
            ("its version", package["version"], names["version"]),
            ("its licence", package["license"], names["licence"]),
        ]
    manifest = clients / "java/pom.xml"
    if manifest.exists():
        text = manifest.read_text()
        for tag, expected in (
            ("groupId", names["java"]["group"]),
            ("artifactId", names["java"]["artifact"]),
            ("version", names["version"]),
        ):
            said = re.search(rf"<{tag}>(.*?)</{tag}>", re.sub(r"(?s)<parent>.*?</parent>", "", text))
            found.append((f"<{tag}> of pom.xml", said[1] if said else "", expected))
    definitions = (root / "proto/jeton/v1/token.proto").read_text()
    for option, expected in (
        ("go_package", names["go"]["stubs"] + ";jetonv1"),
        ("java_package", names["java"]["stubs"]),
    ):
        said = re.search(rf'option {option} = "(.*)";', definitions)
        found.append((f"{option} of the definitions", said[1] if said else "", expected))
    return [f"{place} is {said}, not {expected}" for place, said, expected in found if said != expected]
