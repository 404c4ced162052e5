//! The state that answers share.

use std::ops::Deref;
use std::sync::Arc;

use super::access::state::Access;
use super::ask::Desk;
use super::live::board::Board;
use crate::conf::Http;
use crate::hub::Hub;

/// What answers are made of: one place for all pages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared(Arc<Parts>);

struct Parts {
    around: Around,
    access: Access,
}

/// What the supervisor gives the web.
#[derive(Clone)]
pub struct Around {
    /// The parts of the server.
    pub hub: Arc<Hub>,
    /// `[http]`
    pub http: Http,
    /// Where questions for the database are left.
    pub desk: Desk,
    /// Where every asset is and what it does.
    pub board: Arc<Board>,
}

impl Shared {
    pub(super) fn new(around: Around) -> Shared {
        Shared(Arc::new(Parts {
            access: Access::default(),
            around,
        }))
    }

    /// Who is known, and how often somebody tried to be.
    pub(super) fn access(&self) -> &Access {
        &self.0.access
    }
}

impl Deref for Shared {
    type Target = Around;

    fn deref(&self) -> &Around {
        &self.0.around
    }
}
