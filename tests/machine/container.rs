//! The container image as an operator runs it: unpacked by umoci, run by runc, in namespaces of its own, behind a pair of virtual
//! network cards whose other end is this machine. The file system is read-only but for the volume, whose files outlive a run.
//!
//! What was started is ended by its own name, also when a test fails; then its log is shown.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::daemon::{Folder, text};
use crate::harness::{eventually, ms, secs, spawn};
use crate::root::{must, run, said};

/// How long a container may take to serve its port on a busy machine.
const PATIENCE: Duration = secs(30);

/// The user inside.
pub const USER: u32 = 65_532;

/// What the database's machine is called inside; a name server on this machine knows it.
pub const DATABASE_HOST: &str = "database.fleet.example";

/// Where the program lies inside.
const PROGRAM: &str = "/usr/bin/trackport";

/// The two archives.
pub struct Image {
    pub docker: PathBuf,
    pub oci: PathBuf,
}

/// What tells programs that do not find what they need from those that may not use it.
const TOOLS: [&str; 4] = ["umoci", "skopeo", "runc", "ip"];

/// The image, built once as the README says; `None` where it cannot be run. Where all tests are to run, that is a failure.
pub fn image() -> Option<&'static Image> {
    static IMAGE: OnceLock<Result<Image, String>> = OnceLock::new();
    match IMAGE.get_or_init(build) {
        Ok(image) => Some(image),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "{why}");
            eprintln!("SKIPPED, NOTHING IS PROVED: {why}");
            None
        }
    }
}

fn build() -> Result<Image, String> {
    if !crate::harness::postgres::is_root() {
        return Err("a container with a network of its own is run by root only".to_owned());
    }
    for tool in TOOLS {
        let found = run(Command::new("/bin/sh").args(["-c", "command -v \"$0\"", tool]));
        if !found.status.success() {
            return Err(format!("{tool} is not here; scripts/machine installs it"));
        }
    }
    let own = run(Command::new("unshare").args(["--mount", "--pid", "--net", "--fork", "true"]));
    if !own.status.success() {
        return Err(text(&own.stderr));
    }
    must(&mut script("image"));
    Ok(Image::in_folder(&project().join("target/image")))
}

impl Image {
    /// The archives that scripts/image wrote there.
    pub fn in_folder(folder: &Path) -> Image {
        let name = |form: &str| {
            folder.join(format!(
                "trackport-{}.{form}.tar",
                env!("CARGO_PKG_VERSION")
            ))
        };
        Image {
            docker: name("docker"),
            oci: name("oci"),
        }
    }
}

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One of the project's scripts.
pub fn script(name: &str) -> Command {
    Command::new(project().join("scripts").join(name))
}

/// A network namespace, a pair of virtual cards into it, and a name server at this end.
pub struct Network {
    name: String,
    /// This machine's end.
    pub outside: Ipv4Addr,
    /// The container's.
    pub inside: Ipv4Addr,
    names: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Network {
    pub fn new() -> Network {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        // Of 198.18.0.0/15, the addresses for measuring devices, which nobody routes; four for each network.
        let number = std::process::id() * 4 + NUMBER.fetch_add(1, Ordering::Relaxed) % 4;
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + number % (1 << 15) * 4;
        // The name of a card has 15 letters at most.
        let name = format!("tp{number}");
        let mut network = Network {
            outside: Ipv4Addr::from(first + 1),
            inside: Ipv4Addr::from(first + 2),
            names: None,
            name,
        };
        let (name, outside, inside) = (&network.name, network.outside, network.inside);
        let setup = format!(
            "set -e; ip netns add {name}; ip link add {name} type veth peer name eth0 netns {name}
             ip addr add {outside}/30 dev {name}; ip link set {name} up
             ip -n {name} addr add {inside}/30 dev eth0; ip -n {name} link set eth0 up; ip -n {name} link set lo up"
        );
        must(Command::new("/bin/sh").args(["-c", &setup]));
        network.names = Some(name_server(outside));
        network
    }

    fn path(&self) -> String {
        format!("/run/netns/{}", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some((ended, thread)) = self.names.take() {
            ended.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
        // The cards go with the namespace.
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]));
        let _ = run(Command::new("ip").args(["link", "del", &self.name]));
    }
}

/// Answers every question for an IPv4 address with its own, and every other one with nothing.
fn name_server(address: Ipv4Addr) -> (Arc<AtomicBool>, JoinHandle<()>) {
    let socket = UdpSocket::bind((address, 53)).expect("port 53 of a network of our own");
    socket.set_read_timeout(Some(ms(100))).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    let thread = spawn(move || {
        let mut question = [0; 512];
        while !told.load(Ordering::Relaxed) {
            let Ok((length, peer)) = socket.recv_from(&mut question) else {
                continue;
            };
            // The name ends with an empty label; its type and class follow.
            let Some(end) = question[12..length].iter().position(|byte| *byte == 0) else {
                continue;
            };
            let wants_ipv4 = question.get(12 + end + 1..12 + end + 3) == Some(&[0, 1]);
            let mut answer = question[..12 + end + 5].to_vec();
            // An answer, without an error; one question, one answer or none, and nothing more.
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(wants_ipv4), 0, 0, 0, 0]);
            if wants_ipv4 {
                // The name of the question, IPv4, Internet, for a second, four bytes.
                answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
                answer.extend(address.octets());
            }
            let _ = socket.send_to(&answer, peer);
        }
    });
    (ended, thread)
}

