//! The database as the user of the server sees it: where root looks and the database knows that user alone ("peer"), the same program
//! is run once more as that user.
//!
//! Only root can, and only for who owns the control socket or the spool's folder.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::{env, fs, io};

use serde_json::Value;

use super::super::check_database::Unasked;
use super::super::finding::Finding;
use super::report::{self, Examined};
use crate::conf::Conf;
use crate::imei::Imei;

/// The user of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct User {
    uid: u32,
    gid: u32,
}

/// Who to be, where the database has turned root away.
pub(super) fn of_server(conf: &Conf, why: &Unasked) -> Option<User> {
    let turned_away = matches!(why, Unasked::Store(error) if error.is_turned_away());
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !turned_away || !is_root {
        return None;
    }
    [&conf.control.socket, &conf.spool.directory]
        .iter()
        .filter_map(|path| fs::metadata(path).ok())
        .map(|there| User {
            uid: there.uid(),
            gid: there.gid(),
        })
        .find(|user| user.uid != 0)
}

/// This program once more, as `user`, who can look no further by it.
fn again(user: User, conf: &Path) -> io::Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("doctor")
        .arg("--conf")
        .arg(fs::canonicalize(conf)?)
        .current_dir("/")
        .uid(user.uid)
        .gid(user.gid)
        .stdin(Stdio::null());
    Ok(command)
}

/// What `user` finds about these subjects; `None`: it found nothing out.
pub(super) fn examine(user: User, conf: &Path, subjects: &[&'static str]) -> Option<Vec<Examined>> {
    let output = again(user, conf).ok()?.arg("--json").output().ok()?;
    let all = parse(&String::from_utf8_lossy(&output.stdout), subjects);
    (!all.is_empty()).then_some(all)
}

/// Follows a device as `user`, with this program's output as its own.
pub(super) fn follow(user: User, conf: &Path, imei: Imei, as_json: bool) -> io::Result<ExitStatus> {
    let mut command = again(user, conf)?;
    command.arg("--imei").arg(imei.to_string());
    if as_json {
        command.arg("--json");
    }
    command.status()
}

fn parse(text: &str, subjects: &[&'static str]) -> Vec<Examined> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let findings = value["findings"].as_array().map_or(&[][..], Vec::as_slice);
    findings
        .iter()
        .filter_map(|one| {
            let subject = subjects
                .iter()
                .find(|subject| one["subject"] == **subject)?;
            let grade = report::grade(one["grade"].as_str()?)?;
            let finding = Finding::new(grade, one["text"].as_str()?);
            Some(Examined {
                subject,
                finding: match one["remedy"].as_str() {
                    Some(remedy) => finding.remedy(remedy),
                    None => finding,
                },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::super::finding::Grade;
    use super::*;

    #[test]
    fn what_another_user_found_is_taken_over_as_it_was() {
        let all = [
            Examined {
                subject: "database",
                finding: Finding::new(Grade::Wrong, "away").remedy("start it"),
            },
            Examined {
                subject: "devices",
                finding: Finding::new(Grade::Unseen, "the devices"),
            },
            Examined {
                subject: "ports",
                finding: Finding::new(Grade::Ok, "one"),
            },
        ];
        let text = report::json(&all).to_string();
        assert_eq!(parse(&text, &["database", "devices"]), all[..2]);
        assert!(parse("no json", &["database"]).is_empty());
    }
}
