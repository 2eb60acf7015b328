//! The runner of Rust: `clients/conformance/README.md` says what it does.

mod calls;
mod command;
mod describe;
mod failure;
mod peer;
mod runner;
mod served;

use std::{
    io::{BufRead as _, Write as _},
    sync::Arc,
};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use command::Command;
use failure::Failure;
use runner::Runner;

/// `jeton.conformance.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated code"
)]
mod echo {
    tonic::include_proto!("jeton.conformance.v1");
}

fn main() {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .init();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
    else {
        std::process::exit(1);
    };
    runtime.block_on(run());
    // Nothing is waited for: what a scenario did not close ends here.
    runtime.shutdown_background();
}

async fn run() {
    let (lines, mut read) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    let runner = Arc::new(Runner::default());
    while let Some(line) = read.recv().await {
        let Ok(command) = serde_json::from_str::<Command>(&line) else { std::process::exit(1) };
        // What makes objects takes effect in the order of the lines.
        if ["client.new", "source.new", "guard.new"].contains(&command.verb.as_str()) {
            answer(&runner, command).await;
        } else {
            let runner = Arc::clone(&runner);
            let begun = runner.begin();
            tokio::spawn(async move {
                answer(&runner, command).await;
                drop(begun);
            });
        }
    }
}

async fn answer(runner: &Arc<Runner>, command: Command) {
    let id = command.id;
    let told = match runner.run(&command).await {
        Ok(told) => json!({ "id": id, "ok": told }),
        Err(Failure::Unsupported) => json!({ "id": id, "unsupported": true }),
        Err(Failure::Jeton(error)) => json!({ "id": id, "error": describe::error(&error) }),
        Err(Failure::Other(text)) => json!({ "id": id, "error": { "kind": "", "message": text } }),
    };
    write(&told);
}

fn write(told: &Value) {
    let mut out = std::io::stdout().lock();
    // Without a driver there is nobody to tell.
    drop(writeln!(out, "{told}").and_then(|()| out.flush()));
}
