//! Packing: chooses the code for the instruction set and the layout of B.

use crate::contract::column_stats::ColumnStats;
use crate::contract::panel::{MAX_PACK_ROWS, PackJob, Source};
use crate::contract::ready::Ready;
use crate::detect::Isa;
use crate::elements::{Convert, Stored};
use bytemuck::cast_slice_mut;
use multiversion::multiversion;

/// Packs a panel, or some k-groups of one; columns and rows of the panel that the job lacks become 0. Adds the
/// statistics of the columns to `stats`.
///
/// # Panics
/// If `panel` is not exactly `kernel.panel_bytes(rows, stored)` long, there are more than [`MAX_PACK_ROWS`] rows or
/// more than NR columns, the source is too short, or (for 16-bit elements) the panel is not aligned to 2 bytes.
pub fn pack_panel(kernel: Ready, job: &PackJob<'_>, panel: &mut [u8], stats: &mut ColumnStats) {
    let PackJob { source, rows: k_len, cols, signed, stored } = *job;
    assert_eq!(Some(panel.len()), kernel.panel_bytes(k_len, stored));
    assert!(cols <= kernel.nr && k_len <= MAX_PACK_ROWS);
    if k_len == 0 || cols == 0 {
        return panel.fill(0);
    }
    job.check_source();
    let convert = job.convert();
    let done = pack_front(kernel, stored, (signed, convert), (k_len, cols), source, panel, stats);
    let (group, filled, size) = (kernel.nr * kernel.kr, cols * kernel.kr, stored.size());
    if filled < group {
        // Rows that are slices were packed with what pads them.
        let padded = if source.col_stride == 1 { done.div_ceil(kernel.kr) } else { 0 };
        let rest = panel.chunks_exact_mut(group * size).skip(padded);
        rest.for_each(|out| out[filled * size..].fill(0));
    }
    if done == k_len {
        return;
    }
    let (source, k_len) = (source.from_row(done), k_len - done);
    let panel = &mut panel[done * kernel.nr * stored.size()..];
    let flip = if convert == Convert::Flip { 0x80 } else { 0 };
    match (stored, kernel.kr) {
        (Stored::I16, 1) => pack_16::<1>(source, convert, (k_len, cols), group, cast_slice_mut(panel)),
        (Stored::I16, 2) => pack_16::<2>(source, convert, (k_len, cols), group, cast_slice_mut(panel)),
        (Stored::U8 | Stored::I8, 2) => pack_8::<2>(source, flip, (k_len, cols), group, panel),
        (Stored::U8 | Stored::I8, 4) => pack_8::<4>(source, flip, (k_len, cols), group, panel),
        (Stored::U8 | Stored::I8, 8) => pack_8::<8>(source, flip, (k_len, cols), group, panel),
        _ => unreachable!("no kernel has this layout"),
    }
    stats.add(source, signed, (k_len, cols));
}

/// Whether [`pack_panels`] has code for this kernel and this layout of B.
pub fn packs_side_by_side(kernel: Ready, source: &Source<'_>) -> bool {
    let slices = source.col_stride == 1 || source.row_stride == 1;
    cfg!(target_arch = "x86_64") && kernel.isa == Isa::Avx512Vnni && slices
}

/// Packs all columns of the job into the panels they take, one after the other, faster than [`pack_panel`] by panel.
/// Adds the sum of each column to `sums`, NR of them per panel; those of columns that pad the last panel have any value.
///
/// # Panics
/// If [`packs_side_by_side`] is false, `panels` is not exactly as long as the panels, `sums` shorter than their columns,
/// there are more than [`MAX_PACK_ROWS`] rows, or the source is too short.
pub fn pack_panels(kernel: Ready, job: &PackJob<'_>, panels: &mut [u8], sums: Option<&mut [i32]>) {
    let PackJob { source, rows: k_len, cols, signed, stored } = *job;
    let count = cols.div_ceil(kernel.nr);
    let bytes = kernel.panel_bytes(k_len, stored).and_then(|bytes| bytes.checked_mul(count));
    assert_eq!(Some(panels.len()), bytes);
    let room = sums.as_ref().is_none_or(|sums| sums.len() >= count * kernel.nr);
    assert!(packs_side_by_side(kernel, &source) && k_len <= MAX_PACK_ROWS && room);
    job.check_source();
    if k_len == 0 || cols == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        use crate::x86::operands::pack_avx512::{interleave_panels as rows, transpose_panels as columns};
        assert!(stored != Stored::I16 && kernel.kr == 4 && kernel.nr.is_multiple_of(16) && kernel.nr <= 64);
        let flip = if job.convert() == Convert::Flip { 0x80 } else { 0 };
        let (size, nr) = ((k_len, cols), kernel.nr);
        // SAFETY: the witness shows the CPU to have AVX-512 VNNI, which `packs_side_by_side` asks for; as was asserted,
        // the source holds the rows and the columns, which are slices, and there is room for the panels, in k-groups
        // of 4, and the sums.
        unsafe {
            match (source.col_stride == 1, signed, sums) {
                (true, true, Some(sums)) => rows::<true, true>(source, flip, size, nr, panels, sums),
                (true, false, Some(sums)) => rows::<false, true>(source, flip, size, nr, panels, sums),
                (true, _, None) => rows::<true, false>(source, flip, size, nr, panels, &mut []),
                (false, true, Some(sums)) => columns::<true, true>(source, flip, size, nr, panels, sums),
                (false, false, Some(sums)) => columns::<false, true>(source, flip, size, nr, panels, sums),
                (false, _, None) => columns::<true, false>(source, flip, size, nr, panels, &mut []),
            }
        }
    }
}

