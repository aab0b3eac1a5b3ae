//! Packs B into panels: chooses the code for the instruction set and the layout of B.

use crate::block::BlockMut;
use crate::contract::column_stats::ColumnStats;
use crate::contract::panel::{MAX_PACK_ROWS, PackJob, PanelOut, Source};
use crate::contract::ready::Ready;
use crate::elements::Stored;
use crate::entry::transpose::transpose;
use bytemuck::cast_slice_mut;
use multiversion::multiversion;

/// Packs a panel, or some k-groups of one. Columns and rows of the panel that the job lacks become 0. Adds the
/// statistics of the columns to `stats`.
///
/// # Panics
/// If `panel` is not exactly `kernel.panel_bytes(rows, cols, stored)` long, there are more than [`MAX_PACK_ROWS`] rows or
/// more than NR columns, the source is too short, no variant of the kernel has panels of such elements, or (for 16-bit
/// elements) the panel is not aligned to 2 bytes.
pub fn pack_panel(kernel: Ready, job: &PackJob<'_>, panel: &mut [u8], stats: &mut ColumnStats) {
    assert_eq!(Some(panel.len()), kernel.panel_bytes(job.rows, job.cols, job.stored));
    assert!(job.cols <= kernel.nr && job.rows <= MAX_PACK_ROWS);
    assert!(kernel.reads_panels_of(job.stored));
    if job.rows == 0 || job.cols == 0 {
        return panel.fill(0);
    }
    job.check_source();
    let nr = kernel.padded_columns(job.cols).expect("at most NR");
    let (kr, size) = (kernel.kr, job.stored.size());
    if kr >= MIN_LONG_GROUP && job.by_rows() {
        return pack_columns_of_rows(kernel, job, panel, stats);
    }
    // SAFETY: `check_source` has passed.
    let done = unsafe { pack_first_rows(kernel, job, PanelOut { elements: &mut *panel, nr }, stats) };
    let (group, filled) = (nr * kr * size, job.cols * kr * size);
    if filled < group {
        // `pack_first_rows` pads the k-groups that it makes of contiguous rows, and no others.
        let padded = if job.source.has_contiguous_rows() { done.div_ceil(kr) } else { 0 };
        panel.chunks_exact_mut(group).skip(padded).for_each(|out| out[filled..].fill(0));
    }
    if done == job.rows {
        return;
    }
    let rest = job.without_first_rows(done);
    let panel = &mut panel[done * nr * size..];
    match (job.stored, kr) {
        (Stored::I16, 1) => pack_16::<1>(&rest, PanelOut { elements: cast_slice_mut(panel), nr }),
        (Stored::I16, 2) => pack_16::<2>(&rest, PanelOut { elements: cast_slice_mut(panel), nr }),
        (Stored::U8 | Stored::I8, 2) => pack_8::<2>(&rest, PanelOut { elements: panel, nr }),
        (Stored::U8 | Stored::I8, 4) => pack_8::<4>(&rest, PanelOut { elements: panel, nr }),
        (Stored::U8 | Stored::I8, 8) => pack_8::<8>(&rest, PanelOut { elements: panel, nr }),
        (Stored::U8 | Stored::I8, 16) => pack_8::<16>(&rest, PanelOut { elements: panel, nr }),
        (Stored::U8 | Stored::I8, 32) => pack_8::<32>(&rest, PanelOut { elements: panel, nr }),
        (Stored::U8 | Stored::I8, 64) => pack_8::<64>(&rest, PanelOut { elements: panel, nr }),
        _ => unreachable!("no kernel has this layout"),
    }
    stats.add(&rest);
}

/// K-groups of so many values are packed from columns.
const MIN_LONG_GROUP: usize = 16;
/// The most columns of a panel with such k-groups.
const MAX_LONG_COLUMNS: usize = 8;
/// The rows that are transposed at a time, to be packed from columns.
const ROWS_TRANSPOSED: usize = 512;

