//! What the service manager is told: that clients can come in, that the conf is read anew, that
//! the process leaves.
//!
//! By the protocol of systemd's `Type=notify`. Where nobody has asked for it (`NOTIFY_SOCKET` is
//! not set) nothing happens, and a manager that does not listen changes nothing. Not here: when
//! (`server`, `leaving`).

use std::time::Duration;

use sd_notify::NotifyState;

/// Clients can come in, or come in with the new conf.
pub(super) fn on_ready() {
    tell(&[NotifyState::Ready]);
}

/// The conf is read anew. [`on_ready`] follows, whatever comes of it.
pub(super) fn on_reload() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The process leaves, and may take so long: `server.drain` rules, not the manager's patience.
pub(super) fn on_leave(within: Duration) {
    let micros = u32::try_from(within.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(micros)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!(error:%; "the service manager cannot be told");
    }
}
