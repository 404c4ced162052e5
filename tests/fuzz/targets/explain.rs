//! Any bytes as something that somebody wants to understand: every byte is shown, and right and wrong are what the decoder says.

#![no_main]

use libfuzzer_sys::fuzz_target;
use trackport::protocol::teltonika::encode::frame;
use trackport::protocol::teltonika::explain::{Meaning, explain};
use trackport::protocol::teltonika::{Checked, Cut, check, cut};

/// Bytes of a frame around its data, the four before and the four behind it.
const HEAD: usize = 8;
const TAIL: usize = 4;

fuzz_target!(|input: &[u8]| {
    explained(input);
    // With the right length and CRC, which chance would have to guess.
    if let Some(data) = input.get(HEAD..input.len().saturating_sub(TAIL)) {
        explained(&frame(data).expect("it is short"));
    }
});

/// The lines hold every byte of the input in hex, and a frame is called right if it is.
fn explained(input: &[u8]) {
    let explanation = explain(input, &meaning);
    let digits: usize = explanation.lines.iter().map(|line| hex_digits(line)).sum();
    assert!(
        digits >= 2 * input.len(),
        "{} bytes, shown as {digits} digits: {:#?}",
        input.len(),
        explanation.lines
    );
    if cut(input, usize::MAX) == Cut::Frame(input) {
        match check(input) {
            Ok(Checked::Avl(_)) => assert!(explanation.ok, "a packet explained as wrong"),
            // What is in a command is not the decoder's business.
            Ok(Checked::Command { .. }) => {}
            Err(error) => assert!(!explanation.ok, "explained as right: {error}"),
        }
    }
}

/// The hex digits at the front of a line, behind its offset if it has one.
fn hex_digits(line: &str) -> usize {
    let text = match line.strip_prefix("      ") {
        Some(continued) => continued,
        None => line
            .trim_start()
            .split_once("  ")
            .map_or("", |(_offset, text)| text),
    };
    text.split(' ')
        .take_while(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(str::len)
        .sum()
}

/// A dictionary that knows some ids, with every kind of entry.
fn meaning(id: u16) -> Option<Meaning> {
    (!id.is_multiple_of(4)).then(|| Meaning {
        name: "voltage".to_owned(),
        unit: id.is_multiple_of(3).then(|| "V".to_owned()),
        multiplier: id.is_multiple_of(5).then_some(0.001),
        signed: id.is_multiple_of(7),
    })
}
