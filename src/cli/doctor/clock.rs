//! The clock: does anybody keep it right, and does the database agree?

use std::time::Duration;

use super::super::finding::{Finding, Grade};
use super::super::text::span;
use super::look::{self, Said};

/// Chrony may be off by so much, in seconds.
const OFF_MAX: f64 = 1.0;

/// What is to be known of the clock.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    timedatectl: Said,
    chrony: Said,
    /// How far the database's clock is away, and whether it is ahead; `None`: hardly, or it was not asked.
    apart: Option<(Duration, bool)>,
}

/// Asks those who keep the clock.
pub(super) fn look(apart: Option<(Duration, bool)>) -> Facts {
    Facts {
        timedatectl: look::ask("timedatectl", &["show"]),
        chrony: look::ask("chronyc", &["-c", "tracking"]),
        apart,
    }
}

/// What there is to say about it.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((apart, is_ahead)) = facts.apart {
        let text = format!(
            "the database's clock is {} {} this machine's",
            span(apart),
            if is_ahead { "ahead of" } else { "behind" }
        );
        let grade = if apart > Duration::from_secs(60) {
            Grade::Wrong
        } else {
            Grade::Warning
        };
        findings.push(
            Finding::new(grade, text)
                .remedy("set the one that is wrong: timedatectl set-ntp true, on both machines"),
        );
    }
    findings.push(kept(facts));
    findings
}

fn kept(facts: &Facts) -> Finding {
    const REMEDY: &str = "systemctl enable --now chronyd; chronyc tracking; timedatectl";
    // Its last system offset is the fifth field, its leap status the last one.
    let chrony = facts.chrony.words().and_then(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let offset: f64 = fields.get(4)?.parse().ok()?;
        Some((offset, *fields.last()?))
    });
    if let Some((offset, leap)) = chrony {
        if leap == "Not synchronised" || offset.abs() > OFF_MAX {
            let text = format!("chrony does not keep the clock: {leap}, off by {offset:.3} s");
            return Finding::new(Grade::Warning, text).remedy(REMEDY);
        }
        return Finding::new(Grade::Ok, format!("kept by chrony, off by {offset:.3} s"));
    }
    match facts
        .timedatectl
        .words()
        .and_then(|text| look::values(text).get("NTPSynchronized").copied())
    {
        Some("yes") => Finding::new(Grade::Ok, "synchronised"),
        Some(_) => Finding::new(
            Grade::Warning,
            "nobody keeps the clock of this machine right",
        )
        .remedy(REMEDY),
        None => Finding::new(Grade::Unseen, "who keeps the clock of this machine")
            .remedy("timedatectl; chronyc tracking"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(timedatectl: &str, chrony: Said) -> Facts {
        Facts {
            timedatectl: Said::Words(timedatectl.to_owned()),
            chrony,
            apart: None,
        }
    }

    #[test]
    fn a_clock_that_nobody_keeps_is_odd() {
        let grade = |facts: &Facts| findings(facts)[0].grade;
        assert_eq!(
            grade(&facts("NTP=yes\nNTPSynchronized=yes", Said::Absent)),
            Grade::Ok
        );
        assert_eq!(
            grade(&facts("NTP=no\nNTPSynchronized=no", Said::Absent)),
            Grade::Warning
        );
        assert_eq!(grade(&facts("", Said::Absent)), Grade::Unseen);
        let line = |offset: &str, leap: &str| {
            let line = format!(
                "A9FEA97B,169.254.169.123,4,1732449600.1,{offset},0.0,0.0,1,0,0,0.1,0.1,16.1,{leap}"
            );
            facts("NTPSynchronized=yes", Said::Words(line))
        };
        assert_eq!(grade(&line("-0.000012", "Normal")), Grade::Ok);
        assert_eq!(grade(&line("3.5", "Normal")), Grade::Warning);
        assert_eq!(grade(&line("0.0", "Not synchronised")), Grade::Warning);
    }

    #[test]
    fn two_clocks_that_differ_are_told() {
        let mut facts = facts("NTPSynchronized=yes", Said::Absent);
        facts.apart = Some((Duration::from_secs(20), true));
        let all = findings(&facts);
        assert_eq!(
            all[0].text,
            "the database's clock is 20 s ahead of this machine's"
        );
        assert_eq!(all[0].grade, Grade::Warning);
        facts.apart = Some((Duration::from_secs(200), false));
        assert_eq!(findings(&facts)[0].grade, Grade::Wrong);
    }
}
