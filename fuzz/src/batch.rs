//! Target `batch`: products as tasks, cut into parts and run together: the same bytes as one by one.

use crate::byte_stage::ByteStage;
use crate::compare::{Element, assert_equal, assert_same_error};
use crate::dynamic::DynamicCase;
use crate::engines::Crew;
use crate::float_stage::FloatStage;
use crate::gemm::{GemmCase, bytes_before, output_place};
use crate::groupwise::GroupwiseCase;
use crate::input::Input;
use crate::place::Place;
use crate::shape::Shape;
use crate::values::{Integers, Reals};
use qgemm::{Error, Int8Element, MatMut, Task, run_batch_on};

enum Product {
    Gemm(GemmCase),
    Dynamic(DynamicCase),
    Groupwise(GroupwiseCase),
}

enum Stage {
    I32 { accumulate: bool },
    I8(ByteStage<i8>),
    U8(ByteStage<u8>),
    F32(FloatStage),
}

/// The buffer of an output.
#[derive(Clone)]
enum Buffer {
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    F32(Vec<f32>),
}

struct Job {
    product: Product,
    stage: Stage,
    place: Place,
    before: Buffer,
}

impl Job {
    /// Any product; `None` if some operand is refused.
    fn read(input: &mut Input<'_>) -> Option<Self> {
        let (kind, output, size) = (input.byte() % 4, input.byte() % 4, Shape::read(input));
        let (product, shape) = match kind {
            0 | 1 => {
                let case = GemmCase::read(input, size)?;
                case.lhs()?;
                let shape = case.shape;
                (Product::Gemm(case), shape)
            }
            2 => {
                let case = DynamicCase::read(input, size)?;
                case.gemm()?;
                let shape = case.shape;
                (Product::Dynamic(case), shape)
            }
            _ => {
                let case = GroupwiseCase::read(input, size)?;
                case.gemm()?;
                let shape = case.shape;
                (Product::Groupwise(case), shape)
            }
        };
        let finds_scale = match &product {
            Product::Gemm(_) => false,
            Product::Dynamic(_) => true,
            Product::Groupwise(case) => case.finds_scale(),
        };
        let place = output_place(input, shape);
        let (stage, before) = match (output, &product) {
            (0, Product::Gemm(_)) => (
                Stage::I32 { accumulate: input.flag() },
                Buffer::I32(Integers::read(input).integers(place.len)),
            ),
            (1, Product::Gemm(_) | Product::Dynamic(_)) => (
                Stage::I8(ByteStage::read(input, shape, finds_scale)),
                Buffer::I8(bytes_before(input, place.len)),
            ),
            (2, Product::Gemm(_) | Product::Dynamic(_)) => (
                Stage::U8(ByteStage::read(input, shape, finds_scale)),
                Buffer::U8(bytes_before(input, place.len)),
            ),
            _ => (
                Stage::F32(FloatStage::read(input, shape, finds_scale)),
                Buffer::F32(Reals::read(input).reals(place.len)),
            ),
        };
        Some(Self { product, stage, place, before })
    }

    /// Makes the call that the task stands for, on its own.
    fn run_alone(&self, buffer: &mut Buffer) -> Option<Result<(), Error>> {
        let place = &self.place;
        Some(match (&self.stage, buffer) {
            (Stage::I32 { accumulate }, Buffer::I32(c)) => {
                let (Product::Gemm(case), c) = (&self.product, place.view_mut(c).ok()?) else { return None };
                let gemm = case.gemm(case.lhs()?);
                if *accumulate { gemm.accumulate_i32(c) } else { gemm.run_i32(c) }
            }
            (Stage::I8(stage), Buffer::I8(c)) => self.bytes_alone(stage, place.view_mut(c).ok()?)?,
            (Stage::U8(stage), Buffer::U8(c)) => self.bytes_alone(stage, place.view_mut(c).ok()?)?,
            (Stage::F32(stage), Buffer::F32(c)) => {
                let (stage, c) = (stage.build().ok()?, place.view_mut(c).ok()?);
                match &self.product {
                    Product::Gemm(case) => case.gemm(case.lhs()?).run_f32(c, stage),
                    Product::Dynamic(case) => case.gemm()?.run_f32(c, stage),
                    Product::Groupwise(case) => case.gemm()?.run_f32(c, stage),
                }
            }
            _ => unreachable!("the buffer is that of the stage"),
        })
    }

