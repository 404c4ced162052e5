//! `trackport man`: the manual pages, made from the command line's own definition and from the conf file of the package.
//!
//! For whoever makes packages, therefore not in the help. `page.rs` is a page of commands, `conf.rs` the page of the conf file,
//! `text.rs` what both do with text.

mod conf;
mod page;
mod text;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context;

use super::command;

/// What may follow `trackport man`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The folder to write the pages to; it gets man5 and man8
    directory: PathBuf,
}

/// Writes every page. Their date is `SOURCE_DATE_EPOCH` where it is set, so that the same version gives the same pages.
///
/// # Errors
/// The folder cannot be written to.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let date = date(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    for (section, name, text) in pages(&date) {
        let folder = args.directory.join(format!("man{section}"));
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let file = folder.join(format!("{name}.{section}"));
        fs::write(&file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

/// Section, name and source of each page.
fn pages(date: &str) -> Vec<(u8, String, String)> {
    let whole = command();
    let mut pages = vec![
        (
            8,
            "trackport".to_owned(),
            page::of_program(&whole, date).render(),
        ),
        (5, "trackport.toml".to_owned(), conf::page(date).render()),
    ];
    for group in whole.get_subcommands() {
        let name = format!("trackport-{}", group.get_name());
        pages.push((8, name, page::of_command(group, date).render()));
    }
    pages
}

/// The day of `epoch` (seconds since 1970), or today.
fn date(epoch: Option<&str>) -> anyhow::Result<String> {
    let time = match epoch {
        Some(epoch) => {
            let seconds = epoch.parse();
            let seconds = seconds.context("SOURCE_DATE_EPOCH is no number of seconds")?;
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        }
        None => SystemTime::now(),
    };
    let time = jiff::Timestamp::try_from(time).context("SOURCE_DATE_EPOCH")?;
    Ok(time.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_its_page_and_every_option_stands_in_it() {
        fn long_options(command: &clap::Command, found: &mut Vec<String>) {
            let options = command.get_arguments().filter_map(clap::Arg::get_long);
            found.extend(options.map(ToOwned::to_owned));
            for below in command.get_subcommands() {
                long_options(below, found);
            }
        }
        let pages = pages("2026-01-02");
        let whole = command();
        let overview = &pages[0].2;
        for group in whole.get_subcommands() {
            let name = format!("trackport-{}", group.get_name());
            let page = pages.iter().find(|(_, page, _)| *page == name);
            let (_, _, page) = page.unwrap_or_else(|| panic!("no page {name}"));
            let listed = name.replace('-', "\\-");
            assert!(overview.contains(&listed), "{name} is not in trackport(8)");
            let mut options = Vec::new();
            long_options(group, &mut options);
            for option in options {
                let option = format!("\\-\\-{}", option.replace('-', "\\-"));
                assert!(page.contains(&option), "{name} lacks {option}");
            }
            for below in group.get_subcommands() {
                let heading = format!(".SS \"{} {}", group.get_name(), below.get_name());
                assert!(page.contains(&heading), "{name} lacks {heading}");
            }
        }
        assert_eq!(pages.len(), whole.get_subcommands().count() + 2);
    }

    #[test]
    fn the_date_is_the_one_that_was_given() {
        assert_eq!(date(Some("0")).unwrap(), "1970-01-01");
        assert_eq!(date(Some("1735689600")).unwrap(), "2025-01-01");
        assert!(date(Some("yesterday")).is_err());
        assert!(date(None).unwrap().starts_with("20"));
    }
}
