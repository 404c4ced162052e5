//! Passwords from a terminal, without showing them, or from standard input. Never from the command line, which everybody on the
//! machine can read.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use anyhow::Context;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::secret::{self, PASSWORD_BYTES_MAX};

/// A new password for `name`: from the terminal twice, or the first line of standard input.
///
/// # Errors
/// When there is no terminal, the two differ, or it cannot be a password.
pub(super) fn new_password(name: &str, from_stdin: bool) -> anyhow::Result<String> {
    let password = if from_stdin {
        read_stdin()?
    } else {
        let mut terminal = Terminal::open()?;
        let password = terminal.ask(&format!("New password of {name}: "))?;
        // A mistake is told before it is typed again.
        secret::check_password(&password, name)?;
        if terminal.ask("The same again: ")? != password {
            anyhow::bail!("the two are not the same; nothing is changed");
        }
        password
    };
    secret::check_password(&password, name)?;
    Ok(password)
}

fn read_stdin() -> anyhow::Result<String> {
    let mut line = String::new();
    // More than a password may have, so that a longer one is told as such.
    let mut input = io::stdin().lock().take(PASSWORD_BYTES_MAX as u64 + 3);
    input
        .read_line(&mut line)
        .context("the password on standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The terminal that somebody sits at, whatever standard input and output are.
struct Terminal {
    file: File,
    before: Termios,
}

impl Terminal {
    fn open() -> anyhow::Result<Terminal> {
        let file = File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .context("there is no terminal to ask for the password: pass it by --password-stdin")?;
        let before = tcgetattr(&file).context("the terminal")?;
        Ok(Terminal { file, before })
    }

    /// What is typed, which is not shown.
    fn ask(&mut self, question: &str) -> anyhow::Result<String> {
        write!(self.file, "{question}")?;
        let mut silent = self.before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        // What was typed ahead was shown, and is not meant.
        tcsetattr(&self.file, OptionalActions::Flush, &silent)?;
        let mut line = String::new();
        let read = BufReader::new(&self.file).read_line(&mut line);
        tcsetattr(&self.file, OptionalActions::Drain, &self.before)?;
        if read.context("the terminal")? == 0 {
            anyhow::bail!("no password was typed; nothing is changed");
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone.
        let _ = tcsetattr(&self.file, OptionalActions::Drain, &self.before);
    }
}
