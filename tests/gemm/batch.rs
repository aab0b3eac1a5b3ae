//! Batches: each task's output is that of its product alone, whatever else runs, on any number of threads.

use crate::support::{
    ENDLESS, Fill, Layout, Matrix, Random, config, each_kernel, each_kernel_or_best, scale,
};
use proptest::prelude::*;
use qgemm::*;

/// One product of a batch, with its operands.
struct Operands {
    a: Matrix<u8>,
    b: Matrix<i8>,
    packed: Option<PackedB>,
    a_zero: Vec<i32>,
    bias: Vec<i32>,
    output: usize,
}

/// Where it is stored: one of them is.
#[derive(Clone)]
struct Stored {
    sums: Matrix<i32>,
    bytes: Matrix<i8>,
    reals: Matrix<f32>,
}

impl Operands {
    fn new((m, k, n): (usize, usize, usize), dispatch: &Dispatch, random: &mut Random) -> Self {
        let layouts = [Layout::ROWS, Layout::COLS, Layout::INNER, Layout::LOOSE];
        let mut layout = || layouts[random.below(4)];
        let (of_a, of_b) = (layout(), layout());
        let b = Matrix::filled(k, n, of_b, Fill::Mixed, random.next());
        let packed = match random.below(3) {
            0 => None,
            1 => Some(PackedB::pack_with(dispatch, b.view(), ElementType::I8).unwrap()),
            _ => Some(PackedB::pack_with(dispatch, b.view(), ElementType::U8).unwrap()),
        };
        Self {
            a: Matrix::filled(m, k, of_a, Fill::Random, random.next()),
            b,
            packed,
            a_zero: (0..m).map(|_| random.below(400) as i32 - 100).collect(),
            bias: (0..n).map(|_| random.next() as i32 >> 12).collect(),
            output: random.below(4),
        }
    }

    fn gemm<'a>(&'a self, dispatch: &'a Dispatch) -> Gemm<'a> {
        let b = self.packed.as_ref().map_or(Rhs::from(self.b.view()), Rhs::from);
        Gemm::new(self.a.view(), b)
            .a_zero(&self.a_zero)
            .b_zero(-2)
            .bias(&self.bias)
            .dispatch(dispatch)
            .threads(qgemm::Threads::ALL.eager())
    }

    fn stored(&self) -> Stored {
        let (m, n) = (self.a.rows, self.b.cols);
        Stored {
            sums: Matrix::random(m, n, Layout::INNER, 1),
            bytes: Matrix::random(m, n, Layout::INNER, 2),
            reals: Matrix::random(m, n, Layout::COLS, 3),
        }
    }

    /// What the reference stores.
    fn expected(&self, dispatch: &Dispatch) -> Stored {
        let (gemm, mut c) = (self.gemm(dispatch), self.stored());
        match self.output {
            0 => c.sums.with_mut(|c| reference::run_i32(&gemm, c)),
            1 => c.sums.with_mut(|c| reference::accumulate_i32(&gemm, c)),
            2 => c.bytes.with_mut(|c| reference::run_requantized(&gemm, c, bytes())),
            _ => c.reals.with_mut(|c| reference::run_f32(&gemm, c, Dequantize::new(0.1).unwrap())),
        }
        .unwrap();
        c
    }

    /// Calls `f` with the task.
    fn with_task(&self, dispatch: &Dispatch, c: &mut Stored, f: &mut dyn FnMut(Task<'_, '_>)) {
        let gemm = self.gemm(dispatch);
        match self.output {
            0 => c.sums.with_mut(|c| f(Task::i32(gemm, c).unwrap())),
            1 => c.sums.with_mut(|c| f(Task::accumulate_i32(gemm, c).unwrap())),
            2 => c.bytes.with_mut(|c| f(Task::requantized(gemm, c, bytes()).unwrap())),
            _ => c.reals.with_mut(|c| f(Task::f32(gemm, c, Dequantize::new(0.1).unwrap()).unwrap())),
        }
    }
}

fn bytes() -> Requantize<'static> {
    Requantize::new(1e-3, 5).unwrap()
}

