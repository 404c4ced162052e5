//! What must hold for a device that is erased: nothing of it is left and nothing of it comes back, whatever it sends meanwhile, whatever is on its
//! way, in a batch or in the spool; every other device keeps everything; whoever is interrupted goes on.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Instant;

use postgres::Client;
use trackport::imei::Imei;
use trackport::protocol::teltonika::encode::login;
use trackport::roster;
use trackport::spool::{Folder, find, scan};
use trackport::store::forget::TABLES;

use crate::harness::daemon::{BINARY, Daemon, Setup, started, started_known, text};
use crate::harness::device::{ANSWER, Answer, Device, packet};
use crate::harness::load::{Load, Plan};
use crate::harness::postgres::{self as pg, Cluster};
use crate::harness::rows::{add, number, records, while_locked};
use crate::harness::{eventually, free_port, imei, ms, secs};

/// The id that the table has for a device.
#[track_caller]
fn id(client: &mut Client, imei: Imei) -> i32 {
    let sql = "SELECT id FROM trackport.device WHERE imei = $1";
    client.query_one(sql, &[&imei.to_string()]).unwrap().get(0)
}

/// Rows that name the device or carry its id, over all tables of the schema: as `table.column: n`.
fn traces(client: &mut Client, id: i32, imei: Imei) -> Vec<String> {
    let columns = client
        .query(
            "SELECT c.relname::text, a.attname::text, a.attname IN ('device_id', 'device') AND a.atttypid = 'integer'::regtype
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relnamespace = 'trackport'::regnamespace AND c.relkind = 'r' ORDER BY 1, 2",
            &[],
        )
        .unwrap();
    assert!(
        columns.len() > 100,
        "every column of every table and partition"
    );
    let mut traces = Vec::new();
    for row in columns {
        let (table, column, is_id): (String, String, bool) = (row.get(0), row.get(1), row.get(2));
        let condition = if is_id {
            format!("{column} = {id}")
        } else {
            format!(
                "position('{imei}' IN {column}::text) > 0 OR position(encode('{imei}', 'hex') IN {column}::text) > 0"
            )
        };
        let n = number(
            client,
            &format!("SELECT count(*) FROM trackport.{table} WHERE {condition}"),
            &[],
        );
        if n > 0 {
            traces.push(format!("{table}.{column}: {n}"));
        }
    }
    traces
}

/// Whether a file of the spool's folder, the copy of the list included, has the device.
fn is_on_disk(daemon: &Daemon, imei: Imei) -> bool {
    let path = daemon.folder().file("spool");
    let folder = Folder::at(&path).unwrap();
    let in_spool = find(&folder).unwrap().into_iter().any(|file| {
        let bytes = fs::read(path.join(file.name)).unwrap_or_default();
        scan(&bytes)
            .entries
            .iter()
            .any(|(_, entry)| entry.imei == imei)
    });
    let copy = roster::read(&roster::file(&path))
        .unwrap()
        .unwrap_or_default();
    in_spool || copy.iter().any(|(other, _)| *other == imei)
}

