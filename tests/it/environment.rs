//! What must hold for whoever runs trackport where there is no conf file to edit: variables name the database, files hold its
//! password, and an exit code says whether the server is healthy.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use postgres::Client;

use crate::harness::daemon::{BINARY, Folder, NO_SPOOL, Setup, started, text};
use crate::harness::device::{Device, packet};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::records;
use crate::harness::{eventually, free_port, imei, secs};

/// What a conf file has that nobody edited for this machine.
const NOWHERE: &str = "postgresql:///trackport?host=/nonexistent";

/// A cluster that asks for passwords over TCP, a database with our tables that `anna` owns, and its URL without password.
fn guarded(password: &str) -> (Cluster, Client, String) {
    let cluster = Cluster::start();
    let mut client = pg::connect(&cluster.url("postgres", "postgres"));
    client
        .batch_execute(&format!("CREATE ROLE anna LOGIN PASSWORD '{password}'"))
        .unwrap();
    client
        .batch_execute("CREATE DATABASE fleet OWNER anna")
        .unwrap();
    cluster.demand_passwords();
    let url = format!("postgresql://anna@127.0.0.1:{}/fleet", cluster.port());
    let reader = pg::connect(&cluster.url("fleet", "postgres"));
    (cluster, reader, url)
}

#[test]
fn variables_say_where_the_database_is_and_a_file_has_its_password() {
    let (_cluster, mut client, url) = guarded("first");
    let secrets = Folder::new();
    let file = secrets.file("password");
    fs::write(&file, "first\n").unwrap();
    let port = free_port();
    let daemon = Setup::new(NOWHERE)
        .port(port)
        .env("TRACKPORT_DATABASE_URL", &url)
        .env("TRACKPORT_DATABASE_PASSWORD_FILE", &file)
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 3));
    assert_eq!(records(&mut client, imei(1)), 3);
    daemon.wait_log(
        secs(5),
        &[
            "[database].url",
            "TRACKPORT_DATABASE_URL",
            "takes its place",
        ],
    );

    // The password is changed, and every connection ended: the next ones are made with what the file says then.
    client
        .batch_execute(
            "ALTER ROLE anna PASSWORD 'second';
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'anna'",
        )
        .unwrap();
    fs::write(&file, "second").unwrap();
    device.deliver(&packet(3, 2));
    daemon.wait_drained(secs(30));
    eventually(secs(30), "stored with the new password", || {
        records(&mut client, imei(1)) == 5
    });
}

#[test]
fn a_directory_of_secrets_has_the_password_by_its_name() {
    let (_cluster, mut client, url) = guarded("by name");
    let secrets = Folder::new();
    fs::write(secrets.file("database_password"), "by name").unwrap();
    let port = free_port();
    let _daemon = Setup::new(NOWHERE)
        .port(port)
        .env("TRACKPORT_DATABASE_URL", &url)
        .env("CREDENTIALS_DIRECTORY", secrets.file(""))
        .start();
    Device::login(port, imei(1)).deliver(&packet(0, 2));
    assert_eq!(records(&mut client, imei(1)), 2);
}

#[test]
fn a_wrong_variable_is_a_wrong_conf_and_a_missing_secret_is_told_by_its_path() {
    let (_cluster, _client, url) = guarded("secret");
    let daemon = Setup::new(NOWHERE).port(free_port()).write();
    let check = |variables: &[(&str, &str)], args: &[&str]| {
        let output = Command::new(BINARY)
            .args(args)
            .arg("--conf")
            .arg(daemon.conf())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = text(&output.stdout) + &text(&output.stderr);
        (output.status.code(), told)
    };
    for command in ["run", "check", "migrate", "status"] {
        let wrong = [("TRACKPORT_DATABASE_URL", "postgresql://a:hidden@b/c?d=e")];
        let (code, told) = check(&wrong, &[command]);
        assert_eq!(code, Some(78), "{command}: {told}");
        assert!(
            told.contains("TRACKPORT_DATABASE_URL") && !told.contains("hidden"),
            "{command}: {told}"
        );
    }
    let place = ("TRACKPORT_DATABASE_URL", url.as_str());
    let missing = "/nonexistent/password";
    let (code, told) = check(
        &[place, ("TRACKPORT_DATABASE_PASSWORD_FILE", missing)],
        &["migrate"],
    );
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains(missing), "{told}");
    // What composing tools make of a variable that nobody gave.
    let empty = [
        place,
        ("TRACKPORT_DATABASE_PASSWORD_FILE", ""),
        ("PGPASSWORD", "secret"),
    ];
    let (code, told) = check(&empty, &["migrate"]);
    assert_eq!(code, Some(0), "{told}");
    let (_, told) = check(&[("TRACKPORT_DATABASE_URL", "")], &["migrate"]);
    assert!(
        told.contains("/nonexistent"),
        "the file's URL counts: {told}"
    );
}

