//! Arguments that do not fit each other: each entry point panics before it reads or writes beyond one of them. With all
//! of them just as long as they must be, it does not.

use qgemm_kernels::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Asserts that each of the calls panics that `call` makes for one of `wrong`, and that it makes for "" does not.
fn refuses(what: &str, wrong: &[&str], call: impl Fn(&str)) {
    call("");
    for wrong in wrong {
        let result = catch_unwind(AssertUnwindSafe(|| call(wrong)));
        assert!(result.is_err(), "{what}: wrong {wrong} was not refused");
    }
}

/// The values, without the last one if `wrong` is their name.
fn less<'a, T>(values: &'a [T], name: &str, wrong: &str) -> &'a [T] {
    &values[..values.len() - usize::from(name == wrong)]
}

fn ready() -> impl Iterator<Item = Ready> {
    let features = Features::detect();
    TABLE.iter().filter_map(move |kernel| kernel.ready(&features))
}

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
    const ALL: [&str; 8] = [
        "A",
        "panels",
        "terms of columns",
        "terms of rows",
        "rows of an outer product",
        "columns of an outer product",
        "output",
        "variant",
    ];
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
        let bytes = [&ALL[..], &SCALED, &BYTES].concat();
        refuses(kernel.name, &bytes, |wrong| multiply(kernel, Kind::Bytes, wrong));
        let fixed = [&ALL[..], &FIXED, &BYTES].concat();
        refuses(kernel.name, &fixed, |wrong| multiply(kernel, Kind::FixedBytes, wrong));
        let floats = [&ALL[..], &SCALED, &["bias"]].concat();
        refuses(kernel.name, &floats, |wrong| multiply(kernel, Kind::Floats, wrong));
    }
}

#[test]
fn packing() {
    for kernel in ready() {
        let variant = &kernel.table_row().variants[0];
        let (k, n) = (2 * kernel.kr + 1, kernel.nr);
        // By rows, by columns, and neither.
        for (row_stride, col_stride) in [(n + 2, 1), (1, k + 2), (2 * n, 2)] {
            let bits = vec![1u8; (k - 1) * row_stride + (n - 1) * col_stride + 1];
            let bytes = kernel.panel_bytes(k, n, variant.b).unwrap();
            refuses(kernel.name, &["B", "panel", "columns", "rows"], |wrong| {
                let cols = if wrong == "columns" { kernel.nr + 1 } else { n };
                let rows = if wrong == "rows" { MAX_PACK_ROWS + 1 } else { k };
                let source = Source { bits: less(&bits, "B", wrong), row_stride, col_stride };
                let job = PackJob { source, rows, cols, signed: true, stored: variant.b };
                let (mut panel, mut stats) = (vec![0u8; bytes], ColumnStats::NONE);
                let len = bytes - usize::from(wrong == "panel");
                pack_panel(kernel, &job, &mut panel[..len], &mut stats);
            });
            let source = Source { bits: &bits, row_stride, col_stride };
            if !packs_side_by_side(kernel, &source) {
                continue;
            }
            refuses(kernel.name, &["B", "panels", "sums"], |wrong| {
                let source = Source { bits: less(&bits, "B", wrong), row_stride, col_stride };
                let job = PackJob { source, rows: k, cols: n, signed: true, stored: variant.b };
                let (mut panels, mut sums) = (vec![0u8; bytes], vec![0i32; n]);
                let len = bytes - usize::from(wrong == "panels");
                let sums = &mut sums[..n - usize::from(wrong == "sums")];
                pack_panels(kernel, &job, &mut panels[..len], Some(sums));
            });
        }
    }
}

