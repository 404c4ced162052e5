//! The way of one device, from its login to its newest record; ends with the first thing that is missing, in a plain sentence.

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::super::check_database::{self, Unasked};
use super::super::finding::{Finding, Grade};
use super::super::text::{ago, count, printable, span, time};
use super::{database, devices, other_user, report, server};
use crate::conf::{self, Accept, Conf};
use crate::control::client::{self, ClientError};
use crate::control::messages::{DeviceNow, Request, Response, Session};
use crate::imei::Imei;
use crate::models;
use crate::store::device::{self, DeviceShown, DeviceState};
use crate::store::health::{self, Refusal};
use crate::store::held::{self, Filter};
use crate::{cli::Failed, store};

/// Refusals and broken packets count for so long.
const LATELY: Duration = Duration::from_secs(30 * 86_400);
/// A device that is not connected and whose last record arrived within this is taken to come again.
const FRESH: Duration = Duration::from_secs(3600);

/// What the database knows.
#[derive(Debug, Default)]
struct Stored {
    shown: Option<DeviceShown>,
    refusals: Vec<Refusal>,
    broken: Vec<(String, i64, Option<String>)>,
    n_kept: u64,
    /// Time and arrival of its newest record.
    newest: Option<(SystemTime, SystemTime)>,
}

/// What the server knows.
#[derive(Debug)]
struct Live {
    now: Option<DeviceNow>,
    sessions: Vec<Session>,
}

impl Live {
    fn is_kept_out(&self) -> bool {
        self.now.as_ref().is_some_and(|now| now.is_kept_out)
    }
}

struct Facts {
    imei: Imei,
    stored: Result<Stored, Unasked>,
    live: Result<Live, ClientError>,
    /// Some port lets every IMEI in.
    accepts_any: bool,
    at: SystemTime,
}

/// `trackport doctor --imei`
///
/// # Errors
/// The mistakes of the conf file; `Failed` when its records do not arrive.
pub(super) fn run(imei: Imei, as_json: bool, path: &Path) -> anyhow::Result<()> {
    let conf = conf::load(path)?;
    let facts = Facts {
        imei,
        stored: ask_database(&conf, imei),
        live: ask_server(&conf, imei),
        accepts_any: conf
            .ports
            .iter()
            .any(|port| conf.accept_on(port) == Accept::Any || port.device == Some(imei)),
        at: SystemTime::now(),
    };
    if let Err(why) = &facts.stored
        && let Some(user) = other_user::of_server(&conf, why)
    {
        let ended = other_user::follow(user, path, imei, as_json)?;
        return if ended.success() {
            Ok(())
        } else {
            Err(Failed.into())
        };
    }
    let outcome = facts.outcome();
    let mut out = io::stdout().lock();
    if as_json {
        writeln!(out, "{}", facts.json(&outcome))?;
    } else {
        facts.write(&mut out, &outcome)?;
    }
    out.flush()?;
    if outcome.grade == Grade::Ok {
        Ok(())
    } else {
        Err(Failed.into())
    }
}

fn ask_database(conf: &Conf, imei: Imei) -> Result<Stored, Unasked> {
    check_database::asked(conf, move |client| {
        store::check_schema(client)?;
        let filter = Filter {
            imei: Some(imei),
            acked: Some(true),
            ..Filter::default()
        };
        Ok(Stored {
            shown: device::show(client, imei)?,
            refusals: health::refusals(client, Some(imei), LATELY)?,
            broken: health::broken(client, Some(imei), LATELY)?,
            n_kept: held::count(client, &filter)?,
            newest: health::newest_record(client, imei)?,
        })
    })
}

fn ask_server(conf: &Conf, imei: Imei) -> Result<Live, ClientError> {
    let socket = &conf.control.socket;
    let imei = imei.to_string();
    let asked = client::ask(socket, &Request::Device { imei: imei.clone() })?;
    let Response::Device { device: now, .. } = asked else {
        return Err(io::Error::other("it knows no such question: it is another version").into());
    };
    let sessions = match client::ask(
        socket,
        &Request::Sessions {
            imei: Some(imei),
            port: None,
            limit: 10,
        },
    )? {
        Response::Sessions { sessions, .. } => sessions,
        _ => Vec::new(),
    };
    Ok(Live { now, sessions })
}

impl Facts {
    fn shown(&self) -> Option<&DeviceShown> {
        self.stored.as_ref().ok()?.shown.as_ref()
    }

