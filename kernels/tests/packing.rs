//! Compares panels and the statistics of their columns with the definitions, for every kernel that this CPU can run.

mod random;

use qgemm_kernels::{
    ColumnStats, Convert, Features, Isa, Line, PackJob, Ready, Source, Stored, TABLE, Variant, pack_panel,
    pack_panels, packs_side_by_side, panel_value,
};
use random::Random;

/// The kernels of this CPU.
fn ready() -> impl Iterator<Item = Ready> {
    TABLE.iter().filter_map(|kernel| kernel.ready(&Features::detect()))
}

/// A matrix B.
#[derive(Debug)]
struct Case {
    /// Rows and columns.
    size: (usize, usize),
    row_stride: usize,
    col_stride: usize,
    signed: bool,
    bits: Vec<u8>,
}

impl Case {
    /// A random B with contiguous rows (`layout` 0), contiguous columns (1) or neither.
    fn new(size @ (k, n): (usize, usize), layout: usize, signed: bool, random: &mut Random) -> Self {
        let gap = random.below(3);
        let (row_stride, col_stride) = match layout {
            0 => (n + gap, 1),
            1 => (1, k + gap),
            _ => (2, 2 * k + gap),
        };
        // The slice is not longer than it must be.
        let len = if k * n == 0 { 0 } else { (k - 1) * row_stride + (n - 1) * col_stride + 1 };
        // Now and then all values are one of the two extremes.
        let extremes = random.below(4) == 0;
        let (least, greatest) = if signed { (0x80, 0x7f) } else { (0, 0xff) };
        let byte = |random: &mut Random| match random.next() as u8 {
            byte if extremes && byte < 128 => least,
            _ if extremes => greatest,
            byte => byte,
        };
        let bits = (0..len).map(|_| byte(random)).collect();
        Self { size, row_stride, col_stride, signed, bits }
    }

    fn value(&self, k: usize, j: usize) -> i16 {
        let byte = self.bits[k * self.row_stride + j * self.col_stride];
        if self.signed { i16::from(byte as i8) } else { i16::from(byte) }
    }

    fn source(&self) -> Source<'_> {
        Source { bits: &self.bits, row_stride: self.row_stride, col_stride: self.col_stride }
    }

    fn job(&self, stored: Stored) -> PackJob<'_> {
        let (rows, cols) = self.size;
        PackJob { source: self.source(), rows, cols, signed: self.signed, stored }
    }

    /// Packs one panel, and compares it and the statistics with the definitions.
    fn check(&self, kernel: Ready, variant: &Variant) {
        let (k_len, cols) = self.size;
        let bytes = kernel.panel_bytes(k_len, cols, variant.b).expect("cases are small");
        let mut lines = vec![Line([0xee; 64]); bytes.div_ceil(64)];
        let panel = &mut bytemuck::cast_slice_mut(&mut lines)[..bytes];
        let mut stats = ColumnStats::NONE;
        pack_panel(kernel, &self.job(variant.b), panel, &mut stats);

        let shift = Convert::new(self.signed, variant.b).shift(self.signed) as i16;
        for k in 0..k_len.next_multiple_of(kernel.kr) {
            let width = cols.next_multiple_of(kernel.panel_step);
            for j in 0..width {
                let inside = k < k_len && j < cols;
                let want = if inside { self.value(k, j) + shift } else { 0 };
                let got = panel_value(&kernel, width, variant.b, panel, (k, j));
                assert_eq!(got, want, "{}: element {k}, {j} of {self:?}", kernel.name);
            }
        }
        let mut want = ColumnStats::NONE;
        for j in 0..cols {
            let column = || (0..k_len).map(|k| self.value(k, j));
            want.sum[j] = column().map(i32::from).sum();
            want.abs[j] = column().map(|b| i32::from(b.abs())).sum();
            want.least[j] = column().min().unwrap_or(i16::MAX);
            want.greatest[j] = column().max().unwrap_or(i16::MIN);
        }
        assert_eq!(columns(&stats, cols), columns(&want, cols), "{}: {self:?}", kernel.name);
    }
}

