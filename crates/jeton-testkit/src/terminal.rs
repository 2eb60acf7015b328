//! A terminal of a test's own: a program that writes to it believes that a person looks.

use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    process::Stdio,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// The side where a person sits.
pub struct Terminal {
    side: File,
}

impl Terminal {
    /// A terminal of 80 columns, and the program's end of it.
    pub fn open() -> (Self, Stdio) {
        let side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&side).unwrap();
        unlockpt(&side).unwrap();
        tcsetwinsize(&side, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&side, Vec::new()).unwrap();
        let end = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        (Self { side: side.into() }, end.into())
    }

    /// One more end of it, for another of the program's streams.
    pub fn another_end(&self) -> Stdio {
        self.end().into()
    }

    /// The same for the test itself, which looks at the terminal's modes.
    pub fn end(&self) -> File {
        let name = ptsname(&self.side, Vec::new()).unwrap();
        File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap()
    }

    /// A person types a line.
    pub fn type_line(&mut self, line: &str) {
        self.type_keys(&format!("{line}\n"));
    }

    /// A person presses these keys.
    pub fn type_keys(&mut self, keys: &str) {
        self.side.write_all(keys.as_bytes()).unwrap();
    }

    /// The output up to and including this text.
    pub async fn until(mut self, text: &'static str) -> (Self, String) {
        let read = tokio::task::spawn_blocking(move || {
            let (mut written, mut chunk) = (Vec::new(), [0; 1024]);
            // The output may end within a character.
            let said = |written: &[u8]| String::from_utf8_lossy(written).into_owned();
            while !said(&written).contains(text) {
                let read = self.side.read(&mut chunk);
                let count = read.unwrap_or_else(|error| panic!("{error}: {}", said(&written)));
                written.extend_from_slice(&chunk[..count]);
            }
            (self, said(&written))
        });
        read.await.unwrap()
    }

    /// All that was written, once every program has let go of its end.
    pub async fn read(mut self) -> String {
        let read = tokio::task::spawn_blocking(move || {
            let mut written = Vec::new();
            match self.side.read_to_end(&mut written) {
                Err(error) if error.kind() == ErrorKind::Interrupted => panic!("{error}"),
                // Linux says EIO where others say that it has ended.
                Ok(_) | Err(_) => String::from_utf8(written).unwrap(),
            }
        });
        read.await.unwrap()
    }
}