/// Runs `f` with the tasks of all operands at once.
fn with_tasks(
    dispatch: &Dispatch,
    operands: &[Operands],
    stored: &mut [Stored],
    tasks: Vec<Task<'_, '_>>,
    f: &mut dyn FnMut(Vec<Task<'_, '_>>),
) {
    let Some(((first, rest), (c, others))) = operands.split_first().zip(stored.split_first_mut()) else {
        return f(tasks);
    };
    // A task borrows what its closure lends: the ones before it are handed down.
    let mut tasks = Some(tasks);
    first.with_task(dispatch, c, &mut |task| {
        let mut tasks: Vec<Task<'_, '_>> = tasks.take().expect("called once").into_iter().collect();
        tasks.push(task);
        with_tasks(dispatch, rest, others, tasks, f);
    });
}

/// Runs the batch and compares every element, gaps included.
#[track_caller]
fn check(dispatch: &Dispatch, operands: &[Operands], want: &[Stored], what: &str) {
    let mut got: Vec<_> = operands.iter().map(Operands::stored).collect();
    with_tasks(dispatch, operands, &mut got, Vec::new(), &mut |mut tasks| {
        qgemm::run_batch_on(&mut tasks, qgemm::Threads::ALL.eager()).unwrap()
    });
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        got.sums.assert_same(&want.sums, &format!("{what}, task {i}"));
        got.bytes.assert_same(&want.bytes, &format!("{what}, task {i}"));
        got.reals.assert_same(&want.reals, &format!("{what}, task {i}"));
    }
}

#[cfg(feature = "rayon")]
fn on_threads(f: &(dyn Fn(usize) + Sync)) {
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| f(threads));
    }
}

#[cfg(not(feature = "rayon"))]
fn on_threads(f: &(dyn Fn(usize) + Sync)) {
    f(1);
}

fn shape() -> impl Strategy<Value = (usize, usize, usize)> {
    // Some are worth several threads, some are nothing.
    prop_oneof![
        4 => (0..20usize, 0..40usize, 0..40usize),
        2 => (1..4usize, 1..200usize, 1..200usize),
        1 => (30..90usize, 60..130usize, 60..160usize),
    ]
}

proptest! {
    #![proptest_config(config(60))]

    #[test]
    fn every_task_of_a_batch_is_its_product_alone(
        shapes in prop::collection::vec(shape(), 0..12),
        kernel in 0..64usize,
        seed in any::<u64>(),
    ) {
        let kernels = each_kernel();
        let (kernel, dispatch) = &kernels[kernel % kernels.len()];
        let mut random = Random(seed);
        let operands: Vec<_> = shapes.iter().map(|&shape| Operands::new(shape, dispatch, &mut random)).collect();
        let want: Vec<_> = operands.iter().map(|operands| operands.expected(dispatch)).collect();
        on_threads(&|threads| check(dispatch, &operands, &want, &format!("{}, {threads} threads", kernel.name)));
    }
}

#[test]
fn batches_even_and_uneven_are_right_on_every_kernel() {
    // As attention has them; one task only; a large one among small ones, in each place; only empty ones.
    let mut lists = vec![
        vec![(64, 64, 96); 12],
        vec![(257, 130, 129)],
        vec![(200, 130, 129), (3, 4, 5), (1, 300, 7), (8, 8, 8)],
        vec![(3, 4, 5), (1, 300, 7), (200, 130, 129), (8, 8, 8)],
        vec![(3, 4, 5), (1, 300, 7), (8, 8, 8), (200, 130, 129)],
        vec![(0, 9, 9), (9, 0, 9), (9, 9, 0), (0, 0, 0)],
    ];
    if scale() < 10 {
        lists.drain(..2);
    }
    for (kernel, dispatch) in each_kernel_or_best() {
        for shapes in &lists {
            let mut random = Random(shapes.len() as u64);
            let operands: Vec<_> =
                shapes.iter().map(|&shape| Operands::new(shape, &dispatch, &mut random)).collect();
            let want: Vec<_> = operands.iter().map(|operands| operands.expected(&dispatch)).collect();
            on_threads(&|threads| {
                check(&dispatch, &operands, &want, &format!("{} {threads} {shapes:?}", kernel.name));
            });
        }
    }
}

#[test]
fn a_batch_of_nothing_is_nothing() {
    assert_eq!(run_batch(&mut []), Ok(()));
}

