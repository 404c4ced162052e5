//! Which lives a fleet is made of: their kinds, models, names and IMEIs.

use std::fmt;
use std::str::FromStr;

use crate::imei::{Imei, ImeiError};

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rounds from customer to customer.
    Van,
    /// To work and back.
    Car,
    /// Freight from town to town.
    Truck,
    /// Freight that is kept cold: temperatures, humidity, doors.
    ColdBox,
    /// On a site; shaken and towed now and then.
    Machine,
}

/// All kinds, the share of each in a mixed fleet, the word for it on the command line, its model and its name.
const KINDS: [(Kind, u32, &str, &str, &str); 5] = [
    (Kind::Van, 6, "van", "FMB120", "Van"),
    (Kind::Car, 4, "car", "FMB920", "Car"),
    (Kind::Truck, 4, "truck", "FMB120", "Truck"),
    (Kind::ColdBox, 4, "coldbox", "FMB120", "Cold box"),
    (Kind::Machine, 2, "machine", "FMB120", "Machine"),
];

impl Kind {
    /// The maker's model, as the dictionary has it.
    pub(crate) fn model(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("", |(_, _, _, model, _)| model)
    }

    fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("", |(.., name)| name)
    }
}

/// How many of each kind there are among so many: `van`, or `van=3,machine`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mix {
    /// The kinds in turn, each so often as its share says.
    turns: Vec<Kind>,
}

/// Why a text is no mix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MixError {
    /// A word that is no kind.
    #[error("\"{0}\" is no kind of life; there are van, car, truck, coldbox and machine, or mixed")]
    Kind(String),
    /// A share that is none.
    #[error("\"{0}\" is no share; write a number from 1 to 100, as in van=3,machine=1")]
    Share(String),
}

impl FromStr for Mix {
    type Err = MixError;

    fn from_str(text: &str) -> Result<Mix, MixError> {
        let mut shares: Vec<(Kind, u32)> = Vec::new();
        for part in text.split(',').map(str::trim) {
            if part == "mixed" {
                shares.extend(KINDS.iter().map(|(kind, share, ..)| (*kind, *share)));
                continue;
            }
            let (word, share) = part.split_once('=').unwrap_or((part, "1"));
            let share: u32 = share
                .parse()
                .ok()
                .filter(|share| (1..=100).contains(share))
                .ok_or_else(|| MixError::Share(share.to_owned()))?;
            let kind = KINDS
                .iter()
                .find(|(_, _, known, ..)| *known == word)
                .map(|(kind, ..)| *kind)
                .ok_or_else(|| MixError::Kind(word.to_owned()))?;
            shares.push((kind, share));
        }
        // In turn, so that a small fleet has some of each.
        let most = shares.iter().map(|(_, share)| *share).max().unwrap_or(0);
        let turns = (0..most)
            .flat_map(|round| {
                shares
                    .iter()
                    .filter(move |(_, share)| round < *share)
                    .map(|(kind, _)| *kind)
            })
            .collect();
        Ok(Mix { turns })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.turns.iter().map(|kind| kind.name()).collect();
        f.write_str(&names.join(", "))
    }
}

impl Mix {
    /// What the device with this number is.
    pub(crate) fn kind(&self, index: u32) -> Kind {
        self.turns[index as usize % self.turns.len()]
    }

    /// What people call it.
    pub(crate) fn name(&self, index: u32) -> String {
        let n_turns = self.turns.len();
        let kind = self.kind(index);
        let in_turns = |until: usize| {
            self.turns[..until]
                .iter()
                .filter(|one| **one == kind)
                .count()
        };
        let place =
            index as usize / n_turns * in_turns(n_turns) + in_turns(index as usize % n_turns);
        format!("{} {}", kind.name(), place + 1)
    }
}

/// The IMEI of the device with this number: the first fourteen digits count on, the last is their check digit.
///
/// # Errors
/// When there are not so many IMEIs from the first one on.
pub(crate) fn imei(first: Imei, index: u32) -> Result<Imei, ImeiError> {
    let digits = first.number() / 10 + u64::from(index);
    let mut imei = Imei::from_number(digits * 10)?;
    while !imei.luhn_ok() {
        imei = Imei::from_number(imei.number() + 1)?;
    }
    Ok(imei)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_has_its_shares_and_every_name_once() {
        let mix: Mix = "van=3,machine".parse().unwrap();
        let kinds: Vec<Kind> = (0..8).map(|index| mix.kind(index)).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Van).count(), 6);
        assert_eq!(
            kinds.iter().filter(|kind| **kind == Kind::Machine).count(),
            2
        );
        let mixed: Mix = "mixed".parse().unwrap();
        let names: std::collections::HashSet<String> =
            (0..100).map(|index| mixed.name(index)).collect();
        assert_eq!(names.len(), 100);
        assert!(names.contains("Cold box 1") && names.contains("Cold box 20"));
        for wrong in ["", "boat", "van=0", "van=x", "van=1000", "van,,car"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_imei_has_its_check_digit() {
        let first: Imei = "350000000000000".parse().unwrap();
        let imeis: Vec<Imei> = (0..100).map(|index| imei(first, index).unwrap()).collect();
        assert!(imeis.iter().all(|imei| imei.luhn_ok()));
        assert!(imeis.windows(2).all(|pair| pair[0] < pair[1]));
        let last: Imei = "999999999999999".parse().unwrap();
        assert!(imei(last, 1).is_err());
    }
}
