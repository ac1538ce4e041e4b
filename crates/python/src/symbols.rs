//! What addresses in object files mean, by their symbols and debugging information.

use std::cell::RefCell;
use std::collections::HashMap;

use addr2line::Loader;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

thread_local! {
    /// Files that were read already: reading the debugging information takes a while.
    static LOADERS: RefCell<HashMap<String, Loader>> = RefCell::new(HashMap::new());
}

/// A function's name, its file and line.
type Place = (String, Option<String>, Option<u32>);

#[pyfunction]
fn symbolize(path: &str, address: u64) -> PyResult<Vec<Place>> {
    LOADERS.with_borrow_mut(|loaders| {
        if !loaders.contains_key(path) {
            let loader = Loader::new(path)
                .map_err(|error| PyOSError::new_err(format!("{path}: {error}")))?;
            loaders.insert(path.to_owned(), loader);
        }
        Ok(places(&loaders[path], address))
    })
}

fn places(loader: &Loader, address: u64) -> Vec<Place> {
    let mut found = Vec::new();
    if let Ok(mut frames) = loader.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let Some(function) = frame.function else {
                continue;
            };
            let Ok(name) = function.demangle() else {
                continue;
            };
            let (file, line) = frame.location.map_or((None, None), |place| {
                (place.file.map(str::to_owned), place.line)
            });
            found.push((name.into_owned(), file, line));
        }
    }
    if found.is_empty()
        && let Some(name) = loader.find_symbol(address)
    {
        found.push((
            addr2line::demangle_auto(name.into(), None).into_owned(),
            None,
            None,
        ));
    }
    found
}

/// Adds what is here to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(symbolize, module)?)
}