#[test]
fn sweeps() {
    for kernel in ready() {
        assert_eq!(kernel.sweeps(), kernel.isa == Isa::Avx512Vnni, "{}", kernel.name);
        let (rows, k, cols) = (3, 70, 40);
        let run = |b_by_columns: bool, wrong: &str| {
            let (a, b) = (vec![1u8; (rows - 1) * 80 + k], vec![1u8; 39 * 80 + 70]);
            let (stride_b, len) = if b_by_columns { (80, 39 * 80 + 70) } else { (45, 69 * 45 + 40) };
            let rows = match wrong {
                "no rows" => 0,
                "rows" => MAX_SWEEP_ROWS + 1,
                _ => rows,
            };
            let stride = match wrong {
                "stride" => 60,
                "short stride" => 0,
                _ => 64,
            };
            let (mut products, mut of_b) = (vec![0i32; 3 * 64], vec![0i32; 64]);
            let products_len = products.len() - usize::from(wrong == "products");
            let of_b_len = of_b.len() - usize::from(wrong == "sums of B");
            let operands = SweepOperands {
                a: StridedRows { bits: less(&a, "A", wrong), stride: 80 },
                a_signed: true,
                k,
                b: StridedRows { bits: less(&b[..len], "B", wrong), stride: stride_b },
                b_by_columns,
                cols,
            };
            let products = &mut products[..products_len];
            let of_b = Some(&mut of_b[..of_b_len]);
            kernel.sweep(rows, &operands, SweepSums { products, stride, of_b });
        };
        let wrong = ["A", "B", "products", "sums of B", "stride", "short stride", "rows", "no rows"];
        for b_by_columns in [false, true] {
            if kernel.sweeps() {
                refuses(kernel.name, &wrong, |wrong| run(b_by_columns, wrong));
            } else {
                assert!(catch_unwind(|| run(b_by_columns, "")).is_err(), "{}", kernel.name);
            }
        }
    }
}

#[test]
fn rows() {
    let (a, m, k) = (vec![1u8; 4 * 20 + 7], 5, 7);
    refuses("sums of rows", &["A"], |wrong| {
        add_row_sums(less(&a, "A", wrong), 20, k, true, &mut [0; 5]);
    });
    let columns = vec![1u8; 6 * 20 + 5];
    refuses("sums of columns", &["A"], |wrong| {
        add_column_sums(less(&columns, "A", wrong), 20, k, true, &mut vec![0; m]);
    });
    refuses("picked rows", &["source", "index", "output", "stride"], |wrong| {
        let indices = [4, 0, if wrong == "index" { 5 } else { u32::MAX }];
        let mut out = [0u8; 30];
        let out = &mut out[..30 - usize::from(wrong == "output")];
        let stride = if wrong == "stride" { 6 } else { 10 };
        pick_rows(less(&a, "source", wrong), 20, &indices, k, (out, stride));
    });
    refuses("signs", &["output"], |wrong| {
        let mut out = vec![0u8; a.len() - usize::from(wrong == "output")];
        flip_signs(&a, &mut out);
    });
    refuses("widening", &["output"], |wrong| {
        let mut out = vec![0i16; a.len() - usize::from(wrong == "output")];
        widen(&a, Convert::Extend, &mut out);
    });
    refuses("transposition", &["matrix"], |wrong| {
        let mut out = vec![0u8; m * k];
        let mut out = BlockMut::new(&mut out, k, m, m, 1).unwrap();
        transpose(less(&a, "matrix", wrong), 20, &mut out);
    });
    if F32Rows::new(&[], 0, 0).is_some() {
        let x = vec![1f32; 4 * 20 + 7];
        refuses("quantized rows", &["values", "output", "strides"], |wrong| {
            let (mut bits, cols) = (vec![0u8; m * k], k - usize::from(wrong == "output"));
            let (row, col) = if wrong == "strides" { (1, m) } else { (k, 1) };
            let bits = BlockMut::new(&mut bits, m, cols, row, col).unwrap();
            let rows = F32Rows::new(less(&x, "values", wrong), 20, k).unwrap();
            let params = |_: usize, _: RowExtremes| Some(RowParams { scale: 1.0, zero: 0 });
            rows.quantize(false, params, QuantizedRows { bits, unsigned: false }).unwrap();
        });
    }
}

