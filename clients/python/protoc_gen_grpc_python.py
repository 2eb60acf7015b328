"""The gRPC half of grpcio-tools as a plugin of protoc: grpcio-tools has it built in, where buf cannot call it."""

import pathlib
import sys
import tempfile

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2
from grpc_tools import protoc


def main() -> None:
    request = plugin_pb2.CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = plugin_pb2.CodeGeneratorResponse(
        supported_features=plugin_pb2.CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL
    )
    with tempfile.TemporaryDirectory(prefix="protoc-gen-grpc-python-") as directory:
        out = pathlib.Path(directory)
        definitions = out / "definitions.bin"
        definitions.write_bytes(descriptor_pb2.FileDescriptorSet(file=request.proto_file).SerializeToString())
        options = [f"--grpc_python_opt={request.parameter}"] if request.parameter else []
        arguments = [f"--descriptor_set_in={definitions}", f"--grpc_python_out={out}", *options]
        if protoc.main(["protoc", *arguments, *request.file_to_generate]) != 0:
            response.error = "grpcio-tools refuses the definitions"
        for path in sorted(out.rglob("*.py")):
            response.file.add(name=path.relative_to(out).as_posix(), content=path.read_text())
    sys.stdout.buffer.write(response.SerializeToString())


if __name__ == "__main__":
    main()
