//! A role of this program as a process of its own, which ends when its standard input does: with the process that
//! started it, however that ends.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    process::{self, ChildStdin, ChildStdout, Command, Stdio},
};

pub struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts a role. What it logs goes to `log`, or to where we log.
    pub fn start(role: &str, log: Option<File>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(role).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(log) = log {
            command.stderr(log);
        }
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn lives(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        let read = self.output.read_line(&mut line).unwrap();
        assert!(read > 0, "a process of the bench ended: see above");
        line.truncate(line.trim_end().len());
        line
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ended = self.process.wait();
    }
}

/// In a role that serves: blocks until the one that started it is gone.
pub fn wait_for_parent() {
    let mut line = String::new();
    while std::io::stdin().lock().read_line(&mut line).is_ok_and(|read| read > 0) {
        line.clear();
    }
}
