//! `trackport check`: says whether the server could run, and what would keep it from running.
//!
//! Binds each port for a moment and lets it go; sends nothing and changes nothing. A server that runs is not disturbed.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use socket2::{Domain, SockAddr, Socket, Type};

use super::finding::{Finding, Grade};
use super::{Failed, check_addresses, check_database, check_spool};
use crate::conf::{self, Conf};
use crate::port::bind::{self, Address, BindError, label};
use crate::port::passed::Passed;
use crate::web::tls;

/// A certificate that ends sooner should have been renewed: those of Let's Encrypt are at a month.
const CERTIFICATE_SOON: Duration = Duration::from_secs(14 * 86_400);

/// What may follow `trackport check`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Look at the conf file only, at no port, spool and database
    #[arg(long)]
    pub conf_only: bool,
}

/// Checks what the conf file at `path` says, telling each finding on a line of its own.
///
/// # Errors
/// The mistakes of the conf file; `Failed` when something else was wrong.
pub fn run(args: &Args, path: &Path) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let conf = conf::load(path)?;
    let mut wrong = tell(&mut out, &conf_findings(&conf, path))?;
    if !args.conf_only {
        wrong |= tell(&mut out, &port_findings(&conf, is_running(&conf)))?;
        wrong |= tell(&mut out, &web_findings(&conf, is_running(&conf)))?;
        wrong |= tell(&mut out, &certificate_findings(&conf, SystemTime::now()))?;
        wrong |= tell(&mut out, &[check_spool::finding(&conf.spool)])?;
        wrong |= tell(&mut out, &check_database::findings(&conf))?;
        wrong |= tell(&mut out, &check_addresses::findings(&conf))?;
    }
    if wrong { Err(Failed.into()) } else { Ok(()) }
}

/// Prints the findings and says whether one of them is wrong.
fn tell(out: &mut impl Write, findings: &[Finding]) -> io::Result<bool> {
    for Finding { grade, text, .. } in findings {
        writeln!(out, "{:<8} {text}", grade.word())?;
    }
    out.flush()?;
    Ok(findings.iter().any(|finding| finding.grade == Grade::Wrong))
}

pub(super) fn conf_findings(conf: &Conf, path: &Path) -> Vec<Finding> {
    let ports = match conf.ports.len() {
        1 => "1 port".to_owned(),
        n_ports => format!("{n_ports} ports"),
    };
    let text = format!("conf {}: {ports}", path.display());
    let warnings = conf
        .warnings
        .iter()
        .map(|warning| Finding::new(Grade::Warning, warning.to_string()));
    std::iter::once(Finding::new(Grade::Ok, text))
        .chain(warnings)
        .collect()
}

fn port_findings(conf: &Conf, running: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Each socket is let go before the next one is bound, because ranges may want more sockets than a shell may have files.
    let mut seen: HashMap<Address, String> = HashMap::new();
    for port in &conf.ports {
        for result in bind::bind(&port.listen, &Passed::none()) {
            let address = match &result {
                Ok(bound) => Some(bound.address),
                Err(error) => error.address(),
            };
            if let Some(address) = address
                && let Some(other) = seen.insert(address, port.listen.to_string())
            {
                let text = format!(
                    "port {}: \"{}\" and \"{other}\" resolve to the same address; remove one of the two",
                    label(&address),
                    port.listen,
                );
                findings.push(Finding::new(Grade::Wrong, text));
                continue;
            }
            findings.push(socket_finding("port", result, running));
        }
    }
    findings
}

/// What `[http] listen` says; the server runs without it, so nothing here is wrong.
fn web_findings(conf: &Conf, running: bool) -> Vec<Finding> {
    let Some(listen) = &conf.http.listen else {
        return Vec::new();
    };
    bind::bind(listen, &Passed::none())
        .into_iter()
        .map(|result| {
            let mut finding = socket_finding("web", result, running);
            if finding.grade == Grade::Wrong {
                finding.grade = Grade::Warning;
                finding
                    .text
                    .push_str("; the server runs without it and tries again");
            }
            finding
        })
        .collect()
}

