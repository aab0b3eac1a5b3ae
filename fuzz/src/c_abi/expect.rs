//! The status that a call has to return, and arguments that are made wrong on purpose.

use crate::c_abi::calls::{Passed, Struct, last_error};
use crate::c_abi::memory::{Matrix, bytes_of};
use crate::c_abi::promise::Array;
use crate::input::Input;
use qgemm::Error;
use qgemm_c::matrix::QGEMM_I32;
use qgemm_c::status::*;

/// How rarely each argument is wrong.
const RARELY: u8 = 40;

/// The statuses that a call may return.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Each wrong argument's.
    reasons: Vec<qgemm_status>,
    is_refused: bool,
}

impl Expect {
    /// An argument is wrong, which has one of these statuses.
    pub fn wrong(&mut self, statuses: &[qgemm_status]) {
        self.perhaps(statuses);
        self.is_refused = true;
    }

    /// The call may have one of these statuses, or succeed.
    pub fn perhaps(&mut self, statuses: &[qgemm_status]) {
        self.reasons.extend(statuses);
    }

    /// Whether no argument is wrong, so that the library of Rust tells what has to come back.
    pub fn is_right(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Both are expected.
    pub fn and(&mut self, other: &Self) {
        self.reasons.extend(&other.reasons);
        self.is_refused |= other.is_refused;
    }

    /// Checks a status, and that one which refuses comes with a text.
    pub fn check(&self, what: &str, status: qgemm_status) {
        if status == QGEMM_OK {
            assert!(!self.is_refused, "{what}: succeeded, must be refused: {:?}", self.reasons);
            return;
        }
        let text = last_error();
        assert!(!text.is_empty(), "{what}: no text");
        assert!(
            self.reasons.contains(&status),
            "{what}: {status} ({text}), must be one of {:?}",
            self.reasons
        );
    }

    /// Checks a status against what the library of Rust returns for the same arguments, before some were made wrong.
    pub fn check_either<T>(&self, what: &str, status: qgemm_status, rust: &Result<T, Error>) {
        let Err(error) = rust else { return self.check(what, status) };
        let text = last_error();
        assert!(status != QGEMM_OK, "{what}: succeeded, must be refused: {error}");
        let is_rusts = status != QGEMM_INTERNAL && !text.is_empty() && error.to_string().contains(&text);
        if !is_rusts {
            assert!(self.is_refused, "{what}: {status} ({text}), must be that of {error}");
            self.check(what, status);
        }
    }

    /// How the address of a struct or of a result is passed.
    pub fn passed(&mut self, input: &mut Input<'_>) -> Passed {
        if !input.one_in(RARELY) {
            return Passed::Right;
        }
        let passed = input.one_of(&[Passed::Null, Passed::Misaligned]);
        self.wrong(if passed == Passed::Null { &[QGEMM_NULL] } else { &[QGEMM_MISALIGNED] });
        passed
    }

    /// A struct that is passed, mostly as it has to be.
    pub fn plain<T>(&mut self, input: &mut Input<'_>, value: T) -> Struct<T> {
        Struct { passed: self.passed(input), ..Struct::right(value) }
    }

    /// A struct that begins with its size, mostly as it has to be. `size` is where that stands.
    pub fn sized<T>(
        &mut self,
        input: &mut Input<'_>,
        mut value: T,
        size: fn(&mut T) -> &mut usize,
    ) -> Struct<T> {
        let right = size_of::<T>();
        *size(&mut value) = right;
        let mut whole = self.plain(input, value);
        if input.one_in(RARELY) {
            let got = input.one_of(&[right + 8, right + 1, 4096, 0, right - 1, 4, 4097, usize::MAX, 1 << 32]);
            *size(&mut whole.value) = got;
            whole.later = u8::from(input.one_in(3));
            if got < right || got > 4096 {
                self.wrong(&[QGEMM_SHAPE]);
            } else if whole.later != 0 {
                self.wrong(&[QGEMM_OPTIONS]);
            }
        }
        whole
    }

    /// Options that may be left out, mostly as they have to be.
    pub fn options<T: Copy>(
        &mut self,
        input: &mut Input<'_>,
        value: T,
        size: fn(&mut T) -> &mut usize,
    ) -> Struct<T> {
        let mut wrong = Self::default();
        let mut whole = wrong.sized(input, value, size);
        if whole.passed == Passed::Null {
            // These would be the default.
            whole = Struct::right(value);
            *size(&mut whole.value) = size_of::<T>();
        } else {
            self.and(&wrong);
        }
        whole
    }

    /// Makes an array wrong, rarely: null, misaligned, too long to be there, or one value shorter than it has to be.
    pub fn array<T>(&mut self, input: &mut Input<'_>, array: &mut Array<T>) {
        if array.len > 0 && input.one_in(RARELY) {
            array.len -= 1;
            self.wrong(&[QGEMM_SHAPE]);
        } else {
            self.address(input, array);
        }
    }

    /// Makes an array wrong, rarely, whose length is compared by no call yet.
    pub fn address<T>(&mut self, input: &mut Input<'_>, array: &mut Array<T>) {
        if !input.one_in(RARELY) || array.len == 0 {
            return;
        }
        match input.byte() % 3 {
            0 => {
                array.first = std::ptr::null_mut();
                self.wrong(&[QGEMM_NULL]);
            }
            1 if align_of::<T>() > 1 => {
                array.first = array.first.wrapping_byte_add(1);
                self.wrong(&[QGEMM_MISALIGNED]);
            }
            _ => {
                array.len = input.one_of(&[usize::MAX, usize::MAX / 2 + 1]);
                self.wrong(&[QGEMM_TOO_LARGE, QGEMM_SHAPE]);
            }
        }
    }

    /// Makes a matrix wrong, rarely. One that is smaller than it was has one of the statuses of `small`, or is right.
    pub fn matrix(&mut self, input: &mut Input<'_>, matrix: &mut Matrix, small: &[qgemm_status]) {
        if !input.one_in(RARELY) {
            return;
        }
        let before = *matrix;
        let size = bytes_of(matrix.element).expect("it is a type");
        let is_empty = matrix.shape.0 == 0 || matrix.shape.1 == 0;
        match input.byte() % 8 {
            0 if !is_empty => {
                matrix.data = std::ptr::null_mut();
                self.wrong(&[QGEMM_NULL]);
            }
            1 if !is_empty && size > 1 => {
                matrix.data = matrix.data.wrapping_byte_add(1);
                self.wrong(&[QGEMM_MISALIGNED]);
            }
            2 => {
                let stride = input.one_of(&[-1, -(matrix.shape.1 as isize), isize::MIN]);
                let stride = stride.min(-1);
                if input.flag() {
                    matrix.strides.0 = stride
                } else {
                    matrix.strides.1 = stride
                };
                self.wrong(&[QGEMM_SHAPE]);
            }
            3 | 4 => {
                match input.byte() % 4 {
                    0 => matrix.strides.0 = isize::MAX,
                    1 => matrix.strides.1 = isize::MAX / size as isize,
                    2 => matrix.shape.0 = input.one_of(&[usize::MAX, usize::MAX / 2]),
                    _ => matrix.shape.1 = input.one_of(&[usize::MAX, usize::MAX / 2 + 1]),
                }
                match matrix.extent() {
                    // Sizes may be compared first. Elements of an output may coincide.
                    None => self.wrong(&[QGEMM_TOO_LARGE, QGEMM_SHAPE, QGEMM_OVERLAP]),
                    Some(_) => *matrix = before,
                }
            }
            5 => {
                // No larger elements, whose memory would have to be there.
                matrix.element = input.one_of(&[0, 7, 99, u32::MAX, if size == 4 { QGEMM_I32 } else { 7 }]);
                if matrix.element != before.element {
                    self.wrong(&[QGEMM_TYPE, QGEMM_NULL, QGEMM_OPTIONS]);
                }
            }
            // Two matrices that are smaller could fit again.
            6 | 7 if !self.is_right() => (),
            6 if matrix.shape.0 > 0 => matrix.shape.0 -= 1,
            _ if matrix.shape.1 > 0 => matrix.shape.1 -= 1,
            _ => (),
        }
        if !small.is_empty() && matrix.shape != before.shape && matrix.extent().is_some() {
            self.wrong(small);
        }
    }

    /// A choice, mostly `right`; else one that there is not.
    pub fn choice(&mut self, input: &mut Input<'_>, right: u32) -> u32 {
        if !input.one_in(RARELY) {
            return right;
        }
        self.wrong(&[QGEMM_TYPE]);
        input.one_of(&[9, 255, 1 << 31, u32::MAX])
    }
}
