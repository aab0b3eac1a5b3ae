//! Stages and products.

use crate::c_abi::calls::{Passed, Struct, Weights, result};
use crate::c_abi::memory::Memory;
use crate::c_abi::promise::Promised;
use qgemm_c::product::{qgemm_gather, qgemm_product, qgemm_residual};
use qgemm_c::run::{qgemm_release_thread_memory, qgemm_run, qgemm_run_batch};
use qgemm_c::stage::*;
use qgemm_c::status::qgemm_status;
use qgemm_c::threads::{qgemm_run_part, qgemm_threads};
use std::ffi::c_void;
use std::rc::Rc;

/// An output stage.
#[derive(Debug)]
pub struct Stage(*mut qgemm_stage);

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: the handle was made by the library, and this is the one place that frees it.
        unsafe { qgemm_stage_free(self.0) };
    }
}

fn stage_of<T: Promised>(
    memory: &Memory,
    options: Struct<T>,
    to: Passed,
    make: unsafe extern "C" fn(*const T, *mut *mut qgemm_stage) -> qgemm_status,
) -> (qgemm_status, Option<Stage>) {
    options.value.check(memory);
    // SAFETY: what the options name is there, as was just checked, so are the options, with the bytes behind them, and
    // room for a handle; or the address is refused.
    let (status, handle) = options.pass(|options| result(to, |to| unsafe { make(options, to) }));
    (status, handle.map(Stage))
}

/// See `qgemm_requantize`.
pub fn requantize(
    memory: &Memory,
    options: Struct<qgemm_requantize_options>,
    to: Passed,
) -> (qgemm_status, Option<Stage>) {
    stage_of(memory, options, to, qgemm_requantize)
}

/// See `qgemm_dequantize`.
pub fn dequantize(
    memory: &Memory,
    options: Struct<qgemm_dequantize_options>,
    to: Passed,
) -> (qgemm_status, Option<Stage>) {
    stage_of(memory, options, to, qgemm_dequantize)
}

/// See `qgemm_multiplier_of`.
pub fn multiplier_of(real: f64, to: Passed) -> (qgemm_status, Option<qgemm_multiplier>) {
    // SAFETY: there is room for a multiplier, or the address is refused.
    result(to, |to| unsafe { qgemm_multiplier_of(real, to) })
}

/// A parallel loop of the caller's, or none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Order {
    /// The library's threads.
    None,
    /// One part after the other, the last first.
    Descending,
    /// Every second part is never run.
    Forgetful,
    /// Every part is run twice, and one that there is not.
    Twice,
    /// On threads that live for one call.
    Spawned,
}

const ORDERS: [Order; 5] = [Order::None, Order::Descending, Order::Forgetful, Order::Twice, Order::Spawned];

/// The arguments that a loop of the caller hands to its threads.
#[derive(Clone, Copy)]
struct Job {
    run: qgemm_run_part,
    job: *mut c_void,
}

// SAFETY: parts may be run on any thread until the loop returns.
unsafe impl Send for Job {}
// SAFETY: likewise.
unsafe impl Sync for Job {}

impl Job {
    fn part(&self, part: usize) {
        // SAFETY: `job` came with `run`, and the loop has not returned.
        unsafe { (self.run)(self.job, part) }
    }
}

unsafe extern "C" fn parallel_for(context: *mut c_void, parts: usize, run: qgemm_run_part, job: *mut c_void) {
    let job = Job { run, job };
    match ORDERS[context.addr()] {
        Order::None => (),
        Order::Descending => (0..parts).rev().for_each(|part| job.part(part)),
        Order::Forgetful => (0..parts).step_by(2).for_each(|part| job.part(part)),
        Order::Twice => (0..2 * parts + 2).for_each(|part| job.part(part / 2)),
        Order::Spawned => std::thread::scope(|scope| {
            let job = &job;
            (0..parts).for_each(|part| drop(scope.spawn(move || job.part(part))));
        }),
    }
}

/// Threads of a call.
fn threads(most: usize, order: Order) -> qgemm_threads {
    let at = ORDERS.iter().position(|one| *one == order).unwrap_or(0);
    let parallel_for = if order == Order::None { None } else { Some(parallel_for as _) };
    qgemm_threads { most, parallel_for, context: std::ptr::without_provenance_mut(at) }
}

