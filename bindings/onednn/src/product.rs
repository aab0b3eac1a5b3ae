//! A product whose weights are packed ahead, by oneDNN's primitive `matmul`.

use crate::functions::{DescriptionPtr, ExecArg, OfVersion};
use crate::objects::{DataType, Description, Handle, Layout, Owned, PRODUCT_BYTES};
use crate::{Error, NONE, OneDnn};
use std::ffi::{CStr, c_int, c_void};
use std::ptr;

/// A row-major matrix of 8 bits.
#[derive(Clone, Copy)]
pub enum Elements<'a> {
    /// Without signs.
    U8(&'a [u8]),
    /// With signs.
    I8(&'a [i8]),
}

/// How sums become 8-bit outputs of A's type: `round((sum - a_zero * column sum of B) * scale) + c_zero`, saturated.
#[derive(Clone, Copy)]
pub struct Output<'a> {
    /// One per column.
    pub scales: &'a [f32],
    /// The zero point of A.
    pub a_zero: i32,
    /// The zero point of C.
    pub c_zero: i32,
}

/// The product C (m x n) = A (m x k) · B (k x n).
#[derive(Clone, Copy)]
pub struct Problem<'a> {
    /// Rows of A.
    pub m: usize,
    /// Columns of A.
    pub k: usize,
    /// Columns of B.
    pub n: usize,
    /// A, row by row.
    pub a: Elements<'a>,
    /// B, row by row.
    pub b: &'a [i8],
    /// Without it C is the i32 sums.
    pub output: Option<Output<'a>>,
}

/// A product that is ready to be run, again and again.
pub struct Product<'d> {
    dnn: &'d OneDnn,
    primitive: Owned,
    arguments: Vec<ExecArg>,
    /// The objects of `arguments`, whose values lie in the vectors below.
    memories: Vec<Owned>,
    a: Vec<u8>,
    c: Vec<i32>,
    numbers: Vec<Vec<u32>>,
    /// The elements of C.
    elements: usize,
    implementation: String,
}

const SRC: c_int = 1;
const FROM: c_int = 1;
const DST: c_int = 17;
const TO: c_int = 17;
const WEIGHTS: c_int = 33;
/// Added to the number of an argument in version 3.
const SCALES_OF: c_int = 4096;
const ZERO_POINTS_OF: c_int = 8192;
/// Says that there is one number for each column.
const PER_COLUMN: c_int = 2;
const WEIGHTS_DESCRIPTION: c_int = 131;
const IMPLEMENTATION: c_int = 8;
/// The address by which oneDNN allocates the memory itself.
const ALLOCATE: *mut c_void = usize::MAX as *mut c_void;

impl<'d> Product<'d> {
    /// Packs B, and prepares the product. A is copied.
    ///
    /// # Errors
    /// A slice is shorter or longer than its matrix; oneDNN fails.
    pub fn new(dnn: &'d OneDnn, problem: &Problem<'_>) -> Result<Self, Error> {
        let Problem { m, k, n, a, b, output } = *problem;
        let functions = &dnn.functions;
        let (a_type, a): (_, Vec<u8>) = match a {
            Elements::U8(a) => (DataType::U8, a.to_vec()),
            Elements::I8(a) => (DataType::S8, a.iter().map(|a| *a as u8).collect()),
        };
        let lengths = [("a", a.len(), m.checked_mul(k)), ("b", b.len(), k.checked_mul(n))];
        if let Some((name, ..)) = lengths.iter().find(|(_, len, want)| Some(*len) != *want) {
            return Err(Error::Length(name));
        }
        if output.is_some_and(|output| output.scales.len() != n) {
            return Err(Error::Length("scales"));
        }
        let elements = m.checked_mul(n).ok_or(Error::Length("c"))?;
        let size = |size: usize| i64::try_from(size).map_err(|_| Error::Length("a"));
        let (rows, depth, columns) = (size(m)?, size(k)?, size(n)?);
        let c_type = if output.is_some() { a_type } else { DataType::S32 };
        let of_a = Description::new(functions, &[rows, depth], a_type, Layout::Rows)?;
        let of_b = Description::new(functions, &[depth, columns], DataType::S8, Layout::Rows)?;
        let of_packed = Description::new(functions, &[depth, columns], DataType::S8, Layout::Any)?;
        let of_c = Description::new(functions, &[rows, columns], c_type, Layout::Rows)?;
        let attributes = attributes(dnn, output)?;
        let description = description(dnn, &of_a, &of_packed, &of_c, attributes.get())?;
        // SAFETY: it is a description of a primitive; the layout of weights lives as long.
        let packed = unsafe { (functions.query_description)(description.get(), WEIGHTS_DESCRIPTION, 0) };
        let primitive = primitive(dnn, &description)?;

        // Outputs of 8 bits lie four in a number.
        let c_len = if output.is_some() { elements.div_ceil(4) } else { elements };
        let mut product = Self {
            dnn,
            primitive,
            arguments: Vec::new(),
            memories: Vec::new(),
            a,
            c: vec![0; c_len],
            numbers: Vec::new(),
            elements,
            implementation: implementation(dnn, &description),
        };
        let a_bytes = product.a.as_mut_ptr().cast();
        let c_bytes = product.c.as_mut_ptr().cast();
        product.argument(SRC, of_a.get(), a_bytes)?;
        let weights = product.argument(WEIGHTS, packed, ALLOCATE)?;
        product.argument(DST, of_c.get(), c_bytes)?;
        if let (Some(output), OfVersion::Three { .. }) = (output, &functions.of_version) {
            let scales = output.scales.iter().map(|scale| scale.to_bits()).collect();
            product.numbers(SCALES_OF | WEIGHTS, DataType::F32, scales)?;
            product.numbers(ZERO_POINTS_OF | SRC, DataType::S32, vec![output.a_zero as u32])?;
            product.numbers(ZERO_POINTS_OF | DST, DataType::S32, vec![output.c_zero as u32])?;
        }
        pack(dnn, b, &of_b, packed, weights)?;
        Ok(product)
    }

