//! Callers of all kinds: plain threads, engines with threads of their own, parts of a product. All get the same bytes.

use qgemm::*;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Operands of a product, and an output that is accumulated, bytes and f32 values.
struct Layer {
    shape: (usize, usize, usize),
    a: Vec<i8>,
    b: Vec<i8>,
    a_zero: Vec<i32>,
    b_zero: Vec<i32>,
    bias: Vec<i32>,
    scales: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Outputs {
    sums: Vec<i32>,
    bytes: Vec<u8>,
    reals: Vec<u32>,
}

/// Small values, random enough for this.
fn values(len: usize, seed: usize) -> impl Iterator<Item = i32> {
    (0..len).map(move |i| ((i + seed).wrapping_mul(0x9E37_79B1) >> 13) as i32 % 128)
}

impl Layer {
    fn new(m: usize, n: usize, k: usize) -> Self {
        let bytes = |len, seed| values(len, seed).map(|value| value as i8).collect();
        Self {
            shape: (m, n, k),
            a: bytes(m * k, 1),
            b: bytes(k * n, 2),
            a_zero: values(m, 3).collect(),
            b_zero: values(n, 4).collect(),
            bias: values(n, 5).map(|value| 1000 * value).collect(),
            scales: values(n, 6).map(|value| 1e-5 * (value + 200) as f32).collect(),
        }
    }

    fn packed(&self) -> PackedB {
        PackedB::pack_for(self.b(), ElementType::I8).unwrap()
    }

    fn b(&self) -> MatRef<'_, i8> {
        MatRef::row_major(&self.b, self.shape.2, self.shape.1).unwrap()
    }

    fn gemm<'a>(&'a self, b: impl Into<Rhs<'a>>) -> Gemm<'a> {
        let a = MatRef::row_major(&self.a, self.shape.0, self.shape.2).unwrap();
        Gemm::new(a, b).a_zero(&self.a_zero).b_zero(&self.b_zero).bias(&self.bias)
    }

    /// The outputs before anything is stored.
    fn blank(&self) -> Outputs {
        let len = self.shape.0 * self.shape.1;
        Outputs { sums: values(len, 7).collect(), bytes: vec![9; len], reals: vec![9; len] }
    }

    /// All outputs, each as `run` computes its task.
    fn outputs<'a>(&'a self, gemm: Gemm<'a>, run: &dyn Fn(Task<'a, '_>)) -> Outputs {
        let (m, n, _) = self.shape;
        let mut outputs = self.blank();
        let mut reals = vec![0f32; m * n];
        run(Task::accumulate_i32(gemm, MatMut::row_major(&mut outputs.sums, m, n).unwrap()).unwrap());
        let bytes = MatMut::row_major(&mut outputs.bytes, m, n).unwrap();
        let stage = Requantize::new(&self.scales, 100).unwrap();
        run(Task::requantized(gemm, bytes, stage).unwrap());
        let floats = MatMut::row_major(&mut reals, m, n).unwrap();
        run(Task::f32(gemm, floats, Dequantize::new(&self.scales).unwrap()).unwrap());
        outputs.reals = reals.iter().map(|real| real.to_bits()).collect();
        outputs
    }
}

fn alone(mut task: Task<'_, '_>) {
    task.run().unwrap();
}

/// Products worth several threads: cut between rows, between panels, of few rows, with several blocks of K.
fn layers() -> Vec<Layer> {
    [(70, 130, 180), (300, 40, 200), (3, 2000, 300), (1, 1030, 1200), (20, 33, 20_000)]
        .map(|(m, n, k)| Layer::new(m, n, k))
        .into()
}

/// Threads of an engine that does what it is asked for.
struct Scoped(usize);

impl ParallelFor for Scoped {
    fn threads(&self) -> usize {
        self.0
    }

    fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..self.0.min(3) {
                scope.spawn(|| {
                    while let Some(part) =
                        Some(next.fetch_add(1, Ordering::Relaxed)).filter(|part| *part < parts)
                    {
                        run(part);
                    }
                });
            }
        });
    }
}

/// Engines that do something else: every part twice and in reverse, parts that do not exist, only some parts, none.
struct Odd(fn(usize, &(dyn Fn(usize) + Sync)));

impl ParallelFor for Odd {
    fn threads(&self) -> usize {
        5
    }

    fn for_each(&self, parts: usize, run: &(dyn Fn(usize) + Sync)) {
        (self.0)(parts, run);
    }
}

#[test]
fn any_threads_compute_the_same() {
    let pools = [1, 2, 3, 8, 100].map(Scoped);
    let odd = [
        Odd(|parts, run| (0..parts).rev().for_each(|part| (run(part), run(part)).0)),
        Odd(|parts, run| (0..3 * parts).for_each(run)),
        Odd(|parts, run| (0..parts).step_by(2).for_each(run)),
        Odd(|_, run| run(usize::MAX)),
    ];
    for layer in layers() {
        let packed = layer.packed();
        for gemm in [layer.gemm(&packed), layer.gemm(layer.b())] {
            let want = layer.outputs(gemm.threads(1), &alone);
            let mut all = vec![Threads::ALL, Threads::ALL.eager(), Threads::at_most(0), Threads::at_most(3)];
            all.push(Threads::at_most(2).eager());
            all.extend(pools.iter().map(|pool| Threads::of(pool)));
            all.extend(odd.iter().map(|pool| Threads::of(pool)));
            for threads in all {
                let got = layer.outputs(gemm.threads(threads), &alone);
                assert!(got == want, "{:?} {threads:?}", layer.shape);
            }
        }
    }
}

