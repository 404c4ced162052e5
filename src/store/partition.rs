//! Partitions of `record`: made ahead of time, and dropped when nobody wants them any more.
//!
//! Knows no thread and no clock: the caller says what time it is and tries again when a table was in use.
//! Invariants: partitions never overlap, also when the width in the conf changes: a new one fills the gap that
//! the existing ones leave. Nothing waits for a lock longer than `LOCK_WAIT`, so that no insert queues behind a long report.
//! How a partition comes to its rows is in `attach.rs`.

use std::time::{Duration, SystemTime};

use jiff::civil::{Date, ISOWeekDate, Weekday};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use postgres::{Client, Transaction};

pub use super::attach::Partition;
use super::attach::{PIECE, make, quoted};
use super::error::StoreError;
use super::imported::drop_imported;
use crate::conf::PartitionWidth;

/// How long a lock on a table is waited for. A little longer than PostgreSQL's `deadlock_timeout`, after which an automatic
/// vacuum gives way to who waits; shorter than what a device notices.
pub const LOCK_WAIT: Duration = Duration::from_millis(1200);

/// Partitions made ahead of the current one.
pub const N_AHEAD: usize = 4;

/// One process makes or drops partitions at a time.
const LOCK: i64 = 8_386_109_001;

/// Old rows of the default partition deleted in one transaction.
const N_DELETED_AT_ONCE: i64 = 10_000;

/// What retention removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Names of the partitions that are gone.
    pub dropped: Vec<String>,
    /// Rows deleted from the default partition.
    pub n_default_rows: u64,
    /// Imported positions deleted.
    pub n_imported_rows: u64,
    /// Whether nothing so old is left; false: call again.
    pub is_complete: bool,
}

/// Makes the partitions of the span before `now`, of the current one and of the next four, as far as they are
/// missing, and returns those it made.
///
/// Each is a transaction of its own. Rows of theirs that lie in the default partition are moved, which takes as long as
/// it takes: `beat` is called before each piece of the work, with the time after which its silence would be odd.
///
/// # Errors
/// `Retry` when a table was in use for longer than `LOCK_WAIT`: what was made stays, call again.
pub fn ensure_partitions(
    client: &mut Client,
    width: PartitionWidth,
    now: SystemTime,
    beat: &mut dyn FnMut(Duration),
) -> Result<Vec<Partition>, StoreError> {
    let mut made = Vec::new();
    for (from, to) in spans_around(width, today(now)?) {
        beat(PIECE);
        // Read anew for each, under the lock: another process may make partitions as well.
        let mut transaction = locked(client)?;
        let existing = existing(&mut transaction)?;
        let bounds: Vec<(SystemTime, SystemTime)> =
            existing.iter().map(|one| (one.from, one.to)).collect();
        for (gap_from, gap_to) in gaps((midnight(from), midnight(to)), &bounds) {
            let whole = gap_from == midnight(from) && gap_to == midnight(to);
            let name = free_name(&mut transaction, &name(width, from), whole, gap_from)?;
            let partition = Partition {
                name,
                from: gap_from,
                to: gap_to,
            };
            make(&mut transaction, &partition, beat)?;
            made.push(partition);
        }
        transaction.commit()?;
    }
    Ok(made)
}

/// The partitions there are, by time, without the default one.
///
/// # Errors
/// When the database does not answer.
pub fn list_partitions(client: &mut Client) -> Result<Vec<Partition>, StoreError> {
    let mut transaction = client.transaction()?;
    let found = existing(&mut transaction)?;
    transaction.commit()?;
    Ok(found)
}