    /// Computes C.
    ///
    /// # Errors
    /// oneDNN fails.
    pub fn run(&mut self) -> Result<(), Error> {
        execute(self.dnn, &self.primitive, &self.arguments)
    }

    /// The i32 sums of the last run, row by row; meaningless for outputs of 8 bits.
    pub fn sums(&self) -> &[i32] {
        &self.c[..self.elements.min(self.c.len())]
    }

    /// The 8-bit outputs of the last run, row by row, as bytes; meaningless for sums.
    pub fn bytes(&self) -> Vec<u8> {
        self.c.iter().flat_map(|word| word.to_ne_bytes()).take(self.elements).collect()
    }

    /// The name that oneDNN gives the code that it chose.
    pub fn implementation(&self) -> &str {
        &self.implementation
    }

    /// Adds an argument, whose values lie at `address`.
    fn argument(&mut self, arg: c_int, of: DescriptionPtr, address: *mut c_void) -> Result<Handle, Error> {
        let memory = memory(self.dnn, of, address)?;
        let handle = memory.get();
        self.arguments.push(ExecArg { arg, memory: handle });
        self.memories.push(memory);
        Ok(handle)
    }

    /// Adds a vector of numbers of 32 bits.
    fn numbers(&mut self, arg: c_int, of: DataType, mut numbers: Vec<u32>) -> Result<(), Error> {
        let size = [numbers.len() as i64];
        let description = Description::new(&self.dnn.functions, &size, of, Layout::Vector)?;
        self.argument(arg, description.get(), numbers.as_mut_ptr().cast())?;
        self.numbers.push(numbers);
        Ok(())
    }
}

/// The scales and zero points of outputs; without them, none.
fn attributes(dnn: &OneDnn, output: Option<Output<'_>>) -> Result<Owned, Error> {
    let functions = &dnn.functions;
    // SAFETY: the argument takes a handle.
    let create = |to| unsafe { (functions.attributes_create)(to) };
    let attributes = Owned::new("dnnl_primitive_attr_create", functions.attributes_destroy, create)?;
    let Some(Output { scales, a_zero, c_zero }) = output else { return Ok(attributes) };
    let to = attributes.get();
    // SAFETY: the object is one of attributes; slices have as many numbers as are said, and are copied.
    let statuses = unsafe {
        match functions.of_version {
            OfVersion::Two { set_scales, set_zero_points, .. } => [
                set_scales(to, scales.len() as i64, PER_COLUMN, scales.as_ptr()),
                set_zero_points(to, SRC, 1, 0, &a_zero),
                set_zero_points(to, DST, 1, 0, &c_zero),
            ],
            OfVersion::Three { set_scales_mask, set_zero_points_mask, .. } => [
                set_scales_mask(to, WEIGHTS, PER_COLUMN),
                set_zero_points_mask(to, SRC, 0),
                set_zero_points_mask(to, DST, 0),
            ],
        }
    };
    statuses.into_iter().try_for_each(|status| OneDnn::check("dnnl_primitive_attr_set", status))?;
    Ok(attributes)
}

