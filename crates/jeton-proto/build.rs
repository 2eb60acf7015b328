//! Turns jeton's own API in `proto/` into Rust: protox parses (no protoc needed), tonic-build's prost front end generates.

use std::{env, error::Error, fs, path::PathBuf};

const ROOT: &str = "../../proto";
const FILES: [&str; 4] = [
    "jeton/v1/token_service.proto",
    "jeton/v1/discovery_service.proto",
    "jeton/v1/admin_service.proto",
    "jeton/v1/revocation_service.proto",
];

/// The messages with a field that is `debug_redact`.
const REDACTED: [&str; 8] = [
    ".jeton.v1.CreateApiKeyResponse",
    ".jeton.v1.ExplainRequest",
    ".jeton.v1.IssuedToken",
    ".jeton.v1.RefreshCredential",
    ".jeton.v1.RefreshRequest",
    ".jeton.v1.RevocationTarget",
    ".jeton.v1.TestAssertionRequest",
    ".jeton.v1.ValidateRequest",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write by the environment")]
fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={ROOT}/jeton");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new([ROOT])?;
    compiler.include_source_info(true).include_imports(true).open_files(FILES)?;
    // Reflection serves this set; it keeps the options that prost_types would drop.
    let set = out.join("jeton.fds.bin");
    fs::write(&set, compiler.encode_file_descriptor_set())?;
    // For the build script of the server, which generates its services from the same set.
    println!("cargo:descriptors={}", set.display());
    let mut config = tonic_prost_build::Config::new();
    // A message knows its full name: the command line prints any of them as protojson by it.
    config.enable_type_names();
    // src/redacted.rs prints these, without their secrets.
    config.skip_debug(REDACTED);
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