/// What a container is started with beside its image.
#[derive(Default)]
pub struct Options {
    /// Variables of the environment.
    pub env: Vec<(String, String)>,
    /// Files that are mounted read-only: where each lies inside, and what is in it.
    pub files: Vec<(&'static str, String)>,
}

/// A container, running or not; its volume stays until the value goes.
pub struct Container {
    folder: Folder,
    pub network: Network,
    bundle: PathBuf,
    id: String,
    child: Option<Child>,
}

impl Container {
    /// Unpacks the image and prepares what an engine prepares.
    pub fn new(image: &Image, network: Network, options: &Options) -> Container {
        let folder = Folder::new();
        let (layout, bundle) = (folder.file("oci"), folder.file("bundle"));
        let from = format!("docker-archive:{}", image.docker.display());
        let to = format!("oci:{}:image", layout.display());
        must(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]));
        let image = format!("{}:image", layout.display());
        must(
            Command::new("umoci")
                .args(["unpack", "--image", &image])
                .arg(&bundle),
        );
        // An engine makes a volume with the owner and the mode that its place has in the image.
        must(
            Command::new("cp")
                .arg("-a")
                .arg(bundle.join("rootfs/var/lib/trackport"))
                .arg(folder.file("volume")),
        );
        let container = Container {
            id: format!("trackport-{}", network.name),
            folder,
            network,
            bundle,
            child: None,
        };
        container.configure(options);
        container
    }

    fn configure(&self, options: &Options) {
        let file = self.bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let bind = |source: PathBuf, place: &str, how: &str| json!({"destination": place, "type": "bind", "source": source, "options": ["bind", how]});
        let mut mounts = vec![bind(self.volume(), "/var/lib/trackport", "rw")];
        let resolver = format!("nameserver {}\n", self.network.outside);
        let own = [("/etc/resolv.conf", resolver)];
        for (number, (place, text)) in own.iter().chain(&options.files).enumerate() {
            let source = self.folder.file(&format!("mounted-{number}"));
            fs::write(&source, text).unwrap();
            mounts.push(bind(source, place, "ro"));
        }
        let all = config["mounts"].as_array_mut().unwrap();
        all.retain(|mount| mount["destination"] != "/var/lib/trackport");
        all.extend(mounts);
        let process = &mut config["process"];
        process["terminal"] = json!(false);
        // Nothing that a container may not have by default, and less: --cap-drop ALL.
        process["capabilities"] = json!({});
        let env = process["env"].as_array_mut().unwrap();
        env.extend(
            options
                .env
                .iter()
                .map(|(key, value)| json!(format!("{key}={value}"))),
        );
        config["root"]["readonly"] = json!(true);
        for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
            if namespace["type"] == "network" {
                namespace["path"] = json!(self.network.path());
            }
        }
        fs::write(&file, config.to_string()).unwrap();
    }

    /// What outlives it.
    pub fn volume(&self) -> PathBuf {
        self.folder.file("volume")
    }

    fn runc(&self) -> Command {
        let mut command = Command::new("runc");
        command.arg("--root").arg(self.folder.file("runc"));
        command
    }

    /// Starts it, for the first time or again, and waits until it serves its ports.
    #[track_caller]
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.file("log"))
            .unwrap();
        let child = self
            .runc()
            .args(["run", "--bundle"])
            .arg(&self.bundle)
            .arg(&self.id)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        eventually(PATIENCE, "a container that answers", || {
            let child = self.child.as_mut().expect("it was started");
            if let Some(status) = child.try_wait().unwrap() {
                panic!("it ended: {status}\n{}", self.log());
            }
            self.exec(&["health"]).status.success()
        });
    }

    /// Waits until what devices send is acknowledged.
    #[track_caller]
    pub fn wait_ready(&self) {
        eventually(PATIENCE, "a container that is ready", || {
            self.exec(&["health", "--ready"]).status.success()
        });
    }

    /// Runs the program's command line in it, as an engine's `exec` does.
    pub fn exec(&self, args: &[&str]) -> Output {
        run(self.runc().args(["exec", &self.id, PROGRAM]).args(args))
    }

    /// The same, and it must do it; returns what it printed.
    #[track_caller]
    pub fn must(&self, args: &[&str]) -> String {
        said(args, &self.exec(args))
    }

    /// The process that is the first one inside, as this machine numbers it.
    pub fn pid(&self) -> u32 {
        let state: Value =
            serde_json::from_str(&must(self.runc().args(["state", &self.id]))).unwrap();
        u32::try_from(state["pid"].as_u64().unwrap()).unwrap()
    }

    /// Every process that lives in it, as this machine numbers them.
    pub fn processes(&self) -> Vec<u32> {
        let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = space(self.pid());
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid| space(*pid) == own)
            .collect()
    }

    /// Where a port of it is reached from this machine.
    pub fn address(&self, port: u16) -> SocketAddr {
        (self.network.inside, port).into()
    }

    /// Sends a signal as an engine does: to the first process inside.
    pub fn signal(&self, signal: &str) {
        must(self.runc().args(["kill", &self.id, signal]));
    }

    /// TERM, and the exit code that the engine sees.
    #[track_caller]
    pub fn stop(&mut self, within: Duration) -> Option<i32> {
        self.signal("TERM");
        let begun = Instant::now();
        let mut child = self.child.take().expect("it runs");
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if begun.elapsed() > within {
                self.child = Some(child);
                panic!("it did not end within {within:?}");
            }
            std::thread::sleep(ms(10));
        }
    }

    /// Everything that it wrote, of all starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.file("log")).unwrap_or_default()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = run(self.runc().args(["delete", "--force", &self.id]));
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("the container's log:\n{}", self.log());
        }
    }
}
