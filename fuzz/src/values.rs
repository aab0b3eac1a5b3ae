//! The values of matrices, from a seed of one byte and a mode.

use crate::input::Input;

/// Random numbers (SplitMix64).
pub struct Random(u64);

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// A random number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }
}

/// How integers are chosen.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Random,
    /// The ends of the types, and what is next to 0.
    Extremes,
    /// A few values around 0: panels of them have a proof that 16 bits are enough.
    Small,
    /// Not negative as `i8`, or all negative.
    OneSign(u8),
    Constant(u64),
}

/// A source of integers.
pub struct Integers {
    mode: Mode,
    random: Random,
}

impl Integers {
    /// A mode and a seed: two bytes of the input, or three.
    pub fn read(input: &mut Input<'_>) -> Self {
        let mode = match input.byte() % 6 {
            0 | 1 => Mode::Random,
            2 => Mode::Extremes,
            3 => Mode::Small,
            4 => Mode::OneSign(if input.flag() { 0x80 } else { 0 }),
            _ => Mode::Constant(u64::from(input.byte())),
        };
        Self { mode, random: Random::new(input.byte().into()) }
    }

    /// The bits of an 8-bit value.
    pub fn byte(&mut self) -> u8 {
        let random = self.random.bits();
        match self.mode {
            Mode::Random => random as u8,
            Mode::Extremes => [0, 127, 128, 255][random as usize % 4],
            Mode::Small => (random % 7) as u8,
            Mode::OneSign(sign) => random as u8 & 127 | sign,
            Mode::Constant(value) => value as u8,
        }
    }

    /// The bits of some 8-bit values.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.byte()).collect()
    }

    /// Any i32, of all magnitudes.
    pub fn integer(&mut self) -> i32 {
        const EXTREMES: [i32; 10] = [0, 1, -1, 127, -128, 255, 1 << 24, -(1 << 24), i32::MAX, i32::MIN];
        let random = self.random.bits();
        match self.mode {
            Mode::Random => (random >> 32) as i32 >> (random % 32),
            Mode::Extremes => EXTREMES[random as usize % EXTREMES.len()],
            Mode::Small => (random % 7) as i32 - 3,
            Mode::OneSign(0) => (random >> 33) as i32 >> (random % 31),
            Mode::OneSign(_) => -((random >> 33) as i32 >> (random % 31)),
            // An 8-bit value, a power of two or what is next to it.
            Mode::Constant(value) if value < 128 => value as i32,
            Mode::Constant(value) => (1i32 << (value % 32)).wrapping_sub((value >> 5 & 1) as i32),
        }
    }

    /// Some i32.
    pub fn integers(&mut self, len: usize) -> Vec<i32> {
        (0..len).map(|_| self.integer()).collect()
    }
}

/// How real numbers are chosen.
#[derive(Clone, Copy, Debug)]
enum RealMode {
    /// From -1 to 1.
    Unit,
    /// Halves from -256 to 256, whose quotients are often ties.
    Halves,
    /// Both zeros, denormal, least normal, greatest.
    Extremes,
    /// Any bits of a finite number.
    Finite,
    Positive,
    Constant(f32),
    /// As `Unit`, with a few that are infinite or NaN.
    Specials,
}

/// A source of f32.
pub struct Reals {
    mode: RealMode,
    /// The power of two that most modes multiply by.
    unit: f32,
    random: Random,
}

/// The numbers that code is most likely to be wrong about.
const SPECIALS: [f32; 14] = [
    0.0,
    -0.0,
    f32::from_bits(1),
    -f32::from_bits(1),
    f32::MIN_POSITIVE,
    f32::MAX,
    f32::MIN,
    1.0,
    -1.0,
    0.5,
    -2.5,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

/// How many of them are finite.
const FINITE_SPECIALS: usize = SPECIALS.len() - 3;

impl Reals {
    /// A mode, a unit and a seed: three bytes of the input, or four.
    pub fn read(input: &mut Input<'_>) -> Self {
        let mode = match input.byte() % 10 {
            0..=2 => RealMode::Unit,
            3 | 4 => RealMode::Halves,
            5 => RealMode::Extremes,
            6 => RealMode::Finite,
            7 => RealMode::Positive,
            8 => RealMode::Constant(SPECIALS[usize::from(input.byte()) % SPECIALS.len()]),
            _ => RealMode::Specials,
        };
        let exponent = input.rarely(4, |input| input.number(0..=276) as i32 - 149).unwrap_or(0);
        let unit = 2f64.powi(exponent) as f32;
        Self { mode, unit, random: Random::new(input.byte().into()) }
    }

    /// Finite numbers of usual size, whatever the input says.
    pub fn usual(seed: u8) -> Self {
        Self { mode: RealMode::Unit, unit: 1.0, random: Random::new(seed.into()) }
    }

    /// The next number.
    pub fn real(&mut self) -> f32 {
        let random = self.random.bits();
        let in_unit = (random as i32) as f32 / (1u32 << 31) as f32;
        match self.mode {
            RealMode::Unit => in_unit * self.unit,
            RealMode::Halves => ((random % 1025) as f32 - 512.0) * 0.5 * self.unit,
            RealMode::Extremes => SPECIALS[random as usize % FINITE_SPECIALS],
            RealMode::Finite => Some(f32::from_bits(random as u32)).filter(|x| x.is_finite()).unwrap_or(0.0),
            RealMode::Positive => in_unit.abs() * self.unit,
            RealMode::Constant(value) => value * self.unit,
            RealMode::Specials if random % 64 < 2 => SPECIALS[(random >> 6) as usize % SPECIALS.len()],
            RealMode::Specials => in_unit * self.unit,
        }
    }

    /// Some numbers.
    pub fn reals(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.real()).collect()
    }
}
