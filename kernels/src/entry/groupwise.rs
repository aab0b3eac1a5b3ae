//! Rows of A times a panel of group-wise weights: checks every length, then calls the kernel.

use crate::block::BlockMut;
use crate::groupwise::args::{GroupArgs, GroupOutput, ScaleBits, ScalePtr};
use crate::groupwise::kernel::GroupReady;
use crate::groupwise::layout::{CodeBits, GroupShape, MAX_VECTOR_GROUP, PANEL};
use core::ptr::null;

/// Scales or minimums of all panels.
#[derive(Clone, Copy)]
pub enum GroupScales<'a> {
    /// f32.
    F32(&'a [f32]),
    /// Bits of IEEE half precision.
    F16(&'a [u16]),
    /// Bits of bfloat16.
    Bf16(&'a [u16]),
}

impl GroupScales<'_> {
    fn len(&self) -> usize {
        match self {
            GroupScales::F32(values) => values.len(),
            GroupScales::F16(values) | GroupScales::Bf16(values) => values.len(),
        }
    }

    /// The values from `start` on.
    fn from(&self, start: usize) -> ScalePtr {
        match self {
            GroupScales::F32(values) => {
                ScalePtr { bits: ScaleBits::F32, ptr: values[start..].as_ptr().cast() }
            }
            GroupScales::F16(values) => {
                ScalePtr { bits: ScaleBits::F16, ptr: values[start..].as_ptr().cast() }
            }
            GroupScales::Bf16(values) => {
                ScalePtr { bits: ScaleBits::Bf16, ptr: values[start..].as_ptr().cast() }
            }
        }
    }
}

/// Group-wise weights in panels: see `groupwise::layout`.
#[derive(Clone, Copy)]
pub struct GroupWeights<'a> {
    /// The shape.
    pub shape: GroupShape,
    /// [`GroupShape::codes_len`] bytes.
    pub codes: &'a [u8],
    /// [`GroupShape::scales_len`] values.
    pub scales: GroupScales<'a>,
    /// As many minimums, if there are some.
    pub minimums: Option<GroupScales<'a>>,
    /// [`GroupShape::zeros_len`] bytes; `None` if all zero points are one, which the starts then hold.
    pub zeros: Option<&'a [u8]>,
}

/// Quantized rows of A, and the numbers that belong to them.
#[derive(Clone, Copy)]
pub struct GroupRows<'a> {
    /// The number of rows.
    pub rows: usize,
    /// Rows of [`GroupShape::a_row_len`] bytes, `stride` bytes apart: i8, or for 8-bit codes and kernels of
    /// [`words`](crate::GroupKernel::words) i16 in the order k0 k2 k1 k3 of each four; values past the last k are 0.
    pub codes: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
    /// The start of each sum, rows·groups of them, by
    /// [`start_for_one`](crate::GroupKernel::start_for_one) or [`start_for_each`](crate::start_for_each).
    pub starts: &'a [i32],
    /// A scale per row and group, or none of them.
    pub group_scales: &'a [f32],
    /// A scale per row, or none of them.
    pub row_scales: &'a [f32],
    /// The sum of values less zero point per row and group; only minimums need it.
    pub sums: &'a [f32],
    /// The zero point of each row, negated, or none of them.
    pub minus_zeros: &'a [i32],
}

/// The last steps to the output.
#[derive(Clone, Copy)]
pub struct GroupStage<'a> {
    /// A value per column, or none of them.
    pub bias: &'a [f32],
    /// The least value.
    pub lo: f32,
    /// The greatest value.
    pub hi: f32,
}

impl GroupReady {
    /// Multiplies rows by panel `panel` and stores them to `c`. `d` has the sums of the panel's codes less zero points,
    /// [`PANEL`] per group, by [`sums`](Self::sums); only zero points of A need them. Real numbers are computed in the
    /// floating-point mode of the thread, which is to be the default one.
    ///
    /// # Panics
    /// If a length is wrong, there is no such panel, or rows of `c` are no slices of the panel's columns.
    pub fn run(
        &self,
        weights: &GroupWeights<'_>,
        panel: usize,
        a: &GroupRows<'_>,
        d: &[i32],
        stage: &GroupStage<'_>,
        c: &mut BlockMut<'_, f32>,
    ) {
        let mut args = self.args(weights, panel, a);
        let groups = weights.shape.groups();
        assert!(
            c.rows() == a.rows && c.cols() == args.cols && c.rows_are_slices(),
            "an output of another shape"
        );
        assert!(stage.bias.is_empty() || stage.bias.len() == args.cols, "a bias of another length");
        if !a.minus_zeros.is_empty() {
            assert_eq!(d.len(), groups * PANEL, "sums of another number");
            (args.minus_a_zeros, args.d) = (a.minus_zeros.as_ptr(), d.as_ptr());
        }
        if weights.minimums.is_some() {
            assert_eq!(a.sums.len(), a.rows * groups, "sums of A of another number");
            args.a_sums = a.sums.as_ptr();
        }
        args.bias = array(stage.bias);
        (args.lo, args.hi) = (stage.lo, stage.hi);
        args.output = GroupOutput::Rows { c: c.as_mut_ptr(), stride: c.row_stride() };
        if a.rows > 0 {
            // SAFETY: the instructions: `self` is a witness. `args` checked what is read; C has as many rows of as many
            // columns, exclusively borrowed, and there are rows.
            unsafe { (self.run)(&args) }
        }
    }

