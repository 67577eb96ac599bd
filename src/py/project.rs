//! Bindings of the `project` room: plain data in, plain data out; whatever touches the disk releases the interpreter.

use pyo3::prelude::*;

/// Adds the functions to the module.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
