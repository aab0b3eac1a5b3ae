//! oneDNN's matrix multiplication, from the library that the system has, for comparison: `qgemm bench --compare`.
//!
//! The library is loaded at run time, so that nobody needs it who does not compare. Versions 2 and 3 are known, whose
//! functions differ in how they describe matrices and scales.

mod functions;
mod objects;
mod product;

pub use product::{Elements, Output, Problem, Product};

use crate::functions::{Functions, symbol};
use crate::objects::{Handle, Owned};
use libloading::Library;
use std::ffi::c_int;
use std::fmt;
use std::ptr;

/// Names of the library, the latest version first.
const NAMES: [&str; 5] = ["libdnnl.so.3", "libdnnl.so.2", "libdnnl.so", "libdnnl.dylib", "dnnl.dll"];

/// Why oneDNN did not do something.
#[derive(Debug)]
pub enum Error {
    /// No library of any of the names could be loaded; the reason of the first.
    NotFound(libloading::Error),
    /// The library lacks a function.
    Lacks(&'static str),
    /// The library has this version, which is neither 2 nor 3.
    Version(String),
    /// A function failed with this status.
    Status(&'static str, c_int),
    /// A slice has not the length that the sizes of the product demand.
    Length(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(first) => {
                write!(f, "oneDNN was not found, as {} ({first})", NAMES.join(", "))
            }
            Self::Lacks(name) => write!(f, "the library that was found as oneDNN has no {name}"),
            Self::Version(version) => write!(f, "oneDNN {version} is known in versions 2 and 3 only"),
            Self::Status(name, status) => write!(f, "{name} of oneDNN failed with status {status}"),
            Self::Length(name) => write!(f, "{name} has not the length of its matrix"),
        }
    }
}

impl std::error::Error for Error {}

/// oneDNN on the CPU.
pub struct OneDnn {
    functions: Functions,
    version: String,
    engine: Owned,
    stream: Owned,
}

// SAFETY: oneDNN's objects may be used by any thread, by one at a time, and a `&mut` or the value itself has one user.
unsafe impl Send for OneDnn {}

impl OneDnn {
    /// Loads the library.
    ///
    /// # Errors
    /// It is not there, or is not one that is known.
    pub fn load() -> Result<Self, Error> {
        let library = find()?;
        let version = version(library)?;
        let functions = match version.split('.').next() {
            Some("2") => Functions::of_version_2(library)?,
            Some("3") => Functions::of_version_3(library)?,
            _ => return Err(Error::Version(version)),
        };
        const CPU: c_int = 1;
        const IN_ORDER: u32 = 1;
        let engine = Owned::new("dnnl_engine_create", functions.engine_destroy, |engine| {
            // SAFETY: `engine` takes a handle.
            unsafe { (functions.engine_create)(engine, CPU, 0) }
        })?;
        let stream = Owned::new("dnnl_stream_create", functions.stream_destroy, |stream| {
            // SAFETY: `stream` takes a handle, and the engine is one.
            unsafe { (functions.stream_create)(stream, engine.get(), IN_ORDER) }
        })?;
        Ok(Self { functions, version, engine, stream })
    }

    /// The version, as in `3.2.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Lets calls from this thread use so many threads; whether that is possible, as it is with OpenMP.
    pub fn set_threads(&mut self, threads: usize) -> bool {
        let (Some(set), Ok(threads)) = (self.functions.set_threads, c_int::try_from(threads)) else {
            return false;
        };
        // SAFETY: OpenMP's function takes any positive number.
        unsafe { set(threads.max(1)) };
        true
    }

    /// The handle of the engine.
    fn engine(&self) -> Handle {
        self.engine.get()
    }

    /// An error if the function of this name returned another status than success.
    fn check(name: &'static str, status: c_int) -> Result<(), Error> {
        if status == 0 { Ok(()) } else { Err(Error::Status(name, status)) }
    }
}

/// The first library that can be loaded. It stays: its threads may outlive those who use it.
fn find() -> Result<&'static Library, Error> {
    let mut first = None;
    for name in NAMES {
        // SAFETY: what a library does when it is loaded is its own; that of the system is trusted as one that is linked.
        match unsafe { Library::new(name) } {
            Ok(library) => return Ok(Box::leak(Box::new(library))),
            Err(error) => first = first.or(Some(error)),
        }
    }
    // There is a name, so that there is an error.
    first.map_or(Err(Error::Lacks("name")), |error| Err(Error::NotFound(error)))
}

/// The beginning of oneDNN's `dnnl_version_t`.
#[repr(C)]
struct Version {
    major: c_int,
    minor: c_int,
    patch: c_int,
}

fn version(library: &Library) -> Result<String, Error> {
    // SAFETY: the function has this type in all versions.
    let version = unsafe { symbol::<unsafe extern "C" fn() -> *const Version>(library, "dnnl_version")? };
    // SAFETY: it returns the address of a static, or null.
    let version = unsafe { version().as_ref() }.ok_or(Error::Status("dnnl_version", -1))?;
    let Version { major, minor, patch } = version;
    Ok(format!("{major}.{minor}.{patch}"))
}

/// No object.
const NONE: Handle = ptr::null_mut();
