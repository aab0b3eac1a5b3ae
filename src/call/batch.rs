//! Many independent products at once: checked one by one, then run together.

use crate::call::gemm::{Gemm, bytes_destination, f32_destination, shape};
use crate::element::Int8Element;
use crate::engine::threads::{Divide, GRAIN, Halves, divide, pool_size};
use crate::engine::{self, unpacked};
use crate::error::Error;
use crate::matrix::view::MatMut;
use crate::output::dequantize::Dequantize;
use crate::output::destination::Destination;
use crate::output::requantize::Requantize;
use crate::product::Product;
use crate::product::operands::Rhs;

/// A checked product with its output: [`run`](Self::run) alone, or in a batch with [`run_batch`]. It may run any number
/// of times; the values of its operands are read when it runs.
pub struct Task<'a, 'c> {
    /// It fits the destination: every constructor checks that.
    gemm: Gemm<'a>,
    destination: Destination<'c, 'a>,
    /// Whether it still has to run in the present batch.
    pending: bool,
}

impl std::fmt::Debug for Task<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Task").field("gemm", &self.gemm).finish_non_exhaustive()
    }
}

impl<'a, 'c> Task<'a, 'c> {
    /// [`Gemm::run_i32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        gemm.product(shape(&c))?;
        Ok(Self::new(gemm, Destination::I32 { c: c.block, accumulate: false }))
    }

    /// [`Gemm::accumulate_i32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn accumulate_i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        gemm.product(shape(&c))?;
        Ok(Self::new(gemm, Destination::I32 { c: c.block, accumulate: true }))
    }

    /// [`Gemm::run_requantized`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn requantized<T: Int8Element>(
        gemm: Gemm<'a>,
        c: MatMut<'c, T>,
        output: &Requantize<'a>,
    ) -> Result<Self, Error> {
        let destination = bytes_destination(&gemm.product(shape(&c))?, c, output)?;
        Ok(Self::new(gemm, destination))
    }

    /// [`Gemm::run_f32`], to be run.
    ///
    /// # Errors
    /// Those of the method, except those of packing.
    pub fn f32(gemm: Gemm<'a>, c: MatMut<'c, f32>, output: &Dequantize<'a>) -> Result<Self, Error> {
        let destination = f32_destination(&gemm.product(shape(&c))?, c, output)?;
        Ok(Self::new(gemm, destination))
    }

    fn new(gemm: Gemm<'a>, destination: Destination<'c, 'a>) -> Self {
        Self { gemm, destination, pending: true }
    }

    /// Runs this product alone.
    ///
    /// # Errors
    /// If B is not packed, [`Error::Memory`] if there is not enough to pack it and [`Error::Kernel`] or
    /// [`Error::Variable`] if the environment is wrong. The output is then left as it was.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_on(usize::MAX)
    }

    fn product(&self) -> Product<'_> {
        Product::checked_before(&self.gemm.arguments)
    }

    /// Runs on at most `max_threads` threads.
    fn run_on(&mut self, max_threads: usize) -> Result<(), Error> {
        let product = Product::checked_before(&self.gemm.arguments);
        let result = engine::run::run(&product, &mut self.destination, max_threads);
        self.pending = result.is_err();
        result
    }

    /// The estimated work in multiply-adds; packing B counts as 16 rows of A.
    fn work(&self) -> usize {
        const PACKING: usize = 16;
        let Product { m, n, k, .. } = self.product();
        let packing = if let Rhs::Unpacked(_) = self.gemm.arguments.b { PACKING } else { 0 };
        m.saturating_add(packing).saturating_mul(n).saturating_mul(k.max(1))
    }
}

