//! The account of one exchange: one line in the log and one in the audit file, however the exchange ends.
//!
//! Invariants: an account is closed exactly once; one that is dropped open is closed as a failure; method and path are
//! cut to a bounded length.

use std::sync::Arc;
use std::time::Instant;

use wire::audit::AuditLine;

use crate::audit::Audit;
use crate::usage::Found;

/// Longest method and path in a log or audit line, so that few requests cannot fill a log or an audit file.
const LONGEST_METHOD: usize = 32;
const LONGEST_PATH: usize = 1024;

fn clipped(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let cut = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..cut])
}

/// The account of one exchange: logged and audited when it is closed, or as a failure when it is dropped open.
pub struct Account {
    line: Option<AuditLine>,
    audit: Arc<Audit>,
    began: Instant,
}

impl Account {
    /// Opens the account of a request.
    pub fn new(audit: &Arc<Audit>, method: &str, path: &str) -> Self {
        let line = AuditLine {
            method: clipped(method, LONGEST_METHOD),
            path: clipped(path, LONGEST_PATH),
            // What a client that leaves before the answer would have been told.
            status: 502,
            outcome: "upstream_error",
            ..AuditLine::default()
        };
        Self { line: Some(line), audit: audit.clone(), began: Instant::now() }
    }

    /// The line, to be filled in.
    pub fn line(&mut self) -> &mut AuditLine {
        self.line.as_mut().expect("the account is open")
    }

    /// Notes what an answer consumed.
    pub fn consumed(&mut self, found: Found) {
        let line = self.line();
        line.model = found.model;
        line.input_tokens = found.input;
        line.output_tokens = found.output;
    }

    /// Closes the account with this outcome.
    pub fn close(mut self, outcome: &'static str) {
        self.line().outcome = outcome;
    }

    /// Closes the account without a line in the audit file.
    pub fn forget(mut self) {
        self.line = None;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else {
            return;
        };
        line.duration_ms = self.began.elapsed().as_millis() as u64;
        tracing::info!(
            method = %base::text::sanitize_tty(&line.method),
            path = %base::text::sanitize_tty(&line.path),
            status = line.status,
            outcome = line.outcome,
            "request"
        );
        self.audit.write(line);
    }
}
