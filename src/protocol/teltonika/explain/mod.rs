//! A stream of bytes in words: offset, bytes and meaning, line by line, for people.
//!
//! Reads more generously than the server does: answers and commands of the server are explained
//! too, and behind a mistake it goes on as far as sense allows. Invariant: every byte of the input
//! is shown or counted, and every mistake says where it is, what belongs there and what is there.

use std::fmt::Write;

use super::super::super::imei::Imei;
use super::super::hex;
use super::super::reader::{Reader, Short};
use super::codec::{Codec, TIME_MS_MAX};
use super::crc::crc16;
use super::frame::{LooksLike, PING};

mod message;
mod words;
use words::{as_text, coordinate, ends_with_its_crc, generation, number_of, priority, signed, utc};

/// What a device's model calls an AVL id.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// Its name.
    pub name: String,
    /// The unit after scaling.
    pub unit: Option<String>,
    /// What the number is multiplied with.
    pub multiplier: Option<f64>,
    /// Whether the number is in two's complement.
    pub signed: bool,
}

/// A stream in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Lines without line ends.
    pub lines: Vec<String>,
    /// Whether nothing was wrong.
    pub ok: bool,
}

/// Explains a stream; `name` looks an AVL id up in the dictionary of the device's model.
pub fn explain(bytes: &[u8], name: &dyn Fn(u16) -> Option<Meaning>) -> Explanation {
    let mut writer = Writer {
        lines: Vec::new(),
        ok: true,
        name,
    };
    let mut stream = Reader::new(bytes);
    while !stream.is_empty() {
        if let Err(short) = writer.item(&mut stream) {
            writer.cut_off(short, &mut stream);
        }
    }
    Explanation {
        lines: writer.lines,
        ok: writer.ok,
    }
}

struct Writer<'n> {
    lines: Vec<String>,
    ok: bool,
    name: &'n dyn Fn(u16) -> Option<Meaning>,
}

/// Bytes in one line at most.
const LINE_BYTES: usize = 16;

