//! Generates the stubs of `EchoService`, which the conformance driver calls.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    const ROOT: &str = "../../conformance/proto";
    println!("cargo:rerun-if-changed={ROOT}");
    let set = protox::compile(["jeton/conformance/v1/echo.proto"], [ROOT])?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
