//! Many independent products at once: checked one by one, then run together.

use crate::driver;
use crate::element::Int8Element;
use crate::gemm::Rhs;
use crate::output::{Dequantize, Requantize};
use crate::plain;
use crate::sink::Sink;
use crate::{Error, Gemm, MatMut};

/// A checked product and where it goes: [`run`](Self::run) alone, or in a batch with
/// [`run_batch`]. It may run any number of times; what the operands hold is looked at when it does.
pub struct Task<'a, 'c> {
    gemm: Gemm<'a>,
    sink: Sink<'c, 'a>,
    /// Whether it has yet to run in the present batch.
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
    /// As the method's, but for those of packing.
    pub fn i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        let sink = gemm.sums(c, false)?;
        Ok(Self { gemm, sink, pending: true })
    }

    /// [`Gemm::accumulate_i32`], to be run.
    ///
    /// # Errors
    /// As the method's, but for those of packing.
    pub fn accumulate_i32(gemm: Gemm<'a>, c: MatMut<'c, i32>) -> Result<Self, Error> {
        let sink = gemm.sums(c, true)?;
        Ok(Self { gemm, sink, pending: true })
    }

    /// [`Gemm::run_requantized`], to be run.
    ///
    /// # Errors
    /// As the method's, but for those of packing.
    pub fn requantized<T: Int8Element>(
        gemm: Gemm<'a>,
        c: MatMut<'c, T>,
        output: &Requantize<'a>,
    ) -> Result<Self, Error> {
        let sink = gemm.bytes(c, output)?;
        Ok(Self { gemm, sink, pending: true })
    }

    /// [`Gemm::run_f32`], to be run.
    ///
    /// # Errors
    /// As the method's, but for those of packing.
    pub fn f32(gemm: Gemm<'a>, c: MatMut<'c, f32>, output: &Dequantize<'a>) -> Result<Self, Error> {
        let sink = gemm.floats(c, output)?;
        Ok(Self { gemm, sink, pending: true })
    }

    /// Runs this product alone.
    ///
    /// # Errors
    /// If B is not packed, [`Error::Memory`] if there is not enough to pack it and [`Error::Kernel`] or
    /// [`Error::Variable`] if the environment is wrong. The output is then left as it was.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_on(usize::MAX)
    }

    /// On that many threads at most.
    fn run_on(&mut self, threads: usize) -> Result<(), Error> {
        let result = driver::run(&self.gemm, &mut self.sink, threads);
        self.pending = result.is_err();
        result
    }

    /// Multiply-adds, and what packing takes in their place.
    #[cfg(feature = "rayon")]
    fn work(&self) -> usize {
        const PACKING: usize = 16;
        let (m, n, k) = self.gemm.shape();
        let rows = m.saturating_add(if let Rhs::Unpacked(_) = self.gemm.b { PACKING } else { 0 });
        rows.saturating_mul(n).saturating_mul(k.max(1))
    }
}

/// Runs independent products, of any shapes, operands and outputs, on the threads of the current rayon pool:
/// whole products on each where there are many, parts of one where there are few. Results do not depend on
/// the number of threads, and on one thread nothing is allocated after the first call.
///
/// Two cases need no batch: a B that all share, with an A of [batch, M, K] whose matrices lie one after the
/// other, is a single product of batch·M rows, as is one whose M is 1, whatever the distance between
/// matrices. With a distance that leaves gaps, or a B for each, there is a task for each matrix:
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
/// [`Error::Variable`] if the environment is wrong. No output is written then: all that packing needs is had before
/// the first product.
pub fn run_batch(tasks: &mut [Task<'_, '_>]) -> Result<(), Error> {
    for task in tasks.iter_mut() {
        task.pending = true;
        let (m, n, _) = task.gemm.shape();
        if let (Rhs::Unpacked(b), true) = (task.gemm.b, m > 0 && n > 0) {
            plain::make_room(&task.gemm, &b, n)?;
        }
    }
    share(tasks);
    // What another thread had no memory for, this one has.
    tasks.iter_mut().filter(|task| task.pending).try_for_each(Task::run)
}

#[cfg(not(feature = "rayon"))]
fn share(tasks: &mut [Task<'_, '_>]) {
    one_by_one(tasks, 1);
}

/// Runs all that can be; those that cannot stay pending.
fn one_by_one(tasks: &mut [Task<'_, '_>], threads: usize) {
    for task in tasks {
        let _ = task.run_on(threads);
    }
}

/// Shares tasks among the threads of the current pool.
#[cfg(feature = "rayon")]
fn share(tasks: &mut [Task<'_, '_>]) {
    /// Parts per thread where they cannot be even: a thread that is done takes from another's.
    const PARTS: usize = 8;
    let total = total(tasks);
    let threads = rayon::current_num_threads();
    let parts = match total / driver::GRAIN {
        0 | 1 => 1,
        _ if threads == 1 => 1,
        worth => {
            let even = tasks.len().is_multiple_of(threads)
                && tasks.iter().all(|task| task.work() == tasks[0].work());
            worth.min(if even { threads } else { PARTS * threads })
        }
    };
    split(tasks, total, parts);
}

#[cfg(feature = "rayon")]
fn total(tasks: &[Task<'_, '_>]) -> usize {
    tasks.iter().fold(0, |sum, task| sum.saturating_add(task.work()))
}

/// Cuts tasks of `work` in all into `parts` of about the same work.
#[cfg(feature = "rayon")]
fn split(tasks: &mut [Task<'_, '_>], work: usize, parts: usize) {
    if parts <= 1 || tasks.len() <= 1 {
        return one_by_one(tasks, parts);
    }
    // Where the sum of the work before is closest to half.
    let (mut at, mut before) = (1, tasks[0].work());
    while at + 1 < tasks.len() {
        let next = before.saturating_add(tasks[at].work());
        if next.abs_diff(work / 2) > before.abs_diff(work / 2) {
            break;
        }
        (at, before) = (at + 1, next);
    }
    let share = (before as f64 / work.max(1) as f64 * parts as f64).round() as usize;
    let share = share.clamp(1, parts - 1);
    let (left, right) = tasks.split_at_mut(at);
    let rest = work.saturating_sub(before);
    rayon::join(|| split(left, before, share), || split(right, rest, parts - share));
}
