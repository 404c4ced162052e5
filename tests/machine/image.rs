//! What must hold for the container image: it is the same bytes each time and holds no more than the program needs, and in a
//! container with nothing but its volume to write to it keeps the promise, takes signals, and tells whether it is well.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use trackport::imei::Imei;

use crate::container::{
    Container, DATABASE_HOST, Image, Network, Options, USER, image, project, script,
};
use crate::harness::daemon::{Folder, text};
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::http;
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::records;
use crate::harness::{eventually, imei, join, kill, secs, spawn};
use crate::root::{must, run};

const PASSWORD: &str = "of the fleet";

/// Longer than the conf of the image lets the server take for its end, shorter than engines wait.
const STOP: std::time::Duration = secs(10);

/// A cluster at this end of the network, with a database of the user `anna`, who needs her password.
fn database(network: &Network) -> (Cluster, String) {
    let cluster = Cluster::start();
    let mut client = pg::connect(&cluster.url("postgres", "postgres"));
    let addresses = format!("127.0.0.1,{}", network.outside);
    for statement in [
        format!("CREATE ROLE anna LOGIN PASSWORD '{PASSWORD}'"),
        "CREATE DATABASE fleet OWNER anna".to_owned(),
        format!("ALTER SYSTEM SET listen_addresses = '{addresses}'"),
    ] {
        client.batch_execute(&statement).unwrap();
    }
    drop(client);
    cluster.stop_server("fast");
    cluster.start_server();
    cluster.demand_passwords();
    let url = format!("postgresql://anna@{DATABASE_HOST}:{}/fleet", cluster.port());
    (cluster, url)
}

#[test]
fn the_image_is_the_same_bytes_each_time() {
    let Some(first) = image() else { return };
    let folder = Folder::new();
    let mut again = script("image");
    again
        .arg("--binary")
        .arg(project().join("target/package/build/release/trackport"))
        .arg("--into")
        .arg(folder.file(""))
        .current_dir("/")
        .env("LC_ALL", "C")
        .env("TZ", "Asia/Tokyo");
    // Nothing of whoever builds it shows.
    let mut masked = Command::new("/bin/sh");
    masked.args(["-c", "umask 077; exec \"$@\"", "sh"]);
    masked.arg(again.get_program()).args(again.get_args());
    for (key, value) in again.get_envs() {
        masked.env(key, value.unwrap());
    }
    must(masked.current_dir("/").process_group(0));
    let second = Image::in_folder(&folder.file(""));
    for (one, other) in [(&first.docker, &second.docker), (&first.oci, &second.oci)] {
        assert!(
            fs::read(one).unwrap() == fs::read(other).unwrap(),
            "{} differs",
            one.display()
        );
    }
}

