//! The commands, responses and messages of codecs 12 to 15, which trackport does not interpret.

use super::super::super::hex;
use super::super::super::reader::{Reader, Short};
use super::Writer;
use super::words::{as_text, message_type, number_of, utc};

impl Writer<'_> {
    /// A command, response or message of codecs 12 to 15.
    pub(super) fn message(&mut self, reader: &mut Reader<'_>, codec_id: u8) -> Result<(), Short> {
        self.number(reader, 1, |n| {
            format!("type: 0x{n:02X} {}", message_type(n))
        })?;
        let size = self.number(reader, 4, |n| format!("size: {n}"))?;
        let mut body = reader.sub(usize::try_from(size).unwrap_or(usize::MAX))?;
        if let Err(short) = self.body(&mut body, codec_id) {
            self.cut_off(short, &mut body);
        }
        Ok(())
    }

    /// What the size counts.
    fn body(&mut self, body: &mut Reader<'_>, codec_id: u8) -> Result<(), Short> {
        if let 0x0D | 0x0F = codec_id {
            self.message_time(body, codec_id)?;
        }
        if let 0x0E | 0x0F = codec_id {
            let offset = body.position();
            let imei = body.take(8)?;
            let digits = hex::encode(imei);
            self.row(
                offset,
                imei,
                &format!("IMEI: {}", digits.strip_prefix('0').unwrap_or(&digits)),
            );
        }
        let offset = body.position();
        let text = body.rest();
        if !text.is_empty() {
            self.row(
                offset,
                text,
                &format!("{} bytes{}", text.len(), as_text(text)),
            );
        }
        Ok(())
    }

    /// Seconds in four bytes; older codec 13 has milliseconds in eight, whose upper half is small.
    fn message_time(&mut self, body: &mut Reader<'_>, codec_id: u8) -> Result<(), Short> {
        let ms = number_of(body.rest().get(..8).unwrap_or_default());
        if codec_id == 0x0D && body.rest().len() >= 8 && ms < 0x0400_0000_0000 {
            self.number(body, 8, |ms| format!("timestamp ms: {ms} = {}", utc(ms)))?;
        } else {
            self.number(body, 4, |s| {
                format!("timestamp s: {s} = {}", utc(s.saturating_mul(1000)))
            })?;
        }
        Ok(())
    }
}
