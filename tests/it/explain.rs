//! A stream in words: what a support engineer reads of good and of broken bytes.

use serde_json::Value;
use trackport::protocol::hex;
use trackport::protocol::teltonika::Codec;
use trackport::protocol::teltonika::encode::{IoSpec, RecordSpec, frame, packet};
use trackport::protocol::teltonika::explain::{Explanation, Meaning, explain};

fn name(id: u16) -> Option<Meaning> {
    let (name, unit, multiplier, signed) = match id {
        1 => ("Digital Input 1", None, None, false),
        66 => ("External Voltage", Some("V"), Some(0.001), false),
        70 => ("PCB Temperature", Some("°C"), Some(0.1), true),
        _ => return None,
    };
    Some(Meaning {
        name: name.to_owned(),
        unit: unit.map(str::to_owned),
        multiplier,
        signed,
    })
}

fn of(text: &str) -> Explanation {
    explain(&hex::decode(text).unwrap(), &name)
}

const PACKET: &str = "000000000000002808010000016B40D9AD80010000000000000000000000000000000103021503010101425E100000010000F22A";

#[test]
fn a_sound_packet_is_listed_field_by_field() {
    let found = of(PACKET);
    assert!(found.ok);
    let expected = "   0  00000000           preamble
   4  00000028           data field length: 40
   8  08                 codec id: 0x08 (Codec 8)
   9  01                 number of data 1: 1
      -- record 1 of 1
  10  0000016B40D9AD80   timestamp ms: 1560161136000 = 2019-06-10 10:05:36.000 UTC
  18  01                 priority: 1 High
  19  00000000           longitude: 0 = 0.0000000 deg
  23  00000000           latitude: 0 = 0.0000000 deg
  27  0000               altitude m: 0
  29  0000               angle deg: 0
  31  00                 satellites: 0 (no fix: the position is old or none)
  32  0000               speed km/h: 0
  34  01                 event IO id: 1 (Digital Input 1)
  35  03                 total IO count: 3
  36  02                 count of 1-byte IO: 2
  37  15 03              id 21 = 3
  39  01 01              id 1 Digital Input 1 = 1
  41  01                 count of 2-byte IO: 1
  42  42 5E10            id 66 External Voltage = 24080 = 24.080 V
  45  00                 count of 4-byte IO: 0
  46  00                 count of 8-byte IO: 0
  47  01                 number of data 2: 1
  48  0000F22A           CRC-16/IBM: 0xF22A, computed 0xF22A ok";
    assert_eq!(found.lines.join("\n"), expected);
}

#[test]
fn everything_published_over_tcp_is_explained_and_judged_rightly() {
    let files = [
        include_str!("../frames/teltonika/frames.jsonl"),
        include_str!("../frames/teltonika/frames_extra.jsonl"),
    ];
    let mut n_explained = 0;
    for line in files.iter().flat_map(|file| file.lines()) {
        let vector: Value = serde_json::from_str(line).unwrap();
        if vector["transport"] == "tcp" {
            let found = of(vector["hex"].as_str().unwrap());
            assert_eq!(found.ok, vector["valid"], "{vector}\n{found:#?}");
            n_explained += 1;
        }
    }
    assert!(n_explained > 25, "{n_explained}");
}

fn wrong(found: &Explanation) -> Vec<&str> {
    assert!(!found.ok);
    let lines = found.lines.iter().map(String::as_str);
    lines.filter(|line| line.contains("!!")).collect()
}

#[test]
fn a_wrong_crc_is_said_and_everything_else_still_shown() {
    let found = of(&PACKET.replace("F22A", "F22B"));
    assert_eq!(
        wrong(&found),
        ["  48  !! expected the CRC 0xF22A, found 0xF22B: the bytes were damaged or edited"]
    );
    assert_eq!(found.lines.len(), of(PACKET).lines.len() + 1);
}

#[test]
fn wrong_counts_are_named_and_the_walk_goes_on() {
    // One IO element more announced than there is, and another number of data 2.
    let found = of(
        "0000000000000028 08010000016B40D9AD800100000000000000000000000000000001
         04021503010101425E100000 02 0000F22A",
    );
    let wrong = wrong(&found);
    assert_eq!(wrong.len(), 3, "{wrong:#?}");
    assert_eq!(
        wrong[0],
        "  35  !! expected 4 IO elements as announced, found 3 in the groups"
    );
    assert_eq!(
        wrong[1],
        "  47  !! expected number of data 1, which is 1, found 2"
    );
    assert!(wrong[2].contains("expected the CRC"));
}

#[test]
fn a_cut_off_frame_says_how_much_is_missing() {
    let found = of(&PACKET[..80]);
    assert_eq!(
        wrong(&found),
        [
            "   4  !! cut off: expected 44 bytes behind the length, found 32",
            "  40  !! cut off: expected 1 byte, found 0",
        ]
    );
}