    /// The first thing that is missing between the tracker and a row, or that nothing is.
    fn outcome(&self) -> Finding {
        let imei = self.imei;
        if let Err(error @ (ClientError::NotThere { .. } | ClientError::Broken(_))) = &self.live {
            let finding = &server::unanswered(error, server::unit().as_ref())[0];
            let remedy = finding.remedy.clone().unwrap_or_default();
            return wrong(format!("The server does not answer: {error}.")).remedy(remedy);
        }
        let stored = match &self.stored {
            Ok(stored) => stored,
            Err(why) => {
                let why = database::without_name(why.finding()).text;
                return wrong(format!(
                    "The database cannot be asked what it has of this device: {why}."
                ))
                .remedy("trackport doctor");
            }
        };
        let is_connected = self
            .live
            .as_ref()
            .is_ok_and(|live| !live.sessions.is_empty());
        if let Some(state) = self.shut_out() {
            return state;
        }
        if self.live.as_ref().is_ok_and(Live::is_kept_out) {
            return wrong(
                "It is kept out for a minute, because what it sent stopped a thread.".to_owned(),
            )
            .remedy(format!(
                "trackport quarantine list --imei {imei}; worth a report"
            ));
        }
        let refusal = stored.refusals.first().filter(|_| !is_connected);
        if let Some(refusal) = refusal {
            let finding = devices::refusal(refusal, self.at);
            return wrong(format!("It is turned away: {}.", finding.text))
                .remedy(finding.remedy.unwrap_or_default());
        }
        let last_login_at = self.shown().and_then(|shown| shown.last_login_at);
        let Some((recorded_at, arrived_at)) = stored.newest else {
            return self.no_record(stored, is_connected, last_login_at);
        };
        let age = self.at.duration_since(arrived_at).unwrap_or_default();
        if !stored.broken.is_empty() && stored.broken.iter().any(|(_, n, _)| *n > 0) && age > FRESH
        {
            return self.unreadable(stored);
        }
        // What a tracker has kept for long arrives late and is old all the same.
        let late = arrived_at.duration_since(recorded_at).unwrap_or_default();
        let late = if late > FRESH {
            format!(", and was {} old when it arrived", span(late))
        } else {
            String::new()
        };
        match (is_connected, age <= FRESH) {
            (_, true) => Finding::new(
                Grade::Ok,
                format!(
                    "Its records arrive; the newest came {}{late}.",
                    ago(arrived_at, self.at)
                ),
            ),
            (true, false) => Finding::new(
                Grade::Ok,
                format!(
                    "It is connected; its newest record came {}{late}, and nothing since.",
                    ago(arrived_at, self.at)
                ),
            ),
            (false, false) => {
                let heard = self.shown().and_then(|shown| shown.last_contact_at);
                let heard = heard.map_or_else(|| "never".to_owned(), |at| ago(at, self.at));
                wrong(format!(
                    "It is away: heard {heard}, its newest record came {}{late}.",
                    ago(arrived_at, self.at)
                ))
                .remedy("is it powered, in coverage, is its SIM paid?")
            }
        }
    }

    /// Whether the device may not log in at all.
    fn shut_out(&self) -> Option<Finding> {
        let imei = self.imei;
        let (text, remedy) = match self.shown().map(|shown| shown.device.state) {
            Some(DeviceState::Accepted) => return None,
            None if self.accepts_any => return None,
            None => (
                "It is not known, so it may not log in.",
                format!("trackport device add {imei}"),
            ),
            Some(DeviceState::Refused) => {
                ("It is refused.", format!("trackport device accept {imei}"))
            }
            Some(DeviceState::Pending) => (
                "It waits for somebody to accept it.",
                format!("trackport device accept {imei}"),
            ),
            Some(DeviceState::Removed) => {
                ("It was removed.", format!("trackport device add {imei}"))
            }
        };
        Some(wrong(text.to_owned()).remedy(remedy))
    }

    fn no_record(
        &self,
        stored: &Stored,
        is_connected: bool,
        last_login_at: Option<SystemTime>,
    ) -> Finding {
        if !stored.broken.is_empty() {
            return self.unreadable(stored);
        }
        match last_login_at {
            None if !is_connected => wrong("It has never reached this server.".to_owned()).remedy(
                "in the tracker: server domain, port, protocol TCP, APN; on the way: firewall (trackport doctor)",
            ),
            last => {
                let when = last.map_or_else(|| "now".to_owned(), |at| ago(at, self.at));
                wrong(format!("It logs in (last {when}), and no whole packet of it has come yet."))
                    .remedy("has it data to send, and a fix? Packets that stop half way: trackport doctor, subject network (max_segment)")
            }
        }
    }

