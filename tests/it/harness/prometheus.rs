//! A real Prometheus for a test: promtool, and a server that scrapes one web and evaluates the alerts that are shipped.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::daemon::{Folder, text};
use super::{eventually, free_port, http, secs};

/// Whether Prometheus is here. Where all tests are to run it must be.
pub fn is_here() -> bool {
    let runs = |program: &str| {
        Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if runs("promtool") && runs("prometheus") {
        return true;
    }
    let why = "Prometheus is missing: install the package prometheus";
    assert!(std::env::var_os("CI").is_none(), "{why}");
    eprintln!("SKIPPED, NOTHING IS PROVED: {why}");
    false
}

/// A file of the project.
pub fn project_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs promtool with `input`.
pub fn promtool(args: &[&str], input: &str) -> Output {
    let mut child = Command::new("promtool")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// A running Prometheus, ended with its value.
pub struct Prometheus {
    child: Child,
    folder: Folder,
    port: u16,
}

impl Prometheus {
    /// One that scrapes the web at `web` every second as the job `trackport`.
    pub fn start(web: u16) -> Prometheus {
        let (folder, port) = (Folder::new(), free_port());
        let rules = project_file("conf/prometheus-alerts.yml");
        let conf = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
             rule_files: [{}]\n\
             scrape_configs:\n  - job_name: trackport\n    static_configs: [{{targets: ['127.0.0.1:{web}']}}]\n",
            rules.display()
        );
        fs::write(folder.file("prometheus.yml"), conf).expect("a conf file");
        let log = fs::File::create(folder.file("log")).expect("a log file");
        let child = Command::new("prometheus")
            .arg(format!(
                "--config.file={}",
                folder.file("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.file("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let prometheus = Prometheus {
            child,
            folder,
            port,
        };
        eventually(secs(30), "Prometheus answers", || {
            let ready = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
            ready && http::try_get(port, "/-/ready").is_some_and(|answer| answer.status == 200)
        });
        prometheus
    }

    /// What its API says.
    #[track_caller]
    pub fn api(&self, path: &str) -> serde_json::Value {
        let answer = http::get(self.port, &format!("/api/v1/{path}"));
        answer.json()
    }

    /// The values of a query now, by their labels.
    #[track_caller]
    pub fn query(&self, expression: &str) -> Vec<(serde_json::Value, f64)> {
        let answer = self.api(&format!("query?query={}", percent(expression)));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        let result = answer["data"]["result"].as_array().expect("a list");
        result
            .iter()
            .map(|one| {
                let value = one["value"][1].as_str().expect("a value");
                (one["metric"].clone(), value.parse().expect("a number"))
            })
            .collect()
    }

    /// Waits until a query gives one value that fits.
    #[track_caller]
    pub fn wait(&self, within: Duration, expression: &str, fits: impl Fn(f64) -> bool) {
        eventually(within, expression, || {
            self.query(expression).iter().any(|(_, value)| fits(*value))
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read(self.folder.file("log")).unwrap_or_default();
            eprintln!("--- Prometheus' log ---\n{}\n---", text(&log));
        }
    }
}

fn percent(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() {
            all.push(char::from(byte));
        } else {
            all.push_str(&format!("%{byte:02X}"));
        }
        all
    })
}
