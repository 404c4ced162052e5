//! `trackport migrate`: what may follow it on the command line.

/// What may follow `trackport migrate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}
