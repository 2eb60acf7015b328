//! Turns the services of `proto/` that this server answers into Rust. Their messages are those of `jeton-proto`; Envoy's
//! are generated here.

use std::error::Error;

const FILES: [&str; 4] = [
    "jeton/v1/token_service.proto",
    "jeton/v1/discovery_service.proto",
    "jeton/v1/admin_service.proto",
    "jeton/v1/revocation_service.proto",
];
/// Served, but not part of jeton's API: no client of ours calls it, and reflection does not show it.
const ENVOY: &str = "envoy/service/auth/v3/authorization.proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // sqlx::migrate! embeds the directory; cargo must notice a file that is added to it.
    println!("cargo:rerun-if-changed=migrations");
    let mut jeton = protox::Compiler::new(["proto"])?;
    jeton.include_imports(true).open_files(FILES)?;
    tonic_prost_build::configure()
        .build_client(false)
        .generate_default_stubs(true)
        .extern_path(".jeton.v1", "::jeton_proto::v1")
        .compile_fds(jeton.file_descriptor_set())?;
    let mut envoy = protox::Compiler::new(["proto"])?;
    envoy.include_imports(true).open_file(ENVOY)?;
    tonic_prost_build::configure().build_client(false).compile_fds(envoy.file_descriptor_set())?;
    Ok(())
}
