//! A page of section 8: the program, or one command with all commands below it.
//!
//! One page for each of `device add`, `device set`, … would be thirty pages that nobody reads in turn.

use clap::{Arg, Command};
use roff::{Roff, bold, italic, roman};

use super::text;

/// trackport(8).
pub(super) fn of_program(command: &Command, date: &str) -> Roff {
    let mut page = begin(command, date);
    section(&mut page, "COMMANDS");
    for below in command.get_subcommands() {
        page.control("TP", []);
        let name = format!("trackport-{}", below.get_name());
        page.text([bold(name), roman("(8)")]);
        page.text([roman(format!("{}.", about(below)))]);
    }
    behind(&mut page, command);
    section(&mut page, "FILES");
    for (file, what) in FILES {
        page.control("TP", []);
        page.text([bold(file)]);
        page.text(text::words(what));
    }
    let near = [
        ("trackport.toml", "5"),
        ("systemctl", "1"),
        ("journalctl", "1"),
        ("psql", "1"),
    ];
    see_also(&mut page, &near);
    page
}

const FILES: [(&str, &str); 4] = [
    (
        "/etc/trackport/trackport.toml",
        "The conf file; every key is in it, explained.",
    ),
    (
        "/var/lib/trackport/spool",
        "What is acknowledged and waits for the database. Never remove it by hand: `trackport spool` shows what is in it.",
    ),
    (
        "/run/trackport/control.sock",
        "Where the commands ask the running server.",
    ),
    (
        "/usr/lib/systemd/system/trackport.service",
        "The unit; change it by `systemctl edit trackport`.",
    ),
];

/// The page of one command of the program and of all commands below it.
pub(super) fn of_command(command: &Command, date: &str) -> Roff {
    let mut page = begin(command, date);
    if command.has_subcommands() {
        section(&mut page, "COMMANDS");
    }
    for below in command.get_subcommands() {
        let heading = format!("{} {}", command.get_name(), below.get_name());
        page.control("SS", [heading.as_str()]);
        one_below(&mut page, below);
    }
    behind(&mut page, command);
    see_also(&mut page, &[("trackport", "8"), ("trackport.toml", "5")]);
    page
}

/// Title, name, synopsis, description and options.
fn begin(command: &Command, date: &str) -> Roff {
    let name = command.get_display_name().unwrap_or("trackport");
    let mut page = title(name, "8", date);
    section(&mut page, "NAME");
    page.text([roman(format!("{name} - {}", about(command)))]);
    section(&mut page, "SYNOPSIS");
    usage(&mut page, command);
    section(&mut page, "DESCRIPTION");
    description(&mut page, command);
    section(&mut page, "OPTIONS");
    command
        .get_arguments()
        .for_each(|one| argument(&mut page, one));
    page
}

/// A command below another one, as a part of that one's page.
fn one_below(page: &mut Roff, command: &Command) {
    usage(page, command);
    page.control("PP", []);
    description(page, command);
    // What every command takes stands once on the page, above.
    let own = |one: &&Arg| !one.is_global_set() && one.get_id() != "help";
    command
        .get_arguments()
        .filter(own)
        .for_each(|one| argument(page, one));
    for (heading, words) in text::parts(&help_behind(command)) {
        page.control("PP", []);
        if let Some(heading) = heading {
            page.text([roman(format!("{heading}:"))]);
        }
        text::body(page, &words);
    }
}

/// How a command is typed. The first words are its name.
fn usage(page: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    let name = command.get_bin_name().unwrap_or("trackport");
    for (place, form) in usage.trim_start_matches("Usage:").lines().enumerate() {
        if place > 0 {
            page.control("br", []);
        }
        let form = form.trim();
        page.text([bold(name), roman(form.strip_prefix(name).unwrap_or(form))]);
    }
}

/// An option or an argument, what it means, and what it may be.
fn argument(page: &mut Roff, one: &Arg) {
    page.control("TP", []);
    match one.get_short_and_visible_aliases() {
        Some(_) if one.get_long().is_some() => {
            let short = one.get_short().unwrap_or_default();
            let long = one.get_long().unwrap_or_default();
            page.text([
                bold(format!("-{short}")),
                roman(", "),
                bold(format!("--{long}")),
            ]);
        }
        _ => {
            // `--state <STATE>`, `<IMEI>...`
            let typed = one.to_string();
            let (option, value) = match typed.split_once(' ') {
                Some((option, value)) => (option, format!(" {value}")),
                None if one.is_positional() => ("", typed.clone()),
                None => (typed.as_str(), String::new()),
            };
            page.text([bold(option), italic(value)]);
        }
    }
    let help = one.get_long_help().or_else(|| one.get_help());
    let help = help.map(ToString::to_string).unwrap_or_default();
    page.text(text::words(&format!("{}.", help.trim_end_matches('.'))));
    if !one.get_action().takes_values() {
        return;
    }
    for value in one.get_possible_values() {
        let about = value
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        page.control("br", []);
        page.text([bold(value.get_name()), roman(format!(": {about}."))]);
    }
    let defaults: Vec<_> = one
        .get_default_values()
        .iter()
        .map(|one| one.to_string_lossy())
        .collect();
    if !defaults.is_empty() {
        page.text([
            roman("The default is "),
            bold(defaults.join(" ")),
            roman("."),
        ]);
    }
    if let Some(variable) = one.get_env() {
        let variable = variable.to_string_lossy().into_owned();
        page.text([
            roman("The variable "),
            bold(variable),
            roman(" of the environment takes its place."),
        ]);
    }
}

fn description(page: &mut Roff, command: &Command) {
    let long = command.get_long_about().or_else(|| command.get_about());
    let long = long.map(ToString::to_string).unwrap_or_default();
    // Help has no full stop behind its first line.
    let (first, rest) = long.split_once("\n\n").unwrap_or((&long, ""));
    let first = first.trim_end_matches('.');
    text::body(page, &format!("{first}.\n\n{rest}"));
}

fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

fn help_behind(command: &Command) -> String {
    command
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// What the help says behind the options, each heading of it as a section.
fn behind(page: &mut Roff, command: &Command) {
    for (heading, words) in text::parts(&help_behind(command)) {
        let heading = match heading {
            // As everybody calls it.
            Some("Exit codes") => "EXIT STATUS".to_owned(),
            Some("Example") => "EXAMPLES".to_owned(),
            Some(heading) => heading.to_uppercase(),
            None => "NOTES".to_owned(),
        };
        section(page, &heading);
        text::body(page, &words);
    }
}

/// The begin of a page.
pub(super) fn title(name: &str, number: &str, date: &str) -> Roff {
    let version = format!("trackport {}", env!("CARGO_PKG_VERSION"));
    let mut page = Roff::new();
    let name = name.to_uppercase();
    page.control("TH", [&name, number, date, &version, "trackport"]);
    page
}

pub(super) fn section(page: &mut Roff, heading: &str) {
    page.control("SH", [heading]);
}

pub(super) fn see_also(page: &mut Roff, pages: &[(&str, &str)]) {
    section(page, "SEE ALSO");
    let mut line = Vec::new();
    for (place, (name, number)) in pages.iter().enumerate() {
        if place > 0 {
            line.push(roman(", "));
        }
        line.push(bold(*name));
        line.push(roman(format!("({number})")));
    }
    page.text(line);
}