    fn bytes_alone<T: Int8Element>(
        &self,
        stage: &ByteStage<T>,
        c: MatMut<'_, T>,
    ) -> Option<Result<(), Error>> {
        let stage = stage.build().ok()?;
        Some(match &self.product {
            Product::Gemm(case) => case.gemm(case.lhs()?).run_requantized(c, stage),
            Product::Dynamic(case) => case.gemm()?.run_requantized(c, stage),
            Product::Groupwise(_) => return None,
        })
    }

    /// The task.
    fn task<'t>(&'t self, buffer: &'t mut Buffer) -> Option<Result<Task<'t, 't>, Error>> {
        let place = &self.place;
        Some(match (&self.stage, buffer) {
            (Stage::I32 { accumulate }, Buffer::I32(c)) => {
                let (Product::Gemm(case), c) = (&self.product, place.view_mut(c).ok()?) else { return None };
                let gemm = case.gemm(case.lhs()?);
                if *accumulate { Task::accumulate_i32(gemm, c) } else { Task::i32(gemm, c) }
            }
            (Stage::I8(stage), Buffer::I8(c)) => self.bytes_task(stage, place.view_mut(c).ok()?)?,
            (Stage::U8(stage), Buffer::U8(c)) => self.bytes_task(stage, place.view_mut(c).ok()?)?,
            (Stage::F32(stage), Buffer::F32(c)) => {
                let (stage, c) = (stage.build().ok()?, place.view_mut(c).ok()?);
                match &self.product {
                    Product::Gemm(case) => Task::f32(case.gemm(case.lhs()?), c, stage),
                    Product::Dynamic(case) => Task::dynamic_f32(case.gemm()?, c, stage),
                    Product::Groupwise(case) => Task::groupwise_f32(case.gemm()?, c, stage),
                }
            }
            _ => unreachable!("the buffer is that of the stage"),
        })
    }

    fn bytes_task<'t, T: Int8Element>(
        &'t self,
        stage: &'t ByteStage<T>,
        c: MatMut<'t, T>,
    ) -> Option<Result<Task<'t, 't>, Error>> {
        let stage = stage.build().ok()?;
        Some(match &self.product {
            Product::Gemm(case) => Task::requantized(case.gemm(case.lhs()?), c, stage),
            Product::Dynamic(case) => Task::dynamic_requantized(case.gemm()?, c, stage),
            Product::Groupwise(_) => return None,
        })
    }
}

/// A job with what its call did alone.
struct Done {
    job: Job,
    result: Result<(), Error>,
    after: Buffer,
}

/// Runs a case.
pub fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (count, crew, together) = (input.number(1..=5), Crew::read(&mut input), input.byte() % 4 != 3);
    let done: Vec<Done> = (0..count).filter_map(|_| done(Job::read(&mut input)?)).collect();
    let mut buffers: Vec<Buffer> = done.iter().map(|done| done.job.before.clone()).collect();
    let (mut tasks, mut jobs) = (Vec::new(), Vec::new());
    for (at, (done, buffer)) in done.iter().zip(&mut buffers).enumerate() {
        let Some(Ok(task)) = done.job.task(buffer) else { unreachable!("it was made before") };
        for part in cut(&mut input, task, (done.job.place.rows, done.job.place.cols), 3) {
            tasks.push(part);
            jobs.push(at);
        }
    }
    if input.flag() {
        tasks.reverse();
        jobs.reverse();
    }
    let result = crew.run(|| {
        if together {
            return run_batch_on(&mut tasks, crew.threads());
        }
        // All of them run, whatever becomes of those before.
        let mut result = Ok(());
        for (index, task) in tasks.iter_mut().enumerate() {
            let ran = task.run().map_err(|error| Error::InBatch { index, error: Box::new(error) });
            result = result.and(ran);
        }
        result
    });
    drop(tasks);
    check(&result, &done, &buffers, &jobs);
}

