//! A progress bar for each running upload, on standard error, if it is a terminal that supports it.

use std::io;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::printable_line;

pub(crate) struct Bars {
    group: MultiProgress,
}

/// The bar of one upload. Dropping it removes it.
pub(crate) struct Bar {
    bar: ProgressBar,
}

/// Longer names are truncated to this many characters, so that the bar fits in 80 columns.
const NAME: usize = 24;

impl Bars {
    pub(crate) fn new(shown: bool) -> Self {
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { group: MultiProgress::with_draw_target(target) }
    }

    /// Adds a bar for a file of this size.
    pub(crate) fn start(&self, name: &str, size: u64) -> Bar {
        let style = ProgressStyle::with_template(
            "{prefix:24} {msg:10} [{bar:24}] {binary_bytes:>11} {binary_bytes_per_sec:>13}",
        )
        .expect("the template is well formed")
        .progress_chars("=> ");
        let name = printable_line(name);
        let name = match name.char_indices().nth(NAME) {
            Some(_) => name.chars().take(NAME - 1).chain(['…']).collect(),
            None => name,
        };
        Bar { bar: self.group.add(ProgressBar::new(size).with_style(style).with_prefix(name)) }
    }

    /// Writes lines while the bars are hidden.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.group.suspend(write)
    }
}

impl Bar {
    /// Starts a phase at 0 bytes.
    pub(crate) fn phase(&self, name: &'static str) {
        self.bar.set_message(name);
        self.bar.reset();
    }

    /// Sets the position and the total, which may have been unknown before.
    pub(crate) fn reach(&self, bytes: u64, total: u64) {
        self.bar.set_length(total);
        self.bar.set_position(bytes);
    }

    /// A reader that advances the bar.
    pub(crate) fn follow<R: io::Read>(&self, bytes: R) -> impl io::Read {
        self.bar.wrap_read(bytes)
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
