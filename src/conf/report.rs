//! What is told about a conf file: every mistake with its file, line, key and remedy.

use std::fmt;

/// One thing that is wrong or odd in a conf file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// The file as it was named by the caller.
    pub file: String,
    /// Counted from 1; absent where the file as a whole is meant.
    pub line: Option<usize>,
    /// `[section].key`; absent where no key is meant.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub text: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {key}:")?;
        }
        write!(f, " {}", self.text)
    }
}

/// Everything that is wrong in a conf file, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfErrors(pub Vec<Complaint>);

impl fmt::Display for ConfErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (idx, complaint) in self.0.iter().enumerate() {
            if idx > 0 {
                writeln!(f)?;
            }
            write!(f, "{complaint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfErrors {}

/// Collects complaints while a file is read, so that all are told at once.
pub(super) struct Report<'t> {
    file: &'t str,
    /// Where each line ends, so that the line of a key is found without walking over all before it.
    line_ends: Vec<usize>,
    errors: Vec<Complaint>,
    warnings: Vec<Complaint>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Report<'t> {
        Report {
            file,
            line_ends: text.match_indices('\n').map(|(byte, _)| byte).collect(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The line of a byte of the file, counted from 1.
    pub(super) fn line_at(&self, byte: usize) -> usize {
        1 + self.line_ends.partition_point(|end| *end < byte)
    }

    pub(super) fn error(&mut self, line: Option<usize>, key: Option<String>, text: String) {
        let complaint = self.complaint(line, key, text);
        self.errors.push(complaint);
    }

    pub(super) fn warn(&mut self, line: Option<usize>, key: Option<String>, text: String) {
        let complaint = self.complaint(line, key, text);
        self.warnings.push(complaint);
    }

    fn complaint(&self, line: Option<usize>, key: Option<String>, text: String) -> Complaint {
        Complaint {
            file: self.file.to_owned(),
            line,
            key,
            text,
        }
    }

    /// Gives up on the file: what follows this mistake cannot be trusted.
    pub(super) fn stop(self, line: Option<usize>, text: String) -> ConfErrors {
        ConfErrors(vec![self.complaint(line, None, text)])
    }

    /// The warnings when nothing was wrong, else everything that was.
    pub(super) fn finish(mut self) -> Result<Vec<Complaint>, ConfErrors> {
        // The table is walked by section, people read by line.
        self.errors.sort_by_key(|complaint| complaint.line);
        self.warnings.sort_by_key(|complaint| complaint.line);
        if self.errors.is_empty() {
            Ok(self.warnings)
        } else {
            Err(ConfErrors(self.errors))
        }
    }
}
