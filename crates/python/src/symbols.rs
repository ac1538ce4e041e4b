//! What addresses in object files mean, by their symbols and debugging information.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;

use addr2line::Loader;
use object::{Object, ObjectSymbol, SymbolKind};
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
    /// Its variables, by their addresses.
    variables: Vec<Variable>,
}

/// A variable of an object file: where it lies, and its demangled name.
struct Variable {
    address: u64,
    bytes: u64,
    name: String,
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
        let variables = variables(&object);
        Ok(Self {
            loader,
            sizes,
            variables,
        })
    }

    /// The variable that an address lies in, and how far behind its beginning.
    fn variable(&self, address: u64) -> Option<(String, u64)> {
        let behind = self
            .variables
            .partition_point(|variable| variable.address <= address);
        let variable = self.variables[..behind].last()?;
        let offset = address - variable.address;
        (offset < variable.bytes).then(|| (variable.name.clone(), offset))
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

/// The contents of a file, which is read at the first use.
fn with_file<T>(path: &str, ask: impl FnOnce(&File) -> T) -> PyResult<T> {
    LOADERS.with_borrow_mut(|loaders| {
        if !loaders.contains_key(path) {
            loaders.insert(path.to_owned(), File::open(path)?);
        }
        Ok(ask(&loaders[path]))
    })
}

#[pyfunction]
fn symbolize(path: &str, address: u64) -> PyResult<Vec<Place>> {
    with_file(path, |file| places(file, address))
}

#[pyfunction]
fn variable(path: &str, address: u64) -> PyResult<Option<(String, u64)>> {
    with_file(path, |file| file.variable(address))
}

/// The file's variables in the order of their addresses.
fn variables(object: &object::File<'_>) -> Vec<Variable> {
    let mut found: Vec<_> = object
        .symbols()
        .chain(object.dynamic_symbols())
        .filter(|symbol| symbol.kind() == SymbolKind::Data && symbol.is_definition())
        .filter_map(|symbol| {
            Some(Variable {
                address: symbol.address(),
                bytes: symbol.size(),
                name: demangled(symbol.name().ok()?),
            })
        })
        .collect();
    found.sort_by_key(|variable| variable.address);
    found
}

/// A name as the source has it. What has no prefix is not mangled, though it may look like a type.
fn demangled(name: &str) -> String {
    if name.starts_with('_') {
        addr2line::demangle_auto(name.into(), None).into_owned()
    } else {
        name.to_owned()
    }
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
    if let Some(name) = file.symbol(address) {
        match found.last_mut() {
            None => found.push((demangled(name), None, None)),
            // Of a lambda and of what is local to a function the debugging information has the bare
            // name; the symbol of the function that the address is in has what is around it too.
            Some((bare, ..)) if name.starts_with("_Z") && !bare.contains("::") => {
                *bare = demangled(name);
            }
            Some(_) => {}
        }
    }
    found
}

/// Adds what is here to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(symbolize, module)?)?;
    module.add_function(wrap_pyfunction!(variable, module)?)
}
