//! What the tests share: things to test against. Knows no test.

pub mod postgres;
