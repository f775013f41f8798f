//! What is being done, while it is being done: on standard error, and only where that is a terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::core::api::ObjectKey;
use crate::core::plan::{Operation, Plan};
use crate::core::printable::bytes;
use crate::core::printable::one_line;
use crate::core::report::Outcome;
use crate::shell::execute::Progress;

/// One bar for each server that has something to do.
pub(super) struct Bars {
    bars: Mutex<BTreeMap<ObjectKey, ProgressBar>>,
    all: Option<MultiProgress>,
    stop: AtomicBool,
}

impl Bars {
    /// `logging`: what is done is in the log, and bars would be torn apart by it.
    pub(super) fn new(logging: bool) -> Self {
        let all = (std::io::stderr().is_terminal() && !logging).then(MultiProgress::new);
        Self { bars: Mutex::default(), all, stop: AtomicBool::new(false) }
    }

    /// Shows the operations ahead.
    pub(super) fn expect(&self, plan: &Plan) {
        let Some(all) = &self.all else { return };
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        for server in &plan.servers {
            let operations: usize = server.groups.iter().map(|group| group.operations.len()).sum();
            if operations > 0 {
                let bar = all.add(ProgressBar::new(operations as u64));
                if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {pos}/{len} {wide_msg}") {
                    bar.set_style(style);
                }
                bar.set_prefix(server.server.path());
                bar.enable_steady_tick(Duration::from_millis(100));
                bars.insert(server.server.clone(), bar);
            }
        }
    }

    /// Takes the bars away: what follows is the report.
    pub(super) fn clear(&self) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        for bar in std::mem::take(&mut *bars).into_values() {
            bar.finish_and_clear();
        }
    }

    /// What is under way is completed, and nothing new is begun.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Runs `show` with the bars out of the way.
    pub(super) fn suspend(&self, show: impl FnOnce()) {
        match &self.all {
            Some(all) => all.suspend(show),
            None => show(),
        }
    }

    fn with(&self, server: &ObjectKey, update: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.bars.lock().unwrap_or_else(PoisonError::into_inner).get(server) {
            update(bar);
        }
    }
}

impl Progress for Bars {
    fn started(&self, server: &ObjectKey, operation: &Operation) {
        tracing::info!(server = server.path(), "{operation}");
        self.with(server, |bar| bar.set_message(one_line(&operation.call.to_string()).into_owned()));
    }

    fn finished(&self, server: &ObjectKey, _operation: &Operation, _outcome: &Outcome) {
        self.with(server, |bar| bar.inc(1));
    }

    fn step(&self, server: &ObjectKey, text: &str) {
        self.with(server, |bar| bar.set_message(one_line(text).into_owned()));
    }

    fn pulled(&self, server: &ObjectKey, reference: &str, come: u64, known: u64) {
        let message = format!("pull image {reference}: {} of {}", bytes(come), bytes(known));
        self.with(server, |bar| bar.set_message(one_line(&message).into_owned()));
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
