//! How much is said: `[log]` of the conf, and `RUST_LOG` in its place where it is set.

use std::env;

use env_filter::{Builder, Filter};
use log::LevelFilter;

use crate::conf;

/// How trackport's modules are named in targets: this, and the module's own name.
const OURS: &str = "trackport";

/// The levels by the conf. Other libraries speak from warn on.
pub(super) fn of_conf(log: &conf::Log) -> Filter {
    let mut builder = Builder::new();
    builder.filter_level(LevelFilter::Warn.min(log.level));
    builder.filter_module(OURS, log.level);
    for (module, level) in &log.modules {
        builder.filter_module(&format!("{OURS}::{module}"), *level);
    }
    builder.build()
}

/// The levels of `RUST_LOG`, if it is set to something.
///
/// # Errors
/// What cannot be understood in it.
pub(super) fn of_environment() -> Result<Option<Filter>, String> {
    match env::var("RUST_LOG") {
        Ok(text) => of_text(&text),
        Err(_) => Ok(None),
    }
}

fn of_text(text: &str) -> Result<Option<Filter>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    match Builder::new().try_parse(text) {
        Ok(builder) => Ok(Some(builder.build())),
        Err(error) => Err(format!("RUST_LOG={text:?} is not understood: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::{Level, Metadata};
    use std::fs;
    use std::path::Path;

    fn says(filter: &Filter, target: &str, level: Level) -> bool {
        filter.enabled(&Metadata::builder().target(target).level(level).build())
    }

    #[test]
    fn a_module_speaks_at_its_own_level_and_the_others_at_the_common_one() {
        let log = conf::Log {
            level: LevelFilter::Info,
            modules: vec![
                ("port".to_owned(), LevelFilter::Debug),
                ("keeper".to_owned(), LevelFilter::Error),
            ],
        };
        let filter = of_conf(&log);
        assert!(says(&filter, "trackport::port::login", Level::Debug));
        assert!(says(&filter, "trackport::writer", Level::Info));
        assert!(!says(&filter, "trackport::writer", Level::Debug));
        assert!(!says(&filter, "trackport::keeper", Level::Warn));
        assert!(says(&filter, "postgres::client", Level::Warn));
        assert!(!says(&filter, "postgres::client", Level::Info));
        assert_eq!(
            filter.filter(),
            LevelFilter::Debug,
            "nothing is formatted for nobody"
        );
        let quiet = of_conf(&conf::Log {
            level: LevelFilter::Error,
            modules: Vec::new(),
        });
        assert!(!says(&quiet, "postgres::client", Level::Warn));
    }

    /// Whether the source under `path` says something in the log.
    fn speaks(path: &Path) -> bool {
        if path.is_dir() {
            return fs::read_dir(path)
                .unwrap()
                .any(|entry| speaks(&entry.unwrap().path()));
        }
        let text = fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let words = [
            "facts::say(",
            "facts::tell(",
            "log::error!(",
            "log::warn!(",
            "log::info!(",
        ];
        words.iter().any(|word| code.contains(word))
    }

    #[test]
    fn the_conf_knows_every_module_that_speaks() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut speaking = Vec::new();
        for entry in fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            if speaks(&path) {
                speaking.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
        speaking.sort();
        assert_eq!(speaking, conf::LOG_MODULES);
    }

    #[test]
    fn the_environment_is_taken_when_it_says_something_sensible() {
        assert!(of_text(" ").unwrap().is_none());
        let filter = of_text("error,trackport::spool=trace").unwrap().unwrap();
        assert!(says(&filter, "trackport::spool", Level::Trace));
        assert!(!says(&filter, "trackport::port", Level::Warn));
        assert!(of_text("trackport=loud").is_err_and(|text| text.contains("loud")));
    }
}