#[test]
fn tasks_run_again_on_what_the_operands_then_hold() {
    let (a, b) = ([1u8, 2], [3i8, 4]);
    let mut c = [10i32];
    let gemm = Gemm::new(MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
    let mut tasks = [Task::accumulate_i32(gemm, MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap()];
    run_batch(&mut tasks).unwrap();
    run_batch(&mut tasks).unwrap();
    tasks[0].run().unwrap();
    assert!(format!("{tasks:?}").contains("Gemm"));
    assert_eq!(c, [43]);
}

#[test]
fn what_is_wrong_is_refused_when_a_task_is_made() {
    let (a, b) = ([1u8, 2], [3i8, 4]);
    let gemm = Gemm::new(MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
    fn view<T>(c: &mut [T]) -> MatMut<'_, T> {
        MatMut::row_major(c, 1, 1).unwrap()
    }
    let wrong = gemm.bias(&[1, 2]);
    let (bytes, reals) = (Requantize::new(1.0, 0).unwrap(), Dequantize::new(1.0).unwrap());
    let length = Error::Length { argument: "bias", got: 2, need: 1 };
    assert_eq!(Task::i32(wrong, view(&mut [0])).unwrap_err(), length);
    assert_eq!(Task::accumulate_i32(wrong, view(&mut [0])).unwrap_err(), length);
    assert_eq!(Task::requantized(wrong, view(&mut [0i8]), bytes).unwrap_err(), length);
    assert_eq!(Task::f32(wrong, view(&mut [0.0]), reals).unwrap_err(), length);
    let outside = bytes.clamp_to(256, 300);
    assert!(matches!(Task::requantized(gemm, view(&mut [0u8]), outside), Err(Error::Clamp { .. })));
}

/// A B that no memory holds, after products that could run: none does.
#[test]
fn nothing_is_written_where_a_task_cannot_run() {
    let (a, b) = ([1u8, 2], [3i8, 4]);
    let (mut c, mut d) = ([7i32], [8i32]);
    let good = Gemm::new(MatRef::row_major(&a, 1, 2).unwrap(), MatRef::row_major(&b, 2, 1).unwrap());
    let endless_a = MatRef::new(&a, 1, ENDLESS, 0, 0).unwrap();
    let endless = Gemm::new(endless_a, MatRef::new(&b, ENDLESS, 1, 0, 0).unwrap());
    on_threads(&|_| {
        let (mut c, mut d) = ([7i32], [8i32]);
        let mut tasks = [
            Task::i32(good, MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap(),
            Task::i32(endless, MatMut::row_major(&mut d, 1, 1).unwrap()).unwrap(),
        ];
        assert!(matches!(run_batch(&mut tasks), Err(Error::Memory { purpose: "packed b", .. })));
        assert_eq!((c, d), ([7], [8]));
    });
    let mut tasks = [
        Task::i32(good, MatMut::row_major(&mut c, 1, 1).unwrap()).unwrap(),
        Task::i32(good, MatMut::row_major(&mut d, 1, 1).unwrap()).unwrap(),
    ];
    run_batch(&mut tasks).unwrap();
    assert_eq!((c, d), ([11], [11]));
}

#[test]
fn a_value_that_is_not_finite_leaves_its_output_as_it_was() {
    let (good, bad, b) = ([1.0f32; 6], [1.0, f32::NAN, 2.0, 1.0, 0.5, 2.0], [1i8, 2, 3, 4, 5, 6]);
    let b = MatRef::row_major(&b, 3, 2).unwrap();
    let (mut c, mut wrong, mut last) = ([5.0; 4], [5.0; 4], [5u8; 4]);
    let dynamic = |a| DynamicGemm::new(MatRef::row_major(a, 2, 3).unwrap(), b);
    let (floats, bytes) = (Dequantize::dynamic(1.0).unwrap(), Requantize::dynamic(1.0, 0).unwrap());
    let mut tasks = [
        Task::dynamic_f32(dynamic(&good), MatMut::row_major(&mut c, 2, 2).unwrap(), floats).unwrap(),
        Task::dynamic_f32(dynamic(&bad), MatMut::row_major(&mut wrong, 2, 2).unwrap(), floats).unwrap(),
        Task::dynamic_requantized(dynamic(&good), MatMut::row_major(&mut last, 2, 2).unwrap(), bytes)
            .unwrap(),
    ];
    let error = run_batch(&mut tasks).unwrap_err();
    let Error::InBatch { index: 1, error } = error else { panic!("{error}") };
    assert!(matches!(*error, Error::NotFinite { argument: "a", row: 0, column: 1, .. }), "{error}");
    let [_, bad_task, good_task] = tasks;
    // A part without the value is right.
    let (mut top, mut bottom) = bad_task.split_rows(1).unwrap();
    assert_eq!(top.run().unwrap_err().to_string(), error.to_string());
    bottom.run().unwrap();
    let mut good_task = good_task;
    good_task.run().unwrap();
    assert_eq!((wrong[0], wrong[1], last), (5.0, 5.0, [9, 12, 9, 12]));
    assert!((wrong[2] - 12.5).abs() < 0.2 && (wrong[3] - 16.0).abs() < 0.2, "{wrong:?}");
}

/// An engine's two threads, which are this one.
struct Engine;

impl ParallelFor for Engine {
    fn threads(&self) -> usize {
        2
    }

    fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        (0..parts).rev().for_each(run);
    }
}

/// The index is that in the batch however it is divided: on one thread, among threads, among an engine's.
#[test]
fn an_error_names_the_task() {
    let (mut values, b) = (vec![1f32; 9 * 40 * 30], vec![1i8; 30 * 50]);
    let b = MatRef::row_major(&b, 30, 50).unwrap();
    let few = Threads::at_most(2).eager();
    let all = [Threads::at_most(1), few, Threads::at_most(9).eager(), Threads::of(&Engine).eager()];
    for bad in 0..9 {
        values[(bad * 40 + 7) * 30 + 3] = f32::INFINITY;
        for threads in all {
            let mut c = vec![0f32; 9 * 40 * 50];
            let a = MatRef::batch(&values, 9, 40 * 30, (40, 30), (30, 1)).unwrap();
            let c = MatMut::batch(&mut c, 9, 40 * 50, (40, 50), (50, 1)).unwrap();
            let output = Dequantize::dynamic(1.0).unwrap();
            let tasks = a.zip(c).map(|(a, c)| Task::dynamic_f32(DynamicGemm::new(a, b), c, output).unwrap());
            let error = qgemm::run_batch_on(&mut tasks.collect::<Vec<_>>(), threads).unwrap_err();
            let Error::InBatch { index, error } = error else { panic!("{error}") };
            assert_eq!(index, bad);
            assert!(matches!(*error, Error::NotFinite { argument: "a", row: 7, column: 3, .. }), "{error}");
        }
        values[(bad * 40 + 7) * 30 + 3] = 1.0;
    }
}

/// The heads of attention, [seq, heads, d] all three: scores to [heads, seq, seq], and the products with the values to
/// columns side by side. Each is what the reference makes of it alone.
#[test]
fn heads_are_written_side_by_side_and_one_after_the_other() {
    for (seq, heads, d) in [(5, 3, 7), (64, 8, 64), (1, 4, 16), (33, 1, 20)] {
        let fused = Matrix::<i8>::filled(seq, 3 * heads * d, Layout::ROWS, Fill::Random, 3);
        // Queries, keys and values of all heads lie side by side in each row.
        let heads_of = |which: usize| {
            let first = &fused.data[which * heads * d..];
            MatRef::batch(first, heads, d, (seq, d), (3 * heads * d, 1)).unwrap()
        };
        let bytes = Requantize::new(1e-3, 3).unwrap();
        let mut want_scores = vec![0u8; heads * seq * seq];
        let mut want = vec![0i32; seq * heads * d];
        for (head, ((q, k), v)) in heads_of(0).zip(heads_of(1)).zip(heads_of(2)).enumerate() {
            let c = &mut want_scores[head * seq * seq..][..seq * seq];
            let scores = Gemm::new(q, k.transpose()).threads(1);
            reference::run_requantized(&scores, MatMut::row_major(c, seq, seq).unwrap(), bytes).unwrap();
            let mut sums = vec![0i32; seq * d];
            let values = Gemm::new(MatRef::row_major(c, seq, seq).unwrap(), v).a_zero(3);
            reference::run_i32(&values, MatMut::row_major(&mut sums, seq, d).unwrap()).unwrap();
            for (row, sums) in sums.chunks(d).enumerate() {
                want[(row * heads + head) * d..][..d].copy_from_slice(sums);
            }
        }
        on_threads(&|threads| {
            let what = format!("{seq} x {heads} x {d}, {threads} threads");
            let mut scores = vec![9u8; heads * seq * seq];
            let outputs = MatMut::batch(&mut scores, heads, seq * seq, (seq, seq), (seq, 1)).unwrap();
            let mut tasks: Vec<_> = heads_of(0)
                .zip(heads_of(1))
                .zip(outputs)
                .map(|((q, k), c)| Task::requantized(Gemm::new(q, k.transpose()), c, bytes).unwrap())
                .collect();
            run_batch_on(&mut tasks, Threads::ALL.eager()).unwrap();
            drop(tasks);
            assert_eq!(scores, want_scores, "{what}");

            let weights = || MatRef::batch(&scores, heads, seq * seq, (seq, seq), (seq, 1)).unwrap();
            let products = || weights().zip(heads_of(2)).map(|(p, v)| Gemm::new(p, v).a_zero(3));
            let run = |outputs: Vec<MatMut<'_, i32>>| {
                let tasks = products().zip(outputs).map(|(gemm, c)| Task::i32(gemm, c).unwrap());
                run_batch_on(&mut tasks.collect::<Vec<_>>(), Threads::ALL.eager()).unwrap();
            };
            // The columns of one output; as a batch; the same upside down, as rows of the transpose.
            for way in 0..3 {
                let mut c = vec![7i32; seq * heads * d];
                match way {
                    0 => {
                        let whole = MatMut::row_major(&mut c, seq, heads * d).unwrap();
                        run(whole.col_chunks(d).unwrap().collect());
                    }
                    1 => run(MatMut::batch(&mut c, heads, d, (seq, d), (heads * d, 1)).unwrap().collect()),
                    _ => {
                        let whole = MatMut::row_major(&mut c, seq, heads * d).unwrap().transpose();
                        run(whole.row_chunks(d).unwrap().map(MatMut::transpose).collect());
                    }
                }
                assert_eq!(c, want, "{what}, way {way}");
            }
        });
    }
}

#[test]
fn any_number_of_parts_may_be_asked_for_and_empty_outputs_need_no_memory() {
    let (a, b) = ([1u8; 300], [1i8; 600]);
    let product = Gemm::new(MatRef::row_major(&a, 3, 100).unwrap(), MatRef::row_major(&b, 100, 6).unwrap());
    for parts in [usize::MAX / 4 + 1, usize::MAX / 4 + 2, usize::MAX] {
        let mut c = [0i32; 18];
        let task = Task::i32(product, MatMut::row_major(&mut c, 3, 6).unwrap()).unwrap();
        run_batch(&mut task.into_parts(parts).unwrap()).unwrap();
        assert_eq!(c, [100; 18]);
    }
    let nothing = MatRef::new(&[0i8; 0], 0, 0, 0, 0).unwrap();
    let rows = MatRef::new(&[0u8; 0], usize::MAX, 0, 0, 0).unwrap();
    let c = MatMut::new(&mut [0i32; 0], usize::MAX, 0, 0, 0).unwrap();
    let task = Task::i32(Gemm::new(rows, nothing), c).unwrap();
    assert_eq!(task.into_parts(64).unwrap().len(), 1);

    let far = [1f32];
    let far = MatRef::new(&far, 1 << 15, 1 << 15, 0, 0).unwrap();
    let b = MatRef::new(&[0i8; 0], 1 << 15, 0, 0, 0).unwrap();
    let c = MatMut::new(&mut [0f32; 0], 1 << 15, 0, 0, 0).unwrap();
    let output = Dequantize::dynamic(1.0).unwrap();
    run_batch(&mut [Task::dynamic_f32(DynamicGemm::new(far, b), c, output).unwrap()]).unwrap();
}

/// A part of a part is cut within its own rows and columns.
#[test]
fn cuts_beyond_a_part_are_refused() {
    let (a, b) = ([1u8; 40 * 3], [1i8; 3 * 150]);
    let packed = PackedB::pack(MatRef::row_major(&b, 3, 150).unwrap()).unwrap();
    let gemm = Gemm::new(MatRef::row_major(&a, 40, 3).unwrap(), &packed);
    let panels = 150usize.div_ceil(packed.kernel().nr);
    // Cuts off rows and panels, then so many of what is left.
    let split = |rows: usize, columns: usize, row: usize, column: usize| {
        let mut c = vec![0; 40 * 150];
        let task = Task::i32(gemm, MatMut::row_major(&mut c, 40, 150).unwrap()).unwrap();
        assert_eq!(task.panel_columns().unwrap(), packed.kernel().nr);
        let (_, lower) = task.split_rows(rows).unwrap();
        let (_, right) = lower.split_columns(columns).unwrap();
        let (_, right) = right.split_rows(row)?;
        right.split_columns(column).map(drop)
    };
    split(30, 1, 10, panels - 1).unwrap();
    split(40, panels, 0, 0).unwrap();
    let refused = |argument, got, max| Err(Error::Range { argument, got, min: 0, max });
    assert_eq!(split(30, 1, 11, 0), refused("at", 11, 10));
    assert_eq!(split(30, 1, 0, panels), refused("panels", panels as i64, panels as i64 - 1));
}
