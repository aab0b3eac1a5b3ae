//! A call in the default floating-point mode, from every other one.

mod modes;

use modes::Mode;
use qgemm_kernels::in_default_float_mode;
use std::hint::black_box;
use std::panic::{catch_unwind, resume_unwind};

#[test]
fn the_mode_is_the_default_meanwhile() {
    let default = Mode::current();
    for mode in Mode::each() {
        // `run` asserts that the mode is the caller's again.
        let (inside, nested, after) = mode.run(|| {
            in_default_float_mode(|| {
                let inside = Mode::current();
                let nested = in_default_float_mode(Mode::current);
                (inside, nested, Mode::current())
            })
        });
        assert_eq!((inside, nested, after), (default, default, default), "{mode:?}");
    }
    assert_eq!(Mode::current(), default);
}

#[test]
fn the_mode_is_restored_after_a_panic() {
    for mode in Mode::each() {
        // Without the hook, which prints.
        let panic = mode.run(|| catch_unwind(|| in_default_float_mode(|| resume_unwind(Box::new(7)))));
        assert_eq!(panic.unwrap_err().downcast_ref(), Some(&7), "{mode:?}");
    }
}

/// Results that depend on the mode: quotients, sums and products that are rounded, comparisons of subnormal numbers with 0,
/// conversions of integers.
fn calculations(x: [f32; 2], n: i64) -> [u32; 6] {
    let tiny = f32::MIN_POSITIVE * x[1];
    let least = f32::from_bits(1);
    let converted = (black_box(n) as f32).to_bits() ^ (black_box(-n) as f64).to_bits() as u32;
    let compared = u32::from(black_box(least) > 0.0);
    [
        (x[0] / x[1]).to_bits(),
        (x[0] + tiny).to_bits(),
        (x[0] * x[1]).to_bits(),
        tiny.to_bits(),
        converted,
        compared,
    ]
}

#[test]
fn calculations_are_made_in_the_default_mode() {
    let (x, n) = (black_box([1.0, 0.3]), black_box((1 << 53) + (1 << 30) + 1));
    let want = calculations(x, n);
    for mode in Mode::each() {
        let got = mode.run(|| in_default_float_mode(|| calculations(x, n)));
        assert_eq!(got, want, "{mode:?}");
    }
}
