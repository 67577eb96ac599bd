//! Bindings of SSH key material: generating, reading and writing key files.

use pyo3::prelude::*;

/// Adds the functions on key material to the extension module.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
