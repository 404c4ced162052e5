//! The past of simulated lives without a server in between: the packets that their devices would have sent.
//!
//! For whoever fills tables with more than devices could send in the time there is.

use std::time::Duration;

use super::lives::fleet::{self, Mix};
use super::lives::{Life, Rhythm, Teller, Telling};
use crate::imei::{Imei, ImeiError};
use crate::protocol::teltonika::Codec;

/// One device's past.
#[derive(Debug)]
pub struct Past {
    life: Life,
    teller: Teller,
    packet: Vec<u8>,
    imei: Imei,
    name: String,
    model: &'static str,
}

impl Past {
    /// The past of the device with this number in the fleet that `trackport simulate --lives` would play; it records so often while it
    /// moves and while it stands.
    ///
    /// # Errors
    /// When there are not so many IMEIs from the first one on.
    pub fn new(
        mix: &Mix,
        seed: u64,
        first: Imei,
        index: u32,
        moving: Duration,
        parked: Duration,
    ) -> Result<Past, ImeiError> {
        let kind = mix.kind(index);
        let telling = Telling {
            codec: Codec::Codec8Extended,
            rhythm: Rhythm {
                moving_ms: super::millis(moving).max(1000),
                parked_ms: super::millis(parked).max(1000),
            },
            n_records_max: usize::from(u8::MAX),
        };
        Ok(Past {
            life: Life::new(kind, seed, index.into()),
            teller: Teller::new(telling),
            packet: Vec::new(),
            imei: fleet::imei(first, index)?,
            name: mix.name(index),
            model: kind.model(),
        })
    }

    /// Its IMEI.
    pub fn imei(&self) -> Imei {
        self.imei
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The maker's model.
    pub fn model(&self) -> &'static str {
        self.model
    }

    /// Hands on the packets with everything recorded after the first and until the second time (milliseconds since 1970), ascending.
    pub fn packets(&mut self, after_ms: u64, until_ms: u64, mut take: impl FnMut(&[u8])) {
        let mut told_ms = after_ms;
        while told_ms < until_ms {
            let (flight, next_ms) = self.teller.choose(&self.life, told_ms, until_ms, false);
            told_ms = match flight {
                Some(flight) => {
                    self.teller.write(&self.life, flight, &mut self.packet);
                    take(&self.packet);
                    flight.last_ms
                }
                None => until_ms.min(next_ms - 1),
            };
        }
        // One day of one device is small, those of a fleet are not.
        self.teller.forget();
    }
}
