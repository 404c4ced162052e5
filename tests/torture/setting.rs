//! The conf file that trackport is tortured with: its sizes and times are drawn from the seed, so that no single choice hides
//! a mistake.

use std::fs;
use std::path::Path;

use crate::harness::daemon::{Daemon, Setup};

/// trackport with its conf file, which is returned with and without its last port.
pub fn written(
    url: &str,
    ports: &[u16],
    spool: &Path,
    seed: u64,
    logs_little: bool,
) -> (Daemon, [String; 2]) {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xC0FF);
    let mut one = |choices: &[&'static str]| choices[rng.usize(..choices.len())];
    let writers = one(&["1", "1", "2", "4"]);
    let batch_records = one(&["255", "5000"]);
    // Full by its own rule before the disk is, or only when the disk says so.
    let keep_free = one(&["0 %", "10 %"]);
    // The shorter, the more often the spool takes over.
    let ack_target = one(&["100 ms", "500 ms", "2 s"]);
    let partition = one(&["day", "week", "month"]);
    // With the lower number, devices that make a connection for each packet are slowed down.
    let logins = one(&["60", "60000"]);
    // With the lower one, devices have to wait for room.
    let queue = one(&["256 KiB", "256 MiB"]);
    let mut setup = Setup::new(url);
    for port in ports {
        setup = setup.port(*port);
    }
    setup = setup
        .timeout("ack_target", ack_target)
        .spool(&format!(
            "directory = \"{}\"\nmax_size = \"20 MiB\"\nkeep_free = \"{keep_free}\"",
            spool.display()
        ))
        .more(&format!(
            "[limits]\nlogins_per_minute = {logins}\nqueue = \"{queue}\"\n[retention]\npartition = \"{partition}\""
        ));
    if logs_little {
        setup = setup.env("RUST_LOG", "warn,trackport=info");
    }
    let daemon = setup.write();
    daemon.edit_conf(|text| {
        let database = format!("[database]\nwriters = {writers}\nbatch_records = {batch_records}");
        text.replace("[database]", &database).replace(
            // New devices come all the time.
            "accept = \"any\"",
            "accept = \"any\"\nmax_new_devices = 1000000",
        )
    });
    println!(
        "writers {writers}, batch_records {batch_records}, keep_free {keep_free}, ack_target {ack_target}, \
         partition {partition}, logins_per_minute {logins}, queue {queue}"
    );
    let whole = fs::read_to_string(daemon.conf()).expect("the conf file");
    let last = whole.rfind("[[port]]").expect("some ports");
    let less = whole[..last].to_owned();
    (daemon, [whole, less])
}
