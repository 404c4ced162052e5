//! What `trackport check` found: good, odd or wrong, in words.

/// How a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grade {
    Ok,
    /// Nothing is good or bad about it.
    Note,
    Warning,
    Wrong,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn new(grade: Grade, text: impl Into<String>) -> Finding {
        Finding {
            grade,
            text: text.into(),
        }
    }
}
