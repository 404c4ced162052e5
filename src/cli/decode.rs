//! `trackport decode`: explains a packet field by field, with the dictionary's names and units.
//!
//! Needs no server and no database. The words are the protocol's (`explain`); this joins them with the dictionary.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context;

use super::Failed;
use super::send::capture;
use crate::models::{self, meaning};
use crate::protocol::hex;
use crate::protocol::teltonika::explain::explain;

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

/// Explains the input on standard output.
///
/// # Errors
/// Input that is neither hex nor a file; `Failed` when the stream is broken.
pub fn run(args: &Args, _conf: &Path) -> anyhow::Result<()> {
    let bytes = bytes(&args.input)?;
    if bytes.is_empty() {
        anyhow::bail!("there is nothing to explain");
    }
    let model = args.model.as_deref().map(|model| {
        let (model, warning) = models::checked(model);
        if let Some(warning) = warning {
            eprintln!("warning: {warning}");
        }
        model
    });
    let explanation = explain(&bytes, &|id| meaning(id, model.as_deref()));
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in &explanation.lines {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    if explanation.ok {
        Ok(())
    } else {
        Err(Failed.into())
    }
}

/// The bytes that the argument stands for: a file where there is one, else the argument itself is hex.
fn bytes(input: &str) -> anyhow::Result<Vec<u8>> {
    let (name, content) = if input == "-" {
        let mut content = Vec::new();
        io::stdin().read_to_end(&mut content)?;
        ("standard input".to_owned(), content)
    } else if Path::new(input).is_file() {
        (
            input.to_owned(),
            std::fs::read(input).with_context(|| input.to_owned())?,
        )
    } else {
        return hex::decode(input).with_context(|| format!("{input:?} is neither a file nor hex"));
    };
    match capture::text(&content) {
        Some(text) => hex::decode(text).with_context(|| name),
        None => Ok(content),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_neither_file_nor_hex_is_said() {
        let error = format!("{:#}", bytes("no/such/file").unwrap_err());
        assert!(error.contains("neither a file nor hex"), "{error}");
        assert_eq!(bytes("00 0F").unwrap(), [0, 15]);
    }
}