/// [`pack_panel`] for long k-groups, where rows of B are contiguous: of some rows at a time columns are made.
fn pack_columns_of_rows(kernel: Ready, job: &PackJob<'_>, panel: &mut [u8], stats: &mut ColumnStats) {
    let PackJob { source, rows, cols, stored, .. } = *job;
    assert!(cols <= MAX_LONG_COLUMNS && ROWS_TRANSPOSED.is_multiple_of(kernel.kr));
    let mut columns = [0; MAX_LONG_COLUMNS * ROWS_TRANSPOSED];
    let parts =
        panel.chunks_mut(kernel.panel_bytes(ROWS_TRANSPOSED, cols, stored).expect("a part of a panel"));
    for (k, panel) in (0..rows).step_by(ROWS_TRANSPOSED).zip(parts) {
        let rows = (rows - k).min(ROWS_TRANSPOSED);
        let mut block =
            BlockMut::new(&mut columns, cols, rows, ROWS_TRANSPOSED, 1).expect("the array holds it");
        transpose(source.from_row(k).bits, source.row_stride, &mut block);
        let source = Source { bits: &columns, row_stride: 1, col_stride: ROWS_TRANSPOSED };
        pack_panel(kernel, &PackJob { source, rows, ..*job }, panel, stats);
    }
}

/// Whether [`pack_panels`] has code for this kernel and this layout of B.
pub fn packs_side_by_side(kernel: Ready, source: &Source<'_>) -> bool {
    let slices = source.has_contiguous_rows() || source.has_contiguous_columns();
    cfg!(target_arch = "x86_64") && kernel.isa.includes_avx512_vnni() && kernel.kr == 4 && slices
}

/// Packs all columns of the job into the panels they take, one after the other, faster than [`pack_panel`] by panel.
/// Adds the sum of each column to `sums`; those of columns that pad the last panel have any value.
///
/// # Panics
/// If [`packs_side_by_side`] is false, elements have 16 bits, `panels` is not exactly as long as the panels, `sums`
/// shorter than their columns, there are more than [`MAX_PACK_ROWS`] rows, or the source is too short.
pub fn pack_panels(kernel: Ready, job: &PackJob<'_>, panels: &mut [u8], sums: Option<&mut [i32]>) {
    assert_eq!(Some(panels.len()), kernel.panel_bytes(job.rows, job.cols, job.stored));
    let padded = kernel.padded_columns(job.cols);
    let sums_fit = sums.as_ref().is_none_or(|sums| padded.is_some_and(|padded| sums.len() >= padded));
    assert!(packs_side_by_side(kernel, &job.source) && job.rows <= MAX_PACK_ROWS && sums_fit);
    assert!(kernel.reads_panels_of(job.stored));
    job.check_source();
    if job.rows == 0 || job.cols == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        use crate::x86::operands::pack_panels_avx512::{interleave_panels, transpose_panels};
        // The panels of all kernels of this instruction set, whose elements are bytes.
        assert!(job.stored != Stored::I16 && kernel.kr == 4);
        assert!(kernel.nr.is_multiple_of(16) && kernel.nr <= 64 && kernel.panel_step == 16);
        let panels = PanelOut { elements: panels, nr: kernel.nr };
        let want_sums = sums.is_some();
        let sums = sums.unwrap_or(&mut []);
        // SAFETY:
        // - AVX-512 F, BW and VNNI: the witness is one of an instruction set that includes them, which `packs_side_by_side` asks for.
        // - The layout of B: `packs_side_by_side` finds rows or columns contiguous; the match chooses accordingly.
        // - The length of B: `check_source`. One column at least: the early return.
        // - NR and the step of the last panel: asserted above. The lengths of panels, in k-groups of KR = 4 bytes, and of sums: asserted above.
        unsafe {
            match (job.source.has_contiguous_rows(), want_sums, job.signed) {
                (true, true, true) => interleave_panels::<true, true>(job, panels, sums),
                (true, true, false) => interleave_panels::<false, true>(job, panels, sums),
                (true, false, _) => interleave_panels::<true, false>(job, panels, sums),
                (false, true, true) => transpose_panels::<true, true>(job, panels, sums),
                (false, true, false) => transpose_panels::<false, true>(job, panels, sums),
                (false, false, _) => transpose_panels::<true, false>(job, panels, sums),
            }
        }
    }
}

