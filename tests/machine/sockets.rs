//! Processes follow each other, and the listening sockets stay: no connection is refused by a restart, an upgrade, a crash or the
//! watchdog, nothing acked is lost and nothing is stored twice.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use crate::booted::Booted;
use crate::harness::daemon::BINARY;
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::{eventually, imei, join, ms, spawn};
use crate::service::{PATIENCE, PORT, Service, UNIT, conf, conf_file};

/// How often the prober connects: the shortest gap between two processes is many times as long.
const PROBE_EVERY: Duration = ms(2);

/// Where metrics and probes are answered.
const WEB: u16 = 8080;

/// Somebody who connects all the time, and counts what is refused.
pub struct Prober {
    stop: Arc<AtomicBool>,
    n_connected: Arc<AtomicU64>,
    n_refused: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Prober {
    pub fn start(machine: &Booted, port: u16) -> Prober {
        let stop = Arc::new(AtomicBool::new(false));
        let (n_connected, n_refused) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let thread = machine.inside(|| {
            let (stop, connected, refused) = (stop.clone(), n_connected.clone(), n_refused.clone());
            spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match TcpStream::connect_timeout(&address, ANSWER) {
                        Ok(_) => connected.fetch_add(1, Ordering::Relaxed),
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(error) => panic!("neither connected nor refused: {error}"),
                    };
                    sleep(PROBE_EVERY);
                }
            })
        });
        Prober {
            stop,
            n_connected,
            n_refused,
            thread,
        }
    }

    fn n_refused(&self) -> u64 {
        self.n_refused.load(Ordering::Relaxed)
    }

    /// How often it connected and how often it was refused.
    pub fn finish(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        join(self.thread);
        (
            self.n_connected.load(Ordering::Relaxed),
            self.n_refused.load(Ordering::Relaxed),
        )
    }
}

/// The same program with other bytes, as another version would be.
fn install_another_version(service: &Service, number: u8) {
    let file = service.0.root().path("/tmp/trackport");
    let mut bytes = fs::read(BINARY).unwrap();
    bytes.push(number);
    fs::write(&file, bytes).unwrap();
    service.0.root().install(&file, "/usr/bin/trackport", 0o755);
}

#[test]
fn no_connection_is_refused_and_no_acked_record_lost_while_processes_follow_each_other() {
    let Some(service) = Service::install_with(|root| {
        let drop_in = "[Service]\nWatchdogSec=3\nTimeoutAbortSec=3\n";
        root.write("/etc/systemd/system/trackport.service.d/fast.conf", drop_in);
    }) else {
        return;
    };
    service.edit_conf(&conf(&format!("[http]\nlisten = \"127.0.0.1:{WEB}\""), ""));
    service.start();
    let plan = Plan {
        n_devices: 20,
        n_records: 3,
        ..Plan::one(PORT, 1)
    };
    let prober = Prober::start(&service.0, PORT);
    let web_prober = Prober::start(&service.0, WEB);
    let load = service.0.inside(|| Load::start(plan));
    load.wait_acks(100, PATIENCE);
    let systemctl = |args: &[&str]| {
        let args: Vec<&str> = ["systemctl"].iter().chain(args).copied().collect();
        service.0.must(&args);
    };
    // Every way in which one process ends and the next begins; as a package does it, as an operator, and as nobody wants it.
    let mut pid = service.pid();
    for (number, way) in [
        "upgrade", "upgrade", "restart", "restart", "crash", "watchdog",
    ]
    .iter()
    .enumerate()
    {
        match *way {
            "upgrade" => {
                install_another_version(&service, number as u8);
                systemctl(&["try-restart", UNIT]);
            }
            "restart" => systemctl(&["restart", UNIT]),
            "crash" => systemctl(&["kill", "--kill-whom=main", "--signal=KILL", UNIT]),
            _ => systemctl(&["kill", "--kill-whom=main", "--signal=STOP", UNIT]),
        }
        eventually(PATIENCE, way, || {
            let next = service.pid();
            next != pid && next != 0 && service.0.property(UNIT, "ActiveState") == "active"
        });
        pid = service.pid();
        load.wait_acks(100, PATIENCE);
        assert_eq!(prober.n_refused(), 0, "by {way}");
        assert_eq!(web_prober.n_refused(), 0, "the web, by {way}");
    }
    service
        .0
        .wait_journal(UNIT, PATIENCE, &["port bound", "socket that systemd kept"]);
    let report = load.finish();
    let (n_connected, n_refused) = prober.finish();
    assert!(
        n_connected > 500,
        "the prober connected {n_connected} times only"
    );
    assert_eq!((n_refused, web_prober.finish().1), (0, 0));
    service.wait_all_well();
    eprintln!(
        "{n_connected} connections, the slowest ack of {} after {:?}",
        report.n_acked(),
        report.slowest()
    );
    assert!(report.n_reconnects() > 0, "each process had devices");
    report.check(&mut service.database());
}

