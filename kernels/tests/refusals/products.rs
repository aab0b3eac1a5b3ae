//! Products of rows and panels.

use crate::{less, ready, refuses};
use qgemm_kernels::*;
use std::panic::catch_unwind;

/// Rows, values of k and columns: several tiles and panels, the last of which have room for more.
fn shape(kernel: &Ready) -> (usize, usize, usize) {
    (kernel.mr + 1, 2 * kernel.kr + 1, kernel.nr + 1)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Sums,
    Bytes,
    FixedBytes,
    Floats,
}

/// Runs a product of which `wrong` is too short or otherwise wrong.
fn multiply(kernel: Ready, kind: Kind, wrong: &str) {
    let (m, k, n) = shape(&kernel);
    let variant = &kernel.table_row().variants[0];
    let other = if wrong == "variant" {
        let is_other = |kernel: &&&Kernel| !std::ptr::eq(&kernel.variants[0], variant);
        &TABLE.iter().find(is_other).expect("another kernel").variants[0]
    } else {
        variant
    };
    let (lda, row_bytes) = (k * variant.a.size() + 3, k * variant.a.size());
    let values = kernel.padded_values(n).expect("few columns");
    let a = vec![1u8; (m - 1) * lda + row_bytes];
    let panels = vec![1u8; kernel.panel_bytes(k, n, variant.b).expect("few columns")];
    let (col, row) = (vec![0i32; values], vec![0i32; m]);
    let outer = [OuterProduct {
        row: less(&row, "rows of an outer product", wrong),
        col: less(&col, "columns of an outer product", wrong),
    }];
    let product = PanelProduct {
        k,
        a: less(&a, "A", wrong),
        lda,
        a_from_memory: false,
        b_exceeds_l2: false,
        panels: less(&panels, "panels", wrong),
        col: Some(less(&col, "terms of columns", wrong)),
        row: less(&row, "terms of rows", wrong),
        outer: &outer,
    };

    let (scale, row_scale) = (vec![0.25f32; values], vec![0.5f32; m]);
    let (f64_col, f64_row) = (vec![0f64; values], vec![0f64; m]);
    let f64_terms = Some(F64Terms {
        col: less(&f64_col, "f64 terms of columns", wrong),
        row: Some(less(&f64_row, "f64 terms of rows", wrong)),
    });
    let scale = less(&scale, "scales", wrong);
    let row_scale = Some(less(&row_scale, "scales of rows", wrong));
    let residual_len = (m - 1) * (n + 2) + n;
    let (bytes, floats) = (vec![1u8; residual_len], vec![1f32; residual_len]);
    let zero_point = match wrong {
        "zero point" => MAX_ZERO_POINT + 1,
        "negative zero point" => -MAX_ZERO_POINT - 1,
        _ => MAX_ZERO_POINT,
    };
    let range = match wrong {
        "least result" => (-129, 0),
        "greatest i8" => (-1, 128),
        "greatest u8" => (0, 256),
        _ => (-128, 127),
    };
    // The rows of the output are slices, or not.
    let strides = if wrong == "output" { (1, m) } else { (n, 1) };
    let mut c = vec![0i32; m * n];
    match kind {
        Kind::Sums => {
            let mut c = BlockMut::new(&mut c, m, n, strides.0, strides.1).unwrap();
            kernel.run(other, &product, Output::Sums { c: &mut c, accumulate: false });
        }
        Kind::Bytes => {
            let values = ResidualValues::Matrix { from: less(&bytes, "residual", wrong), stride: n + 2 };
            let residual = Some(TileResidual { values, signed: false, zero_point: 0, scale: 1.0 });
            let at_most_half = true;
            let stage =
                TileRequantize { f64_terms, residual, scale, row_scale, at_most_half, zero_point, range };
            let c = bytemuck::cast_slice_mut(&mut c);
            let mut c = BlockMut::new(c, m, n, strides.0, strides.1).unwrap();
            kernel.run(other, &product, Output::Bytes { c: &mut c, stage });
        }
        Kind::FixedBytes => {
            let numbers = vec![1i32; values];
            let stage = TileFixedPoint {
                m: less(&numbers, "multipliers", wrong),
                nudge: less(&numbers, "nudges", wrong),
                negative: less(&numbers, "negatives", wrong),
                before: less(&numbers, "shifts", wrong),
                one: less(&numbers, "last shifts", wrong),
                away: false,
                zero_point,
                range,
            };
            let c = bytemuck::cast_slice_mut(&mut c);
            let mut c = BlockMut::new(c, m, n, strides.0, strides.1).unwrap();
            kernel.run(other, &product, Output::FixedBytes { c: &mut c, stage });
        }
        Kind::Floats => {
            let bias = vec![0f32; values];
            let stage = TileDequantize {
                f64_terms,
                scale,
                row_scale,
                bias: Some(less(&bias, "bias", wrong)),
                residual: Some(ResidualValues::Matrix {
                    from: less(&floats, "residual", wrong),
                    stride: n + 2,
                }),
                range: (0.0, 1.0),
            };
            let c = bytemuck::cast_slice_mut(&mut c);
            let mut c = BlockMut::new(c, m, n, strides.0, strides.1).unwrap();
            kernel.run(other, &product, Output::Floats { c: &mut c, stage });
        }
    }
}

#[test]
fn products() {
    const SHAPE: &str = "an output of another shape";
    const ALL: [(&str, &str); 8] = [
        ("A", "A is too short"),
        ("panels", "the panels are too short"),
        ("terms of columns", "the terms are too short"),
        ("terms of rows", "the terms are too short"),
        ("rows of an outer product", "the outer terms are too short"),
        ("columns of an outer product", "the outer terms are too short"),
        ("output", SHAPE),
        ("variant", "a variant of another kernel"),
    ];
    let with = |others: &[&'static str]| -> Vec<(&str, &str)> {
        ALL.into_iter().chain(others.iter().map(|wrong| (*wrong, SHAPE))).collect()
    };
    const SCALED: [&str; 5] =
        ["scales", "scales of rows", "f64 terms of columns", "f64 terms of rows", "residual"];
    const BYTES: [&str; 5] =
        ["zero point", "negative zero point", "least result", "greatest i8", "greatest u8"];
    const FIXED: [&str; 5] = ["multipliers", "nudges", "negatives", "shifts", "last shifts"];
    for kernel in ready() {
        refuses(kernel.name, &ALL, |wrong| multiply(kernel, Kind::Sums, wrong));
        if !kernel.fused {
            for kind in [Kind::Bytes, Kind::FixedBytes, Kind::Floats] {
                assert!(catch_unwind(|| multiply(kernel, kind, "")).is_err(), "{}", kernel.name);
            }
            continue;
        }
        refuses(kernel.name, &with(&[SCALED, BYTES].concat()), |wrong| multiply(kernel, Kind::Bytes, wrong));
        refuses(kernel.name, &with(&[FIXED, BYTES].concat()), |wrong| {
            multiply(kernel, Kind::FixedBytes, wrong)
        });
        refuses(kernel.name, &with(&[&SCALED[..], &["bias"]].concat()), |wrong| {
            multiply(kernel, Kind::Floats, wrong)
        });
    }
}