/// Starts `device forget` and does not wait for it.
fn begin(daemon: &Daemon, imei: Imei, more: &[&str]) -> Child {
    Command::new(BINARY)
        .args(["device", "forget", &imei.to_string(), "--yes"])
        .args(more)
        .arg("--conf")
        .arg(daemon.conf())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn forget(daemon: &Daemon, imei: Imei, more: &[&str]) -> String {
    daemon.must(&[&["device", "forget", &imei.to_string(), "--yes"], more].concat())
}

#[test]
fn every_table_that_knows_devices_is_one_that_is_emptied() {
    let (_database, mut client) = pg::shared().migrated();
    let rows = client
        .query(
            "SELECT DISTINCT c.relname::text
             FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
             WHERE c.relnamespace = 'trackport'::regnamespace AND c.relkind IN ('r', 'p') AND a.attname IN ('device_id', 'imei')
             ORDER BY 1",
            &[],
        )
        .unwrap();
    let tables: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(tables, TABLES);
}

#[test]
fn an_asset_goes_with_its_only_device_and_stays_where_others_were_fitted_or_people_named_it() {
    let (daemon, mut client, _) = started_known();
    for n in [1, 2] {
        add(&mut client, imei(n), None);
    }
    let one = id(&mut client, imei(1));
    let two = id(&mut client, imei(2));
    // The second takes over the asset of the first; one that nobody named and one with a name had the first alone.
    let script = format!(
        "UPDATE trackport.fitting SET removed_at = '2026-01-01' WHERE device_id = {one};
         DELETE FROM trackport.fitting WHERE device_id = {two};
         INSERT INTO trackport.fitting (device_id, asset_id, fitted_at)
             SELECT {two}, asset_id, '2026-01-01' FROM trackport.fitting WHERE device_id = {one};
         INSERT INTO trackport.asset (name) VALUES ('Truck 12'), ('{0}');
         INSERT INTO trackport.fitting (device_id, asset_id, fitted_at, removed_at)
             SELECT {one}, id, timestamptz '2026-02-01', timestamptz '2026-03-01' FROM trackport.asset WHERE name = 'Truck 12'
             UNION ALL SELECT {one}, max(id), '2026-03-01', '2026-04-01' FROM trackport.asset WHERE name = '{0}'",
        imei(1)
    );
    client.batch_execute(&script).unwrap();
    let shared = number(
        &mut client,
        "SELECT asset_id::bigint FROM trackport.fitting WHERE device_id = $1",
        &[&two],
    );
    forget(&daemon, imei(1), &[]);
    assert_eq!(traces(&mut client, one, imei(1)), Vec::<String>::new());
    let named = "SELECT count(*) FROM trackport.asset WHERE name = 'Truck 12'";
    assert_eq!(number(&mut client, named, &[]), 1);
    // Beside it the one that is shared, and the one that the second has left.
    let all = "SELECT count(*) FROM trackport.asset";
    assert_eq!(number(&mut client, all, &[]), 3);
    let kept =
        "SELECT count(*) FROM trackport.fitted WHERE device_id = $1 AND asset_id = $2::bigint";
    assert_eq!(number(&mut client, kept, &[&two, &shared]), 1);
}

#[test]
fn nothing_is_left_in_any_table_and_the_others_keep_everything() {
    let (daemon, mut client, port) = started_known();
    for n in [1, 2] {
        add(&mut client, imei(n), None);
    }
    let both = [id(&mut client, imei(1)), id(&mut client, imei(2))];
    eventually(secs(10), "they are on the list", || {
        daemon.status().n_devices == 2
    });
    for n in [1, 2] {
        let mut device = Device::login(port, imei(n));
        device.deliver(&packet(0, 50));
        // Broken, so that quarantine has something.
        let mut broken = packet(100, 1);
        *broken.last_mut().unwrap() ^= 1;
        device.send(&broken);
        device.expect_closed(ANSWER);
    }
    for n in [1_i64, 2] {
        let (imei, id) = (
            imei(n.unsigned_abs()).to_string(),
            both[usize::try_from(n - 1).unwrap()],
        );
        client
            .batch_execute(&format!(
                "INSERT INTO trackport.command (device_id, text) VALUES ({id}, 'getinfo');
                 INSERT INTO trackport.login_attempt (imei, port, n_attempts, first_at, last_at, reason)
                     VALUES ('{imei}', 'x', 1, now(), now(), 'x');
                 INSERT INTO trackport.port_event (at, thread, generation, event, reason)
                     VALUES (now(), 'port', 1, 'death', 'while imei={imei} was read');
                 INSERT INTO trackport.quarantine (received_at, last_at, reason, code, bytes, digest)
                     VALUES (now(), now(), 'cut', 'cut', '\\x000f'::bytea || '{imei}'::bytea, {n});
                 INSERT INTO trackport.imported_device VALUES ({id});
                 INSERT INTO trackport.imported_position (device_id, time, source, source_id, longitude, latitude)
                     SELECT {id}, now() - n * interval '1 min', 'traccar', n, 25, 54 FROM generate_series(1, 25000) n;
                 INSERT INTO trackport.record SELECT (jsonb_populate_record(r.o, jsonb_build_object('digest', n,
                     'time', now() - n * interval '1 min'))).*
                     FROM (SELECT o FROM trackport.record o WHERE device_id = {id} LIMIT 1) r, generate_series(1, 25000) n"
            ))
            .unwrap();
    }
    eventually(secs(10), "latest and state are written", || {
        let sql = "SELECT (SELECT count(*) FROM trackport.latest) + (SELECT count(*) FROM trackport.device_state WHERE NOT connected)";
        number(&mut client, sql, &[]) == 4
    });
    let others = traces(&mut client, both[1], imei(2));
    assert_eq!(traces(&mut client, both[0], imei(1)), others);
    assert!(others.len() > 10, "{others:?}");

    let told = forget(&daemon, imei(1), &[]);
    for line in [
        "25 050 from trackport.record",
        "25 000 from trackport.imported_position",
        "2 from trackport.quarantine",
        "1 from trackport.device\n",
        "not within reach: backups, WAL archives",
        "vacuumdb",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(traces(&mut client, both[0], imei(1)), Vec::<String>::new());
    assert_eq!(traces(&mut client, both[1], imei(2)), others);
    assert!(!is_on_disk(&daemon, imei(1)) && is_on_disk(&daemon, imei(2)));
    let mut stranger = Device::connect(port);
    stranger.send(&login(imei(1)));
    stranger.expect_last(&[0], ANSWER);
    Device::login(port, imei(2)).deliver(&packet(200, 1));
    // Nothing is known of it, and so there is nothing to erase but that this was asked.
    let told = forget(&daemon, imei(9), &[]);
    assert!(told.contains("is erased"), "{told}");
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM trackport.device", &[]),
        1
    );
}

#[test]
fn a_device_that_sends_all_the_time_does_not_come_back_where_only_known_ones_may() {
    let (daemon, mut client, port) = started_known();
    for n in 1..=6 {
        add(&mut client, imei(n), None);
    }
    let plan = |first, n_devices| Plan {
        first,
        n_devices,
        n_records: 5,
        pause: ms(0),
        patience: secs(2),
        ..Plan::one(port, first)
    };
    // The one that goes connects three times at once: its own connections push each other out as well.
    let doomed: Vec<Load> = (0..3).map(|_| Load::start(plan(1, 1))).collect();
    let others = Load::start(plan(2, 5));
    others.wait_acks(200, secs(20));
    eventually(secs(10), "it sends", || records(&mut client, imei(1)) > 20);
    let old = id(&mut client, imei(1));
    let told = forget(&daemon, imei(1), &[]);
    assert!(
        told.contains("if it still sends, its logins are refused"),
        "{told}"
    );
    // Longer than any note is written later.
    let begun = Instant::now();
    while begun.elapsed() < secs(4) {
        let mut left = traces(&mut client, old, imei(1));
        left.retain(|trace| !trace.starts_with("login_attempt.imei"));
        assert_eq!(left, Vec::<String>::new());
        sleep(ms(300));
    }
    others.wait_acks(50, secs(20));
    let report = others.finish();
    assert_eq!(report.check(&mut client), 0);
    assert_eq!(report.n_reconnects(), 0, "the others notice nothing");
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
    drop(doomed.into_iter().map(Load::finish).collect::<Vec<_>>());
}

#[test]
fn where_every_device_may_it_comes_back_as_a_new_one_without_its_past() {
    let (daemon, mut client, port) = started();
    let load = Load::start(Plan {
        pause: ms(0),
        patience: secs(2),
        ..Plan::one(port, 1)
    });
    load.wait_acks(100, secs(20));
    for _ in 0..3 {
        let old = id(&mut client, imei(1));
        let told = forget(&daemon, imei(1), &[]);
        assert!(
            told.contains("makes a new device; --refuse would keep it out"),
            "{told}"
        );
        load.wait_acks(20, secs(20));
        let new = id(&mut client, imei(1));
        assert_ne!(new, old);
        let sql = "SELECT (SELECT count(*) FROM trackport.record WHERE device_id = $1)
                 + (SELECT count(*) FROM trackport.latest WHERE device_id = $1)
                 + (SELECT count(*) FROM trackport.device_state WHERE device_id = $1)
                 + (SELECT count(*) FROM trackport.quarantine WHERE device_id = $1)";
        assert_eq!(number(&mut client, sql, &[&old]), 0, "of its past");
        let sql = "SELECT count(*) FROM trackport.record r WHERE NOT EXISTS (SELECT FROM trackport.device d WHERE d.id = r.device_id)";
        assert_eq!(number(&mut client, sql, &[]), 0, "records of nobody");
    }
    load.finish();
}

#[test]
fn with_refuse_only_a_refusal_with_its_imei_stays() {
    let (daemon, mut client, port) = started();
    let load = Load::start(Plan {
        patience: secs(1),
        ..Plan::one(port, 1)
    });
    load.wait_acks(20, secs(20));
    client
        .batch_execute(
            "UPDATE trackport.device SET name = 'Ann', note = 'x', attributes = '{\"a\": 1}'",
        )
        .unwrap();
    let told = forget(&daemon, imei(1), &["--refuse"]);
    assert!(told.contains("kept as that of a refused device"), "{told}");
    sleep(secs(2));
    let sql = "SELECT state, name, note, attributes::text FROM trackport.device WHERE imei = $1";
    let row = client.query_one(sql, &[&imei(1).to_string()]).unwrap();
    assert_eq!(row.get::<_, String>(0), "refused");
    assert_eq!(
        (
            row.get::<_, Option<String>>(1),
            row.get::<_, Option<String>>(2)
        ),
        (None, None)
    );
    assert_eq!(row.get::<_, String>(3), "{}");
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM trackport.record", &[]),
        0
    );
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM trackport.latest", &[]),
        0
    );
    load.finish();
    daemon.must(&["device", "accept", &imei(1).to_string()]);
    eventually(secs(10), "it is let in again", || {
        Device::try_login(port, imei(1)).is_some()
    });
}

