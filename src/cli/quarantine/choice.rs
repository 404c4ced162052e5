//! Which entries are meant: by number, by device, by what is wrong, or all.
//!
//! A number that is not there is said and does not keep the others from their turn; the command ends with 1 then.

use std::collections::HashSet;

use postgres::Client;

use super::super::{Failed, WrongUsage};
use crate::imei::Imei;
use crate::store::StoreError;
use crate::store::held::{self, Filter};

/// Entries by what they are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filters {
    /// Only entries of this device
    #[arg(long)]
    pub imei: Option<Imei>,
    /// Only entries with this code, for example crc or refused_by_database
    #[arg(long)]
    pub code: Option<String>,
    /// Only entries that were acked: they are kept for good, and are the only copies
    #[arg(long, conflicts_with = "unacked")]
    pub acked: bool,
    /// Only entries that were not acked: their devices send them again
    #[arg(long)]
    pub unacked: bool,
}

/// Entries by number or by what they are.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Choice {
    /// The entries' numbers
    #[arg(value_name = "ID", conflicts_with_all = ["all", "imei", "code", "acked", "unacked"])]
    pub ids: Vec<i64>,
    /// All entries
    #[arg(long)]
    pub all: bool,
    /// Or by what they are.
    #[command(flatten)]
    pub filters: Filters,
}

impl Filters {
    /// The same for the store.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ids: None,
            imei: self.imei,
            code: self.code.clone(),
            acked: match (self.acked, self.unacked) {
                (true, _) => Some(true),
                (_, true) => Some(false),
                _ => None,
            },
        }
    }
}

impl Choice {
    /// The same for the store; where nothing is said, everything.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            ids: (!self.ids.is_empty()).then(|| self.ids.clone()),
            ..self.filters.filter()
        }
    }

    /// The same for the store, and something has to be said.
    pub(super) fn wanted(&self, command: &str) -> Result<Filter, WrongUsage> {
        let filter = self.filter();
        let is_said = self.all
            || filter.ids.is_some()
            || filter.imei.is_some()
            || filter.code.is_some()
            || filter.acked.is_some();
        if is_said {
            Ok(filter)
        } else {
            Err(WrongUsage(format!(
                "{command}: which entries? Name their numbers, --imei, --code, --acked, or --all"
            )))
        }
    }
}

/// The entries that were found.
pub(super) struct Chosen {
    /// Their numbers, in the order in which they came.
    pub(super) ids: Vec<i64>,
    some_are_missing: bool,
}

impl Chosen {
    /// How a command ends that has done everything else.
    pub(super) fn ending(&self) -> anyhow::Result<()> {
        if self.some_are_missing {
            Err(Failed.into())
        } else {
            Ok(())
        }
    }
}

/// Looks for what `filter` means, and says which numbers are not there.
pub(super) fn find(client: &mut Client, filter: &Filter) -> Result<Chosen, StoreError> {
    let ids = held::ids(client, filter)?;
    let found: HashSet<i64> = ids.iter().copied().collect();
    let mut some_are_missing = false;
    for id in filter.ids.iter().flatten() {
        if !found.contains(id) {
            missing(*id);
            some_are_missing = true;
        }
    }
    Ok(Chosen {
        ids,
        some_are_missing,
    })
}

/// Says that there is no entry `id`.
pub(super) fn missing(id: i64) {
    eprintln!("trackport: there is no entry {id}; `trackport quarantine list` shows them");
}
