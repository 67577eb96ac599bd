//! Plain data between Python and the rooms.

use std::ops::Deref;

use pyo3::prelude::*;
use pyo3::types::PyString;
use serde::{Serialize, de::DeserializeOwned};

/// What a person typed. Bytes of a command line that are no text reach Python as lone surrogates; here they become
/// U+FFFD, which no name and no identifier has, so that they are refused like any other wrong name.
pub struct Typed(String);

impl Deref for Typed {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'py> FromPyObject<'_, 'py> for Typed {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(value.cast::<PyString>()?.to_string_lossy().into_owned()))
    }
}

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
