//! Many independent products at once: checked one by one, then run together.

use crate::call::task::Task;
use crate::engine::divide::{Halves, Undone, Work, divide};
use crate::engine::threads::{Threads, share};
use crate::error::Error;

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
/// let queries = MatRef::batch(&queries, 2, 2 * 3, (2, 3), (3, 1))?;
/// let keys = MatRef::batch(&keys, 2, 4 * 3, (4, 3), (3, 1))?;
/// let outputs = MatMut::batch(&mut scores, 2, 2 * 4, (2, 4), (4, 1))?;
/// let mut tasks = Vec::new();
/// for ((q, k), c) in queries.zip(keys).zip(outputs) {
///     tasks.push(Task::i32(Gemm::new(q, k.transpose()), c)?);
/// }
/// run_batch(&mut tasks)?;
/// // Row 1 of the first head, (3, 4, 5), with its key 2, (-1, 0, 1).
/// drop(tasks);
/// assert_eq!(scores[4 + 2], 2);
/// # Ok::<(), qgemm::Error>(())
/// ```
///
/// Products that write parts of one C, side by side, get them from [`MatMut::col_chunks`](crate::MatMut::col_chunks) or
/// [`MatMut::split_at_col`](crate::MatMut::split_at_col).
///
/// A B that is not packed is packed by the thread that multiplies by it, into memory that the thread keeps
/// (see [`release_thread_memory`](crate::release_thread_memory)).
///
/// # Errors
/// [`Error::Memory`] if there is not enough for scratch memory or to pack some B; if some B is not packed,
/// [`Error::Kernel`] or [`Error::Variable`] if the environment is wrong. No output is written then: memory is reserved
/// before the first product. [`Error::InBatch`], with the index of the task, for those of
/// [`DynamicGemm::run_f32`](crate::DynamicGemm::run_f32) that depend on the values of A: then the outputs of other tasks may
/// be written; that of the task is as it was.
pub fn run_batch(tasks: &mut [Task<'_, '_>]) -> Result<(), Error> {
    run_batch_on(tasks, Threads::ALL)
}

/// [`run_batch`] on some threads: at most so many, or an engine's own (see [`Threads`]). Those that the tasks'
/// [`Gemm::threads`](crate::Gemm::threads) name do not count here.
///
/// # Errors
/// Those of [`run_batch`].
pub fn run_batch_on<'t>(tasks: &mut [Task<'_, '_>], threads: impl Into<Threads<'t>>) -> Result<(), Error> {
    for task in tasks.iter() {
        task.reserve()?;
    }
    let threads = threads.into();
    let work = tasks.iter().fold(0usize, |sum, task| sum.saturating_add(task.work()));
    let mut share = share(work, threads);
    if share.parts > 1 && threads.are_own() && tasks.len() < 2 * share.parts {
        // An engine's threads are not asked to share again what they share already.
        let mut all = tasks.iter_mut().enumerate();
        return all.try_for_each(|(index, task)| task.run_on(threads).map_err(|error| error.in_batch(index)));
    }
    if share.parts > 1 {
        let first = tasks[0].work();
        let even = tasks.len().is_multiple_of(share.parts) && tasks.iter().all(|task| task.work() == first);
        if !even {
            // A thread that is done takes another's.
            share.parts = share.finer_parts(work);
        }
    }
    divide(Tasks { tasks, first: 0, work, threads }, &share, |(), ()| ())
}

/// Tasks with the sum of their work.
struct Tasks<'t, 'a, 'c> {
    tasks: &'t mut [Task<'a, 'c>],
    /// The index of the first in the batch.
    first: usize,
    work: usize,
    threads: Threads<'t>,
}

impl Work for Tasks<'_, '_, '_> {
    type Output = ();

    /// Runs all tasks, one after the other, each on at most `threads` threads.
    fn run(self, threads: usize) -> Result<(), Undone<Self>> {
        for at in 0..self.tasks.len() {
            if let Err(error) = self.tasks[at].run_on(self.threads.inside_a_part(threads)) {
                let first = self.first + at;
                let rest = Self { tasks: &mut self.tasks[at..], first, ..self };
                return Err(Undone { rest, error: error.in_batch(first) });
            }
        }
        Ok(())
    }

    /// Cuts between tasks, where the work before the cut is closest to half. A single task divides itself when it runs.
    fn halve(self, parts: usize) -> Result<Halves<Self>, Self> {
        let Self { tasks, first, work, threads } = self;
        if tasks.len() <= 1 {
            return Err(Self { tasks, first, work, threads });
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
            first: (Self { tasks: left, first, work: before, threads }, share),
            second: (Self { tasks: right, first: first + at, work: rest, threads }, parts - share),
        })
    }
}
