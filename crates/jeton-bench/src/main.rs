//! Prints the plan for a load, from measured figures. It contacts nothing.

use std::{
    io::{self, ErrorKind, Write},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind as Wrong};
use jeton_bench::capacity::{Failure, Load, answer};

fn main() -> ExitCode {
    let load = Load::parse();
    match answer(&load) {
        Ok(answer) => {
            let written = writeln!(io::stdout().lock(), "{}", answer.text);
            if let Some(warning) = answer.warning {
                say(&warning);
            }
            match written {
                Ok(()) => ExitCode::SUCCESS,
                // `capacity … | head`: the reader has enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
                Err(error) => {
                    say(&format!("error: cannot write to standard output: {error}"));
                    ExitCode::FAILURE
                }
            }
        }
        Err(Failure::Question(why)) => Load::command().error(Wrong::ValueValidation, why).exit(),
        Err(Failure::Figures(why)) => {
            say(&format!("error: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// A failure of this cannot be reported anywhere.
fn say(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{text}");
}
