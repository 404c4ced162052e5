//! `trackport run`: what may follow it on the command line.

/// What may follow `trackport run`; the conf file says everything else.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {}
