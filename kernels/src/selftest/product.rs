//! Runs a case as a driver would: packs B, converts A, and multiplies panel by panel and K block by K block.

use crate::block::BlockMut;
use crate::contract::column_stats::ColumnStats;
use crate::contract::kernel::Variant;
use crate::contract::panel::{PackJob, Source, panel_index};
use crate::contract::ready::Ready;
use crate::contract::stage::{
    F64Terms, OuterProduct, Output, ResidualValues, TileDequantize, TileFixedPoint, TileRequantize,
    TileResidual,
};
use crate::elements::{Convert, Stored};
use crate::entry::call::PanelProduct;
use crate::entry::pack::pack_panel;
use crate::entry::rows::{flip_signs, widen};
use crate::selftest::arena::{GAP, MAX_M, MAX_N, carve};
use crate::selftest::case::{Case, Kind};
use crate::selftest::compare::compare;
use crate::selftest::report::Wrong;
use crate::selftest::terms::Terms;
use bytemuck::cast_slice_mut;
use core::ops::Range;

/// Runs a case and compares the result element by element.
pub(super) fn check(kernel: Ready, case: Case, arena: &mut [u8]) -> Result<(), Wrong> {
    let Case { m, k, n, .. } = case;
    let variants = kernel.table_row().variants;
    // Tiles always, where the caller says so; else also vectors, and both.
    let overhead = [0, 0, 100, u32::MAX][case.choose(20, 4) as usize];
    let kernel = if kernel.amx_overhead() == 0 { kernel } else { kernel.with_amx_overhead(overhead) };
    let product = Product {
        kernel: kernel.with_slow_stores(case.choose(17, 2) == 0),
        variant: &variants[case.choose(3, variants.len() as u32) as usize],
        case,
    };
    let variant = product.variant;
    let convert = Convert::new(case.a_signed, variant.a);
    let (lda, row_bytes) = (case.lda(), k * variant.a.size());
    // A as the kernel reads it, if that is not A itself.
    let converted_len = if convert == Convert::Copy { 0 } else { m * row_bytes };
    let lens = [
        (m - 1) * lda + k,
        converted_len,
        product.panel_bytes(n),
        case.output.size() * ((m - 1) * case.ldc() + n),
        k * n,
    ];
    // A as the kernel reads it, the panels or C.
    let last = match case.choose(4, 3) {
        0 if converted_len == 0 => 0,
        0 => 1,
        1 => 2,
        _ => 3,
    };
    let [a, converted, panels, c, b] = carve(arena, lens, last);
    case.fill(a, b);
    if kernel.i16_groups > 0 {
        case.make_provable(&kernel, b);
    }
    product.pack_b(b, panels);
    for (i, out) in converted.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        let row = &a[i * lda..][..k];
        match variant.a {
            Stored::I16 => widen(row, convert, cast_slice_mut(out)),
            Stored::U8 | Stored::I8 => flip_signs(row, out),
        }
    }
    case.fill_output(c);
    let a_as_read = if converted_len == 0 {
        RowsOfA { bytes: a, stride: lda }
    } else {
        RowsOfA { bytes: converted, stride: row_bytes }
    };
    // Panels go one by one, as they must where K is cut, or all of them together.
    let cut = product.cut_of_k();
    let panels_at_once = if cut == 0 && case.choose(18, 2) == 0 { n.div_ceil(kernel.nr) } else { 1 };
    for first_panel in (0..n.div_ceil(kernel.nr)).step_by(panels_at_once) {
        let left = first_panel * kernel.nr;
        let columns = left..n.min(left + panels_at_once * kernel.nr);
        let panels = &panels[product.panel_bytes(left)..][..product.panel_bytes(columns.len())];
        let terms = Terms::new(case, variant, a, b, columns.clone());
        product.multiply(&a_as_read, panels, &terms, columns, c);
    }
    compare(case, a, b, c)
}

/// Rows of A of the variant's type.
struct RowsOfA<'a> {
    bytes: &'a [u8],
    /// Bytes from one row to the next.
    stride: usize,
}

