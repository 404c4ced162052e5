//! What `trackport check` and `trackport doctor` found: good, odd or wrong, in words, and what helps.

/// How a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grade {
    Ok,
    /// Nothing is good or bad about it.
    Note,
    /// It could not be looked at.
    Unseen,
    Warning,
    Wrong,
}

impl Grade {
    /// The word of `trackport check`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Grade::Ok => "ok",
            Grade::Note => "note",
            Grade::Unseen => "not seen",
            Grade::Warning => "warning",
            Grade::Wrong => "WRONG",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) grade: Grade,
    pub(super) text: String,
    /// A command or a key.
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn new(grade: Grade, text: impl Into<String>) -> Finding {
        Finding {
            grade,
            text: text.into(),
            remedy: None,
        }
    }

    /// The same, with what helps.
    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Finding {
        self.remedy = Some(remedy.into());
        self
    }
}