impl Writer<'_> {
    /// One line of offset, bytes and meaning; more lines if the bytes are many.
    fn row(&mut self, offset: usize, bytes: &[u8], meaning: &str) {
        self.row_of(offset, &[bytes], meaning);
    }

    fn row_of(&mut self, offset: usize, parts: &[&[u8]], meaning: &str) {
        let spelled: Vec<String> = parts.iter().map(|part| hex::encode(part)).collect();
        let spelled = spelled.join(" ");
        let mut chunks = spelled.as_bytes().chunks(LINE_BYTES.saturating_mul(2));
        let first = String::from_utf8_lossy(chunks.next().unwrap_or_default());
        self.lines
            .push(format!("{offset:4}  {first:<18} {meaning}"));
        for chunk in chunks {
            let chunk = String::from_utf8_lossy(chunk);
            self.lines.push(format!("      {chunk}"));
        }
    }

    fn title(&mut self, text: &str) {
        self.lines.push(format!("      -- {text}"));
    }

    fn wrong(&mut self, offset: usize, text: &str) {
        self.ok = false;
        self.lines.push(format!("{offset:4}  !! {text}"));
    }

    fn cut_off(&mut self, short: Short, reader: &mut Reader<'_>) {
        let Short {
            offset,
            wanted,
            left,
        } = short;
        self.wrong(
            offset,
            &format!(
                "cut off: expected {wanted} byte{}, found {left}",
                if wanted == 1 { "" } else { "s" }
            ),
        );
        self.rest(reader, "not explained");
    }

    /// Shows everything that is left of `reader` and uses it up.
    fn rest(&mut self, reader: &mut Reader<'_>, meaning: &str) {
        let offset = reader.position();
        let bytes = reader.rest();
        if !bytes.is_empty() {
            self.row(offset, bytes, &format!("{meaning}, {} bytes", bytes.len()));
        }
        *reader = reader.sub(bytes.len()).unwrap_or(*reader);
        let _used_up = reader.take(bytes.len());
    }

    /// A number of `width` bytes and what it means.
    fn number(
        &mut self,
        reader: &mut Reader<'_>,
        width: u8,
        meaning: impl FnOnce(u64) -> String,
    ) -> Result<u64, Short> {
        let offset = reader.position();
        let bytes = reader.take(usize::from(width))?;
        let number = number_of(bytes);
        self.row(offset, bytes, &meaning(number));
        Ok(number)
    }

    fn item(&mut self, stream: &mut Reader<'_>) -> Result<(), Short> {
        let offset = stream.position();
        match *stream.rest() {
            [PING, ..] => {
                let ping = stream.take(1)?;
                self.row(offset, ping, "network ping");
            }
            [1] | [1, 0, 0, ..] => {
                let answer = stream.take(1)?;
                self.row(offset, answer, "answer to a login: accepted");
            }
            [0] => {
                let answer = stream.take(1)?;
                self.row(offset, answer, "answer to a login: refused");
            }
            [0, 0, 0, 1..=255, ..] | [0, 0, 0, 0] => {
                self.number(stream, 4, |n| {
                    format!("ack: {n} records received (an answer of the server)")
                })?;
            }
            [0, 0, 0, 0, ..] => self.frame(stream)?,
            [0, 1..=32, ..] => self.login(stream)?,
            _ => {
                self.wrong(
                    offset,
                    &format!(
                        "expected a ping (FF), a login (000F) or a frame (00000000), found {}{}",
                        hex::encode(stream.rest().get(..4).unwrap_or(stream.rest())),
                        LooksLike::guess(stream.rest()),
                    ),
                );
                self.rest(stream, "not explained");
            }
        }
        Ok(())
    }

    fn login(&mut self, stream: &mut Reader<'_>) -> Result<(), Short> {
        let length = self.number(stream, 2, |n| format!("login: {n} bytes follow"))?;
        let offset = stream.position();
        let digits = stream.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        self.row(offset, digits, &format!("IMEI: {}", digits.escape_ascii()));
        if let Err(error) = Imei::from_ascii(digits) {
            self.wrong(offset, &format!("expected an IMEI: {error}"));
        }
        Ok(())
    }

    fn frame(&mut self, stream: &mut Reader<'_>) -> Result<(), Short> {
        self.number(stream, 4, |_| "preamble".to_owned())?;
        let offset = stream.position();
        let length = self.number(stream, 4, |n| format!("data field length: {n}"))?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < 3 {
            self.wrong(offset, &format!("expected at least 3, found {length}"));
        }
        let behind_length = stream.rest();
        let whole = behind_length.len() >= length.saturating_add(4);
        let length_is_wrong = !whole && ends_with_its_crc(behind_length);
        if !whole {
            self.wrong(
                offset,
                &format!(
                    "cut off: expected {} bytes behind the length, found {}{}",
                    length.saturating_add(4),
                    behind_length.len(),
                    if length_is_wrong {
                        "; the last 4 are the right CRC of those before, so the length field is wrong"
                    } else {
                        ""
                    }
                ),
            );
        }
        let mut data = stream.sub(length.min(behind_length.len()))?;
        let covered = data.rest();
        let data_whole = data.rest().len() == length && !length_is_wrong;
        if let Err(short) = self.data(&mut data, data_whole) {
            self.cut_off(short, &mut data);
        }
        self.rest(&mut data, "not explained");
        if whole {
            self.crc(stream, covered)?;
        } else {
            self.rest(stream, "not explained");
        }
        Ok(())
    }

    fn crc(&mut self, stream: &mut Reader<'_>, covered: &[u8]) -> Result<(), Short> {
        let offset = stream.position();
        let computed = u64::from(crc16(covered));
        let found = self.number(stream, 4, |found| {
            let verdict = if found == computed { "ok" } else { "WRONG" };
            format!("CRC-16/IBM: 0x{found:04X}, computed 0x{computed:04X} {verdict}")
        })?;
        if found != computed {
            self.wrong(
                offset,
                &format!("expected the CRC 0x{computed:04X}, found 0x{found:04X}: the bytes were damaged or edited"),
            );
        }
        Ok(())
    }

    /// What the length field counts; `whole` if all of it is there.
    fn data(&mut self, data: &mut Reader<'_>, whole: bool) -> Result<(), Short> {
        let offset = data.position();
        let codec_id = data.u8()?;
        let codec = Codec::from_id(codec_id);
        let kind = match (codec, codec_id) {
            (Some(codec), _) => codec.name().to_owned(),
            (None, 0x0C..=0x0F) => format!("Codec {codec_id}, a command or message"),
            (None, _) => "unknown".to_owned(),
        };
        self.row(
            offset,
            &[codec_id],
            &format!("codec id: 0x{codec_id:02X} ({kind})"),
        );
        if codec.is_none() && !matches!(codec_id, 0x0C..=0x0F) {
            self.wrong(
                offset,
                &format!(
                    "expected 08, 8E or 10 (records) or 0C to 0F (commands), found {codec_id:02X}"
                ),
            );
            return Ok(());
        }
        let offset = data.position();
        let first = self.number(data, 1, |n| format!("number of data 1: {n}"))?;
        if first == 0 && codec.is_some() {
            self.wrong(offset, "expected at least one record, found 0");
        }
        // Behind the items stands one byte, if it was not cut off.
        let mut items = data.sub(data.rest().len().saturating_sub(usize::from(whole)))?;
        for item in 1..=first {
            let read = match codec {
                Some(codec) => {
                    self.title(&format!("record {item} of {first}"));
                    self.record(&mut items, codec)
                }
                None => {
                    self.title(&format!("message {item} of {first}"));
                    self.message(&mut items, codec_id)
                }
            };
            if let Err(short) = read {
                self.cut_off(short, &mut items);
                break;
            }
        }
        if !whole {
            self.rest(&mut items, "not explained");
            return Ok(());
        }
        if !items.is_empty() {
            self.wrong(
                items.position(),
                &format!(
                    "expected number of data 2 behind item {first}, found {} bytes more",
                    items.rest().len()
                ),
            );
            self.rest(&mut items, "not explained");
        }
        let offset = data.position();
        let second = self.number(data, 1, |n| format!("number of data 2: {n}"))?;
        if first != second {
            self.wrong(
                offset,
                &format!("expected number of data 1, which is {first}, found {second}"),
            );
        }
        Ok(())
    }

    fn record(&mut self, reader: &mut Reader<'_>, codec: Codec) -> Result<(), Short> {
        let offset = reader.position();
        let time_ms = self.number(reader, 8, |ms| format!("timestamp ms: {ms} = {}", utc(ms)))?;
        if time_ms > TIME_MS_MAX {
            self.wrong(
                offset,
                &format!("expected at most {TIME_MS_MAX}, found {time_ms}: no database can hold this time"),
            );
        }
        self.number(reader, 1, |n| format!("priority: {n} {}", priority(n)))?;
        self.number(reader, 4, |n| coordinate("longitude", n, 180))?;
        self.number(reader, 4, |n| coordinate("latitude", n, 90))?;
        self.number(reader, 2, |n| format!("altitude m: {}", signed(n, 2)))?;
        self.number(reader, 2, |n| format!("angle deg: {n}"))?;
        self.number(reader, 1, |n| match n {
            0 => "satellites: 0 (no fix: the position is old or none)".to_owned(),
            _ => format!("satellites: {n}"),
        })?;
        self.number(reader, 2, |n| format!("speed km/h: {n}"))?;
        let name = self.name;
        self.number(reader, codec.event_width(), |n| {
            match (n, u16::try_from(n).ok().and_then(name)) {
                (0, _) => "event IO id: 0 (not an event)".to_owned(),
                (_, Some(meaning)) => format!("event IO id: {n} ({})", meaning.name),
                (_, None) => format!("event IO id: {n}"),
            }
        })?;
        if codec == Codec::Codec16 {
            self.number(reader, 1, |n| {
                format!("generation type: {n} {}", generation(n))
            })?;
        }
        self.io(reader, codec)
    }

    fn io(&mut self, reader: &mut Reader<'_>, codec: Codec) -> Result<(), Short> {
        let offset = reader.position();
        let count_width = codec.count_width();
        let total = self.number(reader, count_width, |n| format!("total IO count: {n}"))?;
        let mut found: u64 = 0;
        for width in [1, 2, 4, 8] {
            let n = self.number(reader, count_width, |n| {
                format!("count of {width}-byte IO: {n}")
            })?;
            found = found.saturating_add(n);
            for _ in 0..n {
                // Taken as a whole or not at all, so that no half of it goes unshown.
                let mut element = *reader;
                let offset = element.position();
                let id = element.take(usize::from(codec.id_width()))?;
                let value = element.take(usize::from(width))?;
                *reader = element;
                let meaning = self.element(number_of(id), number_of(value), width);
                self.row_of(offset, &[id, value], &meaning);
            }
        }
        if codec == Codec::Codec8Extended {
            let n = self.number(reader, 2, |n| format!("count of variable IO: {n}"))?;
            found = found.saturating_add(n);
            for _ in 0..n {
                let mut element = *reader;
                let offset = element.position();
                let id = element.take(2)?;
                let length = element.take(2)?;
                let value =
                    element.take(usize::try_from(number_of(length)).unwrap_or(usize::MAX))?;
                *reader = element;
                let named = self.named(number_of(id));
                let meaning = format!("{named}, {} bytes{}", value.len(), as_text(value));
                self.row_of(offset, &[id, length, value], &meaning);
            }
        }
        if total != found {
            self.wrong(
                offset,
                &format!("expected {total} IO elements as announced, found {found} in the groups"),
            );
        }
        Ok(())
    }

    fn named(&self, id: u64) -> String {
        match u16::try_from(id).ok().and_then(self.name) {
            Some(meaning) => format!("id {id} {}", meaning.name),
            None => format!("id {id}"),
        }
    }

    fn element(&self, id: u64, raw: u64, width: u8) -> String {
        let mut text = self.named(id);
        let Some(meaning) = u16::try_from(id).ok().and_then(self.name) else {
            let _ = write!(text, " = {raw}");
            return text;
        };
        let number = if meaning.signed {
            i128::from(signed(raw, width))
        } else {
            i128::from(raw)
        };
        let _ = write!(text, " = {number}");
        let unit = meaning.unit.map(|unit| format!(" {unit}"));
        match meaning.multiplier {
            Some(multiplier) if multiplier != 1.0 => {
                #[expect(
                    clippy::as_conversions,
                    reason = "shown to people, 15 digits are enough"
                )]
                let scaled = number as f64 * multiplier;
                let decimals = multiplier
                    .to_string()
                    .split_once('.')
                    .map_or(0, |(_, decimals)| decimals.len());
                let unit = unit.unwrap_or_default();
                let _ = write!(text, " = {scaled:.decimals$}{unit}");
            }
            _ => text.push_str(&unit.unwrap_or_default()),
        }
        text
    }
}
