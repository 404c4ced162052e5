//! One device's rows against what it sent. Pure, so that a planted loss shows that the comparison bites.

use std::collections::HashMap;

use super::values::Row;

/// What is not as it must be.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Indices acked and not stored.
    pub lost: Vec<u64>,
    /// Indices stored more than once.
    pub doubled: Vec<u64>,
    /// Indices stored with other values than were sent.
    pub wrong: Vec<u64>,
    /// Rows that were never sent.
    pub foreign: Vec<Row>,
    /// How many were stored whose ack never came.
    pub n_unacked: u64,
}

impl Verdict {
    pub fn add(&mut self, other: Verdict) {
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.wrong.extend(other.wrong);
        self.foreign.extend(other.foreign);
        self.n_unacked += other.n_unacked;
    }
}

/// Compares what was `sent`, of which the first `acked` were acked, with what is stored.
pub fn compare(sent: &[Row], acked: u64, stored: &[Row]) -> Verdict {
    let by_key: HashMap<(i64, i64), usize> = sent
        .iter()
        .enumerate()
        .map(|(index, row)| ((row.time_us, row.digest), index))
        .collect();
    let mut n_stored = vec![0_u32; sent.len()];
    let mut verdict = Verdict::default();
    for row in stored {
        match by_key.get(&(row.time_us, row.digest)) {
            None => verdict.foreign.push(row.clone()),
            Some(&index) => {
                n_stored[index] += 1;
                if sent[index] != *row {
                    verdict.wrong.push(index as u64);
                }
            }
        }
    }
    for (index, n) in (0_u64..).zip(n_stored) {
        match n {
            0 if index < acked => verdict.lost.push(index),
            0 => {}
            1 if index >= acked => verdict.n_unacked += 1,
            1 => {}
            _ => verdict.doubled.push(index),
        }
    }
    verdict
}