/// A case, and the kernel and variant that run it.
struct Product {
    kernel: Ready,
    variant: &'static Variant,
    case: Case,
}

impl Product {
    /// The columns that panels of so many columns have room for.
    fn width(&self, columns: usize) -> usize {
        self.kernel.padded_columns(columns).expect("cases are small")
    }

    /// Bytes of the panels of so many columns.
    fn panel_bytes(&self, columns: usize) -> usize {
        self.kernel.panel_bytes(self.case.k, columns, self.variant.b).expect("cases are small")
    }

    /// The first k of the second K block, or 0 for one block. Half of the cases of sums have two blocks, if there are
    /// enough k-groups, or runs of k-groups that are summed in 16 bits.
    fn cut_of_k(&self) -> usize {
        let Case { k, output, .. } = self.case;
        let run = self.kernel.kr * self.kernel.i16_groups.max(1);
        let two = output == Kind::Sums && self.case.choose(5, 2) == 0;
        if two { k / 2 / run * run } else { 0 }
    }

    /// Packs B, and fills all padding with 0xFF.
    fn pack_b(&self, b: &[u8], panels: &mut [u8]) {
        let Self { kernel, variant, case } = *self;
        let Case { k, n, .. } = case;
        let size = variant.b.size();
        for left in (0..n).step_by(kernel.nr) {
            let cols = kernel.nr.min(n - left);
            let panel = &mut panels[self.panel_bytes(left)..][..self.panel_bytes(cols)];
            let source = Source { bits: b.get(left..).unwrap_or(&[]), row_stride: n, col_stride: 1 };
            let mut ignored = ColumnStats::NONE;
            let job = PackJob { source, rows: k, cols, signed: case.b_signed, stored: variant.b };
            pack_panel(kernel, &job, panel, &mut ignored);
            let width = self.width(cols);
            for row in 0..k.next_multiple_of(kernel.kr) {
                for j in 0..width {
                    if row >= k || j >= cols {
                        panel[panel_index(&kernel, width, row, j) * size..][..size].fill(0xff);
                    }
                }
            }
        }
    }

    /// Multiplies A by the panels of some columns, in one K block or two.
    fn multiply(&self, a: &RowsOfA<'_>, panels: &[u8], terms: &Terms, columns: Range<usize>, c: &mut [u8]) {
        let Self { variant, case, .. } = *self;
        let Case { m, k, .. } = case;
        let outer = [
            OuterProduct { row: &terms.a_zero[..m], col: &terms.b_sum },
            OuterProduct { row: &terms.a_sum[..m], col: &terms.b_zero },
        ];
        // K is cut only where panels go one by one.
        let panel_row = self.width(columns.len()) * variant.b.size();
        let cut = self.cut_of_k();
        for (from, to) in [(0, cut), (cut, k)] {
            if from == to && k > 0 {
                continue;
            }
            // The first block has the terms; the second one adds to the sums of the first.
            let first = from == 0;
            let product = PanelProduct {
                k: to - from,
                a: a.bytes.get(from * variant.a.size()..).unwrap_or(&[]),
                lda: a.stride,
                a_from_memory: k % 2 == 1,
                b_exceeds_l2: k % 4 < 2,
                panels: &panels[from * panel_row..],
                col: first.then_some(&terms.col[..]),
                row: if first { &terms.row } else { &[0; MAX_M] },
                outer: if first && !case.has_one_zero_each() { &outer } else { &[] },
            };
            self.run_kernel(&product, columns.clone(), c, case.accumulate() || !first);
            if k == 0 {
                break;
            }
        }
    }