/// The statistics of the first `cols` columns.
fn columns(stats: &ColumnStats, cols: usize) -> Vec<(i32, i32, i16, i16)> {
    let ColumnStats { sum, abs, least, greatest } = stats;
    (0..cols).map(|j| (sum[j], abs[j], least[j], greatest[j])).collect()
}

#[test]
fn panels_and_stats_are_those_of_the_definition() {
    let mut random = Random(1);
    for kernel in ready() {
        for variant in kernel.table_row().variants {
            for round in 0..400 {
                // Lengths about those of k-groups, of the blocks that packing sums together, and of vectors.
                let k = [0, 1, 3, 4, 5, 31, 32, 33, 64, 127, 128, 129, 300][random.below(13)];
                let n = if round % 3 == 0 { kernel.nr } else { 1 + random.below(kernel.nr) };
                Case::new((k, n), random.below(3), random.next().is_multiple_of(2), &mut random)
                    .check(kernel, variant);
            }
        }
    }
}

#[test]
fn sums_of_many_rows_of_extremes_are_exact() {
    let k = 70_000;
    for kernel in ready() {
        let variant = &kernel.table_row().variants[0];
        for (byte, signed) in [(0x80, true), (0x7f, true), (0xff, false), (0, false)] {
            for layout in [0, 1] {
                let mut case = Case::new((k, 3), layout, signed, &mut Random(2));
                case.bits.fill(byte);
                case.check(kernel, variant);
            }
        }
    }
}

/// Where k-groups are long, columns are made of so many rows at a time.
#[test]
fn more_rows_than_are_transposed_at_a_time_are_packed() {
    for kernel in ready().filter(|kernel| kernel.kr >= 16) {
        for variant in kernel.table_row().variants {
            for k in [512, 513, 1300] {
                Case::new((k, 5), 0, true, &mut Random(5)).check(kernel, variant);
            }
        }
    }
}

#[test]
fn rows_may_be_packed_in_parts() {
    for kernel in ready() {
        let (k, n) = (257, kernel.nr.min(13));
        let variant = &kernel.table_row().variants[0];
        for layout in 0..3 {
            let case = Case::new((k, n), layout, true, &mut Random(3));
            let bytes = kernel.panel_bytes(k, n, variant.b).expect("the case is small");
            let mut lines = [(); 2].map(|()| vec![Line([0; 64]); bytes.div_ceil(64)]);
            let [whole, parts] = &mut lines;
            let (mut want, mut got) = (ColumnStats::NONE, ColumnStats::NONE);
            let panel = &mut bytemuck::cast_slice_mut(whole)[..bytes];
            pack_panel(kernel, &case.job(variant.b), panel, &mut want);
            for start in (0..k).step_by(64) {
                let rows = 64.min(k - start);
                let from = kernel.panel_bytes(start, n, variant.b).expect("less than all");
                let len = kernel.panel_bytes(rows, n, variant.b).expect("less than all");
                let part = &mut bytemuck::cast_slice_mut(parts)[from..from + len];
                let job = PackJob { source: case.source().from_row(start), rows, ..case.job(variant.b) };
                pack_panel(kernel, &job, part, &mut got);
            }
            assert!(whole.iter().zip(parts.iter()).all(|(x, y)| x.0 == y.0), "{} {layout}", kernel.name);
            assert_eq!(columns(&want, n), columns(&got, n));
        }
    }
}

