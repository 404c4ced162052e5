//! A mistake put in on purpose, as people make them: it proves that the fuzzer finds such things.
//!
//! In 8 Extended, degrees are made positive before they are shown, which one number of the four milliards overflows. No input of the
//! corpus has it, and chance would hardly ever meet it behind a right length and checksum; guided by comparisons it takes seconds.

use trackport::protocol::teltonika::{Codec, Packet};

/// Walks over `packet` with the mistake.
pub fn look(packet: &Packet<'_>) {
    if packet.codec == Codec::Codec8Extended {
        for record in packet.records() {
            let latitude = record.latitude;
            let size = if latitude < 0 { -latitude } else { latitude };
            std::hint::black_box(size);
        }
    }
}