#[test]
fn the_image_holds_what_the_program_needs_and_says_how_it_is_run() {
    let Some(image) = image() else { return };
    let folder = Folder::new();
    // Both archives are read by other people's programs, which hold every part against its digest.
    let mut configs = Vec::new();
    for (form, archive) in [
        ("docker-archive", &image.docker),
        ("oci-archive", &image.oci),
    ] {
        let from = format!("{form}:{}", archive.display());
        let config = must(Command::new("skopeo").args(["inspect", "--raw", "--config", &from]));
        configs.push(config);
        let to = format!("oci:{}:{form}", folder.file("oci").display());
        must(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]));
    }
    assert_eq!(configs[0], configs[1]);
    let config: Value = serde_json::from_str(&configs[0]).unwrap();
    let run = &config["config"];
    assert_eq!(run["User"], format!("{USER}:{USER}"));
    assert_eq!(run["Entrypoint"][0], "/usr/bin/trackport");
    assert_eq!(run["Cmd"][0], "run");
    assert_eq!(run["StopSignal"], "SIGTERM");
    assert_eq!(run["Healthcheck"]["Test"][2], "health");
    assert!(run["ExposedPorts"]["5027/tcp"].is_object(), "{run}");
    assert!(run["Volumes"]["/var/lib/trackport"].is_object(), "{run}");
    let labels = &run["Labels"];
    assert_eq!(
        labels["org.opencontainers.image.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        labels["org.opencontainers.image.licenses"],
        "MIT OR Apache-2.0"
    );

    let bundle = folder.file("bundle");
    let layout = format!("{}:oci-archive", folder.file("oci").display());
    must(
        Command::new("umoci")
            .args(["unpack", "--image", &layout])
            .arg(&bundle),
    );
    let rootfs = bundle.join("rootfs");
    let mut bytes = 0;
    let mut others = Vec::new();
    for (path, kind) in walk(&rootfs) {
        let inside = format!("/{}", path.strip_prefix(&rootfs).unwrap().display());
        let about = fs::symlink_metadata(&path).unwrap();
        let own = inside.starts_with("/var/lib/trackport") || inside.starts_with("/run/trackport");
        assert_eq!(about.uid(), if own { USER } else { 0 }, "{inside}");
        assert_eq!(about.mode() & 0o6000, 0, "{inside}: setuid");
        let writable = about.mode() & 0o002 != 0;
        assert_eq!(writable, inside == "/tmp", "{inside}: {:o}", about.mode());
        if kind.is_file() {
            bytes += about.size();
            let library = inside.contains(".so.") && inside.starts_with("/lib");
            if !library {
                others.push(inside);
            }
        }
    }
    others.sort();
    assert_eq!(
        others,
        [
            "/etc/group",
            "/etc/nsswitch.conf",
            "/etc/passwd",
            "/etc/trackport/trackport.toml",
            "/usr/bin/trackport",
            "/usr/share/licenses/trackport/LICENSE",
            "/usr/share/licenses/trackport/crates.txt.gz"
        ]
    );
    let loaded = fs::metadata(&image.oci).unwrap().len();
    println!("{bytes} bytes inside, {loaded} to be loaded");
    assert!(bytes < 24_000_000, "{bytes} bytes inside");
    assert!(loaded < 10_000_000, "{loaded} bytes to be loaded");
}

fn walk(folder: &Path) -> Vec<(std::path::PathBuf, fs::FileType)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push((entry.path(), kind));
    }
    found
}

/// The status of what the container's web answers.
fn ask(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: fleet.example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    http::parse(&http::read_all(&mut stream, ANSWER)).map(|answer| answer.status)
}

#[track_caller]
fn let_in(address: SocketAddr, imei: Imei) -> Device {
    let mut device = None;
    eventually(secs(20), &format!("{imei} is let in"), || {
        device = Device::try_login_at(address, imei);
        device.is_some()
    });
    device.unwrap()
}

#[test]
fn a_container_stores_what_comes_from_outside_and_loses_nothing_acked_when_it_is_stopped() {
    let Some(image) = image() else { return };
    let network = Network::new();
    let (cluster, url) = database(&network);
    // As an engine gives them: a variable, and a secret by its name. Everything else is the image's.
    let options = Options {
        env: vec![("TRACKPORT_DATABASE_URL".to_owned(), url)],
        files: vec![("/run/secrets/database_password", PASSWORD.to_owned())],
    };
    let mut container = Container::new(image, network, &options);
    container.start();
    container.wait_ready();
    eventually(secs(20), "healthy, and nothing degraded", || {
        container.must(&["health"]) == "healthy\n"
    });

    let one = imei(1);
    container.must(&["device", "add", &one.to_string(), "--name", "Van"]);
    let address = container.address(5027);
    let_in(address, one).deliver(&packet(0, 5));
    let mut client = pg::connect(&cluster.url("fleet", "postgres"));
    assert_eq!(records(&mut client, one), 5);

    // What Kubernetes asks.
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(container.address(8080), path), Some(200), "{path}");
    }

    // Nobody special, in namespaces of its own, with nothing to write to but the volume.
    let pid = container.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(key));
        found.unwrap().split_whitespace().collect::<Vec<_>>()
    };
    let user = USER.to_string();
    assert_eq!(line("Uid:"), [&user; 4]);
    assert_eq!(line("Gid:"), [&user; 4]);
    assert_eq!(line("CapEff:"), ["0000000000000000"]);
    assert_eq!(line("NSpid:").last(), Some(&"1"));
    for space in ["net", "pid", "mnt"] {
        let of = |who: &str| fs::read_link(format!("/proc/{who}/ns/{space}")).unwrap();
        assert_ne!(of(&pid.to_string()), of("self"), "{space}");
    }
    let new = format!("/proc/{pid}/root/etc/new");
    assert_eq!(
        fs::write(&new, "").unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    // What an engine has executed in it leaves nobody behind.
    assert_eq!(container.processes(), [pid]);

    // Stopped in the middle of the traffic of ten devices.
    let imeis: Vec<_> = (10..20).map(imei).collect();
    for imei in &imeis {
        container.must(&["device", "add", &imei.to_string()]);
    }
    let senders: Vec<_> = imeis
        .iter()
        .map(|&imei| {
            let mut device = let_in(address, imei);
            spawn(move || {
                let mut acked = 0;
                // Until it is closed.
                while device.try_send(&packet(acked, 2)).is_ok() && device.ack(ANSWER) == Some(2) {
                    acked += 2;
                }
                (imei, acked)
            })
        })
        .collect();
    eventually(secs(20), "traffic", || {
        imeis.iter().all(|imei| records(&mut client, *imei) > 20)
    });
    assert_eq!(container.stop(STOP), Some(0), "{}", container.log());
    for sender in senders {
        let (imei, acked) = join(sender);
        let stored = u64::try_from(records(&mut client, imei)).unwrap();
        assert!(acked > 20 && stored >= acked, "{imei}: {stored} of {acked}");
    }
}

