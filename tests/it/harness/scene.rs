//! A server with its web and a device that was connected before anything happened to either.

use std::time::{Duration, Instant};

use super::daemon::{Daemon, Setup};
use super::device::{Device, packet};
use super::{free_port, imei, postgres as pg, secs};

/// What an ack may take on a busy machine; well below what the web gives slow clients.
const PROMPT: Duration = secs(2);

/// The two, and where the web listens.
pub struct Scene {
    pub daemon: Daemon,
    pub device: Device,
    second: u64,
    pub web: u16,
}

impl Scene {
    /// On a database of its own; `change` is what differs from the setup of all.
    pub fn new(change: impl FnOnce(Setup) -> Setup) -> Scene {
        let (database, _) = pg::shared().migrated();
        let (port, web) = (free_port(), free_port());
        let http = format!("[http]\nlisten = \"127.0.0.1:{web}\"");
        let daemon = change(Setup::new(&database.url).port(port).more(&http)).start();
        Scene {
            daemon,
            device: Device::login(port, imei(1)),
            second: 0,
            web,
        }
    }

    /// A packet is acked as ever, on the connection that was there all the time.
    #[track_caller]
    pub fn acks(&mut self) {
        let begun = Instant::now();
        self.device.deliver(&packet(self.second, 1));
        self.second += 1;
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    }
}
