//! The one door through which threads start: named, caught when they panic, and reported when they end.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread;

use crossbeam_channel::Sender;

use crate::life::Life;

/// How a thread ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to.
    Asked,
    /// It gave up with an error.
    Failed(String),
    /// It panicked; message and place.
    Panicked(String),
}

/// A thread is over.
#[derive(Debug)]
pub struct Ended {
    /// Which start of which thread.
    pub life: Arc<Life>,
    /// How.
    pub ending: Ending,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps a panic's message and place for the report instead of writing it to stderr past the log.
pub fn install_panic_hook() {
    panic::set_hook(Box::new(|info| {
        let what = payload_text(info.payload());
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let text = format!("{what} at {place}");
        log::error!(
            "panic thread={} message={text:?}",
            thread::current().name().unwrap_or("-")
        );
        PANIC.with_borrow_mut(|panic| *panic = Some(text));
    }));
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown")
}

/// Starts `body` as a thread with the name in `life`, and tells `ended` how it ended.
///
/// # Errors
/// When the system has no thread left.
pub fn start<F>(life: &Arc<Life>, ended: Sender<Ended>, body: F) -> std::io::Result<()>
where
    F: FnOnce(&Arc<Life>) -> Result<(), String> + Send + 'static,
{
    let life = Arc::clone(life);
    // The kernel shows 15 bytes of a name; the end of a port's name tells more than its begin.
    thread::Builder::new()
        .name(life.name().to_owned())
        .spawn(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(|| body(&life)));
            let ending = match result {
                Ok(Ok(())) => Ending::Asked,
                Ok(Err(error)) => Ending::Failed(error),
                Err(payload) => Ending::Panicked(
                    PANIC
                        .with_borrow_mut(Option::take)
                        .unwrap_or_else(|| payload_text(payload.as_ref()).to_owned()),
                ),
            };
            // An error means that the process is ending and nobody asks any more.
            let _ = ended.send(Ended { life, ending });
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_panic_is_reported_with_its_message() {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let life = Arc::new(Life::new("port [::]:1", 4, Duration::from_secs(1)));
        start(&life, sender, |_| panic!("no such thing")).unwrap();
        let ended = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(ended.life.generation(), 4);
        let Ending::Panicked(message) = ended.ending else {
            panic!("{:?}", ended.ending)
        };
        assert!(message.contains("no such thing"), "{message}");
    }
}
