"""Generates the stubs into src/jeton/v1, and copies what all clients share. hatch_build.py calls it."""

from __future__ import annotations

import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).resolve().parent
# In the repository they lie beside; a source distribution has copies.
PROTOS = [HERE / "proto", HERE.parents[1] / "proto" if len(HERE.parents) > 1 else HERE]
SHARED = [HERE / "service_config.json", HERE.parent / "service_config.json"]


def generate() -> None:
    """Writes src/jeton/v1 and src/jeton/service_config.json."""
    from grpc_tools import protoc

    protos = next(path for path in PROTOS if (path / "jeton").is_dir())
    out = HERE / "src"
    (out / "jeton" / "v1").mkdir(exist_ok=True)
    well_known = pathlib.Path(protoc.__file__).parent / "_proto"
    files = [str(path.relative_to(protos)) for path in sorted(protos.glob("jeton/v1/*.proto"))]
    includes = [f"-I{protos}", f"-I{well_known}"]
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main(["protoc", *includes, *outputs, *files]) != 0:
        raise SystemExit(f"the stubs cannot be generated from {protos}")
    (out / "jeton" / "v1" / "__init__.py").write_text('"""Generated from the API definitions."""\n')
    shutil.copyfile(next(path for path in SHARED if path.exists()), out / "jeton" / "service_config.json")


if __name__ == "__main__":
    sys.exit(generate())