/// Packs the first rows of the job as [`pack_panel`] does, statistics included, if there is special code for the
/// instruction set and the layouts: all rows, or whole k-groups of them. Returns how many rows it packed. If rows of B
/// are contiguous it also sets the padding columns of these k-groups to 0, else not.
///
/// # Safety
/// B holds all rows and columns of `job`: `job.check_source()` passes.
///
/// # Panics
/// If there are no columns or more than NR, or the panel has less than whole k-groups for all rows.
#[cfg(target_arch = "x86_64")]
unsafe fn pack_first_rows(
    kernel: Ready,
    job: &PackJob<'_>,
    panel: PanelOut<'_>,
    stats: &mut ColumnStats,
) -> usize {
    if !kernel.isa.includes_avx2() || job.stored == Stored::I16 || !matches!(kernel.kr, 2 | 4) {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe {
        if job.signed {
            pack_first_rows_of::<true>(kernel, job, panel, stats)
        } else {
            pack_first_rows_of::<false>(kernel, job, panel, stats)
        }
    }
}

/// Packs nothing: there is no special code for this target.
///
/// # Safety
/// The caller has nothing to promise.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn pack_first_rows(_: Ready, _: &PackJob<'_>, _: PanelOut<'_>, _: &mut ColumnStats) -> usize {
    0
}

/// [`pack_first_rows`] for i8 (`SIGNED`) or u8, where the CPU has AVX2, elements are bytes and KR is 2 or 4.
///
/// # Safety
/// B holds all rows and columns of `job`: `job.check_source()` passes.
///
/// # Panics
/// If one of these conditions does not hold, there are no columns or more than NR, or the panel has less than whole
/// k-groups for all rows.
#[cfg(target_arch = "x86_64")]
unsafe fn pack_first_rows_of<const SIGNED: bool>(
    kernel: Ready,
    job: &PackJob<'_>,
    panel: PanelOut<'_>,
    stats: &mut ColumnStats,
) -> usize {
    use crate::x86::operands::pack_avx2::{interleave_rows, transpose_columns};
    use crate::x86::operands::pack_avx512;
    let (kr, nr) = (kernel.kr, panel.nr);
    assert!(kernel.isa.includes_avx2() && matches!(kr, 2 | 4) && job.stored != Stored::I16);
    assert!((1..=nr).contains(&job.cols) && panel.elements.len() >= job.rows.next_multiple_of(kr) * nr);
    if job.source.has_contiguous_rows() && kernel.isa.includes_avx512_vnni() {
        assert!(kr == 4 && nr.is_multiple_of(16) && nr <= 64);
        // SAFETY:
        // - AVX-512 F, BW and VNNI: the witness is one of an instruction set that includes them.
        // - The layout of B: as the condition says. Its length: the caller's promise.
        // - NR, the columns and the panel in k-groups of 4: asserted above.
        unsafe { pack_avx512::interleave_rows::<SIGNED>(job, panel, stats) };
        return job.rows;
    }
    if job.source.has_contiguous_rows() {
        assert!(matches!(nr, 8 | 16 | 32));
        // SAFETY:
        // - AVX2: the witness is one of an instruction set that includes it, asserted above.
        // - The layout of B: as the condition says. Its length: the caller's promise.
        // - NR, the columns and the panel in k-groups of KR: asserted above.
        return unsafe {
            if kr == 2 {
                interleave_rows::<SIGNED, 2>(job, panel, stats)
            } else {
                interleave_rows::<SIGNED, 4>(job, panel, stats)
            }
        };
    }
    if job.source.has_contiguous_columns() {
        assert!(nr.is_multiple_of(8) && nr <= 64);
        // SAFETY:
        // - AVX2: the witness is one of an instruction set that includes it, asserted above.
        // - The layout of B: as the condition says. Its length: the caller's promise.
        // - NR, the columns and the panel in k-groups of KR: asserted above.
        return unsafe {
            if kr == 2 {
                transpose_columns::<SIGNED, 2>(job, panel, stats)
            } else {
                transpose_columns::<SIGNED, 4>(job, panel, stats)
            }
        };
    }
    0
}

