//! A mistake put in on purpose, as people make them: it proves that the fuzzer finds such things.
//!
//! In 8 Extended, what is odd about a record goes into a list, and a record with three certain oddities has the last looked up one place too
//! far. Chance would hardly ever make all three at once behind a right length and checksum; guided by coverage, one after the other is
//! found in seconds.

use trackport::protocol::teltonika::{Codec, Packet, Record};

/// Walks over `packet` with the mistake.
pub fn look(packet: &Packet<'_>) {
    if packet.codec == Codec::Codec8Extended {
        packet.records().for_each(|record| odd(&record));
    }
}

fn odd(record: &Record<'_>) {
    let mut oddities = Vec::new();
    if record.priority > 2 {
        oddities.push("priority");
        if record.satellites > 64 {
            oddities.push("satellites");
            if record.speed_kmh > 1000 {
                oddities.push(oddities[oddities.len()]);
            }
        }
    }
    std::hint::black_box(&oddities);
}