#[test]
fn panels_packed_together_are_those_packed_one_by_one() {
    let mut random = Random(4);
    for kernel in ready() {
        let has_code = kernel.isa == Isa::Avx512Vnni && kernel.kr == 4;
        for variant in kernel.table_row().variants {
            for round in 0..300 {
                let k = 1 + [random.below(12), random.below(300)][round % 2];
                let n = 1 + random.below(if round % 3 == 0 { 3 } else { 9 } * kernel.nr);
                let (layout, signed) = (random.below(3), random.below(2) == 0);
                let case = Case::new((k, n), layout, signed, &mut random);
                let bytes = |n| kernel.panel_bytes(k, n, variant.b).expect("cases are small");
                let mut lines = vec![Line([0xee; 64]); bytes(n).div_ceil(64)];
                let panels = &mut bytemuck::cast_slice_mut(&mut lines)[..bytes(n)];
                for want_sums in [false, true] {
                    panels.fill(0xee);
                    let mut sums = vec![7; n.next_multiple_of(kernel.panel_step)];
                    let slices = case.col_stride == 1 || case.row_stride == 1;
                    let can = packs_side_by_side(kernel, &case.source());
                    assert_eq!(can, has_code && slices, "{case:?}");
                    if !can {
                        continue;
                    }
                    pack_panels(kernel, &case.job(variant.b), panels, want_sums.then_some(&mut sums[..]));
                    let starts = (0..n).step_by(kernel.nr);
                    for (j, (got, sums)) in
                        starts.zip(panels.chunks(bytes(kernel.nr)).zip(sums.chunks(kernel.nr)))
                    {
                        let source = Source { bits: &case.bits[j * case.col_stride..], ..case.source() };
                        let cols = kernel.nr.min(n - j);
                        let mut lines = vec![Line([0x11; 64]); bytes(cols).div_ceil(64)];
                        let want = &mut bytemuck::cast_slice_mut(&mut lines)[..bytes(cols)];
                        let mut stats = ColumnStats::NONE;
                        let job = PackJob { source, cols, ..case.job(variant.b) };
                        pack_panel(kernel, &job, want, &mut stats);
                        assert_eq!(got, want, "{}: panel from column {j} of {case:?}", kernel.name);
                        for (l, &got) in sums[..cols].iter().enumerate() {
                            let want = if want_sums { stats.sum[l] } else { 0 };
                            assert_eq!(got, 7 + want, "{}: column {} of {case:?}", kernel.name, j + l);
                        }
                    }
                }
            }
        }
    }
}

/// The number of padded columns overflows.
#[test]
fn no_rows_of_columns_beyond_the_address_space() {
    let source = Source { bits: &[], row_stride: 1, col_stride: 1 };
    let job = |kernel: Ready| {
        let variant = &kernel.table_row().variants[0];
        PackJob { source, rows: 0, cols: usize::MAX, signed: true, stored: variant.b }
    };
    for kernel in ready().filter(|kernel| packs_side_by_side(*kernel, &source)) {
        let refused = std::panic::catch_unwind(|| pack_panels(kernel, &job(kernel), &mut [], None));
        let message = refused.expect_err("no panels are as long");
        let message = message.downcast_ref::<String>().expect("the message of an assertion");
        assert!(message.starts_with("assertion"), "{message}");
    }
}

/// The sums of rows whose columns are contiguous, of more rows than are summed together.
#[test]
fn sums_of_rows_of_columns_are_those_of_the_definition() {
    for (m, k) in [(1, 1), (64, 3), (65, 300), (200, 70)] {
        let stride = m + 3;
        let mut random = Random(6);
        let a: Vec<u8> = (0..k * stride).map(|_| random.next() as u8).collect();
        for signed in [false, true] {
            let value = |byte: u8| if signed { i64::from(byte as i8) } else { i64::from(byte) };
            let want: Vec<i64> =
                (0..m).map(|i| 5 + (0..k).map(|l| value(a[l * stride + i])).sum::<i64>()).collect();
            let mut sums = vec![5; m];
            qgemm_kernels::add_column_sums(&a, stride, k, signed, &mut sums);
            assert_eq!(sums, want, "{m}x{k} {signed}");
        }
    }
}
