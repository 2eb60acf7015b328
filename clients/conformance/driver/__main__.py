"""Runs all scenarios against the runners of all languages that are here, and writes what passed.

python -m driver [--only LANGUAGE] [--scenario TEXT]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pathlib
import subprocess
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = ROOT / "clients" / "conformance"
# Scenarios that run at the same time. Most of them wait most of the time.
AT_ONCE = 16


def stubs() -> None:
    """Generates the driver's own stubs, apart from those of the Python client."""
    from grpc_tools import protoc

    out = ROOT / "target" / "conformance" / "stubs"
    for package in ("jeton", "jeton/v1", "jeton/conformance", "jeton/conformance/v1"):
        (out / package).mkdir(parents=True, exist_ok=True)
        (out / package / "__init__.py").touch()
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    protos = [ROOT / "proto", HERE / "proto"]
    files = [str(path) for top in protos for path in sorted(top.glob("jeton/**/*.proto"))]
    includes = [f"-I{top}" for top in (*protos, well_known)]
    if protoc.main(["protoc", *includes, f"--python_out={out}", f"--grpc_python_out={out}", *files]) != 0:
        raise SystemExit("the driver's stubs cannot be generated")
    sys.path.insert(0, str(out))


def read(name: str) -> dict[str, Any]:
    with (HERE / name).open("rb") as file:
        return tomllib.load(file)


def present(languages: list[dict[str, Any]], only: str | None) -> list[tuple[str, list[str]]]:
    """The columns of the matrix: each language that is here, once per flavour, with the command of its runner."""
    columns = []
    for language in languages:
        directory = ROOT / language["directory"]
        if not (directory / "conformance" / "runner").exists() or only not in (None, language["name"]):
            continue
        prepare = directory / "conformance" / "prepare"
        if prepare.exists() and subprocess.run([prepare], stdin=subprocess.DEVNULL).returncode != 0:
            raise SystemExit(f"{language['name']}: its runner cannot be built (clients/conformance/README.md)")
        for flavour in language["flavours"]:
            name = language["name"] if flavour == "" else f"{language['name']} ({flavour})"
            columns.append((name, [str(directory / "conformance" / "runner"), *([flavour] if flavour else [])]))
    return columns


async def run(columns: list[tuple[str, list[str]]], scenarios: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    from .fleet import Fleet
    from .steps import Scenario

    fleet = Fleet(os.environ["JETON"])
    results: dict[str, dict[str, str]] = {}
    try:
        await fleet.start()
        places = asyncio.Semaphore(AT_ONCE)

        async def one(column: str, command: list[str], scenario: dict[str, Any]) -> None:
            async with places:
                outcome = await Scenario(scenario, fleet, command, ROOT).run()
            results[column][scenario["name"]] = outcome

        for column, _ in columns:
            results[column] = {}
        # Scenario by scenario: those that are slow to begin with are spread over all languages.
        await asyncio.gather(*[one(column, command, it) for it in scenarios for column, command in columns])
        for column, command in columns:
            outcomes = results[column] = {it["name"]: results[column][it["name"]] for it in scenarios}
            # Once more, alone: a machine that stood still fails scenarios that measure time.
            for scenario in scenarios:
                outcome = outcomes[scenario["name"]]
                if outcome and "does not support" not in outcome:
                    again = await Scenario(scenario, fleet, command, ROOT).run()
                    print(f"{'FLAKY' if not again else 'failed'}  {column}: {scenario['name']}: {outcome}")
                    outcomes[scenario["name"]] = again
            passed = sum(not outcome for outcome in outcomes.values())
            print(f"{column}: {passed} of {len(outcomes)} scenarios pass", flush=True)
    finally:
        await fleet.stop()
    return results


def main() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="the language to run")
    parser.add_argument("--scenario", default="", help="run the scenarios whose names contain this")
    arguments = parser.parse_args()
    if not os.environ.get("JETON"):
        raise SystemExit("JETON must name the program; `make conformance` sets it")
    from .names import wrong

    if differs := wrong(ROOT, tomllib.loads((ROOT / "clients/names.toml").read_text()), tomllib):
        raise SystemExit(f"clients/names.toml says otherwise: {'; '.join(differs)}")
    stubs()
    scenarios = [s for s in read("scenarios.toml")["scenario"] if arguments.scenario in s["name"]]
    columns = present(read("languages.toml")["language"], arguments.only)
    if not columns or not scenarios:
        raise SystemExit("there is nothing to run: no runner, or no scenario of that name")
    results = asyncio.run(run(columns, scenarios))
    failed = {(column, name): why for column, names in results.items() for name, why in names.items() if why}
    for (column, name), why in failed.items():
        print(f"FAILED  {column}: {name}: {why}")
    if arguments.only is None and not arguments.scenario:
        from .matrix import write

        write(ROOT, scenarios, results)
    if failed:
        raise SystemExit(f"{len(failed)} scenarios failed")


main()
