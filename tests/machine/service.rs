//! trackport as an operator has it: installed on a booted machine, with a user, a conf file and its database, run by systemd.

use std::time::Duration;

use postgres::{Client, NoTls};
use trackport::control::client;
use trackport::control::messages::{Request, Response, Status};

use crate::booted::Booted;
use crate::harness::daemon::BINARY;
use crate::harness::{eventually, secs};
use crate::root::Root;

/// How long a start, a stop or a reload may take on a busy machine.
pub const PATIENCE: Duration = secs(60);

/// The unit's name.
pub const UNIT: &str = "trackport.service";

/// The port of the conf as it is installed.
pub const PORT: u16 = 5027;

/// Files of the project's folder `conf`.
pub fn conf_file(name: &str) -> String {
    format!("{}/conf/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A booted machine with trackport on it, not started yet.
pub struct Service(pub Booted);

impl Service {
    /// Installs binary, unit and conf, boots, and makes user and database. `None` where no machine can be had.
    pub fn install() -> Option<Service> {
        Service::install_with(|_| ())
    }

    /// The same, with changes to the files before it boots.
    pub fn install_with(change: impl FnOnce(&Root)) -> Option<Service> {
        let root = Root::new()?;
        root.install(BINARY, "/usr/bin/trackport", 0o755);
        let unit = "/usr/lib/systemd/system/trackport.service";
        root.install(conf_file("trackport.service"), unit, 0o644);
        root.write("/etc/trackport/trackport.toml", conf("", ""));
        root.must(&["useradd", "--system", "--user-group", "trackport"]);
        root.must(&["chown", "-R", "root:trackport", "/etc/trackport"]);
        root.must(&["chmod", "-R", "u=rwX,g=rX,o=", "/etc/trackport"]);
        change(&root);
        let service = Service(Booted::boot(root));
        let postgres = "postgresql@15-main";
        service
            .0
            .wait_property(postgres, "ActiveState", "active", PATIENCE);
        service.0.shell(
            "cd /; su postgres -c 'createuser trackport && createdb --owner trackport trackport'
             su trackport -s /bin/sh -c 'trackport migrate'",
        );
        Some(service)
    }

    /// Starts it, which must work.
    #[track_caller]
    pub fn start(&self) {
        self.0.must(&["systemctl", "start", UNIT]);
        self.wait_all_well();
    }

    /// What it says of itself over its control socket, if it answers.
    pub fn status(&self) -> Option<Status> {
        let socket = self.0.live_path("/run/trackport/control.sock");
        match client::ask(&socket, &Request::Status) {
            Ok(Response::Status(status)) => Some(*status),
            _ => None,
        }
    }

    /// Waits until its ports, its writers and its device list are there, and nothing waits in the spool.
    #[track_caller]
    pub fn wait_all_well(&self) {
        eventually(PATIENCE, "everything runs", || {
            self.status().is_some_and(|status| {
                status.troubles.is_empty()
                    && status.devices_loaded
                    && status.writers.iter().all(|writer| writer.database == "up")
                    && status.ports.iter().all(|port| port.state == "running")
                    && status.spool.packets == 0
            })
        });
    }

    /// The line that it tells systemd.
    pub fn status_text(&self) -> String {
        self.0.property(UNIT, "StatusText")
    }

    /// The process id in the machine of the process that systemd runs, 0 for none.
    pub fn pid(&self) -> u32 {
        self.0.property(UNIT, "MainPID").parse().unwrap()
    }

    /// The number that this machine has for a process of that one.
    pub fn pid_here(&self, pid: u32) -> u32 {
        self.0.pid_here(pid)
    }

    /// How often systemd has started it by itself.
    pub fn n_restarts(&self) -> u32 {
        self.0.property(UNIT, "NRestarts").parse().unwrap()
    }

    /// Changes the conf file, as an editor does.
    pub fn edit_conf(&self, text: &str) {
        let path = self.0.root().path("/etc/trackport/trackport.toml");
        std::fs::write(path, text).unwrap();
    }

    /// A file that is added to the unit.
    pub fn drop_in(&self, name: &str, text: &str) {
        let folder = "/etc/systemd/system/trackport.service.d";
        self.0.root().write(&format!("{folder}/{name}.conf"), text);
        self.0.must(&["systemctl", "daemon-reload"]);
    }

    /// The journal of the unit from now on: a place in it.
    pub fn journal_cursor(&self) -> String {
        let shown = self
            .0
            .must(&["journalctl", "--quiet", "--lines=0", "--show-cursor"]);
        let cursor = shown
            .lines()
            .find_map(|line| line.strip_prefix("-- cursor: "));
        cursor.expect("a journal has a cursor").to_owned()
    }

    /// A connection to its database, made inside the machine.
    pub fn database(&self) -> Client {
        // From there 127.0.0.1 wants a password, which the superuser gets for this.
        self.0
            .shell("cd /; su postgres -c \"psql -qc \\\"ALTER ROLE postgres PASSWORD 'test'\\\"\"");
        self.0.inside(|| {
            let url = "postgresql://postgres:test@127.0.0.1/trackport";
            Client::connect(url, NoTls).unwrap()
        })
    }
}

/// A conf file with one port, everything accepted; `more` stands before the port, `port` are more ports.
pub fn conf(more: &str, port: &str) -> String {
    format!(
        "[devices]\naccept = \"any\"\n[spool]\nkeep_free = \"1 GiB\"\n{more}\n[[port]]\nlisten = {PORT}\n{port}\n"
    )
}