/// A job, run alone; `None` if there is no such task.
///
/// # Panics
/// If the task is refused, and the call is not, or with another error.
fn done(job: Job) -> Option<Done> {
    let (mut after, mut unused) = (job.before.clone(), job.before.clone());
    let result = job.run_alone(&mut after)?;
    if let Err(error) = job.task(&mut unused)? {
        assert_same_error(
            "the call of a task that is refused",
            &result.expect_err("it is refused too"),
            &error,
        );
        return None;
    }
    Some(Done { job, result, after })
}

/// A task of so many rows and columns in parts.
fn cut<'a, 'c>(
    input: &mut Input<'_>,
    task: Task<'a, 'c>,
    (rows, cols): (usize, usize),
    depth: usize,
) -> Vec<Task<'a, 'c>> {
    let fits = "there are so many";
    let parts = match input.byte() % 8 {
        1 | 2 if depth > 0 => {
            let at = input.number(0..=9).min(rows);
            let (top, bottom) = task.split_rows(at).expect(fits);
            [(top, (at, cols)), (bottom, (rows - at, cols))]
        }
        3 | 4 if depth > 0 => {
            let nr = task.panel_columns().expect("the environment is right");
            let panels = input.number(0..=9).min(cols.div_ceil(nr));
            let at = (panels * nr).min(cols);
            let (left, right) = task.split_columns(panels).expect(fits);
            [(left, (rows, at)), (right, (rows, cols - at))]
        }
        5 | 6 => return task.into_parts(input.number(0..=9)).expect("the environment is right"),
        _ => return vec![task],
    };
    parts.into_iter().flat_map(|(part, shape)| cut(input, part, shape, depth - 1)).collect()
}

/// Panics unless a batch did what its products do alone.
fn check(result: &Result<(), Error>, done: &[Done], buffers: &[Buffer], jobs: &[usize]) {
    match result {
        Ok(()) => assert!(done.iter().all(|done| done.result.is_ok()), "a product is refused alone"),
        Err(Error::InBatch { index, error }) => {
            let alone = &done[jobs[*index]].result;
            assert!(alone.is_err(), "task {index} is refused ({error}), and its product is not");
        }
        Err(other) => panic!("refused: {other}"),
    }
    for (at, (done, buffer)) in done.iter().zip(buffers).enumerate() {
        let what = format!("product {at}");
        match (&done.job.before, buffer, &done.after) {
            (Buffer::I32(before), Buffer::I32(got), Buffer::I32(after)) => {
                equal(&what, result, before, got, after)
            }
            (Buffer::I8(before), Buffer::I8(got), Buffer::I8(after)) => {
                equal(&what, result, before, got, after)
            }
            (Buffer::U8(before), Buffer::U8(got), Buffer::U8(after)) => {
                equal(&what, result, before, got, after)
            }
            (Buffer::F32(before), Buffer::F32(got), Buffer::F32(after)) => {
                equal(&what, result, before, got, after)
            }
            _ => unreachable!("they are copies"),
        }
    }
}

/// Of a batch that is refused, each element may be written or not. Parts of a product that is refused may be, since their
/// rows are not to blame, and nobody says by what.
fn equal<T: Element>(what: &str, result: &Result<(), Error>, before: &[T], got: &[T], after: &[T]) {
    if result.is_ok() {
        return assert_equal(what, got, after);
    }
    let is_one = |at: usize| [before[at].key(), after[at].key()].contains(&got[at].key());
    let changed = (0..got.len()).any(|at| before[at].key() != after[at].key());
    if let Some(at) = (0..got.len()).find(|&at| changed && !is_one(at)) {
        panic!("{what}: element {at} was {:?}, must be {:?} or {:?}", got[at], before[at], after[at]);
    }
}
