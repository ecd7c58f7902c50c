//! What a terminal gets and a file does not: colour, and signs of life.

use std::io::{IsTerminal, Write as _, stderr};
use std::time::{Duration, Instant};

use crate::edge::now;

/// What takes no longer needs no sign of life.
const SILENT_FOR: Duration = Duration::from_secs(1);
/// Often enough to be seen moving.
const EVERY: Duration = Duration::from_millis(200);

/// Colours, where they belong.
#[derive(Clone, Copy)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// For what is written to this stream. `NO_COLOR` (not empty) turns them off.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        let is_banned = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { is_on: stream.is_terminal() && !is_banned }
    }

    /// The text in a colour of ECMA-48, such as `31` for red.
    pub(super) fn paint(self, colour: &str, text: &str) -> String {
        if self.is_on { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The colours in use.
pub(super) mod colour {
    /// What failed.
    pub(in crate::cli) const RED: &str = "31";
    /// What is odd.
    pub(in crate::cli) const YELLOW: &str = "33";
    /// What is well.
    pub(in crate::cli) const GREEN: &str = "32";
    /// What is said beside.
    pub(in crate::cli) const GREY: &str = "90";
}

/// A line on standard error that is written over while something lasts; only on a terminal.
pub(super) struct Progress {
    is_shown: bool,
    is_wanted: bool,
    began: Instant,
    last: Option<Instant>,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new() -> Self {
        Self { is_shown: false, is_wanted: stderr().is_terminal(), began: now(), last: None }
    }

    /// How far it is. Shown once it has lasted for a second, and not too often.
    pub(super) fn tell(&mut self, text: impl FnOnce() -> String) {
        if !self.is_wanted {
            return;
        }
        let now = now();
        let is_early = now.saturating_duration_since(self.began) < SILENT_FOR;
        let is_soon = self.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY);
        if is_early || is_soon {
            return;
        }
        self.last = Some(now);
        self.is_shown = true;
        // A terminal that cannot be written to shows nothing, and that is all.
        let _is_written = write!(stderr(), "\r\x1b[K{}", text()).is_ok();
    }

    /// Takes the line away.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            let _is_written = write!(stderr(), "\r\x1b[K").is_ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_get_no_colours() {
        let file = std::fs::File::open("/dev/null").expect("a file");
        assert_eq!(Paint::of(&file).paint(colour::RED, "x"), "x");
        assert_eq!(Paint { is_on: true }.paint(colour::RED, "x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
