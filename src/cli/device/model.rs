//! `trackport device suggest` and `device recompute`: which model a device may be, and what a changed one does to its records.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::text::{ago, count, time};
use super::super::{Failed, WrongUsage, database};
use crate::imei::Imei;
use crate::store::device::{self, DeviceState};
use crate::store::recompute::{self, Progress};
use crate::store::suggest::{Sent, Suggested, Suggestion, suggest};

/// Models named in a line, at most.
const NAMED_MAX: usize = 12;
/// Elements named in a line, at most.
const ELEMENTS_MAX: usize = 8;
/// Suggestions shown of one device, at most.
const SUGGESTIONS_MAX: usize = 3;

/// Says which models fit what one device sends, or all devices that have none.
///
/// # Errors
/// A database that cannot be used; a device that is not there.
pub(super) fn suggest_models(path: &Path, imei: Option<Imei>) -> anyhow::Result<()> {
    let mut client = database::connect(path)?;
    let mut out = io::stdout().lock();
    if let Some(imei) = imei {
        let Some(suggested) = suggest(&mut client, imei)? else {
            anyhow::bail!("there is no device {imei}: `device add` makes one");
        };
        return Ok(write_whole(&mut out, &suggested)?);
    }
    let mut n_without = 0;
    for device in device::list(&mut client, false)? {
        if device.model.is_some() || device.state != DeviceState::Accepted {
            continue;
        }
        n_without += 1;
        if let Some(suggested) = suggest(&mut client, device.imei)? {
            writeln!(out, "{}  {}", device.imei, line(&suggested))?;
        }
    }
    if n_without == 0 {
        writeln!(out, "every accepted device has a model")?;
    }
    Ok(())
}

/// One device with reasons, and how to confirm.
fn write_whole(out: &mut impl Write, suggested: &Suggested) -> io::Result<()> {
    let imei = suggested.imei;
    let model = suggested.model.as_deref().unwrap_or("none is set");
    writeln!(out, "{imei}: model {model}; {}", line(suggested))?;
    for one in suggested.suggestions.iter().take(SUGGESTIONS_MAX) {
        let unexplained = match one.unexplained.as_slice() {
            [] => String::new(),
            some => format!("; not in their tables: {}", elements(some)),
        };
        writeln!(
            out,
            "  {} of {} explained by {}{unexplained}",
            one.n_explained,
            count(suggested.n_elements, "element"),
            models(one)
        )?;
    }
    if let Some(best) = suggested.best() {
        let model = suggested.only().unwrap_or("MODEL");
        let is_set = suggested
            .model
            .as_deref()
            .is_some_and(|model| best.models.contains(&model));
        if !is_set {
            writeln!(
                out,
                "Nothing is changed. The label on the device and `getver` say the model; then: trackport device set {imei} --model {model}"
            )?;
        }
    }
    Ok(())
}

/// What can be said in a line.
fn line(suggested: &Suggested) -> String {
    if suggested.n_elements == 0 {
        return "it has sent no IO elements yet".to_owned();
    }
    let Some(best) = suggested.best() else {
        return format!(
            "it sends only {}: too few to tell models apart",
            count(suggested.n_elements, "element")
        );
    };
    match suggested.only() {
        Some(model) => format!("{model} fits best"),
        None => format!("{} models fit equally: {}", best.models.len(), models(best)),
    }
}

fn models(suggestion: &Suggestion) -> String {
    let named: Vec<&str> = suggestion.models.iter().take(NAMED_MAX).copied().collect();
    match suggestion.models.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn elements(sent: &[Sent]) -> String {
    let named: Vec<String> = sent
        .iter()
        .take(ELEMENTS_MAX)
        .map(|one| match one.width {
            Some(width) => format!("{} ({})", one.id, count(usize::from(width), "byte")),
            None => format!("{} (any length)", one.id),
        })
        .collect();
    match sent.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Asks the running server to fill the typed columns of these devices anew.
///
/// # Errors
/// A database that cannot be used; devices that are not there; `--all` beside devices.
pub(super) fn recompute(path: &Path, imeis: &[Imei], all: bool) -> anyhow::Result<()> {
    if imeis.is_empty() != all {
        let text = "device recompute: name devices, or --all";
        return Err(WrongUsage(text.to_owned()).into());
    }
    let mut client = database::connect(path)?;
    let n_asked = recompute::request(&mut client, (!all).then_some(imeis))?;
    let n_asked = usize::try_from(n_asked).unwrap_or(usize::MAX);
    println!(
        "{} asked for: the running server does it in the background; `trackport device show IMEI` says how far it is",
        count(n_asked, "device")
    );
    if n_asked < imeis.len() {
        eprintln!(
            "trackport: some of the devices are not there: `device list` shows those that are"
        );
        return Err(Failed.into());
    }
    Ok(())
}

/// How far a request is, for people.
pub(super) fn progress_text(progress: &Progress, now: SystemTime) -> String {
    let n = |n: i64| count(usize::try_from(n).unwrap_or(0), "record");
    let of = progress
        .n_total
        .map_or_else(String::new, |total| format!(" of {total}"));
    match (progress.started_at, progress.finished_at) {
        (_, Some(at)) => format!(
            "by model {}, {} done, {} changed ({})",
            progress.model.as_deref().unwrap_or("-"),
            n(progress.n_done),
            progress.n_changed,
            ago(at, now)
        ),
        (Some(_), None) => format!(
            "being filled anew by model {}: {}{of} done, {} changed",
            progress.model.as_deref().unwrap_or("-"),
            n(progress.n_done),
            progress.n_changed
        ),
        (None, None) => format!(
            "to be filled anew by model {} (asked for {})",
            progress.model.as_deref().unwrap_or("-"),
            ago(progress.requested_at, now)
        ),
    }
}

/// The same for programs.
pub(super) fn progress_json(progress: &Progress) -> Value {
    json!({
        "model": progress.model,
        "requested_at": time(progress.requested_at),
        "started_at": progress.started_at.map(time),
        "n_done": progress.n_done,
        "n_changed": progress.n_changed,
        "n_total": progress.n_total,
        "finished_at": progress.finished_at.map(time),
    })
}
