//! `trackport simulate`: what may follow it on the command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::conf::parse_duration;
use crate::imei::Imei;

/// What may follow `trackport simulate`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where to connect
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:5027")]
    pub to: String,
    /// Devices of the fleet
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub devices: u32,
    /// IMEI of the first device; the others count on from it
    #[arg(long, value_name = "IMEI", default_value = "350000000000000")]
    pub first_imei: Imei,
    /// Records in each packet
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(1..))]
    pub records: u8,
    /// IO elements in each record
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u16).range(0..=255))]
    pub io: u16,
    /// What the devices speak
    #[arg(long, value_enum, default_value_t = Codec::Codec8)]
    pub codec: Codec,
    /// Time between two packets of a device, for example "10 s"; without it each packet follows the ack of the last
    #[arg(long, value_parser = parse_duration)]
    pub interval: Option<Duration>,
    /// Packets of each device; without it as many as there is time for
    #[arg(long)]
    pub packets: Option<u64>,
    /// How long, for example "5 min"; without it until --packets are sent or Ctrl-C is pressed
    #[arg(long, value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// File that gets one line for each acknowledged record, to be compared with the table
    #[arg(long, value_name = "FILE")]
    pub acked: Option<PathBuf>,
}

/// The packet formats that carry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Codec {
    /// Codec 8.
    #[value(name = "8")]
    Codec8,
    /// Codec 8 Extended.
    #[value(name = "8e")]
    Codec8Extended,
    /// Codec 16.
    #[value(name = "16")]
    Codec16,
}
