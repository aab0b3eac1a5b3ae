//! `--shapes`: the list of shapes to measure.
//!
//! `benches/opponents` compiles this file too.

use crate::errors::invalid_because;
use crate::shape::Shape;
use anyhow::Result;
use std::io::Read;
use std::path::Path;

/// M, K and N of squares, of one and few rows, transformer layers, convolutions as matrices, and awkward sizes.
const DEFAULT: &str = "64 64 64;128 128 128;256 256 256;512 512 512;1024 1024 1024;2048 2048 2048;\
    1 4096 4096;1 4096 11008;4 4096 4096;8 4096 4096;128 4096 4096;512 4096 4096;\
    128 768 768;128 768 3072;128 3072 768;384 768 3072;\
    3136 64 64;3136 576 64;784 1152 128;196 2304 256;49 4608 512;\
    127 129 131;1000 1001 1003;7 333 19;16 16 16;32 32 32";

/// Sets of shapes by name. Products of some microseconds:
const SMALL: &str = "1 16 16;1 64 64;4 16 16;7 333 19;16 16 16;12 48 40;24 24 24;32 32 32;48 64 48;64 64 64;\
    96 96 96;127 129 131";
/// Few rows and many columns, and rows of C that are far apart.
const WIDE: &str = "1 512 1000;1 768 3072;1 2048 2048;1 4096 4096;1 4096 11008;4 4096 4096;8 4096 11008;\
    16 512 65536;48 256 8192;1024 128 4096;2048 64 2048";
/// Many rows, whose values come from memory.
const TALL: &str = "65536 512 16;32768 1024 32;16384 4096 16;8192 4096 64;50176 27 32;12544 64 128;3136 576 64;\
    100000 64 10";
/// About whole vectors and panels of columns, and less than one.
const NARROW: &str = "4096 512 1;4096 512 4;8 10240 1;8 10240 8;8 10240 16;8 10240 17;8 10240 32;8 10240 33;8 10240 48;\
    8 10240 64;8 10240 65;8 10240 80;8 10240 129;256 512 33;256 512 65";
/// Small to large, for the variants of other layouts.
const OF_LAYOUTS: &str = "64 64 64;128 128 128;3136 64 64;100 300 200;512 512 512;1024 1024 1024";

/// The name of the set that is measured in several layouts.
pub const LAYOUTS: &str = "layouts";

const SETS: [(&str, &str); 5] =
    [("small", SMALL), ("wide", WIDE), ("tall", TALL), ("narrow", NARROW), (LAYOUTS, OF_LAYOUTS)];

const MUST: &str = "small, wide, tall, narrow, layouts, M,K,N;M,K,N;... or a file with a line 'M K N' per shape, all at least 1";

/// Bytes that are read of a file: a device such as /dev/zero has no end.
const MAX_BYTES: u64 = 1 << 24;

/// Reads the shapes of `--shapes`, the name of a set, a list or the name of a file; without it, the default ones.
pub fn read(given: Option<&str>) -> Result<Vec<Shape>> {
    let argument = "--shapes";
    let Some(given) = given else {
        return parse(DEFAULT, ';').map_err(|why| invalid_because(argument, DEFAULT, why, MUST));
    };
    if let Some((_, set)) = SETS.iter().find(|(name, _)| *name == given) {
        return parse(set, ';').map_err(|why| invalid_because(argument, given, why, MUST));
    }
    // Text with a comma or a semicolon is a list, unless there is a file of that name.
    let is_list = given.contains([',', ';']) && !Path::new(given).exists();
    let shapes = if is_list {
        parse(given, ';')
    } else {
        let mut text = String::new();
        let file = std::fs::File::open(given).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        file.map_err(|e| invalid_because(argument, given, e, MUST))?;
        parse(&text, '\n')
    };
    shapes.map_err(|why| invalid_because(argument, given, why, MUST))
}

fn parse(text: &str, separator: char) -> Result<Vec<Shape>, String> {
    let lines = text.split(separator).map(str::trim).filter(|line| !line.is_empty());
    let shapes = lines.map(|line| shape(line).ok_or_else(|| format!("{} is no shape", start_of(line))));
    let shapes: Vec<_> = shapes.collect::<Result<_, _>>()?;
    if shapes.is_empty() { Err("it lists no shape".into()) } else { Ok(shapes) }
}

/// The first characters of a line in quotes, without control characters.
fn start_of(line: &str) -> String {
    let start: String = line.chars().take(40).flat_map(char::escape_debug).collect();
    let more = if line.chars().nth(40).is_some() { "..." } else { "" };
    format!("'{start}{more}'")
}

fn shape(line: &str) -> Option<Shape> {
    let sizes = line.split([',', ' ', '\t']).filter(|size| !size.is_empty());
    let sizes: Vec<usize> =
        sizes.map(|size| size.parse().ok().filter(|&size| size > 0)).collect::<Option<_>>()?;
    match sizes[..] {
        [m, k, n] => Some(Shape { m, k, n }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(read(None).unwrap().len(), 26);
        for (name, _) in SETS {
            assert!(read(Some(name)).unwrap().len() >= 6, "{name}");
        }
        let shapes = read(Some("1,2,3; 4,5,6;")).unwrap();
        assert_eq!(shapes, [Shape { m: 1, k: 2, n: 3 }, Shape { m: 4, k: 5, n: 6 }]);
        for wrong in ["1,2", "0,1,1", "a,b,c", ";", "1,2,3,4", "-1,2,3", "no-such-file"] {
            let e = read(Some(wrong)).unwrap_err().to_string();
            assert!(e.starts_with(&format!("--shapes: was '{wrong}'")), "{e}");
        }
    }
}
