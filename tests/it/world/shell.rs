//! The command line, as a shell runs it: a directory, a home, an environment of its own, and pipes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

use super::{Terminal, World};

/// Longer than any verb may take: the longest waits up to half a minute itself.
const PATIENCE: Duration = Duration::from_mins(2);

/// The result of a program.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A directory and an environment to run programs in.
pub struct Shell {
    /// Working directory and home.
    pub directory: TempDir,
    /// Beyond `HOME` and `XDG_CONFIG_HOME`.
    pub environment: Vec<(String, String)>,
    /// Given to every run, behind the verb's own.
    pub arguments: Vec<String>,
}

impl Shell {
    /// One that knows no server.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The verbs on the database need it.
        let master_key = directory.path().join("master.key");
        super::write_private(&master_key, &super::master_key_text());
        let environment = vec![("JETON_MASTER_KEY_FILE".to_owned(), master_key.display().to_string())];
        Self { directory, environment, arguments: Vec::new() }
    }

    /// One that speaks to a world's server as one of its clients.
    pub fn of(world: &World, client_id: &str) -> Self {
        let mut shell = Self::new();
        let key_file = shell.write("api.key", &super::api_key(client_id));
        let ready = &world.server.ready;
        let arguments = [
            ("--endpoint", ready.public.clone()),
            ("--admin-endpoint", ready.admin.clone()),
            ("--api-key-file", key_file.display().to_string()),
        ];
        shell.arguments = arguments.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        shell
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        super::write_private(&path, text);
        path
    }

    /// A command of jeton's, with nothing on standard input.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jeton"));
        command.args(arguments).args(&self.arguments);
        self.settle(&mut command);
        command
    }

    fn settle(&self, command: &mut Command) {
        let home: &Path = self.directory.path();
        command.current_dir(home).env_clear().env("HOME", home).env("XDG_CONFIG_HOME", home.join("config"));
        command.envs(self.environment.iter().cloned()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Runs `jeton` to its end, without input.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        finish(self.command(arguments), "").await
    }

    /// Runs `jeton` to its end with this text piped in.
    pub async fn pipe(&self, arguments: &[&str], input: &str) -> Said {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        finish(command, input).await
    }

    /// Runs `jeton` to its end with a terminal for its talk: `err` is all that was written to it.
    pub async fn on_terminal(&self, arguments: &[&str]) -> Said {
        let (terminal, end) = Terminal::open();
        let mut command = self.command(arguments);
        command.stderr(end);
        let said = finish(command, "").await;
        Said { err: terminal.read().await, ..said }
    }

    /// Runs `jeton` to its end at a terminal, where a person types these lines: `err` is all that was seen there.
    pub async fn typing(&self, arguments: &[&str], lines: &[&str]) -> Said {
        let (mut terminal, end) = Terminal::open();
        let mut command = self.command(arguments);
        command.stdin(terminal.another_end()).stdout(terminal.another_end()).stderr(end);
        for line in lines {
            terminal.type_line(line);
        }
        let ended = tokio::time::timeout(PATIENCE, command.status()).await;
        let code = ended.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {command:?}")).unwrap().code();
        // Its ends of the terminal go with it.
        drop(command);
        Said { code: code.unwrap_or(-1), out: String::new(), err: terminal.read().await }
    }

    /// Runs `jeton` to its end at a terminal, where a person is asked these things and answers so: `err` is all that was
    /// seen there.
    pub async fn dialogue(&self, arguments: &[&str], steps: &[(&'static str, &str)]) -> Said {
        let (mut terminal, end) = Terminal::open();
        let mut command = self.command(arguments);
        command.stdin(terminal.another_end()).stdout(terminal.another_end()).stderr(end);
        let mut child = command.spawn().unwrap();
        drop(command);
        let run = async {
            let mut seen = String::new();
            for (question, answer) in steps {
                let (next, more) = terminal.until(question).await;
                terminal = next;
                terminal.type_line(answer);
                seen += &more;
            }
            (terminal, seen, child.wait().await.unwrap().code())
        };
        let ended = tokio::time::timeout(PATIENCE, run).await;
        let (terminal, seen, code) =
            ended.unwrap_or_else(|_| panic!("not asked, or not ended, within {PATIENCE:?}: {arguments:?}"));
        Said { code: code.unwrap_or(-1), out: String::new(), err: seen + &terminal.read().await }
    }

    /// Runs `jeton` at a terminal, where a person is asked this, and interrupts it.
    pub async fn interrupting(&self, arguments: &[&str], question: &'static str) -> Said {
        let (terminal, end) = Terminal::open();
        let mut command = self.command(arguments);
        command.stdin(terminal.another_end()).stdout(terminal.another_end()).stderr(end);
        let mut child = command.spawn().unwrap();
        drop(command);
        let run = async {
            let (terminal, seen) = terminal.until(question).await;
            let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
            kill_process(pid, Signal::INT).unwrap();
            (terminal, seen, child.wait().await.unwrap().code())
        };
        let ended = tokio::time::timeout(PATIENCE, run).await;
        let (terminal, seen, code) =
            ended.unwrap_or_else(|_| panic!("not asked, or not ended, within {PATIENCE:?}: {arguments:?}"));
        Said { code: code.unwrap_or(-1), out: String::new(), err: seen + &terminal.read().await }
    }

    /// Runs a script of `sh`, in which `jeton` is this program.
    pub async fn script(&self, script: &str) -> Said {
        self.script_in("sh", script).await
    }

    /// The same in another shell.
    pub async fn script_in(&self, shell: &str, script: &str) -> Said {
        let mut command = Command::new(shell);
        let arguments = self.arguments.join(" ");
        let program = env!("CARGO_BIN_EXE_jeton");
        command.arg("-c").arg(format!("jeton() {{ '{program}' \"$@\" {arguments}; }}\n{script}"));
        self.settle(&mut command);
        finish(command, "").await
    }
}

async fn finish(mut command: Command, input: &str) -> Said {
    let mut child = command.spawn().unwrap();
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input does not need it.
        let _closed = stdin.write_all(input.as_bytes()).await;
    }
    let ended = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
    let output = ended.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {command:?}")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

impl Said {
    /// Its data, if it ended well.
    pub fn data(&self) -> &str {
        assert_eq!(self.code, 0, "{self:?}");
        self.out.trim_end()
    }

    /// Its data as JSON, if it ended well.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.data()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts an exit code, and returns the text for people.
    pub fn with_code(&self, code: i32) -> &str {
        assert_eq!(self.code, code, "{self:?}");
        &self.err
    }
}