/// Whether the web's certificate can be served, and for how long and by which names it is believed.
fn certificate_findings(conf: &Conf, now: SystemTime) -> Vec<Finding> {
    let Some(files) = &conf.http.tls else {
        return Vec::new();
    };
    let name = files.certificate.display();
    let loaded = match tls::load(files) {
        Ok(loaded) => loaded,
        Err(error) => {
            let text = format!("web: {error}; pages and API are not served without it");
            return vec![Finding::new(Grade::Wrong, text)];
        }
    };
    let is_known = loaded.expires_at.is_some();
    let mut findings = vec![match loaded.lasts(now) {
        None if is_known => Finding::new(
            Grade::Wrong,
            format!(
                "web certificate {name}: expired, no browser believes it; renew it, then reload the server"
            ),
        ),
        None => Finding::new(
            Grade::Warning,
            format!("web certificate {name}: it does not say until when it is good"),
        ),
        Some(lasts) => {
            let days = lasts.as_secs() / 86_400;
            if lasts < CERTIFICATE_SOON {
                Finding::new(
                    Grade::Warning,
                    format!(
                        "web certificate {name}: good for {days} days only; renew it, then reload the server"
                    ),
                )
            } else {
                let text = format!("web certificate {name}: fits its key, good for {days} days");
                Finding::new(Grade::Ok, text)
            }
        }
    }];
    let hosts = conf.http.hosts.iter();
    findings.extend(hosts.filter(|host| !loaded.is_for(host)).map(|host| {
        Finding::new(
            Grade::Warning,
            format!("web certificate {name}: not for {host}, which stands in [http] hosts; browsers warn there"),
        )
    }));
    findings
}

fn socket_finding(what: &str, result: Result<bind::Bound, BindError>, running: bool) -> Finding {
    match result {
        Ok(bound) => match bound.warning {
            None => Finding::new(
                Grade::Ok,
                format!("{what} {}: can be bound", label(&bound.address)),
            ),
            Some(warning) => Finding::new(
                Grade::Warning,
                format!("{what} {}: can be bound; {warning}", label(&bound.address)),
            ),
        },
        Err(BindError::InUse(address)) if running => Finding::new(
            Grade::Ok,
            format!(
                "{what} {}: in use, and trackport is running; `trackport status` shows whether it is the one",
                label(&address)
            ),
        ),
        Err(error) => Finding::new(Grade::Wrong, format!("{what}: {error}")),
    }
}

/// Whether a server answers at the control socket.
fn is_running(conf: &Conf) -> bool {
    let connect = || -> io::Result<()> {
        let address = SockAddr::unix(&conf.control.socket)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.connect_timeout(&address, Duration::from_secs(1))
    };
    connect().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> Conf {
        conf::parse(text, "t.toml").unwrap()
    }

    #[test]
    fn a_port_in_use_is_wrong_only_when_no_server_runs() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let conf = conf(&format!("[[port]]\nlisten = \"{address}\""));
        let without = port_findings(&conf, false);
        assert_eq!(without[0].grade, Grade::Wrong);
        assert!(without[0].text.contains("is in use"));
        let with = port_findings(&conf, true);
        assert_eq!(with[0].grade, Grade::Ok);
        drop(taken);
        assert_eq!(port_findings(&conf, false)[0].grade, Grade::Ok);
    }

    #[test]
    fn a_web_address_in_use_is_a_warning() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let conf = conf(&format!(
            "[[port]]\nlisten = 1\n[http]\nlisten = \"{address}\""
        ));
        let findings = web_findings(&conf, false);
        assert_eq!(findings[0].grade, Grade::Warning);
        assert!(findings[0].text.contains("is in use"), "{findings:?}");
        drop(taken);
        assert_eq!(web_findings(&conf, false)[0].grade, Grade::Ok);
    }

    #[test]
    fn warnings_do_not_fail() {
        let conf = conf("[[port]]\nlisten = 1\ndevice = \"356307042441013\"");
        let findings = conf_findings(&conf, Path::new("t.toml"));
        let mut out = Vec::new();
        assert!(!tell(&mut out, &findings).unwrap());
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("ok       conf t.toml: 1 port\nwarning  t.toml:3: "));
        assert!(tell(&mut Vec::new(), &[Finding::new(Grade::Wrong, "x")]).unwrap());
    }

    #[test]
    fn a_server_that_does_not_run_is_not_seen() {
        assert!(!is_running(&conf(
            "[[port]]\nlisten = 1\n[control]\nsocket = \"/nonexistent/control.sock\""
        )));
    }
}
