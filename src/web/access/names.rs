//! What groups are called, remembered for the time in which the database cannot be asked.

use std::sync::{Mutex, PoisonError};

use crate::store::group::GroupName;

/// What groups were called when the database said so last.
#[derive(Default)]
pub(super) struct Names(Mutex<Vec<GroupName>>);

impl Names {
    pub(super) fn keep(&self, names: &[GroupName]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = names.to_vec();
    }

    pub(super) fn kept(&self) -> Vec<GroupName> {
        let names = self.0.lock();
        names.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
