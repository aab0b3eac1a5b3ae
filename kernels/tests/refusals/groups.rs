//! Group-wise products.

use crate::{less, refuses};
use qgemm_kernels::*;
use std::panic::catch_unwind;

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
        let none =
            GroupRows { rows: 0, starts: &[], group_scales: &[], row_scales: &[], minus_zeros: &[], ..rows };
        let rows = if wrong == "rows" { none } else { rows };
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
    const ALL: [(&str, &str); 10] = [
        ("panel", "there is no such panel"),
        ("codes", "not all codes are there"),
        ("scales", "not all scales are there"),
        ("minimums", "not all minimums are there"),
        ("zeros", "not all zero points are there"),
        ("A", "not all rows of A are there"),
        ("stride", "not all rows of A are there"),
        ("starts", "starts of another number"),
        ("scales of groups", "scales of another number"),
        ("zero points of A", "zero points of another number"),
    ];
    const OF_ROWS: [(&str, &str); 7] = [
        ("scales of rows", "row scales of another number"),
        ("sums of A", "sums of A of another number"),
        ("bias", "a bias of another length"),
        ("rows of C", "an output of another shape"),
        ("columns of C", "an output of another shape"),
        ("strides of C", "an output of another shape"),
        ("sums of codes", "sums of another number"),
    ];
    const OF_SUMS: [(&str, &str); 2] =
        [("sums", "sums of another number"), ("rows", "sums are made of one row")];
    let features = Features::detect();
    for kernel in GROUP_TABLE.iter().filter_map(|kernel| kernel.ready(&features)) {
        for bits in [CodeBits::Four, CodeBits::Eight] {
            let all = [&ALL[..], &OF_ROWS].concat();
            refuses(kernel.name, &all, |wrong| multiply_groups(kernel, bits, false, wrong));
            let all = [&ALL[..7], &OF_SUMS].concat();
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