#[test]
fn rows_that_hang_in_the_database_are_waited_for() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url)
        .port(port)
        .timeout("ack_target", "500 ms")
        .timeout("statement", "20 s")
        .start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    let old = id(&mut client, imei(1));
    let mut child = while_locked(&mut client, "trackport.record IN EXCLUSIVE MODE", || {
        // The writer hangs with its rows; the spool takes the packet over and acks it.
        device.deliver(&packet(1, 30));
        let mut child = begin(&daemon, imei(1), &[]);
        device.expect_closed(ANSWER);
        sleep(secs(2));
        assert!(
            child.try_wait().unwrap().is_none(),
            "it waits for the rows in the writer's hand"
        );
        child
    });
    eventually(secs(40), "it has ended", || {
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    sleep(secs(2));
    assert_eq!(traces(&mut client, old, imei(1)), Vec::<String>::new());
    assert!(!is_on_disk(&daemon, imei(1)));
}

#[test]
fn what_lies_in_the_spool_is_erased_with_the_rest_and_without_the_database_nothing_is() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let plan = |first, n_devices| Plan {
        n_devices,
        n_records: 3,
        pause: ms(5),
        patience: secs(60),
        ..Plan::one(port, first)
    };
    let doomed = Load::start(Plan {
        patience: secs(2),
        ..plan(1, 1)
    });
    let others = Load::start(plan(2, 4));
    others.wait_acks(20, ANSWER);
    cluster.stop_server("fast");
    others.wait_acks(400, secs(40));
    eventually(secs(10), "its packets are in the spool", || {
        is_on_disk(&daemon, imei(1))
    });
    let output = daemon.command(&["device", "forget", &imei(1).to_string(), "--yes"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("device forget needs the database; nothing is erased"),
        "{told}"
    );
    cluster.start_server();
    let mut client = database.connect();
    let old = id(&mut client, imei(1));
    forget(&daemon, imei(1), &["--refuse"]);
    let in_spool = || {
        let path = daemon.folder().file("spool");
        find(&Folder::at(&path).unwrap())
            .unwrap()
            .into_iter()
            .any(|file| {
                let bytes = fs::read(path.join(file.name)).unwrap_or_default();
                scan(&bytes)
                    .entries
                    .iter()
                    .any(|(_, entry)| entry.imei == imei(1))
            })
    };
    let check = |client: &mut Client| {
        assert!(!in_spool());
        let mut left = traces(client, old, imei(1));
        left.retain(|trace| {
            !trace.starts_with("login_attempt.imei") && !trace.starts_with("device.imei")
        });
        assert_eq!(left, Vec::<String>::new());
    };
    check(&mut client);
    others.wait_acks(50, secs(20));
    daemon.wait_drained(secs(60));
    sleep(secs(3));
    check(&mut client);
    doomed.finish();
    let report = others.finish();
    assert_eq!(report.check(&mut client), 0);
}

#[test]
fn without_a_server_it_works_too_and_never_beside_one_that_cannot_be_asked() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let elsewhere = Setup::new(&database.url).port(free_port()).write();
    Device::login(port, imei(1)).deliver(&packet(0, 3));
    let old = id(&mut client, imei(1));
    eventually(secs(15), "the list is copied", || {
        is_on_disk(&daemon, imei(1))
    });
    let args = ["device", "forget", &imei(1).to_string(), "--yes"];
    let output = elsewhere.command(&args);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("a server is connected to this database as trackport/"),
        "{told}"
    );
    assert_eq!(records(&mut client, imei(1)), 3);
    daemon.stop();
    eventually(secs(10), "its connections are gone", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'trackport/%'";
        number(&mut client, sql, &[]) == 0
    });
    daemon.must(&args);
    assert_eq!(traces(&mut client, old, imei(1)), Vec::<String>::new());
    assert!(!is_on_disk(&daemon, imei(1)));
    daemon.launch();
    daemon.wait_ready();
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM trackport.device", &[]),
        0
    );
}

