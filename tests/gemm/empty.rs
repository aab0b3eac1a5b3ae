//! Matrices of huge shapes and few elements or none: every public call returns at once, with an error if it must.

use crate::support::{ENDLESS, each_kernel};
use qgemm::*;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

const HUGE: [usize; 2] = [usize::MAX, usize::MAX / 4];

/// Runs `f` on another thread. Panics if it has not returned after a minute, or panics.
fn at_once(f: impl FnOnce() + Send + 'static) {
    let (done, waiting) = channel();
    let thread = std::thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    match waiting.recv_timeout(Duration::from_secs(60)) {
        Ok(()) => (),
        Err(RecvTimeoutError::Timeout) => panic!("a call does not return"),
        Err(RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// M, K and N of products with an empty output.
fn empty_products() -> impl Iterator<Item = (usize, usize, usize)> {
    HUGE.into_iter().flat_map(|huge| {
        [(huge, 0, 0), (huge, 1, 0), (0, 0, huge), (0, 1, huge), (0, huge, 0), (0, huge, 1), (1, huge, 0)]
    })
}

/// One element, repeated.
fn repeated<T>(one: &[T; 1], rows: usize, cols: usize) -> MatRef<'_, T> {
    MatRef::new(one, rows, cols, 0, 0).unwrap()
}

fn no_output<T>(rows: usize, cols: usize) -> MatMut<'static, T> {
    MatMut::row_major(&mut [], rows, cols).unwrap()
}

fn one<T>(c: &mut [T; 1]) -> MatMut<'_, T> {
    MatMut::row_major(c, 1, 1).unwrap()
}

/// Runs a product to every kind of output, in every way.
fn run(gemm: Gemm<'_>, (m, n): (usize, usize)) {
    assert_eq!(gemm.run_i32(no_output(m, n)), Ok(()));
    assert_eq!(gemm.accumulate_i32(no_output(m, n)), Ok(()));
    assert_eq!(reference::run_i32(&gemm, no_output(m, n)), Ok(()));
    assert_eq!(reference::accumulate_i32(&gemm, no_output(m, n)), Ok(()));
    // These may be refused, since K is so large that sums could reach 2^63.
    let (bytes, reals) = (Requantize::new(1.0, 0).unwrap(), Dequantize::new(1.0).unwrap());
    let result = gemm.run_requantized(no_output::<i8>(m, n), bytes);
    assert_eq!(reference::run_requantized(&gemm, no_output::<i8>(m, n), bytes), result);
    assert_eq!(gemm.run_f32(no_output(m, n), reals), result);
    assert_eq!(reference::run_f32(&gemm, no_output(m, n), reals), result);
    let mut tasks =
        vec![Task::i32(gemm, no_output(m, n)).unwrap(), Task::accumulate_i32(gemm, no_output(m, n)).unwrap()];
    tasks.extend(Task::requantized(gemm, no_output::<u8>(m, n), bytes));
    tasks.extend(Task::f32(gemm, no_output(m, n), reals));
    assert_eq!(tasks.len(), if result.is_ok() { 4 } else { 2 });
    assert_eq!(run_batch(&mut tasks), Ok(()));
    assert_eq!(tasks[0].run(), Ok(()));
}

#[test]
fn huge_empty_products_return_at_once() {
    for (m, k, n) in empty_products() {
        at_once(move || {
            let (a, b) = (repeated(&[1u8], m, k), repeated(&[2i8], k, n));
            run(Gemm::new(a, b), (m, n));
            run(Gemm::new(a, b.transpose().transpose()).a_zero(3).b_zero(-5), (m, n));
            // In 32 bits, a quarter of all columns would take a gigabyte of statistics.
            if n != 0 && n != usize::MAX {
                return;
            }
            for (_, dispatch) in each_kernel() {
                match PackedB::pack_with(&dispatch, b, ElementType::U8) {
                    Ok(packed) => {
                        assert_eq!((packed.k(), packed.n(), packed.panel_kernels().len()), (k, 0, 0));
                        assert_eq!(packed.get(0, 0), None);
                        assert!(format!("{packed:?}").contains("kernel"));
                        run(Gemm::new(a, &packed), (m, n));
                    }
                    Err(error) => assert!(n > 0 && matches!(error, Error::Memory { .. }), "{error}"),
                }
            }
        });
    }
}

#[test]
fn huge_empty_dynamic_products_return_at_once() {
    for (m, k, n) in empty_products() {
        at_once(move || {
            // Values of A are not read, since nothing is computed from them.
            for value in [1.0, f32::NAN] {
                let (a, b) = ([value], [2i8]);
                let gemm = DynamicGemm::new(repeated(&a, m, k), repeated(&b, k, n));
                let output = Dequantize::dynamic(1.0).unwrap();
                for gemm in [gemm, gemm.per_tensor(), gemm.asymmetric(), gemm.asymmetric().per_tensor()] {
                    let result = gemm.run_f32(no_output(m, n), output);
                    assert_eq!(reference::run_dynamic_f32(&gemm, no_output(m, n), output), result);
                    let refused = matches!(result, Err(Error::Range { argument: "columns of a", .. }));
                    assert!(result.is_ok() || refused && k > 1, "{result:?}");
                }
            }
        });
    }
}