/// Does the same as [`pack_panel`] for as many rows, from the first on, as there is special code for: all, or whole
/// k-groups. Returns how many. Where rows are slices (`col_stride` is 1) the columns that pad them are written too,
/// else they are not.
#[cfg(target_arch = "x86_64")]
fn pack_front(
    kernel: Ready,
    stored: Stored,
    (signed, convert): (bool, Convert),
    (k_len, cols): (usize, usize),
    source: Source<'_>,
    panel: &mut [u8],
    stats: &mut ColumnStats,
) -> usize {
    use crate::x86::operands::{pack_avx2, pack_avx512};
    let narrower = matches!(kernel.isa, Isa::Scalar | Isa::Portable);
    if narrower || stored == Stored::I16 || !matches!(kernel.kr, 2 | 4) {
        return 0;
    }
    let flip = if convert == Convert::Flip { 0x80 } else { 0 };
    let (groups, runs, nr) = (k_len / 4, k_len / 32, kernel.nr);
    let wide = kernel.isa == Isa::Avx512Vnni;
    assert!(nr.is_multiple_of(16) && nr <= if wide { 64 } else { 32 });
    // SAFETY: the witness shows the CPU to have AVX2, which all other instruction sets include. The caller found the
    // source to hold `k_len` rows and `cols` columns, one at least, and the panel to hold them in k-groups of 2 or 4.
    unsafe {
        if wide && source.col_stride == 1 {
            match signed {
                true => pack_avx512::interleave::<true>(source, flip, (k_len, cols), nr, panel, stats),
                false => pack_avx512::interleave::<false>(source, flip, (k_len, cols), nr, panel, stats),
            }
            return k_len;
        }
        let (rows, columns) = (source.col_stride == 1, source.row_stride == 1);
        match (rows, columns, signed, kernel.kr) {
            (true, _, true, 2) => {
                pack_avx2::interleave::<true, 2>(source, flip, (groups, cols), nr, panel, stats)
            }
            (true, _, false, 2) => {
                pack_avx2::interleave::<false, 2>(source, flip, (groups, cols), nr, panel, stats)
            }
            (true, _, true, _) => {
                pack_avx2::interleave::<true, 4>(source, flip, (groups, cols), nr, panel, stats)
            }
            (true, _, false, _) => {
                pack_avx2::interleave::<false, 4>(source, flip, (groups, cols), nr, panel, stats)
            }
            (_, true, true, 2) => {
                pack_avx2::transpose::<true, 2>(source, flip, (runs, cols), nr, panel, stats)
            }
            (_, true, false, 2) => {
                pack_avx2::transpose::<false, 2>(source, flip, (runs, cols), nr, panel, stats)
            }
            (_, true, true, _) => {
                pack_avx2::transpose::<true, 4>(source, flip, (runs, cols), nr, panel, stats)
            }
            (_, true, false, _) => {
                pack_avx2::transpose::<false, 4>(source, flip, (runs, cols), nr, panel, stats)
            }
            _ => return 0,
        }
    }
    if source.col_stride == 1 { 4 * groups } else { 32 * runs }
}

#[cfg(not(target_arch = "x86_64"))]
fn pack_front(
    _: Ready,
    _: Stored,
    _: (bool, Convert),
    _: (usize, usize),
    _: Source<'_>,
    _: &mut [u8],
    _: &mut ColumnStats,
) -> usize {
    0
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn pack_8<const KR: usize>(
    source: Source<'_>,
    flip: u8,
    (k_len, cols): (usize, usize),
    group: usize,
    panel: &mut [u8],
) {
    pack_groups::<u8, KR>(source, |byte| byte ^ flip, (k_len, cols), group, panel);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+avx512dq", "x86_64+avx2"))]
fn pack_16<const KR: usize>(
    source: Source<'_>,
    convert: Convert,
    (k_len, cols): (usize, usize),
    group: usize,
    panel: &mut [i16],
) {
    match convert {
        Convert::Extend => {
            pack_groups::<i16, KR>(source, |byte| i16::from(byte as i8), (k_len, cols), group, panel);
        }
        _ => pack_groups::<i16, KR>(source, i16::from, (k_len, cols), group, panel),
    }
}

/// k-groups that are packed from one column before the next one: of a column that is a slice these are a line
/// or more of its cache lines, and what they become of NR columns stays in the first-level cache.
const RUN: usize = 32;

/// Whole groups are interleaved from KR rows, or copied from columns, whichever of the two is contiguous; what
/// is left goes element by element. What pads columns is not written.
#[inline(always)]
fn pack_groups<T: Copy + Default, const KR: usize>(
    source: Source<'_>,
    convert: impl Fn(u8) -> T,
    (k_len, cols): (usize, usize),
    group: usize,
    panel: &mut [T],
) {
    let Source { bits, row_stride, col_stride } = source;
    let filled = cols * KR;
    let slices = col_stride == 1 || row_stride == 1;
    let whole = if slices { k_len / KR } else { 0 };
    let (front, rest) = panel.split_at_mut(whole * group);
    if col_stride == 1 {
        for (g, out) in front.chunks_exact_mut(group).enumerate() {
            let rows: [&[u8]; KR] = core::array::from_fn(|r| &bits[(g * KR + r) * row_stride..][..cols]);
            interleave(rows, &convert, &mut out[..filled]);
        }
    } else {
        for (run, out) in front.chunks_mut(RUN * group).enumerate() {
            let len = out.len() / group * KR;
            for j in 0..cols {
                let column = &bits[j * col_stride + run * RUN * KR..][..len];
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

/// KR rows of equal length, element by element; 16 columns at a time, for which there are shuffles.
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
