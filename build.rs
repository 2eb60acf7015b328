//! Turns `proto/` into Rust: protox parses (no protoc needed), tonic-build's prost front end generates.

use std::{env, error::Error, fs, path::PathBuf};

const FILES: [&str; 4] = [
    "jeton/v1/token_service.proto",
    "jeton/v1/discovery_service.proto",
    "jeton/v1/admin_service.proto",
    "jeton/v1/revocation_service.proto",
];
/// Served, but not part of jeton's API: no client of ours calls it, and reflection does not show it.
const ENVOY: &str = "envoy/service/auth/v3/authorization.proto";

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    // sqlx::migrate! embeds the directory; cargo must notice a file that is added to it.
    println!("cargo:rerun-if-changed=migrations");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    // Reflection serves this set; it keeps the options that prost_types would drop.
    fs::write(out.join("jeton.fds.bin"), compiler.encode_file_descriptor_set())?;
    let mut config = tonic_prost_build::Config::new();
    // A message knows its full name: the command line prints any of them as protojson by it.
    config.enable_type_names();
    tonic_prost_build::configure()
        .generate_default_stubs(true)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    let mut envoy = protox::Compiler::new(["proto"])?;
    envoy.include_imports(true).open_file(ENVOY)?;
    tonic_prost_build::configure().build_client(false).compile_fds(envoy.file_descriptor_set())?;
    Ok(())
}