/// Packs bytes. Padding columns are not written.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn pack_8<const KR: usize>(job: &PackJob<'_>, panel: PanelOut<'_>) {
    let mask = job.convert().mask();
    pack_groups::<u8, KR>(job, |byte| byte ^ mask, panel);
}

/// Packs bytes that are widened to 16 bits. Padding columns are not written.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn pack_16<const KR: usize>(job: &PackJob<'_>, panel: PanelOut<'_, i16>) {
    if job.signed {
        pack_groups::<i16, KR>(job, |byte| i16::from(byte as i8), panel);
    } else {
        pack_groups::<i16, KR>(job, i16::from, panel);
    }
}

/// The number of k-groups that are packed of one contiguous column before the next one: they use whole cache lines of
/// the column, and the same k-groups of NR columns stay in the first-level cache.
const GROUPS_PER_COLUMN: usize = 32;

/// Packs into k-groups of KR. Whole groups are interleaved from KR rows, or copied from columns, whichever of the two
/// is contiguous; the others go element by element. Padding columns are not written.
#[inline(always)]
fn pack_groups<T: Copy + Default, const KR: usize>(
    job: &PackJob<'_>,
    convert: impl Fn(u8) -> T,
    panel: PanelOut<'_, T>,
) {
    let PackJob { source, rows: k_len, cols, .. } = *job;
    let (bits, row_stride, col_stride) = (source.bits, source.row_stride, source.col_stride);
    let (group, filled) = (panel.nr * KR, cols * KR);
    let whole = if job.by_rows() || job.by_columns() { k_len / KR } else { 0 };
    let (front, rest) = panel.elements.split_at_mut(whole * group);
    if job.by_rows() {
        for (g, out) in front.chunks_exact_mut(group).enumerate() {
            let rows: [&[u8]; KR] = core::array::from_fn(|r| &bits[(g * KR + r) * row_stride..][..cols]);
            interleave(rows, &convert, &mut out[..filled]);
        }
    } else {
        for (run, out) in front.chunks_mut(GROUPS_PER_COLUMN * group).enumerate() {
            let len = out.len() / group * KR;
            for j in 0..cols {
                let column = &bits[j * col_stride + run * GROUPS_PER_COLUMN * KR..][..len];
                let cells = out[j * KR..].chunks_mut(group);
                for (cell, values) in cells.zip(column.chunks_exact(KR)) {
                    for (cell, value) in cell[..KR].iter_mut().zip(values) {
                        *cell = convert(*value);
                    }
                }
            }
        }
    }
    for (g, out) in rest.chunks_exact_mut(group).enumerate() {
        for (j, cell) in out[..filled].chunks_exact_mut(KR).enumerate() {
            for (r, cell) in cell.iter_mut().enumerate() {
                let k = (whole + g) * KR + r;
                let inside = k < k_len;
                *cell = if inside { convert(bits[k * row_stride + j * col_stride]) } else { T::default() };
            }
        }
    }
}

/// Interleaves KR rows of equal length. 16 columns go at a time, for which the compiler has shuffles.
#[inline(always)]
fn interleave<T: Copy, const KR: usize>(rows: [&[u8]; KR], convert: &impl Fn(u8) -> T, out: &mut [T]) {
    const LANES: usize = 16;
    let whole = rows[0].len() / LANES * LANES;
    for j in (0..whole).step_by(LANES) {
        let rows: [[u8; LANES]; KR] = rows.map(|row| row[j..j + LANES].try_into().expect("LANES bytes"));
        let out = &mut out[j * KR..(j + LANES) * KR];
        for l in 0..LANES {
            for r in 0..KR {
                out[l * KR + r] = convert(rows[r][l]);
            }
        }
    }
    for j in whole..rows[0].len() {
        for r in 0..KR {
            out[j * KR + r] = convert(rows[r][j]);
        }
    }
}
