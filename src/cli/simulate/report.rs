//! A simulation in words: a line while it runs, totals when it ends.

use std::fmt::Write;
use std::time::Duration;

use super::super::text::{amount, count};
use super::latency::Histogram;
use super::tally::Tally;

/// What goes on now. `rate`: records per second acknowledged since the last line.
pub(super) fn progress(tally: &Tally, elapsed: Duration, n_devices: u32, rate: u64) -> String {
    let mut line = format!(
        "{:>4} s  {} of {} devices online  {} records acknowledged  {}/s",
        elapsed.as_secs(),
        amount(tally.online.get()),
        amount(n_devices.into()),
        amount(tally.acked_records.get()),
        amount(rate),
    );
    troubles(tally, &mut line);
    line
}

/// Whatever did not go as it should, behind a line.
fn troubles(tally: &Tally, line: &mut String) {
    for (number, what) in [
        (tally.refused.get(), "logins refused"),
        (tally.reconnects.get(), "reconnects"),
        (tally.connect_failures.get(), "connects failed"),
        (tally.timeouts.get(), "answers missing"),
        (tally.wrong.get(), "answers WRONG"),
    ] {
        if number > 0 {
            // Writing to a String cannot fail.
            let _ = write!(line, "  {} {what}", amount(number));
        }
    }
}

/// The totals. `active`: from the first packet to the last ack.
pub(super) fn totals(tally: &Tally, latency: &Histogram, active: Duration) -> String {
    let acked = tally.acked.get();
    let records = tally.acked_records.get();
    let rate = (u128::from(records) * 1_000_000) / active.as_micros().max(1);
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    line(
        "sent",
        format!(
            "{} packets, {} of them again after a reconnect",
            amount(tally.sent.get()),
            amount(tally.resent.get())
        ),
    );
    line(
        "acknowledged",
        format!("{} packets, {} records", amount(acked), amount(records)),
    );
    line(
        "unacknowledged",
        format!("{} packets", amount(tally.unacked.get())),
    );
    line("logins refused", amount(tally.refused.get()));
    line("reconnects", amount(tally.reconnects.get()));
    line(
        "errors",
        format!(
            "{} wrong answers, {} missing answers, {} failed connects",
            amount(tally.wrong.get()),
            amount(tally.timeouts.get()),
            amount(tally.connect_failures.get())
        ),
    );
    if let Some(wrong) = tally.first_wrong() {
        line("first wrong", wrong);
    }
    line(
        "rate",
        format!(
            "{} records/s over {:.1} s",
            amount(u64::try_from(rate).unwrap_or(u64::MAX)),
            active.as_secs_f64()
        ),
    );
    if latency.n() > 0 {
        line(
            "ack latency",
            format!(
                "p50 {}, p99 {}, max {}",
                milliseconds(latency.quantile_us(500)),
                milliseconds(latency.quantile_us(990)),
                milliseconds(latency.max_us())
            ),
        );
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn milliseconds(us: u64) -> String {
    format!("{:.3} ms", us as f64 / 1000.0)
}

/// What the simulation found wrong in the end, if anything. `wanted`: packets that were to be acknowledged.
pub(super) fn verdict(tally: &Tally, wanted: Option<u64>) -> Result<(), String> {
    let acked = tally.acked.get();
    let n = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    if tally.wrong.get() > 0 {
        Err(count(n(tally.wrong.get()), "wrong answer"))
    } else if tally.unacked.get() > 0 {
        Err(format!(
            "{} unacknowledged",
            count(n(tally.unacked.get()), "packet")
        ))
    } else if acked == 0 {
        Err("nothing was acknowledged".to_owned())
    } else if tally.refused.get() > 0 {
        Err(format!(
            "{} refused",
            count(n(tally.refused.get()), "login")
        ))
    } else if wanted.is_some_and(|wanted| acked < wanted) {
        Err(format!(
            "{} of {} packets acknowledged",
            amount(acked),
            amount(wanted.unwrap_or_default())
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_right_only_when_everything_is_acknowledged() {
        let tally = Tally::default();
        assert_eq!(
            verdict(&tally, None).unwrap_err(),
            "nothing was acknowledged"
        );
        tally.acked.add(10);
        assert_eq!(verdict(&tally, None), Ok(()));
        assert_eq!(verdict(&tally, Some(10)), Ok(()));
        assert_eq!(
            verdict(&tally, Some(11)).unwrap_err(),
            "10 of 11 packets acknowledged"
        );
        tally.unacked.add(1);
        assert_eq!(
            verdict(&tally, None).unwrap_err(),
            "1 packet unacknowledged"
        );
        tally.say_wrong(|| "ack 3 for 10 records".to_owned());
        assert_eq!(verdict(&tally, None).unwrap_err(), "1 wrong answer");
    }

    #[test]
    fn totals_count_records_and_name_the_first_mistake() {
        let tally = Tally::default();
        tally.sent.add(101);
        tally.acked.add(100);
        tally.acked_records.add(1000);
        tally.say_wrong(|| "ack 3 for 10 records".to_owned());
        tally.say_wrong(|| "another".to_owned());
        let mut latency = Histogram::new();
        latency.add(1500);
        let text = totals(&tally, &latency, Duration::from_secs(2));
        assert!(text.contains("100 packets, 1 000 records"), "{text}");
        assert!(text.contains("500 records/s over 2.0 s"), "{text}");
        assert!(
            text.contains("first wrong     ack 3 for 10 records"),
            "{text}"
        );
        assert!(text.contains("p50 1.500 ms"), "{text}");
    }
}
