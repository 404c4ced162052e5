//! `trackport completions`: what bash, zsh and fish need to complete commands and options.
//!
//! For whoever makes packages, therefore not in the help.

use std::path::PathBuf;

use anyhow::Context;
use clap_complete::{Shell, generate_to};

use super::command;

/// What may follow `trackport completions`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder to write the files to
    directory: PathBuf,
}

/// Writes a file for each shell, named as that shell's completions are.
///
/// # Errors
/// The folder cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = &args.directory;
    let context = || folder.display().to_string();
    std::fs::create_dir_all(folder).with_context(context)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command(), "trackport", folder).with_context(context)?;
    }
    Ok(())
}