/// Runs independent products, of any shapes, operands and outputs, on the threads of the current rayon pool:
/// whole products on each thread if there are many, parts of one if there are few. Results do not depend on
/// the number of threads, and on one thread nothing is allocated after the first call.
///
/// Two cases need no batch. If all products share a B, and their As lie one after the other as [batch, M, K], they are a
/// single product of batch·M rows. If M is 1 they are that even with gaps between the As. Otherwise there is a task for
/// each matrix:
///
/// ```
/// use qgemm::{Gemm, MatMut, MatRef, Task, run_batch};
///
/// // Attention: for each of two heads, queries (2 x 3) times the transpose of keys (4 x 3).
/// let queries: Vec<i8> = (0..12).collect();
/// let keys: Vec<i8> = (0..24).map(|i| i % 5 - 2).collect();
/// let mut scores = [0i32; 2 * 2 * 4];
/// let mut tasks = Vec::new();
/// for (head, c) in scores.chunks_exact_mut(2 * 4).enumerate() {
///     let q = MatRef::row_major(&queries[head * 2 * 3..], 2, 3)?;
///     let k = MatRef::row_major(&keys[head * 4 * 3..], 4, 3)?;
///     tasks.push(Task::i32(Gemm::new(q, k.transpose()), MatMut::row_major(c, 2, 4)?)?);
/// }
/// run_batch(&mut tasks)?;
/// // Row 1 of the first head, (3, 4, 5), with its key 2, (-1, 0, 1).
/// drop(tasks);
/// assert_eq!(scores[4 + 2], 2);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// A B that is not packed is packed by the thread that multiplies by it, into memory that the thread keeps
/// (see [`release_thread_memory`](crate::release_thread_memory)).
///
/// # Errors
/// If some B is not packed, [`Error::Memory`] if there is not enough to pack it and [`Error::Kernel`] or
/// [`Error::Variable`] if the environment is wrong. No output is written then: the memory for packing is reserved before
/// the first product.
pub fn run_batch(tasks: &mut [Task<'_, '_>]) -> Result<(), Error> {
    for task in tasks.iter_mut() {
        task.pending = true;
        let product = task.product();
        if let (Rhs::Unpacked(b), true) = (product.b, product.m > 0 && product.n > 0) {
            unpacked::reserve(&product, b, &task.destination)?;
        }
    }
    let (work, parts) = shares(tasks);
    divide(
        Tasks { tasks, work },
        parts,
        &|tasks: Tasks<'_, '_, '_>, threads| tasks.run(threads),
        &|(), ()| (),
    );
    // Products that another thread had no memory for are computed on this one.
    tasks.iter_mut().filter(|task| task.pending).try_for_each(Task::run)
}

/// The work of all tasks, and the number of parts that it is divided into.
fn shares(tasks: &[Task<'_, '_>]) -> (usize, usize) {
    /// Parts per thread if they cannot be even: a thread that is done takes another's.
    const PARTS: usize = 8;
    let work = tasks.iter().fold(0usize, |sum, task| sum.saturating_add(task.work()));
    let threads = pool_size();
    let parts = match work / GRAIN {
        0 | 1 => 1,
        _ if threads == 1 => 1,
        worth => {
            let even = tasks.len().is_multiple_of(threads)
                && tasks.iter().all(|task| task.work() == tasks[0].work());
            worth.min(if even { threads } else { PARTS * threads })
        }
    };
    (work, parts)
}

/// Tasks with the sum of their work.
struct Tasks<'t, 'a, 'c> {
    tasks: &'t mut [Task<'a, 'c>],
    work: usize,
}

impl Tasks<'_, '_, '_> {
    /// Runs all tasks, one after the other, each on at most `threads` threads. Those that fail stay pending.
    fn run(self, threads: usize) {
        for task in self.tasks {
            let _ = task.run_on(threads);
        }
    }
}

impl Divide for Tasks<'_, '_, '_> {
    /// Cuts between tasks, where the work before the cut is closest to half. A single task divides itself when it runs.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let Self { tasks, work } = self;
        if tasks.len() <= 1 {
            return Err(Self { tasks, work });
        }
        let (mut at, mut before) = (1, tasks[0].work());
        while at + 1 < tasks.len() {
            let next = before.saturating_add(tasks[at].work());
            if next.abs_diff(work / 2) > before.abs_diff(work / 2) {
                break;
            }
            (at, before) = (at + 1, next);
        }
        // In integers: tasks with i32 outputs compute no real numbers.
        let share = (before as u128 * parts as u128 + work as u128 / 2) / work.max(1) as u128;
        let share = (share as usize).clamp(1, parts - 1);
        let (left, right) = tasks.split_at_mut(at);
        let rest = work.saturating_sub(before);
        Ok(Halves {
            first: (Self { tasks: left, work: before }, share),
            second: (Self { tasks: right, work: rest }, parts - share),
        })
    }
}
