//! The way to pages and API: TLS with a certificate that is renewed, proxies that are believed, and nothing in the clear beyond this machine.

use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use trackport::web::{CONNECTIONS_MAX, CONNECTIONS_PER_NETWORK};

use crate::harness::daemon::{Daemon, Folder, Setup, text};
use crate::harness::device::ANSWER;
use crate::harness::http::{self, Answer};
use crate::harness::person::{Person, Way, exchange};
use crate::harness::{eventually, free_port, postgres as pg, secs};

const PASSWORD: &str = "a correct horse";

/// A certificate of its own making for `localhost` and `t.example`, and its key, as openssl writes them.
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
}

impl Certificate {
    #[track_caller]
    fn make(folder: &Folder, name: &str, days: i32) -> Certificate {
        let made = Certificate {
            certificate: folder.file(&format!("{name}.crt")),
            key: folder.file(&format!("{name}.key")),
        };
        let output = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
            ])
            .args([
                "-nodes",
                "-subj",
                "/CN=localhost",
                "-days",
                &days.to_string(),
            ])
            .args(["-addext", "subjectAltName=DNS:localhost,DNS:t.example"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&made.key)
            .arg("-out")
            .arg(&made.certificate)
            .output()
            .expect("openssl");
        assert!(output.status.success(), "{output:?}");
        made
    }

    /// In place of `other`, as a renewal does it.
    fn replaces(&self, other: &Certificate) {
        std::fs::copy(&self.certificate, &other.certificate).unwrap();
        std::fs::copy(&self.key, &other.key).unwrap();
    }

    fn conf(&self, listen: &str) -> String {
        format!(
            "[http]\nlisten = \"{listen}\"\ncertificate = \"{}\"\nkey = \"{}\"",
            self.certificate.display(),
            self.key.display()
        )
    }
}

/// HTTPS to a port of this machine, believing one certificate.
#[derive(Clone)]
struct Https {
    port: u16,
    config: Arc<ClientConfig>,
}

const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