#[test]
fn without_the_descriptor_store_a_restart_refuses_and_with_it_the_conf_still_decides() {
    let Some(service) = Service::install() else {
        return;
    };
    service.edit_conf(&conf(
        "",
        "[[port]]\nlisten = 5028\n[[port]]\nlisten = \"127.0.0.1:5029\"",
    ));
    // What the other tests rest on: this prober sees a gap where there is one.
    service.drop_in("store", "[Service]\nFileDescriptorStoreMax=0\n");
    service.start();
    let prober = Prober::start(&service.0, PORT);
    service.0.must(&["systemctl", "restart", UNIT]);
    let (_, n_refused) = prober.finish();
    assert!(n_refused > 0, "the prober saw nothing");
    service.drop_in("store", "[Service]\nFileDescriptorStoreMax=5000\n");
    service.0.must(&["systemctl", "restart", UNIT]);
    eventually(PATIENCE, "sockets in the store", || {
        service.0.property(UNIT, "NFileDescriptorStore") == "3"
    });

    let is_refused = |port| service.0.inside(|| Device::try_connect(port).is_err());
    // A port that leaves the conf leaves the store, at a reload.
    service.edit_conf(&conf("", "[[port]]\nlisten = 5028"));
    service.0.must(&["systemctl", "reload", UNIT]);
    eventually(PATIENCE, "two are left", || {
        service.0.property(UNIT, "NFileDescriptorStore") == "2"
    });
    eventually(PATIENCE, "the port is gone", || is_refused(5029));
    // And at a restart, where the socket is passed and nobody wants it.
    // With more ports than one message of the kernel has room for descriptors.
    let many = "[[port]]\nlisten = 5029\n[[port]]\nlisten = \"127.0.0.1:6000-6299\"";
    service.edit_conf(&conf("", many));
    service.0.must(&["systemctl", "restart", UNIT]);
    service
        .0
        .wait_journal(UNIT, PATIENCE, &["socket not wanted", "[::]:5028"]);
    assert!(is_refused(5028));
    service
        .0
        .inside(|| drop((Device::login(PORT, imei(1)), Device::login(5029, imei(2)))));
    eventually(PATIENCE, "one out, all others in", || {
        service.0.property(UNIT, "NFileDescriptorStore") == "302"
    });

    // Every night, or here every second one: a new process, and nobody is refused.
    for name in ["trackport-restart.timer", "trackport-restart.service"] {
        service.0.root().install(
            conf_file(name),
            &format!("/etc/systemd/system/{name}"),
            0o644,
        );
    }
    let often = "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/2\nAccuracySec=100ms\n";
    service.0.root().write(
        "/etc/systemd/system/trackport-restart.timer.d/often.conf",
        often,
    );
    service.0.must(&["systemctl", "daemon-reload"]);
    let prober = Prober::start(&service.0, PORT);
    let pid = service.pid();
    service
        .0
        .must(&["systemctl", "start", "trackport-restart.timer"]);
    eventually(PATIENCE, "another process", || {
        service.pid() != pid && service.pid() != 0
    });
    service
        .0
        .must(&["systemctl", "stop", "trackport-restart.timer"]);
    assert_eq!(prober.finish().1, 0);
    service.wait_all_well();
    service.0.inside(|| drop(Device::login(6299, imei(3))));
    assert_eq!(service.0.property(UNIT, "NFileDescriptorStore"), "302");
    // One that was stopped stays stopped.
    service.0.must(&["systemctl", "stop", UNIT]);
    assert!(is_refused(PORT), "stopped is stopped");
    service
        .0
        .must(&["systemctl", "start", "trackport-restart.service"]);
    assert_eq!(service.pid(), 0);
}

#[test]
fn with_a_socket_unit_even_a_stopped_service_refuses_nobody() {
    let Some(service) = Service::install_with(|root| {
        root.install(
            conf_file("trackport.socket"),
            "/etc/systemd/system/trackport.socket",
            0o644,
        );
        let more = "[Socket]\nListenStream=[::]:5030\n";
        root.write("/etc/systemd/system/trackport.socket.d/more.conf", more);
    }) else {
        return;
    };
    // Beside a port of the unit that the conf does not have, and one of the conf that the unit does not have.
    service.edit_conf(&conf("", "[[port]]\nlisten = 5028"));
    service.0.must(&["systemctl", "start", "trackport.socket"]);
    let prober = Prober::start(&service.0, PORT);
    // The first connection starts the service.
    let mut device = service.0.inside(|| Device::login(PORT, imei(1)));
    device.deliver(&packet(0, 1));
    service
        .0
        .wait_journal(UNIT, PATIENCE, &["socket not wanted", "[::]:5030"]);
    eventually(PATIENCE, "two ports", || {
        service.status_text().starts_with("2 ports")
    });
    service.0.must(&["systemctl", "restart", UNIT]);
    let mut device = service.0.inside(|| Device::login(PORT, imei(1)));
    device.deliver(&packet(1, 1));
    service.0.inside(|| drop(Device::login(5028, imei(2))));
    service.0.must(&["systemctl", "stop", UNIT]);
    // The prober has started it again.
    eventually(PATIENCE, "started by a connection", || service.pid() != 0);
    let mut device = service.0.inside(|| Device::login(PORT, imei(1)));
    device.deliver(&packet(2, 1));
    assert_eq!(prober.finish().1, 0);
}
