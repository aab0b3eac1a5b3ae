//! Products that run: one, or a batch.

use crate::matrix::{QGEMM_F32, QGEMM_I8, QGEMM_U8};
use crate::memory;
use crate::overlap::{Span, check_output, find_overlap, join, near};
use crate::product::{Product, Stage, qgemm_product};
use crate::quantize::qgemm_quant_params;
use crate::status::{Failure, QGEMM_OVERLAP, guard, qgemm_status};
use crate::threads::{Crew, qgemm_threads};
use rust::{DynamicGemm, QuantParams, Threads, run_batch_on};

/// Runs a product. If it is refused, C is as it was.
///
/// Errors: QGEMM_NULL, QGEMM_MISALIGNED, QGEMM_TOO_LARGE, QGEMM_TYPE; QGEMM_SHAPE if sizes do not fit each other, or a number
/// of scales, zero points or bias values does not fit M or N; QGEMM_OVERLAP if C overlaps an input or `params`, or two of its
/// elements coincide; QGEMM_RANGE for a number out of its range; QGEMM_OPTIONS for arguments that do not go together;
/// QGEMM_NOT_FINITE for an f32 A with an infinity or NaN; QGEMM_MEMORY; QGEMM_KERNEL. Call qgemm_last_error for the argument.
///
/// # Safety
/// Each pointer is null or to what its type says, and matrices are as qgemm_matrix and qgemm_matrix_mut say. Threads may run
/// products at the same time that share weights, stages and inputs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_run(product: *const qgemm_product) -> qgemm_status {
    guard(|| {
        // SAFETY: the caller promises a product there. It is copied, so that C may not change it.
        let raw = unsafe { memory::options("product", product) }?;
        let crew = Crew::new(&raw.threads)?;
        // SAFETY: the caller promises what the description says, for the time of the call.
        let product = unsafe { Product::new(&raw, crew.threads()) }?;
        check_output("output", &product.place, &product.inputs)?;
        match raw.params.is_null() && raw.params_len == 0 {
            // SAFETY: C overlaps none of the inputs, as was just checked; there is one task.
            true => unsafe { product.task() }?.run()?,
            // SAFETY: as above, and the caller promises `params`.
            false => unsafe { run_with_params(&raw, &product) }?,
        }
        crew.check();
        Ok(())
    })
}

/// Runs a product of an f32 A and hands back its scales and zero points.
///
/// # Safety
/// The caller promises memory at `params`, and C overlaps no input.
unsafe fn run_with_params(raw: &qgemm_product, product: &Product<'_>) -> Result<(), Failure> {
    let Some(gemm) = product.dynamic() else {
        return Err(Failure::options("params", "are found for an f32 A with 8-bit weights only"));
    };
    let span = Span::of_array(raw.params, raw.params_len);
    check_output("output", &product.place, &[span])?;
    if product.inputs.iter().any(|input| span.meets(*input)) {
        return Err(Failure::new(QGEMM_OVERLAP, "params", "overlap an input of the call"));
    }
    // SAFETY: the caller promises so many, and they overlap nothing else that the call uses.
    let params = unsafe { memory::array_mut("params", raw.params, raw.params_len) }?;
    let mut found = Vec::new();
    memory::reserve(&mut found, params.len())?;
    found.resize(params.len(), QuantParams { scale: 0.0, zero_point: 0 });
    // SAFETY: C overlaps no input, by the caller's promise, nor `params`, as was just checked; it is made once.
    unsafe { run_dynamic(&gemm, product, &mut found) }?;
    let (rows, cols) = (raw.c.rows, raw.c.cols);
    if rows > 0 && cols > 0 {
        for (params, QuantParams { scale, zero_point }) in params.iter_mut().zip(found) {
            *params = qgemm_quant_params { scale, zero_point };
        }
    }
    Ok(())
}

/// # Safety
/// That of [`Product::task`].
unsafe fn run_dynamic(
    gemm: &DynamicGemm<'_>,
    product: &Product<'_>,
    params: &mut [QuantParams],
) -> Result<(), Failure> {
    let c = product.output();
    // SAFETY: in each arm the elements are of the type that C was said to have, and only one arm runs.
    unsafe {
        match (product.stage(), c.r#type) {
            (Stage::Bytes(stage), QGEMM_I8) => {
                gemm.run_requantized_with_params::<i8>(c.of("output")?, stage, params)?;
            }
            (Stage::Bytes(stage), QGEMM_U8) => {
                gemm.run_requantized_with_params::<u8>(c.of("output")?, stage, params)?;
            }
            (Stage::Float(stage), QGEMM_F32) => gemm.run_f32_with_params(c.of("output")?, stage, params)?,
            _ => {
                return Err(
                    c.wrong_type("output", "has a type that these operands and this stage do not make")
                );
            }
        }
    }
    Ok(())
}

