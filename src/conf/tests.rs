//! What a conf file promises as a whole: the sample is right, defaults are one thing, every mistake is told.

use std::time::Duration;

use log::LevelFilter;

use super::*;

const SAMPLE: &str = include_str!("../../conf/trackport.toml");
const CONTAINER: &str = include_str!("../../conf/container.toml");

fn errors(text: &str) -> Vec<String> {
    parse(text, "t.toml")
        .expect_err("this conf has mistakes")
        .0
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The only error of a conf with one port and `text`.
fn error(text: &str) -> String {
    let all = errors(&format!("[[port]]\nlisten = 1\n{text}"));
    assert_eq!(all.len(), 1, "{all:#?}");
    all[0].clone()
}

fn warnings(text: &str) -> Vec<String> {
    let conf = parse(text, "t.toml").unwrap();
    conf.warnings.iter().map(ToString::to_string).collect()
}

fn sample_port() -> PortConf {
    PortConf {
        listen: Listen::Any(5027),
        protocol: Protocol::Teltonika,
        accept: None,
        allow: Vec::new(),
        device: None,
        max_segment: None,
    }
}

#[test]
fn the_conf_of_the_container_differs_from_the_defaults_where_a_container_does() {
    let conf = parse(CONTAINER, "container").unwrap();
    // Who reaches the address can read there, which is meant.
    assert!(
        conf.warnings
            .iter()
            .all(|warning| warning.key.as_deref() == Some("[http].listen"))
    );
    // Engines wait 10 s for the end.
    assert!(conf.timeouts.stop < Duration::from_secs(10));
    // All else that is written may be is the volume.
    assert!(conf.control.socket.starts_with("/var/lib/trackport"));
    assert!(conf.spool.directory.starts_with("/var/lib/trackport"));
    assert_eq!(conf.http.listen, Some(Listen::Any(8080)));
    let expected = Conf {
        ports: vec![sample_port()],
        http: conf.http.clone(),
        control: conf.control.clone(),
        timeouts: Timeouts {
            stop: conf.timeouts.stop,
            tcp: conf.timeouts.tcp,
            ..Timeouts::default()
        },
        warnings: conf.warnings.clone(),
        ..Conf::default()
    };
    assert_eq!(conf, expected);
}

#[test]
fn the_sample_says_the_defaults() {
    let expected = Conf {
        ports: vec![sample_port()],
        ..Conf::default()
    };
    assert_eq!(parse(SAMPLE, "sample").unwrap(), expected);

    let mut n_defaults = 0;
    let uncommented: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_lowercase()) => {
                n_defaults += 1;
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let mut conf = parse(&uncommented, "sample").unwrap();
    conf.warnings.clear();
    assert_eq!(conf, expected);
    assert_eq!(n_defaults, 28, "keys with a default in the sample");
}

#[test]
fn the_examples_in_the_sample_are_right() {
    let keys = [
        "keep",
        "accept",
        "allow",
        "device",
        "listen",
        "max_segment",
        "port",
    ];
    let mut n_examples = 0;
    let text: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if keys
                    .iter()
                    .any(|key| rest.starts_with(&format!("{key} = "))) =>
            {
                n_examples += 1;
                format!("{rest}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let conf = parse(&text, "sample").unwrap();
    assert_eq!(n_examples, keys.len());
    assert_eq!(conf.retention.keep, Some(Duration::from_secs(400 * 86_400)));
    assert_eq!(
        conf.http.listen,
        Some(Listen::Address("127.0.0.1:8080".parse().unwrap()))
    );
    assert_eq!(conf.log.modules, [("port".to_owned(), LevelFilter::Debug)]);
    assert_eq!(conf.ports[0].accept, Some(Accept::Any));
    assert_eq!(conf.ports[0].allow.len(), 2);
    assert_eq!(conf.ports[0].max_segment, Some(1200));
    assert_eq!(
        conf.ports[0].device,
        Some("356307042441013".parse().unwrap())
    );
}

#[test]
fn levels_of_the_log_are_words_and_modules_are_known_ones() {
    let text = "[log]\nlevel = \"loud\"\n[log.modules]\nports = \"debug\"\nwriter = 3\n[[port]]\nlisten = 1";
    let told = errors(text);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].starts_with(
            "t.toml:2: [log].level: \"loud\" is not understood here; write \"error\" or"
        )
    );
    assert_eq!(
        told[1],
        "t.toml:4: [log.modules].ports: unknown key; did you mean \"port\"?"
    );
    assert!(told[2].starts_with("t.toml:5: [log.modules].writer: 3 is not understood here"));
    let told = errors("[log]\nmodules = \"debug\"\n[[port]]\nlisten = 1");
    assert!(
        told[0].contains("write [log.modules] on a line of its own"),
        "{told:?}"
    );
}

#[test]
fn ten_mistakes_are_told_at_once() {
    let text = r#"[database]
writer = 2
batch_records = "many"

[timeouts]
idle = 6
login = "15 m"

[[port]]
listen = 5027
allow = ["10.20.0.0/33"]

[[port]]
listen = "[::]:5027"

[[port]]
listen = "5199-5100"
device = "35630704244101"

[retention]
keep = "3 days"

[limit]
packet = "64 KiB"
"#;
    let told = errors(text);
    let expected = [
        "t.toml:2: [database].writer: unknown key; did you mean \"writers\"?",
        "t.toml:3: [database].batch_records: \"many\" is no whole number; write a whole number from 255 to 100000, without quotes",
        "t.toml:6: [timeouts].idle: 6 has no unit; write it with one and in quotes, for example \"6 s\"",
        "t.toml:7: [timeouts].login: \"15 m\" is no duration: \"m\" is no unit; the units are ms, s, min, h, days and weeks",
        "t.toml:11: [port].allow: \"10.20.0.0/33\" is no network: the prefix length is at most 32; write for example \"10.20.0.0/16\"",
        "t.toml:14: [port].listen: port 5027 is given twice: line 10 has listen = 5027 already; remove one of the two",
        "t.toml:17: [port].listen: the range is empty: 5199 is greater than 5100; write \"5100-5199\"",
        "t.toml:18: [port].device: \"35630704244101\" is no IMEI: an IMEI has 15 digits, this has 14 characters; write for example \"356307042441013\"",
        "t.toml:21: [retention].keep: records are dropped by whole partitions, and \"3 days\" is less than one week; keep more, or make partitions smaller with partition = \"day\"",
        "t.toml:23: [limit]: unknown table; did you mean \"limits\"?",
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_syntax_error_stops() {
    let told = errors("[database]\nwriters = \n[limit]\n");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("t.toml:2: this is no TOML: "),
        "{told:?}"
    );
}

#[test]
fn without_a_port_nothing_can_arrive() {
    assert!(errors("")[0].starts_with("t.toml: [[port]]: no port is given"));
    assert!(errors("port = []")[0].contains("no port is given"));
    assert!(errors("[port]\nlisten = 1")[0].contains("double brackets"));
    assert!(errors("port = [5027]")[0].contains("[[port]] and below it listen = 5027"));
    assert!(errors("[[port]]\nprotocol = \"teltonika\"")[0].contains("write for example listen"));
}

#[test]
fn ranges_that_share_numbers_are_one_mistake() {
    let told = errors("[[port]]\nlisten = \"5100-5199\"\n[[port]]\nlisten = \"0.0.0.0:5150-5160\"");
    assert_eq!(
        told,
        [
            "t.toml:4: [port].listen: ports 5150-5160 are given twice: line 2 has listen = \"5100-5199\" already; remove one of the two"
        ]
    );
    let told = error("[http]\nlisten = \"127.0.0.1:1\"");
    assert!(told.contains("[http].listen"), "{told}");
    assert!(errors("[[port]]\nlisten = \"1-4001\"")[0].contains("4000 in all is the most"));
}

#[test]
fn a_small_file_that_means_millions_of_ports_is_refused_at_once() {
    let told = errors(&"[[port]]\nlisten = \"1-65535\"\n".repeat(10_000));
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(
        told[0].contains("these are 65535 ports or more"),
        "{told:?}"
    );
}

#[test]
fn a_port_given_a_thousand_times_is_a_thousand_complaints() {
    let told = errors(&"[[port]]\nlisten = 5027\n".repeat(1001));
    assert_eq!(told.len(), 1000);
    assert!(told[999].starts_with("t.toml:2002: [port].listen: port 5027 is given twice: line 2 "));
}

#[test]
fn timeouts_must_fit_each_other() {
    let told = error("[timeouts]\nidle = \"1 min\"");
    assert!(
        told.contains(":4: [timeouts].packet: \"2 min\" is longer than idle = \"1 min\""),
        "{told}"
    );
    assert!(error("[timeouts]\ntcp = \"21 s\"").contains("longer than stop = \"20 s\""));
    assert!(error("[timeouts]\nsilent_after = \"500 ms\"").contains("from \"1 s\""));
    // What could not be understood gives no second complaint about its default.
    assert!(
        error("[timeouts]\nidle = \"1 s\"\nlogin = \"no\"\npacket = \"1 s\"").contains("login")
    );
}

#[test]
fn bounds_are_told_with_the_value() {
    assert!(error("[database]\nwriters = 0").contains("from 1 to 16"));
    assert!(error("[database]\nbatch_records = 10").contains("from 255 to 100000"));
    assert!(error("[database]\nwriters = -1").contains("-1 is out of bounds"));
    assert!(error("[limits]\nqueue = 1000").contains("from \"64 KiB\""));
    assert!(error("[limits]\npacket = \"1 MiB\"\nreceive = \"128 KiB\"").contains("has room"));
    assert!(error("[limits]\npacket = 1.5").contains("1.5 is no size"));
    assert!(error("[limits]\nsessions_per_address = 0").contains("from 1 to 10000000"));
    assert!(error("[limits]\nlogins_per_minute = 0").contains("from 1 to 60000"));
    assert!(error("[limits]\nbytes_per_second = 1000").contains("from \"16 KiB\""));
    assert!(
        error("[limits]\npacket = \"4 MiB\"\nbytes_per_second = \"32 KiB\"").contains(
            ":5: [limits].bytes_per_second: a packet of 4 MiB is read in no less than 128 s"
        )
    );
    assert!(error("[spool]\ndirectory = \"spool\"").contains("no absolute path"));
    let long = "x".repeat(120);
    assert!(error(&format!("[control]\nsocket = \"/{long}\"")).contains("has 107 bytes at most"));
}

#[test]
fn a_password_in_a_wrong_url_is_not_repeated() {
    let told = error("[database]\nurl = \"postgresql://me:s3cret@host:port/x\"");
    assert!(told.contains("no connection URL"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    assert!(error("[database]\nurl = 5432").contains("write for example \"postgresql:///"));
}

#[test]
fn what_is_in_the_wrong_place_is_told() {
    let root = errors("writers = 1\n[[port]]\nlisten = 1");
    assert!(root[0].contains("stands above every table"), "{root:?}");
    let told = errors("[[port]]\nlisten = 1\n[[database]]\nwriters = 1");
    assert!(told[0].contains("single brackets"), "{told:?}");
    let told = errors("database = 1\n[[port]]\nlisten = 1");
    assert!(told[0].contains("this is a table"), "{told:?}");
    assert!(error("device = 356307042441013").contains("write \"356307042441013\""));
    assert!(error("allow = \"10.0.0.0/8\"").contains("is no list"));
    assert!(error("allow = []").contains("would let nobody in"));
    assert!(error("accept = \"all\"").contains("write \"known\" or \"any\""));
}

#[test]
fn what_is_odd_is_a_warning() {
    let port = "[[port]]\nlisten = 1\n";
    let told = warnings(&format!("{port}device = \"356307042441013\""));
    assert!(told[0].starts_with("t.toml:3: [port].device: whoever reaches this port"));
    let told = warnings(&format!(
        "{port}device = \"356307042441014\"\nallow = [\"10.1.2.3/8\"]"
    ));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("check digit"));
    assert!(told[1].contains("is understood as \"10.0.0.0/8\""));
    assert!(warnings(&format!("{port}[timeouts]\nstop = \"1 min\""))[0].contains("TimeoutStopSec"));
    assert!(warnings(&format!("{port}[http]")).is_empty());
    assert!(warnings("[[port]]\nlisten = 0")[0].contains("one that stays"));
}

#[test]
fn a_web_address_that_others_reach_is_odd() {
    let http = |listen: &str| {
        parse(
            &format!("[[port]]\nlisten = 1\n[http]\nlisten = {listen}"),
            "t",
        )
    };
    for listen in ["\"127.0.0.1:8080\"", "\"[::1]:8080\"", "\"localhost:8080\""] {
        assert!(http(listen).unwrap().warnings.is_empty(), "{listen}");
    }
    for listen in ["8080", "\"0.0.0.0:8080\"", "\"[2001:db8::1]:8080\""] {
        let told = http(listen).unwrap().warnings[0].to_string();
        assert!(
            told.starts_with("t:4: [http].listen: whoever reaches"),
            "{told}"
        );
        assert!(told.contains("without a login"), "{told}");
    }
    for (listen, why) in [
        ("\"example.org:8080\"", "no name service"),
        ("\"8080-8081\"", "not one address"),
        ("true", "no address"),
    ] {
        let told = http(listen).unwrap_err().to_string();
        assert!(told.contains(why), "{told}");
    }
}

#[test]
fn one_address_is_a_network() {
    let conf = parse("[[port]]\nlisten = 1\nallow = [\"10.1.2.3\", \"::1\"]", "t").unwrap();
    let shown: Vec<String> = conf.ports[0]
        .allow
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(shown, ["10.1.2.3/32", "::1/128"]);
    assert!(conf.warnings.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_name() {
    let told = load(std::path::Path::new("/nonexistent/t.toml")).unwrap_err();
    assert!(
        told.to_string()
            .starts_with("/nonexistent/t.toml: cannot be read")
    );
}