impl Https {
    fn new(
        port: u16,
        believed: &Certificate,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Https {
        let mut roots = RootCertStore::empty();
        for one in CertificateDer::pem_file_iter(&believed.certificate).unwrap() {
            roots.add(one.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Https {
            port,
            config: Arc::new(config),
        }
    }

    /// What `/healthz` answers, if the certificate is the one that is believed.
    fn try_health(&self) -> Option<Answer> {
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        http::parse(&self.say(request))
    }
}

impl Way for Https {
    fn say(&self, request: &[u8]) -> String {
        let socket = http::connect(self.port);
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        exchange(&mut StreamOwned::new(connection, socket), request)
    }
}

/// In the clear to an address of this machine.
#[derive(Clone)]
struct At(IpAddr, u16);

impl Way for At {
    fn say(&self, request: &[u8]) -> String {
        let mut socket = TcpStream::connect((self.0, self.1)).expect("a connection");
        socket.set_read_timeout(Some(ANSWER)).unwrap();
        exchange(&mut socket, request)
    }
}

/// An address of this machine that others could reach; `None`, loudly, where it has none.
fn own_address() -> Option<IpAddr> {
    // Nothing is sent: the kernel only says from where it would be.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    let address = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    match address {
        Ok(address) if !address.ip().is_loopback() => Some(address.ip()),
        _ => {
            eprintln!("SKIPPED: this machine has no address but its own loopback");
            None
        }
    }
}

fn start(http: &str) -> Daemon {
    let (database, _) = pg::shared().migrated();
    let daemon = Setup::new(&database.url)
        .port(free_port())
        .more(http)
        .start();
    daemon.add_user("anna", &["--admin"], PASSWORD);
    daemon
}

#[test]
fn https_gives_a_cookie_that_travels_by_https_alone() {
    let folder = Folder::new();
    let certificate = Certificate::make(&folder, "web", 90);
    let web = free_port();
    let daemon = start(&certificate.conf(&format!("127.0.0.1:{web}")));
    for versions in [BOTH, &[&rustls::version::TLS12]] {
        let way = Https::new(web, &certificate, versions);
        let person = Person::new(way);
        let answer = person.try_login("anna", PASSWORD);
        assert_eq!(answer.status, 204, "{answer:?}");
        let set = answer.header("set-cookie").unwrap();
        assert!(set.starts_with("__Host-trackport="), "{set}");
        assert!(
            set.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"),
            "{set}"
        );
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=31536000")
        );
        let anna = person.login("anna", PASSWORD);
        assert_eq!(anna.json("/me")["name"], "anna");
        let plain = anna.headers.replace("__Host-", "");
        let same = Person::new(anna.way.clone()).with(&plain);
        assert_eq!(same.status("/me"), 401, "the cookie of the clear way");
    }
    let told = daemon.wait_log(secs(5), &["web certificate", "days_left=89"]);
    assert!(told.contains("web.crt"), "{told}");
}

#[test]
fn a_renewed_certificate_is_taken_up_on_the_same_socket() {
    let folder = Folder::new();
    let first = Certificate::make(&folder, "web", 90);
    let second = Certificate::make(&folder, "renewed", 90);
    let web = free_port();
    let daemon = start(&first.conf(&format!("127.0.0.1:{web}")));
    let by_first = Https::new(web, &first, BOTH);
    let by_second = Https::new(web, &second, BOTH);
    // What is being asked goes on meanwhile.
    let mut open = http::connect(web);
    assert_eq!(by_first.try_health().unwrap().status, 200);
    assert!(by_second.try_health().is_none());
    let kept = Certificate {
        certificate: folder.file("kept.crt"),
        key: folder.file("kept.key"),
    };
    first.replaces(&kept);
    let believes_first = Https::new(web, &kept, BOTH);
    second.replaces(&first);
    daemon.signal("HUP");
    eventually(secs(10), "the renewed one is shown", || {
        by_second.try_health().is_some()
    });
    assert!(believes_first.try_health().is_none());
    let said = http::read_all(&mut open, crate::harness::ms(100));
    assert_eq!(said, "", "nobody was cut off");
    // One that cannot be used changes nothing.
    std::fs::write(&first.key, "no key").unwrap();
    daemon.signal("HUP");
    let told = daemon.wait_log(secs(10), &["web certificate not usable"]);
    assert!(
        told.contains("[http] key") && told.contains("the one before"),
        "{told}"
    );
    assert_eq!(by_second.try_health().unwrap().status, 200);
    let web = daemon.status().threads;
    let web = web.iter().find(|thread| thread.name == "web").unwrap();
    assert_eq!(web.failures, 0);
}

#[test]
fn a_web_without_its_certificate_waits_for_it_and_devices_do_not() {
    let folder = Folder::new();
    let certificate = Certificate {
        certificate: folder.file("web.crt"),
        key: folder.file("web.key"),
    };
    let web = free_port();
    let (database, _) = pg::shared().migrated();
    let setup = Setup::new(&database.url).port(free_port());
    let daemon = setup
        .more(&certificate.conf(&format!("127.0.0.1:{web}")))
        .launch();
    daemon.wait_serving();
    let told = daemon.wait_log(secs(10), &["web not bound"]);
    assert!(
        told.contains("web.crt") && told.contains("cannot be read"),
        "{told}"
    );
    let made = Certificate::make(&folder, "late", 90);
    made.replaces(&certificate);
    let way = Https::new(web, &made, BOTH);
    eventually(secs(60), "it is served", || {
        TcpStream::connect(("127.0.0.1", web)).is_ok() && way.try_health().is_some()
    });
}

#[test]
fn check_says_what_is_wrong_with_a_certificate() {
    let folder = Folder::new();
    let good = Certificate::make(&folder, "good", 90);
    let soon = Certificate::make(&folder, "soon", 5);
    let mixed = Certificate {
        certificate: good.certificate.clone(),
        key: soon.key.clone(),
    };
    let missing = Certificate {
        certificate: folder.file("missing.crt"),
        key: soon.key.clone(),
    };
    let over = Certificate::make(&folder, "over", 1);
    let expired = Command::new("openssl")
        .args(["x509", "-in"])
        .arg(&over.certificate)
        .args(["-signkey"])
        .arg(&over.key)
        .args(["-days", "-1", "-out"])
        .arg(folder.file("over.crt.new"))
        .output()
        .expect("openssl");
    assert!(expired.status.success(), "{expired:?}");
    std::fs::rename(folder.file("over.crt.new"), &over.certificate).unwrap();
    let (database, _) = pg::shared().migrated();
    let check = |certificate: &Certificate, more: &str| {
        let conf = certificate.conf(&format!("127.0.0.1:{}", free_port()));
        let setup = Setup::new(&database.url).port(free_port());
        let daemon = setup.more(&format!("{conf}\n{more}")).write();
        let output = daemon.command(&["check"]);
        text(&output.stdout) + &text(&output.stderr)
    };
    for (certificate, more, said) in [
        (&good, "", "good for 89 days"),
        (&good, "hosts = [\"t.example\"]", "good for 89 days"),
        (&good, "hosts = [\"u.example\"]", "not for u.example"),
        (&soon, "", "4 days"),
        (&over, "", "expired"),
        (&mixed, "", "not the one of the certificate"),
        (&missing, "", "cannot be read"),
    ] {
        let told = check(certificate, more);
        assert!(told.contains(said), "{said}: {told}");
    }
}

#[test]
fn beyond_this_machine_nothing_but_metrics_and_health_is_sent_in_the_clear() {
    let Some(address) = own_address() else {
        return;
    };
    let web = free_port();
    let daemon = start(&format!("[http]\nlisten = {web}"));
    let odd = daemon.log_lines(&["conf odd", "[http].listen", "certificate and key"]);
    assert_eq!(odd.len(), 1);
    let outside = Person::new(At(address, web));
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(outside.get(path).status, 200, "{path}");
    }
    let page = outside.get("/");
    assert_eq!(page.status, 403);
    assert!(page.body.contains("certificate and key"), "{page:?}");
    let login = outside.try_login("anna", PASSWORD);
    assert_eq!(login.status, 403);
    assert_eq!(login.json()["error"]["code"], "tls_needed");
    // On the machine itself nobody listens in.
    let inside = Person::new(web).login("anna", PASSWORD);
    assert_eq!(inside.json("/me")["name"], "anna");
}