#[test]
fn plain_threads_that_call_at_the_same_time_compute_the_same() {
    let layers = layers();
    let want: Vec<Outputs> =
        layers.iter().map(|layer| layer.outputs(layer.gemm(layer.b()).threads(1), &alone)).collect();
    thread::scope(|scope| {
        for caller in 0..4 {
            let (layers, want) = (&layers, &want);
            scope.spawn(move || {
                for round in 0..10 {
                    let at = (caller + round) % layers.len();
                    let (layer, packed) = (&layers[at], layers[at].packed());
                    let got = layer.outputs(layer.gemm(&packed).threads(Threads::ALL.eager()), &alone);
                    assert!(got == want[at], "{:?}", layer.shape);
                }
            });
        }
    });
}

#[test]
fn parts_of_a_product_make_the_whole() {
    for layer in layers() {
        let (m, n, _) = layer.shape;
        let packed = layer.packed();
        for gemm in [layer.gemm(&packed), layer.gemm(layer.b())] {
            let gemm = gemm.threads(1);
            let want = layer.outputs(gemm, &alone);
            for parts in [1, 2, 3, 7, 64] {
                let got = layer.outputs(gemm, &|task| {
                    let tasks = task.into_parts(parts).unwrap();
                    assert!(tasks.len() <= parts && !tasks.is_empty());
                    thread::scope(|scope| {
                        tasks.into_iter().for_each(|task| drop(scope.spawn(|| alone(task))))
                    });
                });
                assert!(got == want, "{:?} in {parts}", layer.shape);
            }
            // Uneven cuts, also into parts of nothing, run in any order.
            let got = layer.outputs(gemm, &|task| {
                let (first, rest) = task.split_rows(m / 5).unwrap();
                let (second, third) = rest.split_rows(m - m / 5).unwrap();
                let panels = n.div_ceil(second.panel_columns().unwrap());
                let (left, right) = second.split_columns(panels / 3).unwrap();
                let (middle, right) = right.split_columns(0).unwrap();
                [right, third, left, middle, first].into_iter().for_each(alone);
            });
            assert!(got == want, "{:?}", layer.shape);
        }
    }
}

#[test]
fn a_cut_outside_the_output_is_an_error() {
    let layer = Layer::new(3, 5, 2);
    let gemm = layer.gemm(layer.b());
    let (mut one, mut other) = ([0; 15], [0; 15]);
    let task = Task::i32(gemm, MatMut::row_major(&mut one, 3, 5).unwrap()).unwrap();
    let error = task.split_rows(4).unwrap_err();
    assert_eq!(error, Error::Range { argument: "at", got: 4, min: 0, max: 3 });
    let task = Task::i32(gemm, MatMut::row_major(&mut other, 3, 5).unwrap()).unwrap();
    let error = task.split_columns(2).unwrap_err();
    assert_eq!(error, Error::Range { argument: "panels", got: 2, min: 0, max: 1 });
}

#[test]
fn batches_and_dynamic_products_run_on_any_threads() {
    let layer = Layer::new(40, 200, 300);
    let packed = layer.packed();
    let (m, n, k) = layer.shape;
    let a: Vec<f32> = layer.a.iter().map(|a| f32::from(*a) / 7.0).collect();
    let pool = Scoped(3);
    let sink = Mutex::new(Vec::new());
    for threads in [Threads::at_most(1), Threads::ALL, Threads::ALL.eager(), Threads::of(&pool)] {
        for tasks in [1, 2, 5, 40] {
            let mut c = vec![0; tasks * m * n];
            let mut batch: Vec<Task<'_, '_>> = c
                .chunks_exact_mut(m * n)
                .map(|c| Task::i32(layer.gemm(&packed), MatMut::row_major(c, m, n).unwrap()).unwrap())
                .collect();
            run_batch_on(&mut batch, threads).unwrap();
            drop(batch);
            assert!(c.chunks_exact(m * n).all(|one| one == &c[..m * n]), "{tasks} {threads:?}");
            c.truncate(m * n);
            let mut floats = vec![0f32; m * n];
            let dynamic = DynamicGemm::new(MatRef::row_major(&a, m, k).unwrap(), &packed);
            let c_floats = MatMut::row_major(&mut floats, m, n).unwrap();
            dynamic
                .asymmetric()
                .threads(threads)
                .run_f32(c_floats, Dequantize::dynamic(0.1).unwrap())
                .unwrap();
            sink.lock().unwrap().push((c, floats.iter().map(|real| real.to_bits()).collect::<Vec<u32>>()));
        }
    }
    let all = sink.into_inner().unwrap();
    assert!(all.iter().all(|one| *one == all[0]));
}