/// Runs `count` independent products, of any shapes, types and stages: whole products on each thread if there are many, parts
/// of them if there are few. `threads` may be NULL for the default.
///
/// `products` is an array of them; all have the same `struct_size`, which is that of the array's elements. The elements of
/// all outputs are distinct: outputs lie one after the other, or side by side in the rows (or columns) of one matrix. Others
/// that interleave are refused.
///
/// Errors: those of qgemm_run, with the number of the product in qgemm_last_error (but for QGEMM_MEMORY and QGEMM_KERNEL,
/// which may be nobody's). No output is written then, except that of errors that depend on the values of an f32 A other
/// outputs may be.
///
/// # Safety
/// That of qgemm_run, for each product.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qgemm_run_batch(
    products: *const qgemm_product,
    count: usize,
    threads: *const qgemm_threads,
) -> qgemm_status {
    guard(|| {
        let crew = match threads.is_null() {
            true => None,
            // SAFETY: the caller promises such a struct.
            false => Some(Crew::new(&unsafe { memory::read("threads", threads) }?)?),
        };
        let threads = crew.as_ref().map_or(Threads::ALL, Crew::threads);
        if count == 0 {
            return Ok(());
        }
        // SAFETY: the caller promises so many products, and what each of them says.
        let all = unsafe { read_all(products, count) }?;
        check_outputs(&all)?;
        let mut tasks = Vec::new();
        memory::reserve(&mut tasks, all.len())?;
        for (index, product) in all.iter().enumerate() {
            // SAFETY: no output overlaps an input or another output, as was just checked; each is made once.
            tasks.push(unsafe { product.task() }.map_err(|failure| failure.in_batch(index))?);
        }
        run_batch_on(&mut tasks, threads)?;
        if let Some(crew) = &crew {
            crew.check();
        }
        Ok(())
    })
}

/// The products of a batch.
///
/// # Safety
/// That of [`qgemm_run_batch`].
unsafe fn read_all<'a>(products: *const qgemm_product, count: usize) -> Result<Vec<Product<'a>>, Failure> {
    // SAFETY: the caller promises at least one product, which begins with its size.
    let size = unsafe { memory::read("products", products.cast::<usize>()) }?;
    let mut all = Vec::new();
    // The struct's size is checked before any other product is looked for.
    // SAFETY: likewise.
    unsafe { memory::options("products", products) }?;
    // SAFETY: the array's extent is checked; its bytes are promised by the caller.
    unsafe { memory::array("products", products.cast::<u8>(), count.saturating_mul(size)) }?;
    memory::reserve(&mut all, count)?;
    for index in 0..count {
        // SAFETY: products lie `size` bytes apart, in an array of `count`.
        let at = unsafe { products.byte_add(index * size) };
        // SAFETY: a product is there.
        let product = unsafe { one_of(at, size) };
        all.push(product.map_err(|failure| failure.in_batch(index))?);
    }
    Ok(all)
}

/// # Safety
/// That of [`qgemm_run_batch`], for this product.
unsafe fn one_of<'a>(at: *const qgemm_product, size: usize) -> Result<Product<'a>, Failure> {
    // SAFETY: the caller promises a product.
    let raw = unsafe { memory::options("product", at) }?;
    if raw.struct_size != size {
        return Err(Failure::options("struct_size", "is not that of the first product"));
    }
    if !raw.params.is_null() || raw.params_len != 0 {
        return Err(Failure::options("params", "are not handed back by a batch"));
    }
    // SAFETY: the caller promises what the description says.
    unsafe { Product::new(&raw, Threads::ALL) }
}

/// Checks that no output overlaps an input or another output.
fn check_outputs(products: &[Product<'_>]) -> Result<(), Failure> {
    let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
    memory::reserve(&mut inputs, products.len().saturating_mul(7))?;
    memory::reserve(&mut outputs, products.len())?;
    for (index, product) in products.iter().enumerate() {
        inputs.extend(product.inputs);
        outputs.push((product.place, index));
    }
    join(&mut inputs);
    for (place, index) in &outputs {
        check_output("output", place, near(place, &inputs)).map_err(|failure| failure.in_batch(*index))?;
    }
    match find_overlap(&mut outputs) {
        None => Ok(()),
        Some(index) => {
            let problem = "is not known to be apart from the output of another product";
            Err(Failure::new(QGEMM_OVERLAP, "output", problem).in_batch(index))
        }
    }
}

/// Frees the memory that the calling thread, and the library's helpers, keep for later calls.
#[unsafe(no_mangle)]
pub extern "C" fn qgemm_release_thread_memory() {
    guard(|| {
        rust::release_thread_memory();
        Ok(())
    });
}