#[test]
fn a_proxy_of_the_conf_is_believed_and_no_other() {
    let Some(address) = own_address() else {
        return;
    };
    let web = free_port();
    let daemon = start(&format!(
        "[http]\nlisten = {web}\nproxies = [\"{address}\"]\nhosts = [\"t.example\"]"
    ));
    let mut through = Person::new(At(address, web))
        .with("X-Forwarded-For: 6.6.6.6, 203.0.113.5\r\nX-Forwarded-Proto: https\r\n");
    through.host = "t.example".to_owned();
    let answer = through.try_login("anna", PASSWORD);
    assert_eq!(answer.status, 204, "{answer:?}");
    let set = answer.header("set-cookie").unwrap();
    assert!(
        set.starts_with("__Host-trackport=") && set.ends_with("; Secure"),
        "{set}"
    );
    let anna = through.clone().login("anna", PASSWORD);
    let audit = anna.json("/audit?action=login");
    assert_eq!(audit["items"][0]["address"], "203.0.113.5");
    through.host = "u.example".to_owned();
    assert_eq!(through.get("/").status, 403);
    // From this machine's loopback the same is said in vain.
    let liar =
        Person::new(web).with("X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n");
    let answer = liar.try_login("anna", PASSWORD);
    let set = answer.header("set-cookie").unwrap();
    assert!(set.starts_with("trackport="), "{set}");
    let audit = anna.json("/audit?action=login");
    assert_eq!(audit["items"][0]["address"], "127.0.0.1");
    drop(daemon);
}

#[test]
fn whoever_types_no_https_is_led_to_it() {
    let Some(address) = own_address() else {
        return;
    };
    let folder = Folder::new();
    let certificate = Certificate::make(&folder, "web", 90);
    let web = free_port();
    let _daemon = start(&certificate.conf(&format!("0.0.0.0:{web}")));
    let mut outside = Person::new(At(address, web));
    outside.host = format!("t.example:{web}");
    let page = outside.get("/asset/7?x=1");
    assert_eq!(page.status, 308);
    let there = format!("https://t.example:{web}/asset/7?x=1");
    assert_eq!(page.header("location"), Some(there.as_str()));
    assert_eq!(outside.get("/healthz").status, 200);
    assert_eq!(outside.try_login("anna", PASSWORD).status, 403);
}

#[test]
fn handshakes_that_do_not_come_hold_nobody_up() {
    let folder = Folder::new();
    let certificate = Certificate::make(&folder, "web", 90);
    let web = free_port();
    let _daemon = start(&certificate.conf(&format!("127.0.0.1:{web}")));
    let mut silent: Vec<TcpStream> = (0..20).map(|_| http::connect(web)).collect();
    let mut half = http::connect(web);
    std::io::Write::write_all(&mut half, &[0x16, 3, 1, 2, 0, 1]).unwrap();
    let way = Https::new(web, &certificate, BOTH);
    assert_eq!(way.try_health().unwrap().status, 200);
    http::closed_after(&mut half, secs(20));
    for stream in &mut silent {
        http::closed_after(stream, secs(20));
    }
}

#[test]
fn one_client_does_not_take_all_connections() {
    let Some(address) = own_address() else {
        return;
    };
    let web = free_port();
    let daemon = start(&format!("[http]\nlisten = {web}"));
    let greedy: Vec<TcpStream> = (0..CONNECTIONS_MAX)
        .map(|_| TcpStream::connect((address, web)).unwrap())
        .collect();
    daemon.wait_log(
        secs(10),
        &[
            "web address full",
            &format!("connections={CONNECTIONS_PER_NETWORK}"),
        ],
    );
    // Others find room, long before the idle ones are closed.
    let begun = std::time::Instant::now();
    assert_eq!(http::get(web, "/healthz").status, 200);
    assert!(begun.elapsed() < secs(3), "{:?}", begun.elapsed());
    drop(greedy);
    eventually(secs(10), "the client has room again", || {
        let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        http::parse(&At(address, web).say(request)).is_some_and(|answer| answer.status == 200)
    });
}
