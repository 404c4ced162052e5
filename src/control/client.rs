//! The command line's end of the control socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::messages::{Request, Response};

/// Longer than the server takes for its longest answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why the running server gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no trackport answers at {path}: {source}; is it running, and does its [control] socket stand there?"
    )]
    NotThere {
        /// The socket.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// The socket belongs to somebody else.
    #[error(
        "{path} may not be opened by this user: run it as root or as the user that trackport runs as"
    )]
    NotAllowed {
        /// The socket.
        path: String,
    },
    /// It broke off, or took too long.
    #[error("trackport did not answer: {0}")]
    Broken(#[from] io::Error),
    /// It answered in words that this program does not know.
    #[error("trackport answered in another version's words: {0}")]
    Unknown(#[from] serde_json::Error),
}

/// Asks the server at `socket`. Blocks for ten seconds at most.
///
/// # Errors
/// When nobody answers there in time, or not in these words.
pub fn ask(socket: &Path, request: &Request) -> Result<Response, ClientError> {
    let mut answers = follow(socket, request)?;
    answers.next().unwrap_or_else(|| {
        let nothing = io::Error::new(ErrorKind::UnexpectedEof, "it closed the connection");
        Err(nothing.into())
    })
}

/// Asks what has many answers. The first one is waited for ten seconds at most, the others for as long as they take.
///
/// # Errors
/// When nobody answers there.
pub fn follow(
    socket: &Path,
    request: &Request,
) -> Result<impl Iterator<Item = Result<Response, ClientError>> + use<>, ClientError> {
    let path = socket.display().to_string();
    let mut stream = UnixStream::connect(socket).map_err(|source| match source.kind() {
        ErrorKind::PermissionDenied => ClientError::NotAllowed { path },
        _ => ClientError::NotThere { path, source },
    })?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let answers = BufReader::new(stream.try_clone()?).lines();
    Ok(answers.map(move |answer| {
        let answer = serde_json::from_str(&answer?)?;
        stream.set_read_timeout(None)?;
        Ok(answer)
    }))
}