/// Drops a partition that ends more than `keep` before `now`, or deletes some such old rows from the default one, or some imported ones.
///
/// One of them per call, so that it takes no longer than one statement: call again until the work is complete.
///
/// # Errors
/// `Retry` when a table was in use for longer than `LOCK_WAIT`: what was dropped stays so, call again.
pub fn drop_expired(
    client: &mut Client,
    keep: Duration,
    now: SystemTime,
) -> Result<Expired, StoreError> {
    let mut expired = Expired::default();
    let Some(oldest) = now.checked_sub(keep) else {
        expired.is_complete = true;
        return Ok(expired);
    };
    let all = expired_partitions(client, keep, now)?;
    if let Some(partition) = all.into_iter().next() {
        let mut transaction = locked(client)?;
        transaction.batch_execute(&format!(
            "DROP TABLE IF EXISTS trackport.{}",
            quoted(&partition.name)
        ))?;
        transaction.commit()?;
        expired.dropped.push(partition.name);
        return Ok(expired);
    }
    expired.n_default_rows = client.execute(
        "DELETE FROM trackport.record_default WHERE ctid = ANY (ARRAY(
             SELECT ctid FROM trackport.record_default WHERE time < $1 LIMIT $2))",
        &[&oldest, &N_DELETED_AT_ONCE],
    )?;
    if expired.n_default_rows < N_DELETED_AT_ONCE.unsigned_abs() {
        (expired.n_imported_rows, expired.is_complete) = drop_imported(client, oldest)?;
    }
    Ok(expired)
}

/// The partitions that end more than `keep` before `now`.
///
/// # Errors
/// When the database does not answer.
pub fn expired_partitions(
    client: &mut Client,
    keep: Duration,
    now: SystemTime,
) -> Result<Vec<Partition>, StoreError> {
    let mut all = list_partitions(client)?;
    let oldest = now.checked_sub(keep);
    all.retain(|one| oldest.is_some_and(|oldest| one.to <= oldest));
    Ok(all)
}

/// A transaction that alone may change partitions and that waits for no table for long.
fn locked(client: &mut Client) -> Result<Transaction<'_>, StoreError> {
    let mut transaction = client.transaction()?;
    transaction.batch_execute(&format!(
        "SET LOCAL lock_timeout = '{}ms'",
        LOCK_WAIT.as_millis()
    ))?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    Ok(transaction)
}

fn existing(transaction: &mut Transaction<'_>) -> Result<Vec<Partition>, StoreError> {
    // The bound is text only: FOR VALUES FROM ('2026-11-23 00:00:00+00') TO (...), or MINVALUE and MAXVALUE
    // in a partition that a person made. Years are cut to what a time of this program can hold.
    transaction.batch_execute("SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO'")?;
    let rows = transaction.query(
        r"SELECT c.relname,
              coalesce(b.bound[1], '0001-01-01 00:00:00+00')::timestamptz,
              coalesce(b.bound[2], '9999-01-01 00:00:00+00')::timestamptz
          FROM pg_inherits i
          JOIN pg_class c ON c.oid = i.inhrelid
          CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS t (text)
          CROSS JOIN LATERAL regexp_match(t.text, $re$FROM \((?:'([^']+)'|MINVALUE)\) TO \((?:'([^']+)'|MAXVALUE)\)$re$) AS b (bound)
          WHERE i.inhparent = 'trackport.record'::regclass AND t.text <> 'DEFAULT'
          ORDER BY 2",
        &[],
    )?;
    Ok(rows
        .iter()
        .map(|row| Partition {
            name: row.get(0),
            from: row.get(1),
            to: row.get(2),
        })
        .collect())
}

/// `base`, or where it is taken or only a part of its span is missing, `base` with the first day, and a number.
fn free_name(
    transaction: &mut Transaction<'_>,
    base: &str,
    whole: bool,
    from: SystemTime,
) -> Result<String, StoreError> {
    let dated = format!("{base}_{}", today(from)?.strftime("%Y%m%d"));
    let numbered = (2..100).map(|number| format!("{dated}_{number}"));
    let candidates = whole
        .then(|| base.to_owned())
        .into_iter()
        .chain([dated.clone()])
        .chain(numbered);
    for candidate in candidates {
        let taken: bool = transaction
            .query_one(
                "SELECT EXISTS (SELECT FROM pg_class
                 WHERE relname = $1 AND relnamespace = 'trackport'::regnamespace)",
                &[&candidate],
            )?
            .get(0);
        if !taken {
            return Ok(candidate);
        }
    }
    Err(StoreError::Refused(format!(
        "no free name for a partition {dated}: tables with that name exist that are no partitions; drop or rename them"
    )))
}

