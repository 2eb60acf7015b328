//! Explores the named configurations, or all of them, and prints what became of each.
//!
//!     cargo run --release --package jeton-model -- H1 M3

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a program that prints a table")]

use std::{env, process::ExitCode};

use jeton_model::configurations::{Configuration, Expected, all};

fn main() -> ExitCode {
    let names: Vec<String> = env::args().skip(1).collect();
    let every = all();
    let unknown = names.iter().find(|name| every.iter().all(|configuration| configuration.name != **name));
    if let Some(name) = unknown {
        eprintln!("no configuration is called {name}");
        return ExitCode::FAILURE;
    }
    println!("{:<5}{:<10}{:<10}{:>12}{:>9}  what", "name", "", "expected", "states", "seconds");
    let is_chosen =
        |configuration: &&Configuration| names.is_empty() || names.iter().any(|it| it == configuration.name);
    let mut differing = Vec::new();
    for configuration in every.iter().filter(is_chosen) {
        let outcome = configuration.explore();
        let expected = match configuration.expected {
            Expected::Holds => "HOLDS",
            Expected::Violated => "VIOLATED",
        };
        let became = if outcome.holds { "HOLDS" } else { "VIOLATED" };
        println!(
            "{:<5}{became:<10}{expected:<10}{:>12}{:>9.1}  {}",
            configuration.name, outcome.states, outcome.seconds, configuration.what
        );
        let is_met = configuration.is_met_by(&outcome);
        if !is_met {
            differing.push(configuration.name);
            println!("     never seen: {:?}", outcome.unseen);
        }
        if !names.is_empty() || !is_met {
            println!("     {}", outcome.trace.join(", "));
        }
    }
    if !differing.is_empty() {
        println!("came out otherwise than expected: {}", differing.join(", "));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
