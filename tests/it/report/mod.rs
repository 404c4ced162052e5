//! Reports: hand-made lives with known answers, the same from SQL, command line and web.

mod export;
mod files;
mod grafana;
mod sql;
mod temperature;
mod web;
