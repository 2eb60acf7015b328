//! Turns the services of `proto/` that this server answers into Rust. Their messages are those of `jeton-proto`, whose
//! build script has parsed the definitions; Envoy's are parsed and generated here.

use std::{env, error::Error, fs};

use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Served, but not part of jeton's API: no client of ours calls it, and reflection does not show it.
const ENVOY: &str = "envoy/service/auth/v3/authorization.proto";

#[expect(
    clippy::disallowed_methods,
    reason = "cargo tells a build script of others' results by the environment"
)]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto/envoy");
    // sqlx::migrate! embeds the directory; cargo must notice a file that is added to it.
    println!("cargo:rerun-if-changed=migrations");
    let jeton = fs::read(env::var("DEP_JETON_PROTO_DESCRIPTORS")?)?;
    tonic_prost_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        .extern_path(".jeton.v1", "::jeton_proto::v1")
        .compile_fds(FileDescriptorSet::decode(jeton.as_slice())?)?;
    let mut envoy = protox::Compiler::new(["proto"])?;
    envoy.include_imports(true).open_file(ENVOY)?;
    tonic_prost_build::configure().build_client(false).compile_fds(envoy.file_descriptor_set())?;
    Ok(())
}
