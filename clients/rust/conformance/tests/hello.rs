//! The runner speaks the protocol of the suite: that it is built with all tests, `prepare` relies on.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

#[test]
fn it_answers_and_ends_with_its_input() {
    let mut runner = Command::new(env!("CARGO_BIN_EXE_jeton_client_conformance"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = runner.stdin.take().unwrap();
    input.write_all(b"{\"id\": 1, \"do\": \"hello\"}\n{\"id\": 2, \"do\": \"unheard.of\"}\n").unwrap();
    let answers = BufReader::new(runner.stdout.take().unwrap()).lines().take(2);
    let text: String = answers.map(Result::unwrap).collect();
    assert!(text.contains("\"language\":\"Rust\"") && text.contains("\"unsupported\":true"), "{text}");
    drop(input);
    assert!(runner.wait().unwrap().success());
}
