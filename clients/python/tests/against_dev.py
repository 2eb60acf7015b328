"""The code of README.md, and example.py under several policies, against a server that `jeton dev` started.

scripts/with-dev PYTHON clients/python/tests/against_dev.py
"""

from __future__ import annotations

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys

import jeton
from jeton.v1 import admin_service_pb2, policy_pb2

HERE = pathlib.Path(__file__).resolve().parents[1]
DEV_JSON = pathlib.Path(os.environ["DEV_JSON"])
DEV = json.loads(DEV_JSON.read_text())


def policies() -> dict[str, policy_pb2.Policy]:
    """Policies that a program which assumes something about them would stumble over."""
    minute = datetime.timedelta(minutes=1)
    strict = policy_pb2.Policy(audience="orders", client_id="*")
    strict.max_ttl.FromTimedelta(minute)
    strict.default_ttl.FromTimedelta(minute)
    strict.allowed_scopes.append("read")
    clamping = policy_pb2.Policy(audience="orders", client_id="*", excess_ttl_action=policy_pb2.EXCESS_TTL_ACTION_CLAMP)
    clamping.max_ttl.FromTimedelta(2 * minute)
    nightly = policy_pb2.Policy(audience="orders", client_id="*", audit_issue=True)
    nightly.max_ttl.FromTimedelta(datetime.timedelta(days=1))
    nightly.daily_boundary.CopyFrom(policy_pb2.DailyBoundary(hours=0, time_zone="Europe/Berlin"))
    return {"strict": strict, "clamping": clamping, "nightly": nightly}


def run_example(name: str) -> None:
    command = [sys.executable, "-B", str(HERE / "example.py"), "--dev-json", str(DEV_JSON)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if ended.returncode != 0:
        raise SystemExit(f"example.py fails under the {name} policy:\n{ended.stdout}{ended.stderr}")
    print(f"ok  example.py under the {name} policy")


def run_readme() -> None:
    """Runs all Python of README.md as one program; only addresses differ."""
    text = (HERE / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = "\n".join(blocks).replace("127.0.0.1:7070", DEV["public"])
    os.environ["JETON_API_KEY"] = DEV["clients"]["dev-service"]
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    verdict, source = names["verdict"], names["source"]
    if not isinstance(verdict, jeton.Verdict) or not verdict.is_active or not isinstance(source, jeton.TokenSource):
        raise SystemExit(f"README.md: the first token is {verdict}")
    source.close()
    print(f"ok  README.md: {len(blocks)} blocks")


def main() -> None:
    run_readme()
    run_example("built-in")
    address = f"http://{DEV['public']}"
    with jeton.Client(address, admin_endpoints=f"http://{DEV['admin']}", api_key=DEV["clients"]["dev-admin"]) as client:
        for name, policy in policies().items():
            client.update_policy(admin_service_pb2.UpdatePolicyRequest(policy=policy, allow_missing=True))
            run_example(name)


main()