/// A product. Its pointers to handles and structs, and its threads, are those of the other fields.
#[derive(Clone)]
pub struct Product<'m> {
    /// All but these.
    pub raw: qgemm_product,
    /// B, packed.
    pub weights: Option<Rc<Weights<'m>>>,
    /// The stage.
    pub stage: Option<Rc<Stage>>,
    /// Rows to be picked.
    pub gather: Option<Struct<qgemm_gather>>,
    /// A matrix that is added.
    pub residual: Option<Struct<qgemm_residual>>,
    /// The most threads, and the caller's own.
    pub threads: (usize, Order),
}

/// No product: all zeros.
pub fn zeroed_product() -> qgemm_product {
    // SAFETY: zeros are numbers, null pointers and no function.
    unsafe { std::mem::zeroed() }
}

/// No options for a stage to 8 bits: all zeros.
pub fn zeroed_requantize() -> qgemm_requantize_options {
    // SAFETY: zeros are numbers and null pointers.
    unsafe { std::mem::zeroed() }
}

/// No options for a stage to f32: all zeros.
pub fn zeroed_dequantize() -> qgemm_dequantize_options {
    // SAFETY: zeros are numbers and null pointers.
    unsafe { std::mem::zeroed() }
}

/// Calls with the address of a struct, if there is one.
fn pass_some<T, R>(value: Option<Struct<T>>, call: impl FnOnce(*const T) -> R) -> R {
    match value {
        Some(value) => value.pass(call),
        None => call(std::ptr::null()),
    }
}

impl Product<'_> {
    /// Calls with a complete description, once all that it promises is there.
    fn with_raw<R>(&self, memory: &Memory, call: impl FnOnce(qgemm_product) -> R) -> R {
        let Self { weights, stage, gather, residual, threads: (most, order), .. } = self;
        let mut raw = self.raw;
        raw.check(memory);
        gather.iter().for_each(|gather| gather.value.check(memory));
        residual.iter().for_each(|residual| residual.value.check(memory));
        raw.weights = weights.as_ref().map_or(std::ptr::null(), |weights| weights.handle());
        raw.stage = stage.as_ref().map_or(std::ptr::null(), |stage| stage.0);
        raw.threads = threads(*most, *order);
        pass_some(*gather, |gather| {
            pass_some(*residual, |residual| call(qgemm_product { gather, residual, ..raw }))
        })
    }

    /// See `qgemm_run`.
    pub fn run(&self, memory: &Memory, passed: Passed, later: u8) -> qgemm_status {
        self.with_raw(memory, |value| {
            // SAFETY: all that the product names is there, as was just checked, or is refused; handles live.
            Struct { value, passed, later }.pass(|product| unsafe { qgemm_run(product) })
        })
    }
}

/// Collects the descriptions of products, each while the structs of all before it are there.
fn with_all<R>(
    memory: &Memory,
    products: &[Product<'_>],
    raw: &mut Vec<qgemm_product>,
    call: &mut dyn FnMut(&[qgemm_product]) -> R,
) -> R {
    let Some((first, others)) = products.split_first() else { return call(raw) };
    first.with_raw(memory, |one| {
        raw.push(one);
        with_all(memory, others, raw, call)
    })
}

/// See `qgemm_run_batch`. `count` counts those that are there, or overflows.
pub fn run_batch(
    memory: &Memory,
    products: &[Product<'_>],
    passed: Passed,
    count: usize,
    crew: Option<(usize, Order)>,
) -> qgemm_status {
    let overflows = count.checked_mul(size_of::<qgemm_product>()).is_none() && !products.is_empty();
    assert!(count <= products.len() || overflows, "products of the case are not there");
    let crew = crew.map(|(most, order)| Struct::right(threads(most, order)));
    with_all(memory, products, &mut Vec::new(), &mut |raw| {
        // SAFETY: all that the products name is there, as was just checked, or is refused; handles live. An array that
        // overflows is refused for that, after its first product.
        pass_some(crew, |crew| unsafe { qgemm_run_batch(passed.address(raw.as_ptr()), count, crew) })
    })
}

/// See `qgemm_release_thread_memory`.
pub fn release_memory() {
    qgemm_release_thread_memory();
}
