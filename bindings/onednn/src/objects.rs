//! Objects of oneDNN that are destroyed when their owner goes.

use crate::functions::{DescriptionPtr, Destroy, Functions, OfVersion};
use crate::{Error, NONE, OneDnn};
use std::ffi::{c_int, c_void};

/// A handle of an object.
pub type Handle = *mut c_void;

/// An object, until this is dropped.
pub struct Owned {
    handle: Handle,
    destroy: Destroy,
}

impl Owned {
    /// The object that `create` stores a handle of, and whose function is called `name`.
    pub fn new(
        name: &'static str,
        destroy: Destroy,
        create: impl FnOnce(*mut Handle) -> c_int,
    ) -> Result<Self, Error> {
        let mut handle = NONE;
        OneDnn::check(name, create(&mut handle))?;
        Ok(Self { handle, destroy })
    }

    pub fn get(&self) -> Handle {
        self.handle
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the object was created, and nobody else destroys it.
        unsafe { (self.destroy)(self.handle) };
    }
}

/// oneDNN's numbers of types.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum DataType {
    F32 = 3,
    S32 = 4,
    S8 = 5,
    U8 = 6,
}

/// oneDNN's numbers of layouts.
#[derive(Clone, Copy)]
#[repr(i32)]
pub enum Layout {
    /// The library may choose.
    Any = 1,
    Vector = 2,
    Rows = 3,
}

/// Bytes of version 2's description of a matrix (696) and of a product (2,800), with room for more of both.
const DESCRIPTION_BYTES: usize = 2048;
pub const PRODUCT_BYTES: usize = 8192;

/// A description of a matrix or a vector.
pub enum Description {
    Two(Box<[u64; DESCRIPTION_BYTES / 8]>),
    Three(Owned),
}

impl Description {
    /// Describes a matrix by its rows and columns, or a vector by its length.
    pub fn new(functions: &Functions, sizes: &[i64], of: DataType, layout: Layout) -> Result<Self, Error> {
        let dimensions = sizes.len() as c_int;
        match functions.of_version {
            OfVersion::Two { describe, .. } => {
                let mut bytes = Box::new([0; DESCRIPTION_BYTES / 8]);
                let to = bytes.as_mut_ptr().cast();
                // SAFETY: the struct has room, and `sizes` as many numbers as are said.
                let status =
                    unsafe { describe(to, dimensions, sizes.as_ptr(), of as c_int, layout as c_int) };
                OneDnn::check("dnnl_memory_desc_init_by_tag", status)?;
                Ok(Self::Two(bytes))
            }
            OfVersion::Three { describe, description_destroy, .. } => {
                let owned = Owned::new("dnnl_memory_desc_create_with_tag", description_destroy, |to| {
                    // SAFETY: `to` takes a handle, and `sizes` has as many numbers as are said.
                    unsafe { describe(to, dimensions, sizes.as_ptr(), of as c_int, layout as c_int) }
                })?;
                Ok(Self::Three(owned))
            }
        }
    }

    pub fn get(&self) -> DescriptionPtr {
        match self {
            Self::Two(bytes) => bytes.as_ptr().cast(),
            Self::Three(owned) => owned.get(),
        }
    }
}
