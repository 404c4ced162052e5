//! What is left out of an import, and why: told by row, some of each table, and counted.

/// Rows told one by one; of a million bad rows nobody reads more.
const TOLD_MAX: u64 = 20;

/// What was wrong with one table.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    n: u64,
}

impl Mistakes {
    /// A row is left out, or not taken as it was.
    pub(super) fn tell(&mut self, row: &str, what: &str) {
        self.n += 1;
        if self.n <= TOLD_MAX {
            eprintln!("{row}: {what}");
        }
    }

    /// Says how many more there were; returns how many in all.
    pub(super) fn finish(&self, of: &str) -> u64 {
        if self.n > TOLD_MAX {
            eprintln!("and {} more rows of {of} like these", self.n - TOLD_MAX);
        }
        self.n
    }
}
