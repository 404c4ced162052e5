//! Tracker ports: the sockets that devices connect to, and the threads that serve them.

/// Listening sockets as the conf means them, or why there are none.
pub mod bind;
