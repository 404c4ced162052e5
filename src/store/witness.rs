//! What the wall clock is held against before anything is removed by its age.
//!
//! A machine whose clock says 2040 would drop everything there is. The database's own clock tells when it runs elsewhere, and the
//! devices tell it everywhere: they have their time from satellites. So age counts from the newest record there is, or from
//! a clock where one is behind that. Knows no thread; the caller says what its own clock shows.

use std::time::{Duration, SystemTime};

use postgres::Client;

use super::error::StoreError;

/// Two clocks that differ by more are not both right.
pub const APART_MAX: Duration = Duration::from_secs(86_400);

/// What others say about the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witnesses {
    /// The clock of the database's machine.
    pub database: SystemTime,
    /// The newest time of a believed record; `None`: there is none.
    pub newest: Option<SystemTime>,
}

impl Witnesses {
    /// Asks them.
    ///
    /// # Errors
    /// When the database refuses or does not answer.
    pub fn ask(client: &mut Client) -> Result<Witnesses, StoreError> {
        // `latest` has what is believed, one row per device.
        let row = client.query_one(
            "SELECT clock_timestamp(), (SELECT max(time) FROM trackport.latest)",
            &[],
        )?;
        Ok(Witnesses {
            database: row.get(0),
            newest: row.get(1),
        })
    }

    /// How far the database's clock and `own` are apart, if that is too far.
    pub fn apart(&self, own: SystemTime) -> Option<Duration> {
        let apart = own
            .duration_since(self.database)
            .or_else(|_| self.database.duration_since(own))
            .unwrap_or_default();
        (apart > APART_MAX).then_some(apart)
    }

    /// The time from which age counts when the caller's clock shows `own`; `None` while there are no records.
    pub fn present(&self, own: SystemTime) -> Option<SystemTime> {
        Some(self.newest?.min(self.database).min(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400)
    }

    fn witnesses(database: u64, newest: u64) -> Witnesses {
        Witnesses {
            database: at(database),
            newest: Some(at(newest)),
        }
    }

    #[test]
    fn age_counts_from_the_earliest_of_all_who_know_the_time() {
        assert_eq!(
            witnesses(20_000, 20_000).present(at(20_000)),
            Some(at(20_000))
        );
        assert_eq!(
            witnesses(20_000, 20_000).present(at(25_000)),
            Some(at(20_000))
        );
        assert_eq!(
            witnesses(25_000, 20_000).present(at(25_000)),
            Some(at(20_000))
        );
        assert_eq!(
            witnesses(20_000, 25_000).present(at(25_000)),
            Some(at(20_000))
        );
        assert_eq!(witnesses(20_000, 20_000).present(at(100)), Some(at(100)));
        let nobody = Witnesses {
            newest: None,
            ..witnesses(20_000, 0)
        };
        assert_eq!(nobody.present(at(20_000)), None);
    }

    #[test]
    fn clocks_a_day_apart_are_not_both_right() {
        let witnesses = witnesses(20_000, 20_000);
        assert_eq!(witnesses.apart(at(20_001)), None);
        assert_eq!(witnesses.apart(at(19_999)), None);
        assert_eq!(witnesses.apart(at(20_002)), Some(APART_MAX * 2));
        assert_eq!(witnesses.apart(at(19_998)), Some(APART_MAX * 2));
    }
}