#[test]
fn a_server_of_another_container_with_the_same_process_number_is_another_server() {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    Device::login(port, imei(1)).deliver(&packet(0, 3));
    let mut other = database.connect();
    let name = format!(
        "SET application_name = 'trackport/{}-1/writer-0'",
        daemon.pid()
    );
    other.batch_execute(&name).unwrap();
    let args = ["device", "forget", &imei(1).to_string(), "--yes"];
    let output = daemon.command(&args);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("-1/writer-0, and does not answer"), "{told}");
    assert_eq!(records(&mut client, imei(1)), 3);
    drop(other);
    eventually(secs(10), "its connection is gone", || {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE '%-1/writer-0'";
        number(&mut client, sql, &[]) == 0
    });
    daemon.must(&args);
    assert_eq!(records(&mut client, imei(1)), 0);
}

#[test]
fn a_spool_that_nobody_drains_keeps_a_device_from_being_erased() {
    let cluster = Cluster::start();
    let (database, client) = cluster.migrated();
    drop(client);
    let port = free_port();
    let mut daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 1));
    cluster.stop_server("fast");
    device.deliver(&packet(1, 1));
    daemon.stop();
    // A file that was set aside earlier: nobody drains it, and it may have packets of others.
    let spool = daemon.folder().file("spool");
    let bad = spool.join("0000000000000099.seg.bad");
    fs::copy(spool.join("0000000000000001.seg"), &bad).unwrap();
    cluster.start_server();
    let args = ["device", "forget", &imei(1).to_string(), "--yes"];
    let output = daemon.command(&args);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(
        told.contains("1 file of the spool") && told.contains("start the server"),
        "{told}"
    );
    let mut client = database.connect();
    assert_eq!(records(&mut client, imei(1)), 1, "nothing is erased");
    let old = id(&mut client, imei(1));
    daemon.launch();
    daemon.wait_ready();
    let told = daemon.must(&args);
    assert!(
        told.contains(&format!("not erased: {} was set aside", bad.display())),
        "{told}"
    );
    assert_eq!(traces(&mut client, old, imei(1)), Vec::<String>::new());
    fs::remove_file(&bad).unwrap();
    assert!(
        !is_on_disk(&daemon, imei(1)),
        "the one thing that was named was all"
    );
}

