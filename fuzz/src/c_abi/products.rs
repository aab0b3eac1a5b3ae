//! Products, one or many: right ones have the results of the reference, wrong ones write nothing.

use crate::c_abi::calls::{Order, Passed, Product, Stage, Struct, run_batch, zeroed_product};
use crate::c_abi::expect::Expect;
use crate::c_abi::memory::{Matrix, Memory};
use crate::c_abi::mirror::{B, Mirror, Output, Picks, Values};
use crate::c_abi::packing::{bytes, floats};
use crate::c_abi::promise::Array;
use crate::c_abi::stages::{to_bytes, to_floats};
use crate::compare::{Element, assert_equal};
use crate::input::Input;
use crate::shape::Shape;
use crate::values::Integers;
use qgemm::Error;
use qgemm_c::matrix::*;
use qgemm_c::product::{QGEMM_PER_TENSOR, qgemm_gather, qgemm_residual};
use qgemm_c::status::*;
use std::rc::Rc;

/// A product, what it has to return, and where it writes.
pub struct Case {
    product: Product<'static>,
    expect: Expect,
    c: Matrix,
    params: Array<[u32; 2]>,
    rust: Result<Values, Error>,
}

/// Puts a matrix into the memory of an output, and expects what follows.
fn move_into(input: &mut Input<'_>, c: &Matrix, matrix: &mut Matrix, expect: &mut Expect) {
    let (Some(room), Some(need)) = (c.extent(), matrix.extent()) else { return };
    if !input.one_in(40) || need == 0 {
        return;
    }
    let size = bytes_of_element(matrix.element);
    let first = c.data.align_offset(size);
    let Some(room) = room.checked_sub(first + need) else { return };
    matrix.data = c.data.wrapping_add(first + input.number(0..=room / size) * size);
    let (start, end) = (matrix.data.addr(), matrix.data.addr() + need);
    if c.elements().iter().any(|&(first, len)| first < end && first + len > start) {
        expect.wrong(&[QGEMM_OVERLAP]);
    }
}

fn bytes_of_element(element: qgemm_type) -> usize {
    crate::c_abi::memory::bytes_of(element).expect("it is a type")
}

/// An output that holds some values.
fn output(input: &mut Input<'_>, memory: &Memory, shape: (usize, usize), element: qgemm_type) -> Matrix {
    let mut integers = Integers::read(input);
    match bytes_of_element(element) {
        1 => Matrix::place(input, memory, shape, element, |len| integers.bytes(len)),
        // As floats they are finite.
        _ => Matrix::place(input, memory, shape, element, |len| vec![0x4142_4344u32; len]),
    }
}

