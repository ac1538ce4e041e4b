//! What addresses in object files mean, by their symbols and debugging information.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;

use addr2line::Loader;
use object::{Object, ObjectSymbol};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

thread_local! {
    /// Files that were read already: reading the debugging information takes a while.
    static LOADERS: RefCell<HashMap<String, File>> = RefCell::new(HashMap::new());
}

/// An object file that was read.
struct File {
    loader: Loader,
    /// The bytes of each function whose size is known, by its address.
    sizes: HashMap<u64, u64>,
}

impl File {
    fn open(path: &str) -> PyResult<Self> {
        let wrong = |error: &dyn Display| PyOSError::new_err(format!("{path}: {error}"));
        let loader = Loader::new(path).map_err(|error| wrong(&error))?;
        let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
        let object = object::File::parse(&*bytes).map_err(|error| wrong(&error))?;
        let sizes = object
            .symbols()
            .chain(object.dynamic_symbols())
            .filter(|symbol| symbol.size() > 0)
            .map(|symbol| (symbol.address(), symbol.size()))
            .collect();
        Ok(Self { loader, sizes })
    }

    /// The function at an address by the file's symbols. In a stripped file these are few, and the
    /// nearest one below may have ended long before.
    fn symbol(&self, address: u64) -> Option<&str> {
        let symbol = self.loader.find_symbol_info(address)?;
        let ended = self
            .sizes
            .get(&symbol.address())
            .is_some_and(|size| address >= symbol.address() + size);
        (!ended).then(|| symbol.name())
    }
}

/// A function's name, its file and line.
type Place = (String, Option<String>, Option<u32>);

#[pyfunction]
fn symbolize(path: &str, address: u64) -> PyResult<Vec<Place>> {
    LOADERS.with_borrow_mut(|loaders| {
        if !loaders.contains_key(path) {
            loaders.insert(path.to_owned(), File::open(path)?);
        }
        Ok(places(&loaders[path], address))
    })
}

fn places(file: &File, address: u64) -> Vec<Place> {
    let mut found = Vec::new();
    if let Ok(mut frames) = file.loader.find_frames(address) {
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
        && let Some(name) = file.symbol(address)
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
