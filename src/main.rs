//! trackport's program: the command line of the library, nothing else.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    trackport::cli::main()
}
