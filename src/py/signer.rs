//! Bindings of the `signer` room.

use pyo3::prelude::*;

/// Adds this room's functions and classes to the extension module.
pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
