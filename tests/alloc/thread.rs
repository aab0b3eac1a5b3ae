//! A thread that repeats a product.

use crate::counting::{ENLISTED, allocations, turn};
use crate::product::{OUTPUTS, Path, Product, Stores, kernels, paths};
use qgemm::*;

#[test]
fn after_the_first_call_a_thread_allocates_nothing() {
    let _turn = turn();
    let mut first_calls = 0;
    for kernel in kernels() {
        for path in paths((33, 70, 40), (7, 9, 33_000)) {
            let product = Product::new(kernel, path);
            let smaller = Product::new(kernel, Path { shape: (5, 9, 20), ..path });
            for output in OUTPUTS {
                // A new thread each: what another product left must not help.
                std::thread::scope(|scope| {
                    let counted = scope.spawn(|| {
                        let (mut stores, mut less) = (product.stores(), smaller.stores());
                        ENLISTED.set(Some(0));
                        let first = allocations(|| product.run(output, &mut stores));
                        let again = allocations(|| {
                            (0..3).for_each(|_| product.run(output, &mut stores));
                        });
                        let smaller = allocations(|| {
                            smaller.run(output, &mut less);
                            product.run(output, &mut stores);
                        });
                        ENLISTED.set(None);
                        (first, again, smaller)
                    });
                    let (first, again, smaller) = counted.join().unwrap();
                    let what = format!("{} {output:?} {path:?}", kernel.name);
                    assert_eq!(again, [0, 0], "{what}");
                    assert_eq!(smaller, [0, 0], "{what}, after a smaller one");
                    first_calls += first[0];
                });
            }
        }
    }
    assert!(first_calls > 0, "first calls take memory: the count does not see it");
}

#[test]
fn after_the_first_call_a_batch_on_one_thread_allocates_nothing() {
    let _turn = turn();
    let mut first_calls = 0;
    for kernel in kernels() {
        // Of several shapes, packed and not, the largest neither first nor last.
        let shapes = [(9, 17, 30), (33, 70, 40), (1, 130, 50), (0, 3, 5)];
        let one_shots = [true, true, false, true];
        let paths = shapes.into_iter().zip(one_shots);
        let products: Vec<_> = paths
            .map(|(shape, one_shot)| Product::new(kernel, Path { shape, one_shot, ..Path::default() }))
            .collect();
        let work = || {
            let mut stores: Vec<_> = products.iter().map(Product::stores).collect();
            let mut tasks: Vec<_> = products
                .iter()
                .zip(&mut stores)
                .map(|(product, stores)| {
                    let (m, n, k) = product.path.shape;
                    let a = MatRef::row_major(&product.a, m, k).unwrap();
                    let b = MatRef::row_major(&product.b, k, n).unwrap();
                    let b = if product.path.one_shot { Rhs::from(b) } else { Rhs::from(&product.packed) };
                    let gemm = Gemm::new(a, b).a_zero(3).dispatch(&product.dispatch);
                    Task::i32(gemm, MatMut::row_major(&mut stores.sums, m, n).unwrap()).unwrap()
                })
                .collect();
            ENLISTED.set(Some(0));
            let first = allocations(|| run_batch(&mut tasks).unwrap());
            let again = allocations(|| (0..3).for_each(|_| run_batch(&mut tasks).unwrap()));
            ENLISTED.set(None);
            (first, again)
        };
        // A pool of one thread, or a thread without one; in any case a new one.
        #[cfg(feature = "rayon")]
        let (first, again) = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(work);
        #[cfg(not(feature = "rayon"))]
        let (first, again) = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        assert_eq!(again, [0, 0], "{}", kernel.name);
        first_calls += first[0];
    }
    assert!(first_calls > 0, "first calls take memory: the count does not see it");
}

#[test]
fn after_the_first_call_a_dynamic_product_allocates_nothing() {
    let _turn = turn();
    for kernel in kernels() {
        for one_shot in [false, true] {
            let product = Product::new(kernel, Path { shape: (33, 70, 40), one_shot, ..Path::default() });
            let real = |(i, &byte): (usize, &u8)| f32::from(byte) - i as f32 / 7.0;
            let real: Vec<f32> = product.a.iter().enumerate().map(real).collect();
            let columns = vec![0.1; 70];
            let taps: Vec<u32> =
                (0..66).map(|i| if i % 9 == 0 { GatherF32::PADDING } else { i % 30 }).collect();
            let mut params = vec![QuantParams { scale: 1.0, zero_point: 0 }; 33];
            let mut run = |stores: &mut Stores| {
                let a = MatRef::row_major(&real, 33, 40).unwrap();
                let b = MatRef::row_major(&product.b, 40, 70).unwrap();
                let b = if one_shot { Rhs::from(b) } else { Rhs::from(&product.packed) };
                let gemm = DynamicGemm::new(a, b).dispatch(&product.dispatch);
                let output = Dequantize::dynamic(&columns).unwrap();
                for gemm in [gemm, gemm.asymmetric(), gemm.per_tensor(), gemm.asymmetric().per_tensor()] {
                    let c = MatMut::row_major(&mut stores.reals, 33, 70).unwrap();
                    gemm.run_f32(c, output).unwrap();
                }
                // Rows of two taps: 66 pieces of 20 numbers, of which 30 rows are picked.
                let source = MatRef::row_major(&real, 66, 20).unwrap();
                let gathered = GatherF32::new(source, &taps, 2).unwrap();
                let gemm = DynamicGemm::new(gathered, b).dispatch(&product.dispatch).asymmetric();
                let bytes = Requantize::dynamic(&columns, 3).unwrap().residual_in_place(0.5, 1);
                let c = MatMut::row_major(&mut stores.bytes, 33, 70).unwrap();
                gemm.run_requantized_with_params(c, bytes, &mut params).unwrap();
                let gelu = output.activation(Activation::Gelu).residual_in_place();
                let c = MatMut::col_major(&mut stores.reals, 33, 70).unwrap();
                gemm.per_tensor().run_f32_with_params(c, gelu, &mut params[..1]).unwrap();
            };
            std::thread::scope(|scope| {
                let counted = scope.spawn(|| {
                    let mut stores = product.stores();
                    ENLISTED.set(Some(0));
                    let first = allocations(|| run(&mut stores));
                    let again = allocations(|| (0..3).for_each(|_| run(&mut stores)));
                    ENLISTED.set(None);
                    (first, again)
                });
                let (first, again) = counted.join().unwrap();
                assert!(first[0] > 0, "a first call takes memory: the count does not see it");
                assert_eq!(again, [0, 0], "{} {one_shot}", kernel.name);
            });
        }
    }
}

