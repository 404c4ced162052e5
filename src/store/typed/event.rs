//! Events: what a record reports beside its values, one bit each in the column `events`.
//!
//! An event counts in the record that it caused: its AVL id is the record's event id, and its value says that it happens. The
//! element alone is not enough, because a device may be set to repeat it in every record ("permanent"), and because the record that
//! tells of the end carries the same id with the value 0.
//! Source of ids and values: the maker's tables as in `dictionary/avl_ids.csv`, category "event". No table of theirs has an element for a
//! shock or for the tracker's own battery taken out: a shock comes from imports only, the bit of the other is kept for what will say it.

/// One kind of event; its number is its bit in the column. `trackport.event_names` has the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Event {
    /// Moved with the ignition off.
    Towing = 1,
    /// A crash.
    Crash = 2,
    /// A record of a crash's trace, not another crash.
    CrashTrace = 4,
    /// A blow, less than a crash.
    Shock = 8,
    /// External power was cut.
    Unplug = 16,
    /// Harsh acceleration.
    HarshAcceleration = 32,
    /// Harsh braking.
    HarshBraking = 64,
    /// Harsh cornering.
    HarshCornering = 128,
    /// Radio reception is jammed.
    Jamming = 256,
    /// The tracker's own battery was taken out.
    BatteryUnplug = 512,
    /// It, or who carries it, fell down.
    Fall = 1024,
    /// Too fast: the beginning and the end of it.
    Overspeed = 2048,
    /// The alarm button.
    AlarmButton = 4096,
}

/// What a shaken asset has reported.
pub const SHAKEN: i32 =
    Event::Towing as i32 | Event::Crash as i32 | Event::Shock as i32 | Event::Fall as i32;

/// The element whose bytes are a crash's trace, on every model that has it.
pub(super) const CRASH_TRACE_ID: u16 = 257;

/// How the values of one AVL id are read as events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// 1: it happens. 0: it has ended.
    Begins(Event),
    /// 1 (calibrated) and 6 (not calibrated) are a real crash, 2 to 5 tell of traces.
    Crash,
    /// 1 acceleration, 2 braking, 3 cornering. How strong it was is another element, id 254, by which some devices name the record.
    HarshDriving,
    /// 2 is critical; 1 is a warning and 0 the end.
    GnssJamming,
    /// The speed at the beginning or the end of it, or the number of the zone: any value.
    Overspeed,
}

impl Report {
    /// Whether a record with this event id was caused by the element `id`.
    pub(super) fn is_cause(self, id: u16, event_id: u16) -> bool {
        id == event_id || self == Report::HarshDriving && event_id == id + 1
    }

    /// What the value says.
    pub(super) fn event(self, value: i64) -> Option<Event> {
        match (self, value) {
            (Report::Begins(event), 1) => Some(event),
            (Report::Crash, 1 | 6) => Some(Event::Crash),
            (Report::Crash, 2..=5) => Some(Event::CrashTrace),
            (Report::HarshDriving, 1) => Some(Event::HarshAcceleration),
            (Report::HarshDriving, 2) => Some(Event::HarshBraking),
            (Report::HarshDriving, 3) => Some(Event::HarshCornering),
            (Report::GnssJamming, 2) => Some(Event::Jamming),
            (Report::Overspeed, _) => Some(Event::Overspeed),
            _ => None,
        }
    }
}