/// Runs group-wise rows of which `wrong` is too short.
fn multiply_groups(kernel: GroupReady, bits: CodeBits, sums: bool, wrong: &str) {
    let (m, k, n) = (if sums { 1 } else { 3 }, 70, 40);
    let shape = GroupShape::new(k, n, 32, bits).unwrap();
    let (groups, panel) = (shape.groups(), if wrong == "panel" { 2 } else { 1 });
    let words = kernel.words && bits == CodeBits::Eight;
    let stride = shape.a_row_len(words) + 5;
    let codes = vec![0u8; shape.codes_len()];
    let scales = vec![1f32; shape.scales_len()];
    let zeros = vec![0u8; shape.zeros_len()];
    let weights = GroupWeights {
        shape,
        codes: less(&codes, "codes", wrong),
        scales: GroupScales::F32(less(&scales, "scales", wrong)),
        minimums: Some(GroupScales::F32(less(&scales, "minimums", wrong))),
        zeros: Some(less(&zeros, "zeros", wrong)),
    };
    let a = vec![0u8; (m - 1) * stride + shape.a_row_len(words)];
    let (starts, numbers, minus_zeros) = (vec![0i32; m * groups], vec![1f32; m * groups], vec![0i32; m]);
    let rows = GroupRows {
        rows: m,
        codes: less(&a, "A", wrong),
        stride: if wrong == "stride" { shape.a_row_len(words) - 1 } else { stride },
        starts: less(&starts, "starts", wrong),
        group_scales: less(&numbers, "scales of groups", wrong),
        row_scales: less(&numbers[..m], "scales of rows", wrong),
        sums: less(&numbers, "sums of A", wrong),
        minus_zeros: less(&minus_zeros, "zero points of A", wrong),
    };
    let d = vec![0i32; groups * PANEL];
    if sums {
        let mut d = d;
        let len = d.len() - usize::from(wrong == "sums");
        let rows = if wrong == "rows" { GroupRows { rows: 0, ..rows } } else { rows };
        return kernel.sums(&weights, panel, &rows, &mut d[..len]);
    }
    let (cols, bias) = (n - PANEL, vec![0f32; n - PANEL]);
    let stage = GroupStage { bias: less(&bias, "bias", wrong), lo: 0.0, hi: 1.0 };
    let mut c = vec![0f32; m * n];
    let c_rows = m - usize::from(wrong == "rows of C");
    let c_cols = cols - usize::from(wrong == "columns of C");
    let (row, col) = if wrong == "strides of C" { (1, m) } else { (n, 1) };
    let mut c = BlockMut::new(&mut c, c_rows, c_cols, row, col).unwrap();
    kernel.run(&weights, panel, &rows, less(&d, "sums of codes", wrong), &stage, &mut c);
}

#[test]
fn groups() {
    const ALL: [&str; 10] = [
        "panel",
        "codes",
        "scales",
        "minimums",
        "zeros",
        "A",
        "stride",
        "starts",
        "scales of groups",
        "zero points of A",
    ];
    const OF_ROWS: [&str; 7] =
        ["scales of rows", "sums of A", "bias", "rows of C", "columns of C", "strides of C", "sums of codes"];
    let features = Features::detect();
    for kernel in GROUP_TABLE.iter().filter_map(|kernel| kernel.ready(&features)) {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            let all = [&ALL[..], &OF_ROWS].concat();
            refuses(kernel.name, &all, |wrong| multiply_groups(kernel, bits, false, wrong));
            let all = [&ALL[..7], &["sums", "rows"]].concat();
            refuses(kernel.name, &all, |wrong| multiply_groups(kernel, bits, true, wrong));
        }
        // Groups that vector kernels do not take.
        let long = MAX_VECTOR_GROUP + 8;
        let shape = GroupShape::new(long, 1, long, CodeBits::Four).unwrap();
        let (codes, a) = (vec![0u8; shape.codes_len()], vec![0u8; shape.a_row_len(false)]);
        let scales = GroupScales::F32(&[1.0; PANEL]);
        let weights = GroupWeights { shape, codes: &codes, scales, minimums: None, zeros: None };
        let rows = GroupRows {
            rows: 1,
            codes: &a,
            stride: a.len(),
            starts: &[0],
            group_scales: &[],
            row_scales: &[],
            sums: &[],
            minus_zeros: &[],
        };
        let run = || kernel.sums(&weights, 0, &rows, &mut [0; PANEL]);
        assert_eq!(catch_unwind(run).is_ok(), kernel.any_group, "{}", kernel.name);
    }
}
