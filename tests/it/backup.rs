//! Backups and moves while devices send: a dump is whole, a new database server or a new machine takes over, and what was
//! acknowledged is there once. The steps are those of the README's "Backup, growth and moving".

use std::fs;
use std::path::PathBuf;

use postgres::Client;

use crate::harness::daemon::{Daemon, Setup, text};
use crate::harness::device::{Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::{all_records, number, records};
use crate::harness::{eventually, free_port, imei, secs};

/// The database of these tests, owned by a role of its own as the README has it.
const NAME: &str = "trackport";

/// Devices that wait as long as a move takes.
fn fleet(port: u16) -> Plan {
    Plan {
        n_devices: 4,
        n_records: 3,
        patience: secs(60),
        ..Plan::one(port, 700)
    }
}

/// A cluster with the roles of the README, and with its database if `with_database`.
fn cluster(with_database: bool) -> Cluster {
    let cluster = Cluster::start();
    let mut client = pg::connect(&cluster.url("postgres", "postgres"));
    client
        .batch_execute("CREATE ROLE trackport LOGIN; CREATE ROLE trackport_read")
        .expect("the roles");
    if with_database {
        client
            .batch_execute(&format!("CREATE DATABASE {NAME} OWNER trackport"))
            .expect("the database");
    }
    cluster
}

fn url(cluster: &Cluster) -> String {
    cluster.url(NAME, "trackport")
}

/// `pg_dump` of the database into a file, and what it says.
fn dump(from: &Cluster) -> PathBuf {
    let file = from.folder().join("trackport.dump");
    from.run_tool(
        "pg_dump",
        &[
            "-Fc",
            "-f",
            file.to_str().unwrap(),
            "-d",
            &from.url(NAME, "postgres"),
        ],
    );
    file
}

/// `pg_restore` of such a file into a server that has the roles only.
fn restore(file: &PathBuf, to: &Cluster) {
    // Another folder is another server's: each may read its own only.
    let here = to.folder().join("restored.dump");
    fs::copy(file, &here).expect("a copy of the dump");
    fs::set_permissions(&here, std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .expect("readable");
    to.run_tool(
        "pg_restore",
        &[
            "--create",
            "--exit-on-error",
            "-d",
            &to.url("postgres", "postgres"),
            here.to_str().unwrap(),
        ],
    );
}

/// Points the conf at another server, as an operator does, and starts the program anew.
fn restart_with(daemon: &mut Daemon, from: &Cluster, to: &Cluster) {
    daemon.edit_conf(|conf| {
        let (from, to) = (url(from), url(to));
        assert!(conf.contains(&from), "{conf}");
        conf.replace(&from, &to)
    });
    assert_eq!(daemon.stop(), Some(0));
    daemon.launch();
}

/// What the tables and views of a database say in sum.
fn digest(client: &mut Client) -> Vec<(String, i64)> {
    let mut sums: Vec<(String, i64)> = [
        "record", "device", "latest", "avl_id", "reading", "position",
    ]
    .iter()
    .map(|table| {
        let sql = format!("SELECT count(*) FROM trackport.{table}");
        ((*table).to_owned(), number(client, &sql, &[]))
    })
    .collect();
    let of_rows = "SELECT coalesce(sum(hashtext(r::text)), 0)::bigint FROM trackport.record r";
    sums.push(("rows of record".to_owned(), number(client, of_rows, &[])));
    sums
}

#[test]
fn a_dump_taken_while_devices_send_is_whole_and_a_server_goes_on_with_it() {
    let old = cluster(true);
    let port = free_port();
    let mut daemon = Setup::new(&url(&old)).port(port).start();
    let load = Load::start(fleet(port));
    load.wait_acks(40, secs(20));
    let before = load.n_acked();
    let file = dump(&old);
    load.wait_acks(20, secs(20));
    let report = load.finish();
    let new = cluster(false);
    restore(&file, &new);
    let mut restored = pg::connect(&url(&new));
    let stored = all_records(&mut restored);
    assert!(
        stored >= i64::try_from(before * 3).unwrap(),
        "{stored} rows in the dump, {before} packets of 3 were acked before it"
    );
    let mut original = pg::connect(&url(&old));
    let same = "SELECT coalesce(sum(hashtext(r::text)), 0)::bigint FROM trackport.record r WHERE received_at <= $1";
    let until: std::time::SystemTime = restored
        .query_one(
            "SELECT max(received_at) - interval '1 s' FROM trackport.record",
            &[],
        )
        .unwrap()
        .get(0);
    assert_eq!(
        number(&mut restored, same, &[&until]),
        number(&mut original, same, &[&until]),
        "the rows are those of the original"
    );
    // The devices, their ids and their partitions are taken up where they were.
    restart_with(&mut daemon, &old, &new);
    daemon.wait_ready();
    let mut device = Device::login(port, report.seen[0].imei);
    device.deliver(&packet(5_000, 2));
    let mut newcomer = Device::login(port, imei(790));
    newcomer.deliver(&packet(0, 1));
    assert_eq!(records(&mut restored, imei(790)), 1);
    assert_eq!(all_records(&mut restored), stored + 3);
    let checked = text(&daemon.command(&["check"]).stdout);
    assert!(!checked.contains("error"), "{checked}");
}

#[test]
fn the_database_moves_to_another_server_while_devices_send_and_nothing_is_lost_or_doubled() {
    let old = cluster(true);
    let port = free_port();
    let mut daemon = Setup::new(&url(&old)).port(port).start();
    let load = Load::start(fleet(port));
    load.wait_acks(40, secs(20));
    // From here on the spool acknowledges: nobody writes to the old server any more.
    let mut superuser = pg::connect(&old.url("postgres", "postgres"));
    superuser
        .batch_execute(
            "ALTER ROLE trackport NOLOGIN;
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'trackport'",
        )
        .expect("the role is shut out");
    load.wait_acks(20, secs(30));
    let file = dump(&old);
    let new = cluster(false);
    restore(&file, &new);
    let mut copied = pg::connect(&url(&new));
    let of_dump = digest(&mut copied);
    assert_eq!(
        of_dump,
        digest(&mut pg::connect(&old.url(NAME, "postgres")))
    );
    load.wait_acks(20, secs(30));
    restart_with(&mut daemon, &old, &new);
    load.wait_acks(40, secs(60));
    let report = load.finish();
    daemon.wait_drained(secs(30));
    assert_eq!(report.check(&mut copied), 0);
    assert!(report.slowest() < secs(30), "{:?}", report.slowest());
    // What came after the move is at the new server alone.
    assert_eq!(
        of_dump,
        digest(&mut pg::connect(&old.url(NAME, "postgres")))
    );
}

#[test]
fn a_standby_takes_over_and_nothing_is_lost_or_doubled() {
    let old = cluster(true);
    let port = free_port();
    let mut daemon = Setup::new(&url(&old)).port(port).start();
    let load = Load::start(fleet(port));
    load.wait_acks(40, secs(20));
    let new = old.standby("new");
    load.wait_acks(20, secs(20));
    // The old server sends its last bytes to the standby before it ends: that is what "fast" does.
    old.stop_server("fast");
    load.wait_acks(10, secs(30));
    new.promote();
    restart_with(&mut daemon, &old, &new);
    load.wait_acks(40, secs(60));
    let report = load.finish();
    daemon.wait_drained(secs(30));
    let mut client = pg::connect(&url(&new));
    assert_eq!(report.check(&mut client), 0);
}

#[test]
fn two_servers_share_a_database_and_the_devices_move_from_one_machine_to_the_other() {
    let database = cluster(true);
    let (first_port, second_port) = (free_port(), free_port());
    let mut first = Setup::new(&url(&database)).port(first_port).start();
    let load = Load::start(fleet(first_port));
    load.wait_acks(30, secs(20));
    let second = Setup::new(&url(&database)).port(second_port).start();
    // Half of the fleet speaks to the new machine already, and both store.
    let moved = Load::start(Plan {
        first: 750,
        ..fleet(second_port)
    });
    moved.wait_acks(30, secs(20));
    load.wait_acks(30, secs(20));
    // The database is away when the old machine ends: what waits in its spool is carried over.
    database.stop_server("fast");
    load.wait_acks(8, secs(30));
    let report = load.finish();
    assert_eq!(first.stop(), Some(0));
    let waiting = first.folder().file("waiting.jsonl");
    first.must(&["spool", "export", "--to", waiting.to_str().unwrap()]);
    let imported = second.must(&["spool", "import", waiting.to_str().unwrap()]);
    assert!(imported.contains("put into the spool"), "{imported}");
    database.start_server();
    second.wait_drained(secs(40));
    let both = moved.finish();
    let mut client = pg::connect(&url(&database));
    eventually(secs(20), "every acked record of both machines", || {
        let acked = report.n_acked() + both.n_acked();
        u64::try_from(all_records(&mut client)).unwrap() >= acked
    });
    report.check(&mut client);
    both.check(&mut client);
}
