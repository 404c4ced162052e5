//! What is remembered of those who ask. It begins anew with the thread.

use super::known::Faces;
use super::limits::Limits;
use super::names::Names;

/// Who is known, how often somebody tried to be, and what groups are called.
#[derive(Default)]
pub(in super::super) struct Access {
    pub(super) faces: Faces,
    pub(super) limits: Limits,
    pub(super) names: Names,
}
