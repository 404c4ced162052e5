//! The state that answers share.

use std::sync::Arc;

use crate::hub::Hub;

/// What answers are made of: one place for all pages.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) hub: Arc<Hub>,
}
