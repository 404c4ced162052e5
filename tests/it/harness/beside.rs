//! A device that behaves, beside one that does not: whatever the other does, this one gets its acks in time.

use std::time::Duration;

use postgres::Client;

use super::daemon::{Daemon, Setup};
use super::device::{ANSWER, Device, packet};
use super::load::{Load, Plan};
use super::{free_port, imei, postgres as pg, secs};

/// What an ack may take while somebody else misbehaves. Well below every time-out, and with room for a busy machine.
const UNDISTURBED: Duration = secs(3);

/// The number of the device that behaves.
const GOOD: u64 = 900;

/// Lets `attack` happen while another device on the same port sends packets, and sees that it gets its acks all the time.
pub fn while_another_sends(
    setup: impl FnOnce(Setup) -> Setup,
    attack: impl FnOnce(&Daemon, &mut Client, u16),
) {
    let (database, mut client) = pg::shared().migrated();
    let port = free_port();
    let daemon = setup(Setup::new(&database.url).port(port)).start();
    // The first packet of a device creates it; from then on nothing is special.
    Device::login(port, imei(GOOD)).deliver(&packet(0, 1));
    let good = Load::start(Plan::one(port, GOOD));
    good.wait_acks(3, ANSWER);
    attack(&daemon, &mut client, port);
    good.wait_acks(3, ANSWER);
    let report = good.finish();
    assert!(
        report.slowest() < UNDISTURBED,
        "an ack took {:?}",
        report.slowest()
    );
    assert_eq!(report.n_reconnects(), 0, "the other device was disturbed");
    assert_eq!(report.check(&mut client), 0);
    assert_eq!(
        daemon.count("thread died") + daemon.count("thread silent"),
        0
    );
}