/// Zero points: their memory, and their values.
fn zero_points(
    input: &mut Input<'_>,
    memory: &Memory,
    expect: &mut Expect,
    len: usize,
) -> (qgemm_zero_points, (Vec<i32>, i32)) {
    let mut raw = qgemm_zero_points { each: std::ptr::null(), len: 0, r#type: QGEMM_I32, one: 0 };
    let kind = input.byte() % 8;
    if kind < 5 || len == 0 {
        raw.one = if kind > 2 { Integers::read(input).integer() >> (kind * 4) } else { 0 };
        return (raw, (Vec::new(), raw.one));
    }
    let mut integers = Integers::read(input);
    if kind == 7 {
        let values = integers.integers(len);
        let mut array = Array::of(memory, &values);
        expect.array(input, &mut array);
        (raw.each, raw.len) = (array.first.cast(), array.len);
        return (raw, (values, 0));
    }
    let bits = integers.bytes(len);
    let mut array = Array::of(memory, &bits);
    expect.array(input, &mut array);
    (raw.each, raw.len, raw.r#type) =
        (array.first.cast(), array.len, if kind == 5 { QGEMM_I8 } else { QGEMM_U8 });
    let value = |bits: u8| if kind == 5 { i32::from(bits as i8) } else { i32::from(bits) };
    if input.one_in(40) {
        raw.r#type = input.one_of(&[0, QGEMM_F16, 77]);
        expect.wrong(&[QGEMM_TYPE, QGEMM_NULL]);
    }
    (raw, (bits.into_iter().map(value).collect(), 0))
}

impl Case {
    /// A product with this B; `None` if its stage was refused.
    pub fn read(input: &mut Input<'_>, memory: &Memory, m: usize, b: &B, in_batch: bool) -> Option<Self> {
        let (mut expect, (k, n)) = (Expect::default(), b.shape);
        let (is_float, kind) = (input.byte() % 3 == 2, input.byte() % 4);
        let element = match (&b.groups, kind) {
            (Some(_), _) => QGEMM_F32,
            (None, 0 | 1) if !is_float => QGEMM_I32,
            (None, 0 | 2) => input.one_of(&[QGEMM_I8, QGEMM_U8]),
            _ => QGEMM_F32,
        };
        let (handle, stage) = Self::stage(input, memory, ((m, n), element), is_float, b.groups.is_some())?;
        let c = output(input, memory, (m, n), element);

        let mut gather = None;
        let taps = input.number(1..=4);
        let mut picks = None;
        let mut source = (m, k);
        if input.one_in(5) && k % taps == 0 {
            let rows = input.number(1..=20);
            source = (rows, k / taps);
            let mut indices: Vec<u32> = (0..m * taps).map(|at| ((at * 7 + at / 3) % rows) as u32).collect();
            if let Some(first) = indices.first_mut() {
                *first = if input.one_in(16) {
                    rows as u32
                } else if input.flag() {
                    u32::MAX
                } else {
                    *first
                };
            }
            let padding = if is_float { None } else { input.rarely(3, |input| i32::from(input.byte()) - 64) };
            let mut array = Array::of(memory, &indices);
            // One index less than a multiple of taps, or a row less.
            expect.array(input, &mut array);
            let raw = qgemm_gather {
                indices: array.first,
                len: array.len,
                taps,
                has_padding: expect.choice(input, padding.is_some().into()),
                padding: padding.unwrap_or(0),
            };
            gather = Some(Struct::right(raw));
            picks = Some(Picks { indices, taps, padding });
        }
        let mut a = if is_float { floats(input, memory, source) } else { bytes(input, memory, source) };
        move_into(input, &c, &mut a, &mut expect);
        let (a_zero, a_values) = if is_float {
            (zeroed_product().a_zero, (Vec::new(), 0))
        } else {
            zero_points(input, memory, &mut expect, m)
        };
        let (b_zero, b_values) = match &b.groups {
            Some(_) => (zeroed_product().b_zero, (Vec::new(), 0)),
            None => zero_points(input, memory, &mut expect, n),
        };
        let bias = if is_float || b.groups.is_some() { None } else { input.rarely(3, Integers::read) };
        let bias = bias.map(|mut integers| integers.integers(n)).filter(|bias| !bias.is_empty());
        let mut residual = None;
        if element != QGEMM_I32 && input.one_in(5) {
            let mut matrix = if element == QGEMM_F32 {
                floats(input, memory, (m, n))
            } else {
                bytes(input, memory, (m, n))
            };
            move_into(input, &c, &mut matrix, &mut expect);
            let scale = if element == QGEMM_F32 { 0.0 } else { f32::from(input.byte()) / 64.0 };
            let raw = qgemm_residual { matrix: matrix.read(), scale, zero_point: 0 };
            residual = Some(if element == QGEMM_F32 {
                (Vec::new(), matrix.values(memory), raw)
            } else {
                (matrix.values(memory), Vec::new(), raw)
            });
        }
        let mut given = b.clone();
        if given.packed.is_none() {
            move_into(input, &c, &mut given.matrix, &mut expect);
            given.values = given.matrix.values(memory);
        }
        let accumulate = element == QGEMM_I32 && input.one_in(3);
        let most = if b.groups.is_some() { 3 } else { 5 };
        let activations = if is_float { u32::from(input.byte() % most) } else { 0 };
        let mirror = Mirror {
            a,
            a_bytes: if is_float { Vec::new() } else { a.values(memory) },
            a_floats: if is_float { a.values(memory) } else { Vec::new() },
            picks,
            b: given,
            zeros: [a_values, b_values],
            bias,
            output: stage,
            residual,
            accumulate,
            activations,
            shape: (m, n),
        };
        let rust = mirror.values(memory, &c);

        // From here on arguments are made wrong.
        let mut raw = zeroed_product();
        (raw.a_zero, raw.b_zero) = (a_zero, b_zero);
        let mut bias = mirror.bias.as_ref().map_or(Array::NONE, |bias| Array::of(memory, bias));
        expect.array(input, &mut bias);
        (raw.bias, raw.bias_len) = (bias.first, bias.len);
        let (mut a, mut wrong_b, mut wrong_c) = (a, mirror.b.matrix, c);
        expect.matrix(input, &mut a, &[QGEMM_SHAPE, QGEMM_RANGE]);
        if mirror.b.packed.is_none() {
            expect.matrix(input, &mut wrong_b, &[QGEMM_SHAPE]);
            raw.b = wrong_b.read();
        } else if input.one_in(40) {
            raw.b = wrong_b.read();
            expect.wrong(&[QGEMM_OPTIONS]);
        }
        expect.matrix(input, &mut wrong_c, &[QGEMM_SHAPE]);
        if wrong_c.element != c.element {
            // Where it ends is not known, so that it may overlap what lies behind it.
            expect.perhaps(&[QGEMM_OVERLAP]);
        }
        if input.one_in(40) && c.shape.0 > 1 && c.shape.1 > 0 {
            wrong_c.strides.0 = 0;
            expect.wrong(&[QGEMM_OVERLAP]);
        }
        (raw.a, raw.c) = (a.read(), wrong_c.written());
        raw.accumulate = expect.choice(input, accumulate.into());
        if element != QGEMM_I32 && input.one_in(40) {
            raw.accumulate = 1;
            expect.wrong(&[QGEMM_OPTIONS]);
        }
        raw.activations = expect.choice(input, activations);
        if !is_float && raw.activations != 0 {
            expect.perhaps(&[QGEMM_OPTIONS]);
        }
        let params = Self::params(input, memory, &mut expect, (&mirror, &c), in_batch);
        (raw.params, raw.params_len) = (params.first.cast(), params.len);
        let order =
            input.one_of(&[Order::None, Order::Descending, Order::Forgetful, Order::Twice, Order::Spawned]);
        let threads = (input.number(0..=4), if input.one_in(4) { order } else { Order::None });
        if threads.0 == 0 && threads.1 != Order::None && !in_batch {
            expect.wrong(&[QGEMM_RANGE]);
        }
        let residual = mirror.residual.as_ref().map(|(.., raw)| {
            let mut residual = Struct::right(*raw);
            if input.one_in(40) {
                residual.passed = Passed::Misaligned;
                expect.wrong(&[QGEMM_MISALIGNED]);
            }
            residual
        });
        let product = Product { raw, weights: b.packed.clone(), stage: handle, gather, residual, threads };
        Some(Self { product, expect, c, params, rust })
    }

    fn stage(
        input: &mut Input<'_>,
        memory: &Memory,
        (shape, element): ((usize, usize), qgemm_type),
        is_float: bool,
        is_groupwise: bool,
    ) -> Option<(Option<Rc<Stage>>, Output)> {
        let dynamic = is_float != input.one_in(40);
        match element {
            QGEMM_I32 => Some((None, Output::Sums)),
            QGEMM_F32 if is_float && is_groupwise && input.flag() => Some((None, Output::None)),
            QGEMM_F32 => {
                // A stage for the other kind of A is refused by the product.
                let (handle, rust) = to_floats(input, memory, shape, dynamic);
                Some((Some(handle?), Output::Floats(rust.ok()?)))
            }
            _ => {
                let (handle, rust) = to_bytes(input, memory, (shape, element), dynamic);
                Some((Some(handle?), Output::Bytes(rust.ok()?)))
            }
        }
    }

    /// Room for the parameters of an f32 A.
    fn params(
        input: &mut Input<'_>,
        memory: &Memory,
        expect: &mut Expect,
        (mirror, c): (&Mirror, &Matrix),
        in_batch: bool,
    ) -> Array<[u32; 2]> {
        if !input.one_in(4) {
            return Array::NONE;
        }
        let len = if mirror.activations >= QGEMM_PER_TENSOR { 1 } else { mirror.shape.0 };
        if len == 0 {
            return Array::NONE;
        }
        let mut params = Array::of(memory, &vec![[0x4546_4748u32; 2]; len]);
        let is_possible = mirror.a.element == QGEMM_F32 && mirror.b.groups.is_none() && !in_batch;
        if !is_possible {
            expect.wrong(&[QGEMM_OPTIONS]);
        } else if input.one_in(40)
            && c.extent().is_some_and(|extent| extent >= 8 * len)
            && c.element == QGEMM_F32
        {
            params.first = c.data.cast();
            expect.wrong(&[QGEMM_OVERLAP]);
        } else {
            expect.array(input, &mut params);
            // As an output that is null, so that they overlap.
            expect.perhaps(if params.first.is_null() { &[QGEMM_OVERLAP] } else { &[] });
        }
        params
    }

    /// Checks what a call has returned and written.
    fn check(&self, memory: &Memory, what: &str, status: qgemm_status) {
        self.expect.check_either(what, status, &self.rust);
        if status != QGEMM_OK {
            return;
        }
        match self.rust.as_ref().expect("Rust accepts it") {
            Values::Sums(expected) => self.compare(memory, what, expected),
            Values::I8(expected) => self.compare(memory, what, expected),
            Values::U8(expected) => self.compare(memory, what, expected),
            Values::Floats(expected) => self.compare(memory, what, expected),
        }
    }

    fn compare<T: Element + bytemuck::Pod>(&self, memory: &Memory, what: &str, expected: &[T]) {
        assert_equal(what, &self.c.values::<T>(memory), expected);
    }

    /// The memory that a call writes, if it succeeds.
    fn written(&self) -> Vec<(usize, usize)> {
        let mut written = self.c.elements();
        written.push((self.params.first.addr(), self.params.len.saturating_mul(8)));
        written
    }
}

/// Runs one product.
pub fn one(input: &mut Input<'_>, memory: &Memory) -> Option<()> {
    let Shape { m, n, k } = Shape::read(input);
    let b = B::read(input, memory, (k, n))?;
    let mut case = Case::read(input, memory, m, &b, false)?;
    let whole = case.expect.sized(input, case.product.raw, |raw| &mut raw.struct_size);
    case.product.raw = whole.value;
    let before = memory.snapshot();
    let status = case.product.run(memory, whole.passed, whole.later);
    let written = if status == QGEMM_OK { case.written() } else { Vec::new() };
    memory.assert_as_before("run", &before, &written);
    case.check(memory, "run", status);
    Some(())
}

/// Runs some products, several of them with the same weights.
pub fn batch(input: &mut Input<'_>, memory: &Memory) -> Option<()> {
    let (Shape { n, k, .. }, mut cases) = (Shape::read(input), Vec::new());
    let mut b = B::read(input, memory, (k.min(64), n.min(64)))?;
    for _ in 0..input.number(0..=5) {
        if input.one_in(3) {
            let shape = (input.number(0..=40), input.number(0..=40));
            b = B::read(input, memory, shape)?;
        }
        let m = input.number(0..=20);
        let mut case = Case::read(input, memory, m, &b, true)?;
        case.product.raw.struct_size = size_of_val(&case.product.raw);
        cases.push(case);
    }
    let mut expect = Expect::default();
    cases.iter().for_each(|case| expect.and(&case.expect));
    let mut products: Vec<Product<'_>> = cases.iter().map(|case| case.product.clone()).collect();
    // Two outputs that share an element.
    if let [first, second, ..] = &mut *products
        && input.one_in(20)
        && first.raw.c.rows * first.raw.c.cols > 0
        && cases[0].expect.is_right()
        && cases[1].expect.is_right()
    {
        *second = first.clone();
        expect.wrong(&[QGEMM_OVERLAP]);
    }
    let mut count = products.len();
    if count > 0 && input.one_in(40) {
        products[count - 1].raw.struct_size = input.one_of(&[0, 8, 4097]);
        expect.wrong(&[QGEMM_SHAPE]);
    } else if count > 0 && input.one_in(40) {
        count = usize::MAX / 2;
        expect.wrong(&[QGEMM_TOO_LARGE]);
    }
    let passed = if count > 0 { expect.passed(input) } else { Passed::Null };
    let crew = input.rarely(3, |input| (input.number(1..=4), input.one_of(&[Order::None, Order::Twice])));
    let before = memory.snapshot();
    let status = run_batch(memory, &products, passed, count, crew);
    let refused: Vec<&Case> = cases.iter().filter(|case| case.rust.is_err()).collect();
    match refused.first() {
        None => expect.check("batch", status),
        Some(_) => assert!(status != QGEMM_OK && status != QGEMM_INTERNAL, "batch: {status}"),
    }
    // An A that is not finite is found when other outputs may be written.
    let writes = status == QGEMM_OK || status == QGEMM_NOT_FINITE;
    let written = cases.iter().filter(|_| writes).flat_map(|case| case.written()).collect::<Vec<_>>();
    memory.assert_as_before("batch", &before, &written);
    if status == QGEMM_OK {
        cases.iter().for_each(|case| case.check(memory, "batch", status));
    }
    Some(())
}
