//! ^C: the first stops what goes on and keeps what is done, the second ends the process.

use std::sync::Arc;
use triptych_load::pool::Cancel;

/// The flag that the first ^C raises.
pub(crate) fn flag() -> Arc<Cancel> {
    flag_that_says("finished runs are kept")
}

/// The same, with another word about what becomes of what was begun.
pub(crate) fn flag_that_says(what: &'static str) -> Arc<Cancel> {
    let cancel = Arc::new(Cancel::new());
    let raised = Arc::clone(&cancel);
    let handler = move || {
        if raised.is_cancelled() {
            // By convention 128 and the number of the signal.
            std::process::exit(130);
        }
        eprintln!("interrupted: {what} (again ^C ends at once)");
        raised.cancel();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        eprintln!("^C will end at once: {error}");
    }
    cancel
}
