//! Functions of oneDNN's C interface, by their names and types.

use crate::Error;
use crate::objects::Handle;
use libloading::Library;
use std::ffi::{c_char, c_int, c_void};

pub type Destroy = unsafe extern "C" fn(Handle) -> c_int;
/// A pointer to a description of a matrix: a struct of version 2, an object of version 3.
pub type DescriptionPtr = *const c_void;

/// An argument of a primitive: its number, and a memory object.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ExecArg {
    pub arg: c_int,
    pub memory: Handle,
}

/// Functions that versions 2 and 3 share.
pub struct Functions {
    pub engine_create: unsafe extern "C" fn(*mut Handle, c_int, usize) -> c_int,
    pub engine_destroy: Destroy,
    pub stream_create: unsafe extern "C" fn(*mut Handle, Handle, u32) -> c_int,
    pub stream_wait: unsafe extern "C" fn(Handle) -> c_int,
    pub stream_destroy: Destroy,
    pub memory_create: unsafe extern "C" fn(*mut Handle, DescriptionPtr, Handle, *mut c_void) -> c_int,
    pub memory_destroy: Destroy,
    pub attributes_create: unsafe extern "C" fn(*mut Handle) -> c_int,
    pub attributes_destroy: Destroy,
    pub reorder_create:
        unsafe extern "C" fn(*mut Handle, DescriptionPtr, Handle, DescriptionPtr, Handle, Handle) -> c_int,
    pub query_description: unsafe extern "C" fn(Handle, c_int, c_int) -> DescriptionPtr,
    pub query_text: unsafe extern "C" fn(Handle, c_int, c_int, *mut *const c_char) -> c_int,
    pub primitive_description_destroy: Destroy,
    pub primitive_create: unsafe extern "C" fn(*mut Handle, Handle) -> c_int,
    pub primitive_execute: unsafe extern "C" fn(Handle, Handle, c_int, *const ExecArg) -> c_int,
    pub primitive_destroy: Destroy,
    pub of_version: OfVersion,
    /// OpenMP's, if the library uses it.
    pub set_threads: Option<unsafe extern "C" fn(c_int)>,
}

/// Functions that differ between both.
pub enum OfVersion {
    Two {
        describe: unsafe extern "C" fn(*mut c_void, c_int, *const i64, c_int, c_int) -> c_int,
        matmul: unsafe extern "C" fn(
            *mut c_void,
            DescriptionPtr,
            DescriptionPtr,
            DescriptionPtr,
            DescriptionPtr,
        ) -> c_int,
        primitive_description:
            unsafe extern "C" fn(*mut Handle, *const c_void, Handle, Handle, Handle) -> c_int,
        set_scales: unsafe extern "C" fn(Handle, i64, c_int, *const f32) -> c_int,
        set_zero_points: unsafe extern "C" fn(Handle, c_int, i64, c_int, *const i32) -> c_int,
    },
    Three {
        describe: unsafe extern "C" fn(*mut Handle, c_int, *const i64, c_int, c_int) -> c_int,
        description_destroy: Destroy,
        matmul: unsafe extern "C" fn(
            *mut Handle,
            Handle,
            DescriptionPtr,
            DescriptionPtr,
            DescriptionPtr,
            DescriptionPtr,
            Handle,
        ) -> c_int,
        set_scales_mask: unsafe extern "C" fn(Handle, c_int, c_int) -> c_int,
        set_zero_points_mask: unsafe extern "C" fn(Handle, c_int, c_int) -> c_int,
    },
}

/// A function, or another symbol, of the library.
///
/// # Safety
/// The symbol has the type T.
pub unsafe fn symbol<T: Copy>(library: &Library, name: &'static str) -> Result<T, Error> {
    // SAFETY: the caller's promise.
    unsafe { library.get::<T>(name) }.map(|symbol| *symbol).map_err(|_| Error::Lacks(name))
}

impl Functions {
    pub fn of_version_2(library: &'static Library) -> Result<Self, Error> {
        // SAFETY: these are the types of version 2's header.
        let of_version = unsafe {
            OfVersion::Two {
                describe: symbol(library, "dnnl_memory_desc_init_by_tag")?,
                matmul: symbol(library, "dnnl_matmul_desc_init")?,
                primitive_description: symbol(library, "dnnl_primitive_desc_create")?,
                set_scales: symbol(library, "dnnl_primitive_attr_set_output_scales")?,
                set_zero_points: symbol(library, "dnnl_primitive_attr_set_zero_points")?,
            }
        };
        Self::new(library, of_version)
    }

    pub fn of_version_3(library: &'static Library) -> Result<Self, Error> {
        // SAFETY: these are the types of version 3's header.
        let of_version = unsafe {
            OfVersion::Three {
                describe: symbol(library, "dnnl_memory_desc_create_with_tag")?,
                description_destroy: symbol(library, "dnnl_memory_desc_destroy")?,
                matmul: symbol(library, "dnnl_matmul_primitive_desc_create")?,
                set_scales_mask: symbol(library, "dnnl_primitive_attr_set_scales_mask")?,
                set_zero_points_mask: symbol(library, "dnnl_primitive_attr_set_zero_points_mask")?,
            }
        };
        Self::new(library, of_version)
    }

    /// The library stays loaded for as long as its functions can be called, so that it is borrowed for ever.
    fn new(library: &'static Library, of_version: OfVersion) -> Result<Self, Error> {
        // SAFETY: these are the types of both versions' headers, and of OpenMP's, which is looked up through the
        // library that needs it.
        unsafe {
            Ok(Self {
                engine_create: symbol(library, "dnnl_engine_create")?,
                engine_destroy: symbol(library, "dnnl_engine_destroy")?,
                stream_create: symbol(library, "dnnl_stream_create")?,
                stream_wait: symbol(library, "dnnl_stream_wait")?,
                stream_destroy: symbol(library, "dnnl_stream_destroy")?,
                memory_create: symbol(library, "dnnl_memory_create")?,
                memory_destroy: symbol(library, "dnnl_memory_destroy")?,
                attributes_create: symbol(library, "dnnl_primitive_attr_create")?,
                attributes_destroy: symbol(library, "dnnl_primitive_attr_destroy")?,
                reorder_create: symbol(library, "dnnl_reorder_primitive_desc_create")?,
                query_description: symbol(library, "dnnl_primitive_desc_query_md")?,
                query_text: symbol(library, "dnnl_primitive_desc_query")?,
                primitive_description_destroy: symbol(library, "dnnl_primitive_desc_destroy")?,
                primitive_create: symbol(library, "dnnl_primitive_create")?,
                primitive_execute: symbol(library, "dnnl_primitive_execute")?,
                primitive_destroy: symbol(library, "dnnl_primitive_destroy")?,
                of_version,
                set_threads: symbol(library, "omp_set_num_threads").ok(),
            })
        }
    }
}