    /// Runs the kernel with the case's output stage, into some columns of C. `accumulate` is for sums only.
    fn run_kernel(&self, product: &PanelProduct<'_>, columns: Range<usize>, c: &mut [u8], accumulate: bool) {
        let case = self.case;
        let (m, left, cols) = (case.m, columns.start, columns.len());
        let run = |output: Output<'_, '_>| self.kernel.run(self.variant, product, output);
        let scale: [f32; MAX_N] = core::array::from_fn(|j| if j < cols { case.scale(left + j) } else { 0.0 });
        let row_scale: [f32; MAX_M] = core::array::from_fn(|i| case.row_scale(i).unwrap_or(1.0));
        let row_scale = case.row_scale(0).map(|_| &row_scale[..m]);
        let term = |i, j| case.f64_terms(i, left + j).unwrap_or_default();
        let f64_col: [f64; MAX_N] = core::array::from_fn(|j| term(0, j).0 as f64);
        let f64_row: [f64; MAX_M] = core::array::from_fn(|i| term(i, 0).1 as f64);
        let row = (f64_row[0] != 0.0).then_some(&f64_row[..m]);
        let f64_terms = case.f64_terms(0, 0).map(|_| F64Terms { col: &f64_col, row });
        match case.output {
            Kind::Sums => {
                let mut block = whole_c::<i32>(case, cast_slice_mut(c));
                run(Output::Sums { c: &mut block.part(0, left, m, cols), accumulate });
            }
            Kind::Bytes => {
                let mut block = whole_c(case, c);
                let values = &mut [0; MAX_M * (MAX_N + GAP)];
                let values = residual(case, left, cols, |bits| bits as u8, values);
                let (zero_point, scaled, signed) = case.residual_stage();
                let residual =
                    values.map(|values| TileResidual { values, signed, zero_point, scale: scaled });
                let greatest = |scales: &[f32]| scales.iter().fold(0f32, |max, scale| max.max(*scale));
                let stage = TileRequantize {
                    f64_terms,
                    residual,
                    scale: &scale,
                    row_scale,
                    at_most_half: greatest(&scale) * row_scale.map_or(1.0, greatest) <= 0.5,
                    zero_point: case.out_zero(),
                    range: case.byte_range(),
                };
                run(Output::Bytes { c: &mut block.part(0, left, m, cols), stage });
            }
            Kind::FixedBytes => {
                let mut block = whole_c(case, c);
                let c = &mut block.part(0, left, m, cols);
                let values = |field: usize| -> [i32; MAX_N] {
                    core::array::from_fn(|j| case.fixed_point(left + j)[field])
                };
                let [m, nudge, negative, before, one] = &[0, 1, 2, 3, 4].map(values);
                let (away, zero_point, range) = (case.rounding() == 3, case.out_zero(), case.byte_range());
                let stage = TileFixedPoint { m, nudge, negative, before, one, away, zero_point, range };
                run(Output::FixedBytes { c, stage });
            }
            Kind::Floats => {
                let mut block = whole_c::<f32>(case, cast_slice_mut(c));
                let bias: [f32; MAX_N] = core::array::from_fn(|j| case.float_bias(left + j).unwrap_or(-0.0));
                let bias = case.float_bias(0).map(|_| &bias[..]);
                let values = &mut [0.0; MAX_M * (MAX_N + GAP)];
                let residual = residual(case, left, cols, f32::from_bits, values);
                let range = case.float_range();
                let stage = TileDequantize { f64_terms, scale: &scale, row_scale, bias, residual, range };
                run(Output::Floats { c: &mut block.part(0, left, m, cols), stage });
            }
        }
    }
}

/// The case's residual for `cols` columns from `left` on, in `values` if it is no output.
fn residual<T>(
    case: Case,
    left: usize,
    cols: usize,
    from_bits: impl Fn(u32) -> T,
    values: &mut [T],
) -> Option<ResidualValues<'_, T>> {
    case.residual(0, 0)?;
    if case.residual_is_output() {
        return Some(ResidualValues::Output);
    }
    let stride = cols + GAP;
    let values = &mut values[..(case.m - 1) * stride + cols];
    for (at, value) in values.iter_mut().enumerate() {
        *value = from_bits(case.residual(at / stride, left + at % stride).unwrap_or(0));
    }
    Some(ResidualValues::Matrix { from: values, stride })
}

/// All of C.
fn whole_c<T>(case: Case, c: &mut [T]) -> BlockMut<'_, T> {
    BlockMut::new(c, case.m, case.n, case.ldc(), 1).expect("C was made for it")
}
