//! Packing, sweeps, and the loops over rows of A.

use crate::{less, ready, refuses};
use qgemm_kernels::*;
use std::panic::catch_unwind;

#[test]
fn packing() {
    for kernel in ready() {
        let variant = &kernel.table_row().variants[0];
        let (k, n) = (2 * kernel.kr + 1, kernel.nr);
        // By rows, by columns, and neither.
        for (row_stride, col_stride) in [(n + 2, 1), (1, k + 2), (2 * n, 2)] {
            let bits = vec![1u8; (k - 1) * row_stride + (n - 1) * col_stride + 1];
            let bytes = kernel.panel_bytes(k, n, variant.b).unwrap();
            let limits = "job.cols <= kernel.nr && job.rows <= MAX_PACK_ROWS";
            let wrong = [
                ("B", "B is too short"),
                ("panel", "left == right"),
                ("rows", "left == right"),
                ("all columns", limits),
                ("all rows", limits),
            ];
            refuses(kernel.name, &wrong, |wrong| {
                let (rows, cols) = match wrong {
                    // A k-group less.
                    "rows" => (k - 1, n),
                    "all columns" => (k, n + 1),
                    "all rows" => (MAX_PACK_ROWS + 1, 0),
                    _ => (k, n),
                };
                let source = Source { bits: less(&bits, "B", wrong), row_stride, col_stride };
                let job = PackJob { source, rows, cols, signed: true, stored: variant.b };
                let len = match wrong {
                    "all columns" | "all rows" => kernel.panel_bytes(rows, cols, variant.b).unwrap(),
                    "panel" => bytes - 1,
                    _ => bytes,
                };
                let (mut panel, mut stats) = (vec![0u8; len], ColumnStats::NONE);
                pack_panel(kernel, &job, &mut panel, &mut stats);
            });
            let source = Source { bits: &bits, row_stride, col_stride };
            if !packs_side_by_side(kernel, &source) {
                continue;
            }
            let wrong = [("B", "B is too short"), ("panels", "left == right"), ("sums", "sums_fit")];
            refuses(kernel.name, &wrong, |wrong| {
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
        let (room, not_for) = ("no room for sums", "not for this kernel");
        let wrong = [
            ("A", "A is too short"),
            ("B", "B is too short"),
            ("products", room),
            ("sums of B", room),
            ("stride", room),
            ("short stride", room),
            ("rows", not_for),
            ("no rows", not_for),
        ];
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
    refuses("sums of rows", &[("A", "A is too short")], |wrong| {
        add_row_sums(less(&a, "A", wrong), 20, k, true, &mut [0; 5]);
    });
    let columns = vec![1u8; 6 * 20 + 5];
    refuses("sums of columns", &[("A", "A is too short")], |wrong| {
        add_column_sums(less(&columns, "A", wrong), 20, k, true, &mut vec![0; m]);
    });
    let short = "the output is too short";
    let wrong = [("source", "out of range"), ("index", "out of range"), ("output", short), ("stride", short)];
    refuses("picked rows", &wrong, |wrong| {
        let indices = [4, 0, if wrong == "index" { 5 } else { u32::MAX }];
        let mut out = [0u8; 30];
        let out = &mut out[..30 - usize::from(wrong == "output")];
        let stride = if wrong == "stride" { 6 } else { 10 };
        pick_rows(less(&a, "source", wrong), 20, &indices, k, (out, stride));
    });
    refuses("signs", &[("output", "left == right")], |wrong| {
        let mut out = vec![0u8; a.len() - usize::from(wrong == "output")];
        flip_signs(&a, &mut out);
    });
    refuses("widening", &[("output", "left == right")], |wrong| {
        let mut out = vec![0i16; a.len() - usize::from(wrong == "output")];
        widen(&a, Convert::Extend, &mut out);
    });
    refuses("transposition", &[("matrix", "the matrix is too short")], |wrong| {
        let mut out = vec![0u8; m * k];
        let mut out = BlockMut::new(&mut out, k, m, m, 1).unwrap();
        transpose(less(&a, "matrix", wrong), 20, &mut out);
    });
    if F32Rows::new(&[], 0, 0).is_some() {
        let x = vec![1f32; 4 * 20 + 7];
        let room = "no room for results";
        let wrong = [("values", "no such rows"), ("output", room), ("strides", room)];
        refuses("quantized rows", &wrong, |wrong| {
            let (mut bits, cols) = (vec![0u8; m * k], k - usize::from(wrong == "output"));
            let (row, col) = if wrong == "strides" { (1, m) } else { (k, 1) };
            let bits = BlockMut::new(&mut bits, m, cols, row, col).unwrap();
            let rows = F32Rows::new(less(&x, "values", wrong), 20, k).unwrap();
            let params = |_: usize, _: RowExtremes| Some(RowParams { scale: 1.0, zero: 0 });
            rows.quantize(false, params, QuantizedRows { bits, unsigned: false }).unwrap();
        });
    }
}