    fn unreadable(&self, stored: &Stored) -> Finding {
        let n: i64 = stored.broken.iter().map(|(_, n, _)| n).sum();
        let n = count(usize::try_from(n).unwrap_or(0), "packet");
        wrong(format!("What it sends cannot be read: {n} in quarantine.")).remedy(format!(
            "trackport quarantine list --imei {}; trackport quarantine show ID",
            self.imei
        ))
    }

    /// Name and value of each thing that is known.
    fn lines(&self) -> Vec<(&'static str, String)> {
        let at = |at: Option<SystemTime>| {
            at.map_or_else(
                || "never".to_owned(),
                |at| format!("{} ({})", time(at), ago(at, self.at)),
            )
        };
        let mut lines = vec![("device", self.imei.to_string())];
        match &self.live {
            Err(error) => lines.push(("session", error.to_string())),
            Ok(live) => {
                for session in &live.sessions {
                    let since = session.connected_at.parse::<jiff::Timestamp>().map_or_else(
                        |_| session.connected_at.clone(),
                        |at| ago(SystemTime::from(at), self.at),
                    );
                    let text = format!(
                        "from {} on {}, connected {since}",
                        session.peer, session.port
                    );
                    lines.push(("session", text));
                }
                if live.sessions.is_empty() {
                    lines.push(("session", "none now".to_owned()));
                }
                if live.is_kept_out() {
                    lines.push(("kept out", "yes, for a minute".to_owned()));
                }
            }
        }
        let stored = match &self.stored {
            Ok(stored) => stored,
            Err(why) => {
                lines.push(("database", database::without_name(why.finding()).text));
                return lines;
            }
        };
        match &stored.shown {
            None => lines.push(("state", "not known".to_owned())),
            Some(shown) => {
                let device = &shown.device;
                let name = device
                    .name
                    .as_deref()
                    .map_or_else(String::new, |name| format!(", {name}"));
                lines.push(("state", format!("{}{name}", device.state)));
                let model = match &device.model {
                    None => "none: its own IO elements have no names; trackport device set --model"
                        .to_owned(),
                    Some(model) if models::known(model).is_none() => models::unknown(model),
                    Some(model) => model.clone(),
                };
                lines.push(("model", model));
                lines.push(("last login", at(shown.last_login_at)));
                if let Some(address) = shown.address {
                    let port = shown
                        .port
                        .map_or_else(String::new, |port| format!(" to port {port}"));
                    lines.push(("came from", format!("{address}{port}")));
                }
                lines.push(("last contact", at(shown.last_contact_at)));
                if let Some(seen) = shown.sends_before_ack_at {
                    lines.push((
                        "odd",
                        format!(
                            "it does not wait for acknowledgements (seen {}); {}",
                            ago(seen, self.at),
                            devices::ACK_TYPE_REMEDY
                        ),
                    ));
                }
            }
        }
        for refusal in stored.refusals.iter().take(3) {
            lines.push(("turned away", devices::refusal(refusal, self.at).text));
        }
        for (code, n, _) in &stored.broken {
            lines.push((
                "unreadable",
                devices::broken(code, *n, None)
                    .text
                    .replace("within a day", "within 30 days"),
            ));
        }
        if stored.n_kept > 0 {
            let n_kept = usize::try_from(stored.n_kept).unwrap_or(0);
            let text = format!(
                "{} for good: trackport quarantine list --imei {} --acked",
                count(n_kept, "packet"),
                self.imei
            );
            lines.push(("quarantine", text));
        }
        match stored.newest {
            None => lines.push(("newest record", "none".to_owned())),
            Some((recorded, arrived)) => {
                let text = format!("of {}, arrived {}", time(recorded), ago(arrived, self.at));
                lines.push(("newest record", text));
            }
        }
        lines
    }

    fn write(&self, out: &mut impl Write, outcome: &Finding) -> io::Result<()> {
        for (name, value) in self.lines() {
            writeln!(out, "{name:<14}{}", printable(&value))?;
        }
        writeln!(out, "\n{}", printable(&outcome.text))?;
        match outcome
            .remedy
            .as_deref()
            .filter(|remedy| !remedy.is_empty())
        {
            Some(remedy) => writeln!(out, "-> {}", printable(remedy)),
            None => Ok(()),
        }
    }

    fn json(&self, outcome: &Finding) -> Value {
        let facts: Vec<Value> = self
            .lines()
            .into_iter()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        json!({
            "imei": self.imei.to_string(),
            "grade": report::word(outcome.grade).to_lowercase(),
            "text": outcome.text,
            "remedy": outcome.remedy,
            "facts": facts,
        })
    }
}

fn wrong(text: String) -> Finding {
    Finding::new(Grade::Wrong, text)
}