/// The description of the product.
fn description(
    dnn: &OneDnn,
    a: &Description,
    b: &Description,
    c: &Description,
    attributes: Handle,
) -> Result<Owned, Error> {
    let functions = &dnn.functions;
    let (a, b, c, no_bias) = (a.get(), b.get(), c.get(), ptr::null());
    match functions.of_version {
        OfVersion::Two { matmul, primitive_description, .. } => {
            let mut bytes = Box::new([0u64; PRODUCT_BYTES / 8]);
            let operation: *mut c_void = bytes.as_mut_ptr().cast();
            // SAFETY: the struct has room, and the others are descriptions.
            OneDnn::check("dnnl_matmul_desc_init", unsafe { matmul(operation, a, b, no_bias, c) })?;
            Owned::new("dnnl_primitive_desc_create", functions.primitive_description_destroy, |to| {
                // SAFETY: `to` takes a handle; the struct was filled in; there is no hint.
                unsafe { primitive_description(to, operation, attributes, dnn.engine(), NONE) }
            })
        }
        OfVersion::Three { matmul, .. } => {
            Owned::new("dnnl_matmul_primitive_desc_create", functions.primitive_description_destroy, |to| {
                // SAFETY: `to` takes a handle, and the others are an engine, descriptions and attributes.
                unsafe { matmul(to, dnn.engine(), a, b, no_bias, c, attributes) }
            })
        }
    }
}

fn primitive(dnn: &OneDnn, description: &Owned) -> Result<Owned, Error> {
    Owned::new("dnnl_primitive_create", dnn.functions.primitive_destroy, |to| {
        // SAFETY: `to` takes a handle, and the other is a description of a primitive.
        unsafe { (dnn.functions.primitive_create)(to, description.get()) }
    })
}

fn memory(dnn: &OneDnn, of: DescriptionPtr, address: *mut c_void) -> Result<Owned, Error> {
    Owned::new("dnnl_memory_create", dnn.functions.memory_destroy, |to| {
        // SAFETY: `to` takes a handle; `of` is a description. The address is not followed yet.
        unsafe { (dnn.functions.memory_create)(to, of, dnn.engine(), address) }
    })
}

/// Runs a primitive, and waits for it. Callers have checked that its arguments' memory is there.
fn execute(dnn: &OneDnn, primitive: &Owned, arguments: &[ExecArg]) -> Result<(), Error> {
    let (functions, stream) = (&dnn.functions, dnn.stream.get());
    // SAFETY: the objects live, and so does the memory that they point to, which has the sizes of its description:
    // `Product` owns it and keeps its address, and `pack` borrows it meanwhile.
    unsafe {
        let (count, first) = (arguments.len() as c_int, arguments.as_ptr());
        let status = (functions.primitive_execute)(primitive.get(), stream, count, first);
        OneDnn::check("dnnl_primitive_execute", status)?;
        OneDnn::check("dnnl_stream_wait", (functions.stream_wait)(stream))
    }
}

/// Packs B as the product wants it.
fn pack(
    dnn: &OneDnn,
    b: &[i8],
    of_b: &Description,
    of_packed: DescriptionPtr,
    packed: Handle,
) -> Result<(), Error> {
    let (functions, engine) = (&dnn.functions, dnn.engine());
    // oneDNN does not write through the address of a source.
    let from = memory(dnn, of_b.get(), b.as_ptr().cast_mut().cast())?;
    let name = "dnnl_reorder_primitive_desc_create";
    let reorder = Owned::new(name, functions.primitive_description_destroy, |to| {
        // SAFETY: `to` takes a handle, and the others are descriptions and an engine; there are no attributes.
        unsafe { (functions.reorder_create)(to, of_b.get(), engine, of_packed, engine, NONE) }
    })?;
    let reorder = primitive(dnn, &reorder)?;
    let arguments = [ExecArg { arg: FROM, memory: from.get() }, ExecArg { arg: TO, memory: packed }];
    execute(dnn, &reorder, &arguments)
}

/// The name of the code, or an empty one.
fn implementation(dnn: &OneDnn, description: &Owned) -> String {
    let mut text = ptr::null();
    // SAFETY: the object is a description of a primitive, and `text` takes the address of a string that lives as long.
    unsafe {
        let status = (dnn.functions.query_text)(description.get(), IMPLEMENTATION, 0, &mut text);
        if status != 0 || text.is_null() {
            return String::new();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
