//! `trackport decode`: explains a packet field by field, with the dictionary's names and units.
//!
//! Needs no server and no database. The words are the protocol's (`explain`); this joins them with the dictionary.

use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::Context;

use super::send::capture;
use super::{Failed, models};
use crate::protocol::hex;
use crate::protocol::teltonika::explain::{self, explain};
use crate::store::dictionary::{self, MEANINGS};

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

/// What `id` means for `model` or on every model; where neither is known, its commonest meaning with a question mark.
pub(super) fn meaning(id: u16, model: Option<&str>) -> Option<explain::Meaning> {
    let first = MEANINGS.partition_point(|meaning| meaning.id < id);
    let same_id = || {
        MEANINGS[first..]
            .iter()
            .take_while(|meaning| meaning.id == id)
    };
    let exact = same_id()
        .find(|meaning| meaning.everywhere || model.is_some_and(|model| meaning.holds_for(model)));
    exact
        .map(|exact| shown(exact, exact.name.clone()))
        .or_else(|| {
            same_id()
                .next()
                .map(|common| shown(common, format!("{}?", common.name)))
        })
}

fn shown(meaning: &dictionary::Meaning, name: String) -> explain::Meaning {
    explain::Meaning {
        name,
        unit: meaning.unit.clone(),
        multiplier: meaning
            .multiplier
            .as_deref()
            .and_then(|text| text.parse().ok()),
        signed: meaning.is_signed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_decides_what_an_element_means() {
        let name = |id, model| meaning(id, model).map(|meaning| meaning.name);
        assert_eq!(name(239, None).as_deref(), Some("Ignition"));
        assert_eq!(name(113, Some("FMB920")), name(113, Some("FMB920")));
        assert_eq!(name(113, Some("FMB001")).as_deref(), Some("Battery Level"));
        assert_eq!(
            name(113, Some("FM6300")).as_deref(),
            Some("Service Distance")
        );
        assert!(name(113, None).unwrap().ends_with('?'));
        assert_eq!(name(65_535, None), None);
    }

    #[test]
    fn units_and_signs_come_from_the_dictionary() {
        let dallas = meaning(72, None).unwrap();
        assert_eq!(dallas.unit.as_deref(), Some("°C"));
        assert_eq!(dallas.multiplier, Some(0.1));
        assert!(dallas.signed);
    }

    #[test]
    fn what_is_neither_file_nor_hex_is_said() {
        let error = format!("{:#}", bytes("no/such/file").unwrap_err());
        assert!(error.contains("neither a file nor hex"), "{error}");
        assert_eq!(bytes("00 0F").unwrap(), [0, 15]);
    }
}