#[test]
fn healthy_is_who_answers_and_ready_who_acknowledges() {
    let (mut daemon, _client, _port) = started();
    assert_eq!(daemon.must(&["health"]), "healthy\n");
    assert_eq!(daemon.must(&["health", "--ready"]), "healthy\n");
    daemon.stop();
    let gone = daemon.command(&["health"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(
        text(&gone.stderr).contains("no trackport answers"),
        "{}",
        text(&gone.stderr)
    );
}

#[test]
fn a_database_that_is_away_is_no_reason_to_end_the_server_and_with_a_usable_spool_it_is_ready() {
    let daemon = Setup::new(NOWHERE).port(free_port()).launch();
    daemon.wait_serving();
    let told = daemon.must(&["health"]);
    assert!(told.starts_with("healthy; wrong: "), "{told}");
    // Until the spool is open it is that which is told.
    eventually(secs(20), "the reason is told first", || {
        let unready = daemon.command(&["health", "--ready"]);
        assert_eq!(unready.status.code(), Some(1), "nobody knows any device");
        text(&unready.stdout).starts_with("unhealthy: the device list is not loaded")
    });

    let bare = Setup::new(NOWHERE)
        .port(free_port())
        .spool(NO_SPOOL)
        .launch();
    bare.wait_serving();
    bare.must(&["health"]);
    eventually(secs(10), "nothing takes packets", || {
        let unready = bare.command(&["health", "--ready"]);
        let told = text(&unready.stdout);
        unready.status.code() == Some(1)
            && told.starts_with("unhealthy: ")
            && told.contains("neither the database nor the spool")
    });
}

#[test]
fn a_secret_that_the_user_may_not_read_is_told_and_not_passed_over() {
    let (_cluster, _client, url) = guarded("secret");
    let folder = Folder::new();
    fs::set_permissions(folder.file(""), fs::Permissions::from_mode(0o755)).unwrap();
    let (conf, program) = (folder.file("t.toml"), folder.file("trackport"));
    fs::write(&conf, "[[port]]\nlisten = 1\n").unwrap();
    // A copy, because others may not reach the folder that it was built in.
    fs::copy(BINARY, &program).unwrap();
    let file = folder.file("database_password");
    fs::write(&file, "secret").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = if pg::is_root() {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ]);
        command.arg(&program);
        command
    } else {
        Command::new(&program)
    };
    let output = command
        .args(["migrate", "--conf"])
        .arg(&conf)
        .env("TRACKPORT_DATABASE_URL", &url)
        .env("CREDENTIALS_DIRECTORY", folder.file(""))
        // Right, and all the same not what was meant.
        .env("PGPASSWORD", "secret")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains(file.to_str().unwrap()) && told.contains("Permission denied"),
        "{told}"
    );
}

#[test]
fn the_compose_example_starts_this_version_with_what_it_understands() {
    let text = include_str!("../../conf/compose.yaml");
    let image = concat!(
        "image: localhost/trackport:",
        env!("CARGO_PKG_VERSION"),
        "\n"
    );
    assert!(text.contains(image), "another version");
    // The secret's name is the one that is looked for; the volume is where the conf of the image writes.
    for words in [
        "TRACKPORT_DATABASE_URL: postgresql://",
        "secrets: [database_password]",
        ":/var/lib/trackport\n",
    ] {
        assert!(text.contains(words), "{words}");
    }
    let readme = include_str!("../../README.md");
    let archive = concat!("trackport-", env!("CARGO_PKG_VERSION"), ".docker.tar");
    assert!(readme.contains(archive), "README loads another version");
}
