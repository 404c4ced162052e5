//! What is shipped for Prometheus and Grafana, tried with a real Prometheus: it takes the metrics, understands alerts and
//! dashboard, and everything that these ask for is there.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::daemon::{Daemon, Setup, text};
use crate::harness::device::{Device, packet};
use crate::harness::metrics::Metrics;
use crate::harness::prometheus::{Prometheus, is_here, project_file, promtool};
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

const ALERTS: &str = "conf/prometheus-alerts.yml";
const ALERTS_TEST: &str = "tests/prometheus-alerts-test.yml";
const DASHBOARD: &str = "conf/grafana-dashboard.json";

struct Scene {
    /// Ended with the test.
    _daemon: Daemon,
    device: Device,
    web: u16,
}

fn scene() -> Scene {
    let (database, _) = pg::shared().migrated();
    let (port, web) = (free_port(), free_port());
    let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"");
    let daemon = Setup::new(&database.url).port(port).more(&http).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 3));
    Scene {
        _daemon: daemon,
        device,
        web,
    }
}

fn read(name: &str) -> String {
    fs::read_to_string(project_file(name)).unwrap()
}

/// Every expression of the dashboard, as Grafana would send it for all servers.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: serde_json::Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| {
            let expression = target["expr"].as_str().unwrap();
            expression
                .replace("$job", "trackport")
                .replace("$instance", ".*")
                .replace("$__rate_interval", "1m")
        })
        .collect()
}

/// The names of metrics in a text that holds expressions.
fn names_in(text: &str) -> BTreeSet<&str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .filter(|word| {
            ["trackport_", "process_"]
                .iter()
                .any(|begin| word.starts_with(begin))
        })
        .collect()
}

#[test]
fn alerts_and_dashboard_ask_only_for_metrics_that_there_are() {
    let scene = scene();
    let metrics = Metrics::scrape(scene.web);
    let there = metrics.names();
    let (alerts, expressions) = (read(ALERTS), dashboard_expressions().join("\n"));
    let asked: BTreeSet<&str> = &names_in(&alerts) | &names_in(&expressions);
    assert!(asked.len() > 40, "{asked:?}");
    let missing: Vec<&&str> = asked.difference(&there).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // Facts and states are asked for by their words.
    for (label, quoted) in [
        ("fact", &alerts),
        ("fact", &expressions),
        ("state", &alerts),
    ] {
        for words in quoted.split(&format!("{label}=")).skip(1) {
            let words = words.trim_start_matches('~').split('"').nth(1).unwrap();
            for word in words.split('|') {
                let line = format!("{label}=\"{word}\"");
                assert!(metrics.text.contains(&line), "nothing has {line}");
            }
        }
    }
}

#[test]
fn promtool_finds_nothing_wrong_with_metrics_and_alerts() {
    if !is_here() {
        return;
    }
    let scene = scene();
    let metrics = Metrics::scrape(scene.web);
    let output = promtool(&["check", "metrics"], &metrics.text);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let alerts = project_file(ALERTS).display().to_string();
    let output = promtool(&["check", "rules", &alerts], "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let n_alerts = read(ALERTS).matches("- alert: ").count();
    assert!(
        read(ALERTS_TEST).contains(&format!("value: {n_alerts}}}")),
        "{ALERTS_TEST} tries {n_alerts} alerts"
    );
    let tests = project_file(ALERTS_TEST).display().to_string();
    let output = promtool(&["test", "rules", &tests], "");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn a_real_prometheus_scrapes_evaluates_and_alerts() {
    if !is_here() {
        return;
    }
    let mut scene = scene();
    let prometheus = Prometheus::start(scene.web);
    prometheus.wait(secs(30), "up{job=\"trackport\"}", |up| up > 0.5);
    prometheus.wait(secs(10), "trackport_ready", |ready| ready > 0.5);
    prometheus.wait(secs(10), "sum(trackport_records_acked_total)", |n| n > 2.5);
    scene.device.deliver(&packet(10, 4));
    prometheus.wait(secs(10), "sum(trackport_records_acked_total)", |n| n > 6.5);
    let quantile =
        "histogram_quantile(0.99, sum by (le) (rate(trackport_ack_latency_seconds_bucket[1m])))";
    prometheus.wait(secs(20), quantile, |seconds| {
        seconds > 0.0 && seconds < 60.0
    });
    for expression in dashboard_expressions() {
        prometheus.query(&expression);
    }
    // Every alert is evaluated, and none fires or is about to: the fleet sends, and all is well.
    eventually(secs(20), "all rules are evaluated", || {
        let rules = prometheus.api("rules");
        let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
        rules.len() > 20
            && rules.iter().all(|rule| {
                assert_ne!(rule["health"], "err", "{rule}");
                rule["health"] == "ok"
            })
    });
    assert_eq!(prometheus.query("ALERTS"), []);
    let targets = prometheus.api("targets");
    let target = &targets["data"]["activeTargets"][0];
    assert_eq!(
        (&target["health"], &target["lastError"]),
        (&"up".into(), &"".into())
    );
}
