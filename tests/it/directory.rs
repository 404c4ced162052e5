//! What must hold when people work in the database beside the server: the memory follows a device list that is changed by
//! hand or restored, and who reads for long holds up no record.

use trackport::protocol::teltonika::encode::login;

use crate::harness::daemon::{Setup, started_known};
use crate::harness::device::{ANSWER, Device, packet};
use crate::harness::rows::{add, number, records, set_state};
use crate::harness::{eventually, free_port, imei, postgres as pg, secs};

#[test]
fn a_device_that_got_another_imei_is_let_in_by_that_one_only() {
    let (_daemon, mut client, port) = started_known();
    add(&mut client, imei(1), None);
    eventually(secs(5), "the device is let in", || {
        Device::try_login(port, imei(1)).is_some()
    });
    let mut before = Device::login(port, imei(1));
    before.deliver(&packet(0, 1));
    let sql = "UPDATE trackport.device SET imei = $2 WHERE imei = $1";
    let (old, new) = (imei(1).to_string(), imei(2).to_string());
    client.execute(sql, &[&old, &new]).unwrap();
    before.expect_closed(secs(5));
    let mut again = Device::connect(port);
    again.send(&login(imei(1)));
    again.expect_last(&[0], ANSWER);
    Device::login(port, imei(2)).deliver(&packet(1, 1));
    assert_eq!(records(&mut client, imei(2)), 2, "all of one device");
}

#[test]
fn a_device_that_a_restored_database_lacks_is_not_let_in_any_more() {
    let (database, mut client) = pg::shared().migrated();
    add(&mut client, imei(1), None);
    add(&mut client, imei(2), None);
    let port = free_port();
    let daemon = Setup::new(&database.url).known_only().port(port).start();
    let mut gone = Device::login(port, imei(1));
    let mut stays = Device::login(port, imei(2));
    // A restore fires no trigger and ends the connections.
    let delete = format!(
        "SET session_replication_role = replica;
         DELETE FROM trackport.device WHERE imei = '{}';
         RESET session_replication_role",
        imei(1)
    );
    client.batch_execute(&delete).unwrap();
    client
        .batch_execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'trackport/%'",
        )
        .unwrap();
    gone.expect_closed(secs(10));
    let mut again = Device::connect(port);
    again.send(&login(imei(1)));
    again.expect_last(&[0], ANSWER);
    stays.deliver(&packet(0, 1));
    assert_eq!(records(&mut client, imei(2)), 1);
    assert_eq!(daemon.count("thread died"), 0);
}

#[test]
fn a_pending_device_on_its_pinned_port_is_not_disturbed_by_changes() {
    let (database, mut client) = pg::shared().migrated();
    add(&mut client, imei(1), None);
    set_state(&mut client, imei(1), "pending");
    let port = free_port();
    let pin = format!("device = \"{}\"\nallow = [\"127.0.0.0/8\"]", imei(1));
    let _daemon = Setup::new(&database.url)
        .known_only()
        .port_with(port, &pin)
        .start();
    let mut device = Device::login(port, imei(1));
    client
        .batch_execute("UPDATE trackport.device SET name = 'Van 1'")
        .unwrap();
    device.expect_silence(secs(2));
    device.deliver(&packet(0, 1));
}

#[test]
fn a_long_report_at_start_holds_up_partitions_and_nothing_else() {
    let (database, mut client) = pg::shared().migrated();
    let mut reporter = database.connect();
    let mut report = reporter.transaction().unwrap();
    report
        .query("SELECT count(*) FROM trackport.record", &[])
        .unwrap();
    let port = free_port();
    let daemon = Setup::new(&database.url).port(port).start();
    let mut device = Device::login(port, imei(1));
    device.deliver(&packet(0, 3));
    let latest = "SELECT count(*) FROM trackport.latest";
    eventually(secs(10), "latest is written", || {
        number(&mut client, latest, &[]) == 1
    });
    daemon.wait_log(secs(10), &["work=partitions", "lock timeout"]);
    let partitions =
        "SELECT count(*) FROM pg_inherits WHERE inhparent = 'trackport.record'::regclass";
    assert_eq!(number(&mut client, partitions, &[]), 1, "the default one");
    report.commit().unwrap();
    eventually(secs(30), "the partitions are made", || {
        number(&mut client, partitions, &[]) == 7
    });
    assert_eq!(records(&mut client, imei(1)), 3);
    device.deliver(&packet(3, 1));
}
