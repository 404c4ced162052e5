//! The reports and their columns, the one list of them. A test holds it against the functions in the database.

use Kind::{Boolean, Day, Duration, Integer, Number, Text, Time};

/// What the values of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Words.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// A moment.
    Time,
    /// A day of the report's zone.
    Day,
    /// Seconds.
    Duration,
}

impl Kind {
    /// In the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Text => "text",
            Integer => "integer",
            Number => "number",
            Boolean => "boolean",
            Time => "time",
            Day => "day",
            Duration => "duration",
        }
    }
}

/// A column of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in SQL, CSV and JSON.
    pub key: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What its numbers count.
    pub unit: Option<&'static str>,
    /// What its values are.
    pub kind: Kind,
    /// Whether the sum of its values says something.
    pub is_summed: bool,
}

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// In addresses, on the command line, and behind `trackport.report_` in SQL.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it tells, and by which rule.
    pub description: &'static str,
    /// What a row has.
    pub columns: &'static [Column],
    /// The column that rows of one asset are ordered by.
    pub ordered_by: &'static str,
}

const fn column(
    key: &'static str,
    title: &'static str,
    kind: Kind,
    unit: Option<&'static str>,
) -> Column {
    Column {
        key,
        title,
        unit,
        kind,
        is_summed: false,
    }
}

const fn text(key: &'static str, title: &'static str) -> Column {
    column(key, title, Text, None)
}

const fn time(key: &'static str, title: &'static str) -> Column {
    column(key, title, Time, None)
}

const fn seconds(key: &'static str, title: &'static str) -> Column {
    column(key, title, Duration, Some("s"))
}

const fn metres(key: &'static str, title: &'static str) -> Column {
    column(key, title, Integer, Some("m"))
}

const fn number(key: &'static str, title: &'static str) -> Column {
    column(key, title, Integer, None)
}

const fn speed(key: &'static str, title: &'static str) -> Column {
    column(key, title, Integer, Some("km/h"))
}

const fn degrees(key: &'static str, title: &'static str) -> Column {
    column(key, title, Number, Some("°"))
}

const fn celsius(key: &'static str, title: &'static str) -> Column {
    column(key, title, Number, Some("°C"))
}

const fn yes_no(key: &'static str, title: &'static str) -> Column {
    column(key, title, Boolean, None)
}

const fn summed(column: Column) -> Column {
    Column {
        is_summed: true,
        ..column
    }
}

const ASSET_ID: Column = number("asset_id", "Asset number");
const ASSET: Column = text("asset", "Asset");
const DEVICE_ID: Column = number("device_id", "Device number");
const BEGINS_BEFORE: Column = yes_no("begins_before", "Began before");
const GOES_ON: Column = yes_no("goes_on", "Goes on");