#[test]
fn after_the_first_call_a_layer_allocates_nothing() {
    let _turn = turn();
    let (m, k, n) = (9, 50, 70);
    let weight: Vec<f32> = (0..n * k).map(|i| (i % 23) as f32 - 11.0).collect();
    let params = QuantParams { scale: 0.1, zero_point: 100 };
    let layer = Linear::out_in(MatRef::row_major(&weight, n, k).unwrap()).relu();
    let layer = layer.input::<u8>(params).output::<u8>(params).build().unwrap();
    let (x, xq) = (vec![1.5f32; m * k], vec![7u8; m * k]);
    std::thread::scope(|scope| {
        let counted = scope.spawn(|| {
            let (mut floats, mut bytes) = (vec![0f32; m * n], vec![0u8; m * n]);
            let mut run = || {
                let (x, xq) = (MatRef::row_major(&x, m, k).unwrap(), MatRef::row_major(&xq, m, k).unwrap());
                layer.run_dynamic(x, MatMut::row_major(&mut floats, m, n).unwrap()).unwrap();
                layer.run_f32(xq, MatMut::row_major(&mut floats, m, n).unwrap()).unwrap();
                layer.run_requantized(xq, MatMut::row_major(&mut bytes, m, n).unwrap()).unwrap();
            };
            ENLISTED.set(Some(0));
            let first = allocations(&mut run);
            let again = allocations(|| (0..3).for_each(|_| run()));
            ENLISTED.set(None);
            (first, again)
        });
        let (first, again) = counted.join().unwrap();
        assert!(first[0] > 0, "a first call takes memory: the count does not see it");
        assert_eq!(again, [0, 0]);
    });
}

#[test]
fn after_the_first_call_a_product_with_groupwise_weights_allocates_nothing() {
    let _turn = turn();
    let (m, k, n) = (9, 130, 70);
    let w: Vec<f32> = (0..k * n).map(|i| (i % 23) as f32 - 11.0).collect();
    let w = MatRef::row_major(&w, k, n).unwrap();
    let a: Vec<f32> = (0..m * k).map(|i| (i % 37) as f32 - 18.0).collect();
    let q = vec![7u8; m * k];
    for name in Dispatch::available_groupwise() {
        let dispatch = Dispatch::named(name).unwrap();
        for bits in [CodeBits::Four, CodeBits::Eight] {
            let b = quantize_groups(w, bits, 32, GroupScheme::Asymmetric).unwrap().pack().unwrap();
            let b = b.with_dispatch(&dispatch);
            std::thread::scope(|scope| {
                let counted = scope.spawn(|| {
                    let mut c = vec![0f32; m * n];
                    let mut run = || {
                        let stage = Dequantize::groupwise();
                        for a in [MatRef::row_major(&a, m, k).unwrap(), MatRef::col_major(&a, m, k).unwrap()]
                        {
                            let gemm = GroupwiseGemm::new(a, &b);
                            gemm.run_f32(MatMut::row_major(&mut c, m, n).unwrap(), stage).unwrap();
                            let gemm = gemm.activations(Activations::PerRowAsymmetric);
                            gemm.run_f32(MatMut::col_major(&mut c, m, n).unwrap(), stage).unwrap();
                        }
                        let gemm =
                            GroupwiseGemm::quantized(MatRef::row_major(&q, m, k).unwrap(), &b).a_zero(3);
                        let stage = Dequantize::new(0.5).unwrap();
                        gemm.run_f32(MatMut::row_major(&mut c, m, n).unwrap(), stage).unwrap();
                    };
                    ENLISTED.set(Some(0));
                    let first = allocations(&mut run);
                    let again = allocations(|| (0..3).for_each(|_| run()));
                    release_thread_memory();
                    let released = allocations(&mut run);
                    ENLISTED.set(None);
                    (first, again, released)
                });
                let (first, again, released) = counted.join().unwrap();
                assert!(first[0] > 0, "a first call takes memory: the count does not see it");
                assert_eq!(again, [0, 0], "{name}");
                assert!(released[0] > 0, "{name}: released memory is asked for again");
            });
        }
    }
}
