//! Bindings of the `task` room: formatters of logs.

use std::sync::Mutex;

use ::task::claude::Claude;
use pyo3::prelude::*;

/// A formatter of Claude Code's `stream-json`.
#[pyclass(frozen, module = "terok_native._lib")]
struct ClaudeLogRef(Mutex<Claude>);

impl ClaudeLogRef {
    fn with<T>(&self, py: Python<'_>, act: impl FnOnce(&mut Claude) -> T + Send) -> T
    where
        T: Send,
    {
        py.detach(|| act(&mut self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }
}

#[pymethods]
impl ClaudeLogRef {
    #[new]
    fn new(streaming: bool, colour: bool) -> Self {
        Self(Mutex::new(Claude::new(streaming, colour)))
    }

    /// What to print for one line.
    fn feed(&self, py: Python<'_>, line: &str) -> String {
        self.with(py, |formatter| formatter.feed(line))
    }

    /// What to print at the end: on standard output, and on standard error.
    fn finish(&self, py: Python<'_>) -> (String, String) {
        self.with(py, Claude::finish)
    }
}

/// The line without what could move a terminal; colours stay.
#[pyfunction]
fn task_clean_log(line: &str) -> String {
    ::base::text::clean_coloured(line)
}

/// Adds the functions and classes to the module.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ClaudeLogRef>()?;
    m.add_function(wrap_pyfunction!(task_clean_log, m)?)
}