/// All reports, in the order in which they are offered.
pub const REPORTS: &[Report] = &[
    Report {
        name: "daily",
        title: "Days",
        description: "One line per asset and day: distance, engine hours, time moving, idling, parked and without data, top speed. \
                      Days are days of the group's time zone.",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            column("day", "Day", Day, None),
            summed(metres("distance_m", "Distance")),
            summed(seconds("engine_s", "Engine on")),
            text("engine_by", "Engine time by"),
            summed(seconds("moving_s", "Moving")),
            summed(seconds("idle_s", "Idling")),
            summed(seconds("parked_s", "Parked")),
            summed(seconds("no_data_s", "Without data")),
            speed("top_speed_kmh", "Top speed"),
            summed(number("n_records", "Records")),
            time("first_time", "First record"),
            time("last_time", "Last record"),
        ],
        ordered_by: "day",
    },
    Report {
        name: "trips",
        title: "Trips",
        description: "When, from where to where and how far assets went. A trip lasts over stops that are shorter than the group's \
                      minimum, and ends where nothing was recorded for longer than its gap.",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            time("start_time", "Start"),
            time("end_time", "End"),
            summed(seconds("duration_s", "Duration")),
            summed(metres("distance_m", "Distance")),
            summed(seconds("moving_s", "Moving")),
            summed(seconds("idle_s", "Idling")),
            speed("average_kmh", "Average speed"),
            speed("top_speed_kmh", "Top speed"),
            degrees("start_longitude", "Start longitude"),
            degrees("start_latitude", "Start latitude"),
            degrees("end_longitude", "End longitude"),
            degrees("end_latitude", "End latitude"),
            BEGINS_BEFORE,
            GOES_ON,
        ],
        ordered_by: "start_time",
    },
    Report {
        name: "stops",
        title: "Stops",
        description: "Where and for how long assets stood between their trips, how long with the engine on, and for how long nothing was \
                      recorded meanwhile.",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            time("start_time", "Start"),
            time("end_time", "End"),
            summed(seconds("duration_s", "Duration")),
            summed(seconds("idle_s", "Idling")),
            summed(seconds("no_data_s", "Without data")),
            degrees("longitude", "Longitude"),
            degrees("latitude", "Latitude"),
            metres("moved_m", "Off at its end by"),
            BEGINS_BEFORE,
            GOES_ON,
        ],
        ordered_by: "start_time",
    },
    Report {
        name: "temperature",
        title: "Temperatures",
        description: "Temperatures beyond the limits of the asset, or else its group, for at least the group's minimum; how warm or cold it \
                      became, and for how much of that time there were no data or the sensor was faulty.",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            number("sensor", "Sensor"),
            time("start_time", "Start"),
            time("end_time", "End"),
            summed(seconds("duration_s", "Duration")),
            text("beyond", "Side"),
            celsius("limit_c", "Limit"),
            celsius("max_c", "Highest"),
            celsius("min_c", "Lowest"),
            summed(seconds("no_data_s", "Without data")),
            summed(seconds("fault_s", "Sensor faulty")),
            number("n_records", "Values"),
            BEGINS_BEFORE,
            GOES_ON,
        ],
        ordered_by: "start_time",
    },
    Report {
        name: "events",
        title: "Events",
        description: "Shocks, crashes, towing, cut power, harsh driving and whatever else devices report of themselves.",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            time("time", "Time"),
            text("event", "Event"),
            degrees("longitude", "Longitude"),
            degrees("latitude", "Latitude"),
            speed("speed_kmh", "Speed"),
        ],
        ordered_by: "time",
    },
    Report {
        name: "offline",
        title: "Offline times",
        description: "Times of which nothing was recorded: longer than the group's gap, and than three times what is usual for the device \
                      while it moves or does not (the median of the span).",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            time("start_time", "Start"),
            time("end_time", "End"),
            summed(seconds("duration_s", "Duration")),
            seconds("usual_s", "Usual"),
            yes_no("was_moving", "Was moving"),
            degrees("longitude", "Last longitude"),
            degrees("latitude", "Last latitude"),
            BEGINS_BEFORE,
            GOES_ON,
        ],
        ordered_by: "start_time",
    },
    Report {
        name: "odometer",
        title: "Odometers and fuel",
        description: "First and last odometer, engine time and fuel of the span, as far as they are sent; one line for each device fitted.",
        columns: &[
            ASSET_ID,
            ASSET,
            DEVICE_ID,
            time("first_time", "First record"),
            time("last_time", "Last record"),
            summed(metres("distance_m", "Distance")),
            text("distance_by", "Distance by"),
            metres("odometer_start_m", "Tracker's odometer, start"),
            metres("odometer_end_m", "Tracker's odometer, end"),
            metres("vehicle_odometer_start_m", "Vehicle's odometer, start"),
            metres("vehicle_odometer_end_m", "Vehicle's odometer, end"),
            seconds("engine_start_s", "Engine time, start"),
            seconds("engine_end_s", "Engine time, end"),
            summed(seconds("engine_s", "Engine time")),
            column("fuel_start_l", "Fuel, start", Number, Some("l")),
            column("fuel_end_l", "Fuel, end", Number, Some("l")),
            column(
                "fuel_start_percent",
                "Fuel level, start",
                Integer,
                Some("%"),
            ),
            column("fuel_end_percent", "Fuel level, end", Integer, Some("%")),
        ],
        ordered_by: "first_time",
    },
];
