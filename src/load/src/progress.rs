//! How far a run is, for who looks on.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a run looks at its own figures to show them.
pub(crate) const REFRESH: Duration = Duration::from_millis(200);

/// A progress bar on stderr, or nothing.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A bar on stderr; nothing if that is not a terminal.
    #[must_use]
    pub fn terminal() -> Self {
        Self { bar: ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()) }
    }

    /// Nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// A new bar of `length` steps.
    pub(crate) fn begin(&self, phase: &'static str, length: u64) {
        let style = ProgressStyle::with_template("{prefix:>9} {bar:32} {pos}/{len} {msg}")
            .expect("the template is a constant that the crate accepts");
        self.bar.set_style(style);
        self.bar.set_prefix(phase);
        self.bar.set_message("");
        self.bar.set_length(length);
        self.bar.set_position(0);
    }

    pub(crate) fn set(&self, position: u64, message: String) {
        self.bar.set_position(position);
        self.bar.set_message(message);
    }

    pub(crate) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Removes the bar: what follows on the terminal is the result.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
