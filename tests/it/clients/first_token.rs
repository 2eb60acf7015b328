//! The code of the README of the Rust library, as an example that is built with the tests.

use std::{path::Path, process::Command};

use crate::world::{World, api_key};

#[tokio::test]
async fn the_code_of_the_rust_readme_gets_a_token_and_has_it_judged() {
    let world = World::start().await;
    let programs = Path::new(env!("CARGO_BIN_EXE_jeton")).parent().unwrap();
    let example = programs.join("examples/first_token");
    assert!(example.exists(), "cargo test --workspace --all-targets builds it");
    let mut command = Command::new(example);
    command.arg(format!("http://{}", world.server.ready.public)).env("JETON_API_KEY", api_key("service"));
    let said = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "true svc:billing\n", "{said:?}");
}
