//! `trackport doctor`: finds what is wrong between a tracker and a row, and says what helps.
//!
//! `check` says whether the conf may be used; this looks at the machine, the running server and the devices. One file for each
//! subject: it looks (facts), and judges what was seen (findings), apart from each other. `report.rs` is the text. Changes nothing, and
//! leaves nothing behind but a connection that was opened and closed. Whatever is away or not to be seen, the rest is looked at.

mod clock;
mod database;
mod descriptors;
mod device;
mod devices;
mod firewall;
mod illness;
mod kernel;
mod look;
mod network;
mod other_user;
mod ports;
mod report;
mod rules;
mod server;
mod spool;

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use super::finding::{Finding, Grade};
use super::{Failed, check};
use crate::conf::{self, Accept, Conf};
use crate::control::client::{self, ClientError};
use crate::control::messages::{Request, Response, Status};
use crate::imei::Imei;
use report::Examined;

/// What may follow `trackport doctor`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Follow one device from its login to its newest record
    #[arg(long)]
    pub imei: Option<Imei>,
    /// JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Looks at everything, or at one device.
///
/// # Errors
/// The mistakes of the conf file; `Failed` when something is wrong.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    if let Some(imei) = args.imei {
        return device::run(imei, args.json, path);
    }
    let conf = conf::load(path)?;
    let all = examine(&conf, path);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report::json(&all))?;
    } else {
        report::write(&mut out, &all)?;
    }
    out.flush()?;
    if all.iter().any(|one| one.finding.grade == Grade::Wrong) {
        return Err(Failed.into());
    }
    Ok(())
}

/// All subjects, in the order in which a packet meets them.
fn examine(conf: &Conf, path: &Path) -> Vec<Examined> {
    let before = kernel::counters();
    let status = ask_status(conf);
    let unit = server::unit();
    let database = database::look(conf);
    let found = spool::look(&conf.spool);
    let (firewall, ports) = (firewall::look(), ports::look(conf, status.as_ref().ok()));
    let apart = database.as_ref().ok().and_then(database::clocks_apart);
    let clock = clock::look(apart);
    // Last, so that the counters had some time to grow.
    let kernel = kernel::look(before);

    let now = SystemTime::now();
    let running = status.as_ref().ok();
    let mut all = Vec::new();
    let mut add = |subject: &'static str, findings: Vec<Finding>| {
        let examined = findings
            .into_iter()
            .map(|finding| Examined { subject, finding });
        all.extend(examined);
    };
    add(
        "conf",
        check::conf_findings(conf, path)
            .into_iter()
            .map(without_conf)
            .collect(),
    );
    add(
        "server",
        match &status {
            Ok(status) => {
                let is_replaced = server::is_replaced(status.pid);
                server::findings(status, unit.as_ref(), is_replaced, path, now)
            }
            Err(error) => server::unanswered(error, unit.as_ref()),
        },
    );
    let numbers: Vec<u16> = conf.ports.iter().map(|port| port.listen.number()).collect();
    add("firewall", firewall::findings(&firewall, &numbers));
    add("kernel", kernel::findings(&kernel));
    add("ports", ports::findings(&ports, running));
    if let Some(status) = running {
        let descriptors = descriptors::look(status.pid);
        add("descriptors", descriptors::findings(&descriptors, status));
        add("network", network::findings(&status.stalls, now));
    }
    // Where root is turned away, the server's user is asked what it sees.
    let other = database
        .as_ref()
        .err()
        .and_then(|why| other_user::of_server(conf, why))
        .and_then(|user| other_user::examine(user, path, &["database", "clock", "devices"]));
    let spool = spool::findings(&conf.spool, found.as_deref(), running, now);
    if let Some(other) = other {
        add("spool", spool);
        all.extend(other);
        return all;
    }
    add(
        "database",
        match &database {
            Ok(facts) => database::findings(facts, conf, now),
            Err(why) => database::unasked(why, &status),
        },
    );
    add("spool", spool);
    add("clock", clock::findings(&clock));
    if let Some(devices) = database
        .as_ref()
        .ok()
        .and_then(|facts| facts.devices.as_ref())
    {
        let accepts_any = conf
            .ports
            .iter()
            .any(|port| conf.accept_on(port) == Accept::Any || port.device.is_some());
        add("devices", devices::findings(devices, accepts_any, now));
    }
    all
}

fn ask_status(conf: &Conf) -> Result<Status, ClientError> {
    match client::ask(&conf.control.socket, &Request::Status)? {
        Response::Status(status) => Ok(*status),
        _ => Err(io::Error::other("it answered something else").into()),
    }
}

/// The same without the name of the subject, which stands before it here.
fn without_conf(mut finding: Finding) -> Finding {
    if let Some(rest) = finding.text.strip_prefix("conf ") {
        finding.text = rest.to_owned();
    }
    finding
}