/// The span that holds `day`, the one before it and `N_AHEAD` after it.
fn spans_around(width: PartitionWidth, day: Date) -> Vec<(Date, Date)> {
    let mut from = before(width, begin(width, day));
    let mut spans = Vec::with_capacity(N_AHEAD + 2);
    for _ in 0..N_AHEAD + 2 {
        let to = after(width, from);
        spans.push((from, to));
        from = to;
    }
    spans
}

fn begin(width: PartitionWidth, day: Date) -> Date {
    match width {
        PartitionWidth::Day => day,
        PartitionWidth::Week => {
            let week = day.iso_week_date();
            ISOWeekDate::new(week.year(), week.week(), Weekday::Monday)
                .map_or(day, ISOWeekDate::date)
        }
        PartitionWidth::Month => day.first_of_month(),
    }
}

fn after(width: PartitionWidth, from: Date) -> Date {
    from.saturating_add(match width {
        PartitionWidth::Day => 1.day(),
        PartitionWidth::Week => 1.week(),
        PartitionWidth::Month => 1.month(),
    })
}

fn before(width: PartitionWidth, from: Date) -> Date {
    begin(width, from.saturating_sub(1.day()))
}

fn name(width: PartitionWidth, from: Date) -> String {
    match width {
        PartitionWidth::Day => format!("record_{}", from.strftime("%Y%m%d")),
        PartitionWidth::Week => {
            let week = from.iso_week_date();
            format!("record_{:04}w{:02}", week.year(), week.week())
        }
        PartitionWidth::Month => format!("record_{}", from.strftime("%Y%m")),
    }
}

/// What of `span` no one of `taken`, sorted by time, covers.
fn gaps<T: Copy + Ord>(span: (T, T), taken: &[(T, T)]) -> Vec<(T, T)> {
    let mut free_from = span.0;
    let mut gaps = Vec::new();
    for (from, to) in taken {
        if *to <= free_from || *from >= span.1 {
            continue;
        }
        if *from > free_from {
            gaps.push((free_from, *from));
        }
        free_from = free_from.max(*to);
    }
    if free_from < span.1 {
        gaps.push((free_from, span.1));
    }
    gaps
}

fn today(now: SystemTime) -> Result<Date, StoreError> {
    let now = Timestamp::try_from(now).map_err(|error| {
        StoreError::Refused(format!(
            "partitions are not made, the clock is wrong: {error}"
        ))
    })?;
    Ok(now.to_zoned(TimeZone::UTC).date())
}

fn midnight(day: Date) -> SystemTime {
    day.to_zoned(TimeZone::UTC)
        .expect("a day derived from a clock that was checked is far from the end of time")
        .timestamp()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn weeks_begin_on_monday_and_carry_their_iso_number() {
        let spans = spans_around(PartitionWidth::Week, date(2026, 12, 31));
        assert_eq!(spans[0].0, date(2026, 12, 21));
        assert_eq!(spans[1], (date(2026, 12, 28), date(2027, 1, 4)));
        assert_eq!(spans.len(), 6);
        assert_eq!(name(PartitionWidth::Week, spans[1].0), "record_2026w53");
        assert_eq!(name(PartitionWidth::Week, spans[2].0), "record_2027w01");
    }

    #[test]
    fn days_and_months_are_named_by_their_dates() {
        let days = spans_around(PartitionWidth::Day, date(2026, 3, 1));
        assert_eq!(name(PartitionWidth::Day, days[0].0), "record_20260228");
        let months = spans_around(PartitionWidth::Month, date(2027, 1, 31));
        assert_eq!(months[0], (date(2026, 12, 1), date(2027, 1, 1)));
        assert_eq!(name(PartitionWidth::Month, months[0].0), "record_202612");
        assert_eq!(name(PartitionWidth::Month, months[2].0), "record_202702");
    }

    #[test]
    fn only_what_is_not_covered_is_made() {
        assert_eq!(gaps((0, 10), &[]), [(0, 10)]);
        assert_eq!(gaps((0, 10), &[(0, 10)]), []);
        assert_eq!(gaps((0, 10), &[(-5, 20)]), []);
        assert_eq!(gaps((0, 10), &[(-5, 2), (4, 5), (8, 30)]), [(2, 4), (5, 8)]);
        assert_eq!(gaps((0, 10), &[(-5, 0), (10, 20)]), [(0, 10)]);
    }
}
