//! Values as people enter them: what a name, a note, a temperature limit may be.
//!
//! Knows no table. Each check adds what is wrong to a list, so that everything is told at once.

use super::error::{FieldMistake, StoreError};

/// Characters of a name.
pub(super) const NAME_CHARS_MAX: usize = 200;
/// Characters of a note.
pub(super) const NOTE_CHARS_MAX: usize = 10_000;

/// What is wrong with the values so far.
#[derive(Debug, Default)]
pub(super) struct Check(Vec<FieldMistake>);

impl Check {
    pub(super) fn wrong(&mut self, field: &'static str, text: impl Into<String>) {
        self.0.push(FieldMistake::new(field, text));
    }

    pub(super) fn name(&mut self, field: &'static str, name: &str) {
        let n_chars = name.chars().count();
        if name.trim().is_empty() {
            self.wrong(field, "a name has at least one character that shows");
        } else if n_chars > NAME_CHARS_MAX {
            let text = format!("it has {n_chars} characters; a name has {NAME_CHARS_MAX} at most");
            self.wrong(field, text);
        }
        self.no_zero(field, name);
    }

    pub(super) fn note(&mut self, field: &'static str, note: &str) {
        let n_chars = note.chars().count();
        if n_chars > NOTE_CHARS_MAX {
            let text = format!("it has {n_chars} characters; {NOTE_CHARS_MAX} at most are kept");
            self.wrong(field, text);
        }
        self.no_zero(field, note);
    }

    /// PostgreSQL has no text with a zero byte in it.
    pub(super) fn no_zero(&mut self, field: &'static str, text: &str) {
        if text.contains('\0') {
            self.wrong(field, "a zero byte is no text");
        }
    }

    pub(super) fn range(
        &mut self,
        field: &'static str,
        value: i32,
        min: i32,
        max: i32,
        unit: &str,
    ) {
        if !(min..=max).contains(&value) {
            self.wrong(
                field,
                format!("{value} is not between {min} and {max}{unit}"),
            );
        }
    }

    /// Limits in degrees Celsius: colder than anything that is cooled, hotter than anything that is driven, is a slip of the pen.
    pub(super) fn temperatures(&mut self, min: Option<f32>, max: Option<f32>) {
        for (field, value) in [("temperature_min", min), ("temperature_max", max)] {
            if let Some(value) = value
                && !(-273.0..=1000.0).contains(&value)
            {
                self.wrong(field, format!("{value} °C is not between -273 and 1000"));
            }
        }
        if let (Some(min), Some(max)) = (min, max)
            && min >= max
        {
            let text = format!("{max} °C is not above the lower limit, {min} °C");
            self.wrong("temperature_max", text);
        }
    }

    pub(super) fn done(self) -> Result<(), StoreError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(StoreError::Invalid(self.0))
        }
    }
}

/// An empty text stands for none.
pub(super) fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