/// Products of one element each, that no memory holds what they need for.
#[test]
fn the_reference_refuses_sums_that_have_no_end() {
    at_once(|| {
        for k in [ENDLESS, usize::MAX] {
            let (a, b, mut c) = ([1u8], [2i8], [7i32]);
            let gemm = Gemm::new(repeated(&a, 1, k), repeated(&b, k, 1));
            assert!(matches!(gemm.run_i32(one(&mut c)), Err(Error::Memory { .. })));
            assert!(matches!(reference::run_i32(&gemm, one(&mut c)), Err(Error::Memory { .. })));
            assert!(matches!(reference::accumulate_i32(&gemm, one(&mut c)), Err(Error::Memory { .. })));
            assert_eq!(c, [7]);
        }
        // The values of A fill all addresses that a process has, and in 64 bits their sums are below 2^63.
        let k = if usize::BITS == 64 { 1 << (usize::BITS - 17) } else { 1 << (usize::BITS - 1) };
        let (a, b, mut c) = ([1f32], [2i8], [7f32]);
        let gemm = DynamicGemm::new(repeated(&a, 1, k), repeated(&b, k, 1));
        let output = Dequantize::dynamic(1.0).unwrap();
        for gemm in [gemm, gemm.per_tensor(), gemm.asymmetric(), gemm.asymmetric().per_tensor()] {
            let error = gemm.run_f32(one(&mut c), output).unwrap_err();
            assert!(matches!(error, Error::Memory { purpose: "quantized a", .. }), "{error}");
            let error = reference::run_dynamic_f32(&gemm, one(&mut c), output).unwrap_err();
            assert!(matches!(error, Error::Memory { purpose: "quantized a", .. }), "{error}");
        }
        assert_eq!(c, [7.0]);
    });
}

#[test]
fn huge_empty_gathers_return_at_once() {
    for huge in HUGE {
        at_once(move || {
            let one = [1u8];
            let sources = [(huge, 0), (huge, 1), (0, huge), (1, huge)].map(|(m, k)| repeated(&one, m, k));
            for source in sources {
                for taps in [1, 2, huge] {
                    for indices in [&[][..], &[0], &[0, 0], &[Gather::PADDING]] {
                        let Ok(a) = Gather::new(source, indices, taps) else { continue };
                        let (m, k) = (indices.len() / taps, source.cols() * taps);
                        run(Gemm::new(a, repeated(&[2i8], k, 0)), (m, 0));
                        if m == 0 {
                            run(Gemm::new(a.padding(3).unwrap(), repeated(&[2i8], k, 1)), (0, 1));
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn huge_empty_views_have_parts_and_transposes() {
    for huge in HUGE {
        at_once(move || {
            for view in [
                MatRef::<i8>::row_major(&[], huge, 0),
                MatRef::col_major(&[], huge, 0),
                MatRef::new(&[], huge, 0, usize::MAX, usize::MAX),
            ] {
                let view = view.unwrap();
                assert_eq!(
                    (view.get(huge - 1, 0), view.row(huge - 1), view.row(huge)),
                    (None, Some(&[][..]), None)
                );
                for rows in [0..huge, huge..huge, huge - 1..huge] {
                    let part = view.submatrix(rows.clone(), 0..0).unwrap();
                    assert_eq!((part.rows(), part.cols()), (rows.len(), 0));
                    let part = view.transpose().submatrix(0..0, rows.clone()).unwrap();
                    assert_eq!((part.rows(), part.cols()), (0, rows.len()));
                }
                assert!(view.submatrix(0..huge, 0..1).is_err());
            }
            for view in [
                MatMut::<i8>::row_major(&mut [], huge, 0),
                MatMut::col_major(&mut [], huge, 0),
                MatMut::new(&mut [], huge, 0, usize::MAX, usize::MAX),
            ] {
                let mut view = view.unwrap();
                assert_eq!(view.get_mut(huge - 1, 0), None);
                for rows in [0..huge, huge..huge, huge - 1..huge] {
                    let part = view.submatrix(rows.clone(), 0..0).unwrap();
                    assert_eq!((part.rows(), part.cols()), (rows.len(), 0));
                    let mut whole = view.reborrow().transpose();
                    let part = whole.submatrix(0..0, rows.clone()).unwrap();
                    assert_eq!((part.rows(), part.cols()), (0, rows.len()));
                }
            }
        });
    }
}