#[test]
fn of_a_frame_without_its_crc_every_byte_is_shown() {
    let shown = |hex: &str| of(hex).lines;
    let lines = shown(&PACKET[..PACKET.len() - 2]);
    let missing_only = &shown(PACKET)[..lines.len() - 2];
    let as_in_whole = lines.iter().filter(|line| missing_only.contains(line));
    assert_eq!(as_in_whole.count(), missing_only.len(), "{lines:#?}");
    assert!(lines[lines.len() - 2].ends_with("number of data 2: 1"));
    assert!(lines[lines.len() - 1].starts_with("  48  0000F2 "));

    // The command ends before what is there of its data does.
    let command = shown("0000000000000020 0C010500000004 67657469 000001");
    assert_eq!(
        command[command.len() - 1],
        "  19  000001             not explained, 3 bytes"
    );
}

#[test]
fn of_what_is_cut_off_within_an_element_every_byte_is_shown() {
    let last = |data: &str| {
        let mut lines = explain(&frame(&hex::decode(data).unwrap()).unwrap(), &name).lines;
        // Number of data 2 and the CRC stand behind.
        lines.truncate(lines.len() - 2);
        lines.split_off(lines.len() - 2)
    };
    let head = "01 0000016B40D9AD80 01 00000000 00000000 0000 0000 00 0000";
    assert_eq!(
        last(&format!("08 {head} 00 01 00 01 42 5E 01")),
        [
            "  39  !! cut off: expected 2 bytes, found 1",
            "  38  425E               not explained, 2 bytes"
        ]
    );
    assert_eq!(
        last(&format!(
            "8E {head} 0000 0001 0000 0000 0000 0000 0001 0042 0005 AB 01"
        )),
        [
            "  52  !! cut off: expected 5 bytes, found 1",
            "  48  00420005AB         not explained, 5 bytes"
        ]
    );
    // The body of a message is too short for the time that belongs into it.
    assert_eq!(
        last("0D 01 06 00000002 AABB 01"),
        [
            "  15  !! cut off: expected 4 bytes, found 2",
            "  15  AABB               not explained, 2 bytes"
        ]
    );
}

#[test]
fn a_packet_without_records_is_called_wrong() {
    let found = explain(&frame(&[0x08, 0, 0]).unwrap(), &name);
    assert_eq!(
        wrong(&found),
        ["   9  !! expected at least one record, found 0"]
    );
}

#[test]
fn a_wrong_length_field_is_found_out_by_the_crc() {
    let found = of(&PACKET.replacen("00000028", "00000029", 1));
    assert!(wrong(&found)[0].ends_with("so the length field is wrong"));
}

#[test]
fn signs_and_scales_come_from_the_dictionary() {
    let spec = RecordSpec {
        time_ms: 1,
        longitude: -1,
        latitude: 910_000_000,
        io: vec![(
            70,
            IoSpec::Fixed {
                width: 2,
                raw: 0xFFF6,
            },
        )],
        ..RecordSpec::default()
    };
    let frame = packet(Codec::Codec8, &[spec]).unwrap();
    let text = explain(&frame, &name).lines.join("\n");
    assert!(
        text.contains("id 70 PCB Temperature = -10 = -1.0 °C"),
        "{text}"
    );
    assert!(text.contains("longitude: -1 = -0.0000001 deg"), "{text}");
    assert!(
        text.contains("latitude: 910000000 = 91.0000000 deg (beyond 90"),
        "{text}"
    );
}

#[test]
fn a_conversation_is_explained_item_by_item() {
    let found = of(&format!(
        "FF 000F333536333037303432343431303133 {PACKET} FF"
    ));
    assert!(found.ok);
    assert!(found.lines[0].ends_with("network ping"));
    assert!(found.lines[2].contains("IMEI: 356307042441013"));
    let answers = of("01 00000001 00000002");
    assert!(answers.ok, "{answers:#?}");
    assert_eq!(answers.lines.len(), 3);
}

#[test]
fn a_stranger_is_named() {
    let found = explain(b"GET / HTTP/1.1\r\n", &name);
    assert!(wrong(&found)[0].ends_with("found 47455420; it looks like HTTP"));
}

#[test]
fn any_bytes_can_be_explained() {
    let bytes = hex::decode(PACKET).unwrap();
    for at in 0..bytes.len() {
        for byte in [0, 1, 0x7F, 0x8E, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] = byte;
            let same = damaged == bytes;
            assert_eq!(explain(&damaged, &name).ok, same, "{at} {byte:02X}");
        }
        explain(&bytes[..at], &name);
    }
}
