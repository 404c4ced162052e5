//! `trackport decode`: what may follow it on the command line.

/// What may follow `trackport decode`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Hex digits, or a file of hex or of bytes; - reads standard input
    #[arg(value_name = "HEX|FILE")]
    pub input: String,
    /// The maker's model, for example FMB920: it decides what the IO elements mean
    #[arg(long)]
    pub model: Option<String>,
}