#[test]
fn a_container_without_its_database_keeps_packets_in_its_volume_and_the_next_one_stores_them() {
    let Some(image) = image() else { return };
    let network = Network::new();
    let (cluster, url) = database(&network);
    // A conf of the operator's own, and the password in a file of another name.
    let own = fs::read_to_string(project().join("conf/container.toml"))
        .unwrap()
        .replace("listen = 5027", "listen = 5100\naccept = \"any\"");
    let options = Options {
        env: vec![
            ("TRACKPORT_DATABASE_URL".to_owned(), url),
            (
                "TRACKPORT_DATABASE_PASSWORD_FILE".to_owned(),
                "/run/secrets/fleet".to_owned(),
            ),
        ],
        files: vec![
            ("/etc/trackport/trackport.toml", own),
            ("/run/secrets/fleet", format!("{PASSWORD}\n")),
        ],
    };
    let mut container = Container::new(image, network, &options);
    container.start();
    container.wait_ready();
    let address = container.address(5100);
    let_in(address, imei(1)).deliver(&packet(0, 1));
    assert_eq!(container.stop(STOP), Some(0));

    cluster.stop_server("fast");
    container.start();
    let told = container.must(&["health"]);
    assert!(told.starts_with("healthy; wrong: "), "{told}");
    // Known by the copy of the list.
    let mut device = let_in(address, imei(1));
    device.deliver(&packet(1, 3));
    device.deliver(&packet(4, 4));
    container.must(&["health", "--ready"]);
    let spool = container.volume().join("spool");
    let segments = fs::read_dir(&spool).unwrap().count();
    assert!(segments > 0);
    assert_eq!(fs::metadata(&spool).unwrap().uid(), USER);

    // A server that stands still is unhealthy, and says so in time.
    let pid = container.pid();
    kill(pid, "STOP");
    let frozen = container.exec(&["health"]);
    kill(pid, "CONT");
    assert_eq!(frozen.status.code(), Some(1), "{}", text(&frozen.stderr));
    assert!(text(&frozen.stderr).contains("did not answer"));
    assert_eq!(container.stop(STOP), Some(0), "{}", container.log());

    cluster.start_server();
    container.start();
    let mut client = pg::connect(&cluster.url("fleet", "postgres"));
    eventually(secs(30), "what was in the volume is stored", || {
        records(&mut client, imei(1)) == 8
    });
    assert_eq!(container.stop(STOP), Some(0));
    // And nothing is left to be stored twice.
    container.start();
    container.wait_ready();
    assert!(container.must(&["status"]).contains("spool empty"));
    assert_eq!(records(&mut client, imei(1)), 8);
}

#[test]
fn an_image_is_not_made_of_a_program_that_does_not_run_here() {
    let Some(_) = image() else { return };
    let folder = Folder::new();
    let output = run(script("image")
        .args(["--binary", "/bin/true", "--into"])
        .arg(folder.file("")));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("does not say its version"));
}
