//! Many devices that send packet after packet, send again what was not acked, and remember what was.
//!
//! Each device has one packet on its way, as trackers do. Every record has a time of its own, so that the table can be
//! compared with what was acked, record by record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use trackport::imei::Imei;

use super::device::{Device, packet};
use super::{imei, join, ms, spawn};

/// How the devices of a load send.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Where they connect.
    pub port: u16,
    /// The number of the first one's IMEI.
    pub first: u64,
    /// How many there are.
    pub n_devices: u64,
    /// Records in each packet.
    pub n_records: u64,
    /// Between an ack and the next packet.
    pub pause: Duration,
    /// How long an ack is waited for until the device connects anew.
    pub patience: Duration,
}

impl Plan {
    /// One device at `port`, one record a packet, a packet every 20 ms.
    pub fn one(port: u16, number: u64) -> Plan {
        Plan {
            port,
            first: number,
            n_devices: 1,
            n_records: 1,
            pause: ms(20),
            patience: Duration::from_secs(30),
        }
    }
}

/// What one device saw.
#[derive(Clone, Debug)]
pub struct Seen {
    pub imei: Imei,
    /// Seconds, see [`super::device::record`], of the records acked.
    pub acked: u64,
    /// The longest time from sending a packet to having its ack, connecting anew included.
    pub slowest: Duration,
    /// Connections after the first.
    pub n_reconnects: u64,
    /// Acks that named another count.
    pub n_wrong: u64,
    /// The second of the packet that was sent and never acked.
    pub unacked: Option<u64>,
}

/// Devices at work.
pub struct Load {
    plan: Plan,
    stop: Arc<AtomicBool>,
    n_acked: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Seen>>,
}

impl Load {
    /// Starts the devices.
    pub fn start(plan: Plan) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let n_acked = Arc::new(AtomicU64::new(0));
        let threads = (0..plan.n_devices)
            .map(|number| {
                let (stop, n_acked) = (Arc::clone(&stop), Arc::clone(&n_acked));
                spawn(move || drive(plan, imei(plan.first + number), &stop, &n_acked))
            })
            .collect();
        Load {
            plan,
            stop,
            n_acked,
            threads,
        }
    }

    /// Packets acked so far.
    pub fn n_acked(&self) -> u64 {
        self.n_acked.load(Ordering::Relaxed)
    }

    /// Waits until `n` more packets were acked.
    #[track_caller]
    pub fn wait_acks(&self, n: u64, within: Duration) {
        let wanted = self.n_acked() + n;
        super::eventually(within, &format!("{n} more acks"), || {
            self.n_acked() >= wanted
        });
    }

    /// Ends the devices: each finishes the packet that it has sent, if that is acked in time.
    pub fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        let seen = self.threads.into_iter().map(join).collect();
        Report {
            plan: self.plan,
            seen,
        }
    }
}

/// What all devices saw.
pub struct Report {
    pub plan: Plan,
    pub seen: Vec<Seen>,
}

impl Report {
    /// The longest time that any packet took to its ack.
    pub fn slowest(&self) -> Duration {
        self.seen
            .iter()
            .map(|seen| seen.slowest)
            .max()
            .unwrap_or_default()
    }

    pub fn n_reconnects(&self) -> u64 {
        self.seen.iter().map(|seen| seen.n_reconnects).sum()
    }

    /// Records acked, of all devices.
    pub fn n_acked(&self) -> u64 {
        self.seen.iter().map(|seen| seen.acked).sum()
    }

    /// Every acked record must be in the table, none twice, and nothing that was never sent.
    /// Returns how many are stored that were not acked.
    #[track_caller]
    pub fn check(&self, client: &mut postgres::Client) -> u64 {
        let mut stored: BTreeMap<(String, u64), i64> = BTreeMap::new();
        for row in client
            .query(
                "SELECT d.imei, (extract(epoch FROM r.time) * 1000)::bigint, count(*)
                 FROM trackport.record r JOIN trackport.device d ON d.id = r.device_id GROUP BY 1, 2",
                &[],
            )
            .expect("the table can be read")
        {
            let time_ms = u64::try_from(row.get::<_, i64>(1)).expect("a time after 1970");
            stored.insert((row.get(0), (time_ms - super::device::TIME_MS) / 1000), row.get(2));
        }
        let doubled: Vec<_> = stored.iter().filter(|(_, n)| **n > 1).take(5).collect();
        assert!(doubled.is_empty(), "stored twice: {doubled:?}");
        let mut n_unacked = 0;
        for seen in &self.seen {
            assert_eq!(seen.n_wrong, 0, "acks with a wrong count to {}", seen.imei);
            let imei = seen.imei.to_string();
            let lost: Vec<u64> = (0..seen.acked)
                .filter(|second| !stored.contains_key(&(imei.clone(), *second)))
                .collect();
            assert!(
                lost.is_empty(),
                "{imei}: acked and not stored: {lost:?} of {}",
                seen.acked
            );
            let of_device = stored.keys().filter(|(stored, _)| *stored == imei).count() as u64;
            let sent = seen.acked + seen.unacked.map_or(0, |_| self.plan.n_records);
            assert!(of_device <= sent, "{imei}: {of_device} stored, {sent} sent");
            n_unacked += of_device - seen.acked;
        }
        n_unacked
    }
}

/// One device: the next packet only after the ack of the last, the same one again until it comes.
fn drive(plan: Plan, imei: Imei, stop: &AtomicBool, n_acked: &AtomicU64) -> Seen {
    let mut seen = Seen {
        imei,
        acked: 0,
        slowest: Duration::ZERO,
        n_reconnects: 0,
        n_wrong: 0,
        unacked: None,
    };
    let mut device: Option<Device> = None;
    let mut connected_before = false;
    while !stop.load(Ordering::Relaxed) {
        let bytes = packet(seen.acked, plan.n_records);
        let begun = Instant::now();
        loop {
            // A device without an ack goes on trying for a while, also when the test ends.
            if stop.load(Ordering::Relaxed) && begun.elapsed() > plan.patience {
                return seen;
            }
            let Some(connected) = device.as_mut() else {
                device = Device::try_login(plan.port, imei);
                if device.is_some() {
                    seen.n_reconnects += u64::from(connected_before);
                    connected_before = true;
                } else {
                    if stop.load(Ordering::Relaxed) && seen.unacked.is_none() {
                        return seen;
                    }
                    sleep(ms(50));
                }
                continue;
            };
            seen.unacked = Some(seen.acked);
            let ack = match connected.try_send(&bytes) {
                Ok(()) => connected.ack(plan.patience),
                Err(_) => None,
            };
            match ack {
                Some(count) => {
                    seen.n_wrong += u64::from(u64::from(count) != plan.n_records);
                    break;
                }
                None => device = None,
            }
        }
        seen.unacked = None;
        seen.acked += plan.n_records;
        seen.slowest = seen.slowest.max(begun.elapsed());
        n_acked.fetch_add(1, Ordering::Relaxed);
        sleep(plan.pause);
    }
    seen
}
