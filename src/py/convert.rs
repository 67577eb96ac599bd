//! Plain data between Python and the rooms.

use pyo3::prelude::*;
use serde::{Serialize, de::DeserializeOwned};

/// A Python dict, list or scalar as a room's value.
///
/// # Errors
/// `ValueError` naming the member that does not fit.
pub fn from_py<T: DeserializeOwned>(value: &Bound<'_, PyAny>) -> PyResult<T> {
    pythonize::depythonize(value).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}

/// A room's value as Python dicts, lists and scalars.
///
/// # Errors
/// `ValueError` for a value Python cannot hold.
pub fn to_py<'py, T: Serialize + ?Sized>(py: Python<'py>, value: &T) -> PyResult<Bound<'py, PyAny>> {
    pythonize::pythonize(py, value).map_err(|error| pyo3::exceptions::PyValueError::new_err(error.to_string()))
}
