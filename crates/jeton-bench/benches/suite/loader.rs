//! A load process, as the orchestrator has it.

use crate::{
    child::Child,
    command::{Command, Outcome},
};

pub struct Loader {
    child: Child,
}

impl Loader {
    pub fn start() -> Self {
        Self { child: Child::start("role:load", None) }
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Connects, and waits for the start.
    pub fn prepare(&mut self, command: &Command) {
        self.child.say(&serde_json::to_string(command).unwrap());
        assert_eq!(self.child.hear(), "ready");
    }

    pub fn go(&mut self) {
        self.child.say("go");
    }

    pub fn outcome(&mut self) -> Outcome {
        serde_json::from_str(&self.child.hear()).unwrap()
    }

    pub fn run(&mut self, command: &Command) -> Outcome {
        self.prepare(command);
        self.go();
        self.outcome()
    }
}