    /// The sums of the codes of panel `panel`, less zero points, [`PANEL`] of them for each group, if the one row of `ones` is
    /// 1 for each k and its starts are made for it.
    ///
    /// # Panics
    /// If a length is wrong, or there is no such panel.
    pub fn sums(&self, weights: &GroupWeights<'_>, panel: usize, ones: &GroupRows<'_>, sums: &mut [i32]) {
        let mut args = self.args(weights, panel, ones);
        assert_eq!(ones.rows, 1, "sums are made of one row");
        assert_eq!(sums.len(), weights.shape.groups() * PANEL, "sums of another number");
        args.output = GroupOutput::Sums(sums.as_mut_ptr());
        // SAFETY: the instructions: `self` is a witness. `args` checked what is read; there is room for the sums of all groups.
        unsafe { (self.run)(&args) }
    }

    /// The arguments for rows and a panel whose lengths are right.
    fn args(&self, weights: &GroupWeights<'_>, panel: usize, a: &GroupRows<'_>) -> GroupArgs {
        let shape = &weights.shape;
        let (groups, bits) = (shape.groups(), shape.bits());
        assert!(panel < shape.panels(), "there is no such panel");
        assert!(
            self.any_group || shape.longest_group() <= MAX_VECTOR_GROUP,
            "groups are too long for this kernel"
        );
        assert!(weights.codes.len() >= shape.codes_len(), "not all codes are there");
        assert!(weights.scales.len() >= shape.scales_len(), "not all scales are there");
        assert!(weights.minimums.is_none_or(|m| m.len() >= shape.scales_len()), "not all minimums are there");
        assert!(
            weights.zeros.is_none_or(|zeros| zeros.len() >= shape.zeros_len()),
            "not all zero points are there"
        );
        let words = self.words && bits == CodeBits::Eight;
        let need = match a.rows {
            0 => 0,
            rows => (rows - 1).checked_mul(a.stride).expect("rows are far apart") + shape.a_row_len(words),
        };
        assert!(a.codes.len() >= need && a.stride >= shape.a_row_len(words), "not all rows of A are there");
        let per_group = a.rows.checked_mul(groups).expect("rows are too many");
        assert_eq!(a.starts.len(), per_group, "starts of another number");
        assert!(a.group_scales.is_empty() || a.group_scales.len() == per_group, "scales of another number");
        assert!(a.row_scales.is_empty() || a.row_scales.len() == a.rows, "row scales of another number");
        assert!(a.minus_zeros.is_empty() || a.minus_zeros.len() == a.rows, "zero points of another number");
        let (cols, scales_start) = (shape.panel_cols(panel), shape.scales_start(panel));
        let last = groups.saturating_sub(1);
        GroupArgs {
            rows: a.rows,
            cols,
            bits,
            groups,
            group_steps: shape.group_steps(),
            last_steps: if groups == 0 { 0 } else { shape.group_len(last).div_ceil(bits.step()) },
            a: a.codes.as_ptr(),
            a_stride: a.stride,
            starts: a.starts.as_ptr(),
            a_scales: array(a.group_scales),
            a_sums: null(),
            row_scales: array(a.row_scales),
            minus_a_zeros: null(),
            d: null(),
            codes: weights.codes[shape.codes_start(panel)..].as_ptr(),
            scales: weights.scales.from(scales_start),
            minimums: weights.minimums.map_or(ScalePtr { bits: ScaleBits::F32, ptr: null() }, |minimums| {
                minimums.from(scales_start)
            }),
            zeros: weights.zeros.map_or(null(), |zeros| zeros[shape.zeros_start(panel)..].as_ptr()),
            zeros_row: shape.zeros_row(cols),
            bias: null(),
            lo: f32::NEG_INFINITY,
            hi: f32::INFINITY,
            output: GroupOutput::Sums(core::ptr::null_mut()),
        }
    }
}

/// A pointer to values, or null if there are none.
fn array<T>(values: &[T]) -> *const T {
    if values.is_empty() { null() } else { values.as_ptr() }
}