#[test]
fn killed_half_way_it_leaves_a_refused_device_and_the_same_again_ends_it() {
    let (daemon, mut client, port) = started();
    Device::login(port, imei(1)).deliver(&packet(0, 1));
    let old = id(&mut client, imei(1));
    client
        .batch_execute(
            "SET statement_timeout = 0;
             INSERT INTO trackport.record SELECT (jsonb_populate_record(r.o, jsonb_build_object('digest', n))).*
                 FROM (SELECT o FROM trackport.record o LIMIT 1) r, generate_series(1, 200000) n",
        )
        .unwrap();
    let mut child = begin(&daemon, imei(1), &[]);
    eventually(secs(30), "some are deleted", || {
        records(&mut client, imei(1)) < 195_000
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(
        records(&mut client, imei(1)) > 0,
        "it was not half way any more"
    );
    let mut device = Device::connect(port);
    device.send(&login(imei(1)));
    assert_eq!(device.answer(1, ANSWER), Answer::Bytes(vec![0]), "kept out");
    forget(&daemon, imei(1), &[]);
    assert_eq!(traces(&mut client, old, imei(1)), Vec::<String>::new());
}

#[test]
fn a_script_must_say_that_it_is_meant() {
    let (daemon, mut client, port) = started();
    Device::login(port, imei(1)).deliver(&packet(0, 1));
    let output = daemon.command(&["device", "forget", &imei(1).to_string()]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("--yes says that this is meant"));
    let sql = "SELECT count(*) FROM trackport.device WHERE state = 'accepted'";
    assert_eq!(number(&mut client, sql, &[]), 1);
    assert_eq!(records(&mut client, imei(1)), 1);
    // Nobody else deletes a device by a slip of the pen.
    let refused = client.batch_execute("DELETE FROM trackport.device");
    assert!(refused.is_err());
}
