#!/usr/bin/env python3
"""Predicts how fast the kernels run on CPUs that are not here: llvm-mca on their loops over k.

    mca.py            prints a table in Markdown; fails if a loop touches the stack that did not so far

The loops are those of the release build, of the highest and widest tile of each kernel. `cycles` are per k-step,
that is, per k-group of KR values (for the matrix instructions 8). `limit` is what the multiply-adds of the loop
take by themselves, without loads, broadcasts and addresses, in the same model of the CPU; `ratio` is how much
longer the loop takes. Instructions and stack accesses are per k-step too; stack accesses are looked for in the loops
of all tiles, whatever their height and width.
For 64-bit Arm it takes the compiler that qemu-aarch64.sh installs.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MCA = "llvm-mca-19"

# Kernel, type (with its module), tile (height, vectors; then the vectors of a panel for 512 bits, or whether A is signed),
# the instructions
# that multiply and add, and CPUs that have them.
INTEL, ZEN, LAKE = ["icelake-server", "sapphirerapids"], ["znver4"], ["arrowlake"]
DOT, WORDS = r"vpdpb\w+", r"vpmaddwd|vpaddd"
BYTES = r"vpmaddubsw|vpaddw|vpmaddwd|vpaddd"
ARM = ["neoverse-n1", "neoverse-v1", "apple-m1"]
X86_KERNELS = [
    ("avx2-4x8c16", "avx2::Words<true>", (4, 4, "false"), WORDS, INTEL + ZEN + LAKE),
    ("avx2-6x16c2", "avx2::Words<false>", (6, 2), WORDS, INTEL + ZEN + LAKE),
    ("avx2-6x16c2, i8 panel", "avx2::Words<true>", (6, 2), WORDS, INTEL + ZEN + LAKE),
    ("avx2-6x16c4s1", "avx2_i16_sums::Bytes<1>", (6, 2), BYTES, INTEL + ZEN),
    ("avx2-6x16c4s2", "avx2_i16_sums::Bytes<2>", (6, 2), BYTES, INTEL + ZEN),
    ("avx2-6x16c4s4", "avx2_i16_sums::Bytes<4>", (6, 2), BYTES, INTEL + ZEN),
    ("avx2-6x16c4s8", "avx2_i16_sums::Bytes<8>", (6, 2), BYTES, INTEL + ZEN),
    ("avxvnni-4x8c32", "avx_vnni::Bytes<false>", (4, 4, "false"), DOT, ["sapphirerapids"] + LAKE),
    ("avxvnni-6x16c4", "avx_vnni::Bytes<false>", (6, 2), DOT, ["sapphirerapids"] + LAKE),
    ("avxvnniint8-6x16c4", "avx_vnni_int8::Bytes<true, true>", (6, 2), DOT, LAKE),
    ("avx512bw-4x8c32", "avx512_bw::Words<true>", (4, 4, "false"), WORDS, INTEL + ZEN),
    ("avx512bw-12x32c2", "avx512_bw::Words<false>", (12, 2, 2), WORDS, INTEL + ZEN),
    ("avx512bw-12x32c2, i8 panel", "avx512_bw::Words<true>", (12, 2, 2), WORDS, INTEL + ZEN),
    ("avx512vnni-4x8c64", "avx512_vnni::Bytes<false>", (4, 4, "false"), DOT, INTEL + ZEN),
    ("avx512vnni-12x16c4", "avx512_vnni::Bytes<false>", (12, 1, 1), DOT, INTEL + ZEN),
    ("avx512vnni-12x32c4", "avx512_vnni::Bytes<false>", (12, 2, 2), DOT, INTEL + ZEN),
    ("avx512vnni-6x64c4", "avx512_vnni::Bytes<false>", (6, 4, 4), DOT, INTEL + ZEN),
    ("avx512vnni-6x64c4, i8", "avx512_vnni::Bytes<true>", (6, 4, 4), DOT, INTEL + ZEN),
]
ARM_KERNELS = [
    ("neon-8x8c1", "neon::Words", (8,), r"smlal2?", ARM),
    ("dotprod-8x8c4", "dotprod::Bytes<true>", (8,), r"[su]dot", ARM),
    ("i8mm-8x8c4", "i8mm_dot::Bytes<false>", (8,), r"[su]+dot", ["neoverse-v1"]),
    ("i8mm-8x8c8", "i8mm_matrix::Matrix<true, true>", (8,), r"[su]+mmla", ["neoverse-v1"]),
]


# AMX, of which llvm-mca knows no times: those of Intel's manual of optimization, in cycles. Others go at the six a cycle that
# the CPU issues. A step is 64 values of k.
AMX_KERNEL = ("amxint8-32x64c4", "tile::tmm::rows_times_panel::<false>", "sapphirerapids, manual")
AMX_CYCLES, ISSUED = {"tdp": 16, "tileload": 8}, 6


# Loops that touch the stack, and why: see the README of the kernels.
KNOWN = ["<avx2_i16_sums::"]


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def assembly(target, compiler=None):
    """The functions of the kernels crate: demangled name -> lines."""
    folder = ROOT / "target" / "mca"
    env = os.environ | {"CARGO_TARGET_DIR": str(folder)} | ({"RUSTC": compiler} if compiler else {})
    flags = ["--emit=asm", "-Cdebuginfo=0", "-Ccodegen-units=1", "-Csymbol-mangling-version=v0"]
    if target.startswith("x86"):
        flags.append("-Cllvm-args=-x86-asm-syntax=intel")
    cargo = ["cargo", "rustc", "--quiet", "--lib", "--release", "-p", "qgemm-kernels", "--target", target]
    subprocess.run([*cargo, "--", *flags], check=True, cwd=ROOT, env=env)
    # The last one made: nothing is, where nothing changed.
    path = max(folder.glob(f"{target}/release/deps/qgemm_kernels-*.s"), key=lambda path: path.stat().st_mtime)
    functions, lines = {}, None
    for line in path.read_text().splitlines():
        comment = ("\t#" in line or "//" in line) and line.strip() not in ("#APP", "#NO_APP")
        line = re.sub(r"\s*(//|#).*", "", line) if comment else line
        if found := re.match(r"(_R\w+):", line):
            lines = functions.setdefault(found[1], [])
        elif lines is not None and line.strip():
            lines.append(line.strip())
    names = run("llvm-cxxfilt-19", input="\n".join(functions)).splitlines()
    return dict(zip(map(normal, names), functions.values()))


def hot_loops(lines, multiply):
    """The loops without a branch inside that multiply: those of the widest registers first, then the longest."""
    start, labels, bodies = 0, [], []
    for at, line in enumerate(lines):
        if re.fullmatch(r"\.\w+:", line):
            # Labels in a row are labels of the same line.
            labels = [*labels, line[:-1]] if at and lines[at - 1].endswith(":") else [line[:-1]]
            start = at + 1
        elif jump := re.match(r"(?:j\w+|b(?:\.\w+)?|cbn?z\s+\w+,|tbn?z\s+\w+,[^,]+,)\s+(\.\w+)$", line):
            if jump[1] in labels:
                bodies.append([line for line in lines[start : at + 1] if not line.startswith((".", "#"))])
            labels = []
    wide = lambda body: sum("zmm" in line for line in arithmetic(body, multiply))
    hot = [body for body in bodies if arithmetic(body, multiply)]
    return sorted(hot, key=lambda body: (wide(body), len(arithmetic(body, multiply))), reverse=True)


def arithmetic(body, multiply):
    return [line for line in body if re.match(rf"(?:{{vex}}\s+)?(?:{multiply})\s", line)]


def alone(body, multiply):
    """The multiply-adds on registers that nothing else writes, in 12 chains, as in `peak.rs`."""
    found = arithmetic(body, multiply)
    if not found[0].startswith(("v", "{")):
        return found
    in_order = [re.match(r"(.*?\s)([xyz]mm)\d+,", line) for line in found]
    return [f"{line[1]}{line[2]}{at % 12}, {line[2]}15, {line[2]}14" for at, line in enumerate(in_order)]


def mca(triple, cpu, body):
    """Cycles that the body takes when repeated."""
    loop = 200
    report = run(MCA, f"-mtriple={triple}", f"-mcpu={cpu}", f"-iterations={loop}", "-", input=source(triple, body))
    return float(re.search(r"Total Cycles:\s+(\d+)", report)[1]) / loop


def source(triple, body):
    syntax = ".intel_syntax noprefix\n" if triple.startswith("x86") else ""
    return syntax + "\n".join(body) + "\n"


def stack_accesses(body, function):
    # rbp is any register where it is not set to the stack pointer.
    frame = any(re.match(r"mov\s+rbp, rsp", line) for line in function)
    return [line for line in body if re.search(r"\[(?:[re]sp|sp" + (r"|rbp" if frame else "") + r")\b", line)]


def examine(functions, kernels, triple, vectors_per_step):
    """Prints the rows of the kernels; returns how many loops touch the stack."""
    for name, kind, tile, multiply, cpus in kernels:
        consts = ", ".join(map(str, tile))
        # Where every CPU of the target has the instructions, all heights are in one function.
        own, shared = rf"<{kind} as [\w:]*Tiles>::(?:tiles?|part)::<{consts}(?:, \w+)?>", f"<tile::Tile8x8<{kind}> as "
        wanted = [f for f in functions if re.search(own, f)] or [f for f in functions if shared in f]
        # One tile, and tiles in a loop, unless that calls the first.
        loops = [(functions[f], loop) for f in wanted for loop in hot_loops(functions[f], multiply)[:1]]
        if not loops:
            sys.exit(f"{name}: no function is {kind} with the tile {consts}")
        function, body = loops[-1]
        steps = vectors_per_step(name, tile, body, multiply)
        for cpu in cpus:
            cycles, limit = mca(triple, cpu, body), mca(triple, cpu, alone(body, multiply))
            print(
                f"| {cpu} | {name} | {cycles / steps:.2f} | {limit / steps:.2f} | {cycles / limit:.2f} "
                f"| {len(body) / steps:.0f} | {len(stack_accesses(body, function)) / steps:.0f} |"
            )
    spilled = 0
    for function, lines in functions.items():
        if re.search("Tiles>::(?:tile|part)", function) or "Tile8x8<neon" in function:
            multiply = "|".join({m for _, kind, _, m, _ in kernels if kind.split("::")[0] in function})
            if not arithmetic(lines, multiply):
                # It calls a single tile over and over.
                continue
            loops = hot_loops(lines, multiply)
            if not loops:
                sys.exit(f"no loop in {function}")
            touched = [line for body in loops for line in stack_accesses(body, lines)]
            if touched and not any(known in function for known in KNOWN):
                spilled += 1
                print(f"\n{function} touches the stack: {touched}", file=sys.stderr)
    return spilled


def examine_amx(functions):
    """Prints the row of the loop with most products; returns whether it touches the stack."""
    name, wanted, cpu = AMX_KERNEL
    lines = functions[wanted]
    # Assembly of ours stands there as it was written, with its macros.
    parts = re.findall(r"#APP\n(.*?)#NO_APP", "\n".join(lines), re.DOTALL)
    expand = lambda part: run("llvm-mc-19", "-triple=x86_64", "-output-asm-variant=1", input=source("x86_64", [part]))
    bodies = []
    for part in parts:
        if "tdpb" in part:
            expanded = [line.strip() for line in expand(part).splitlines()]
            jump = next(at for at, line in enumerate(expanded) if line.startswith("jne"))
            start = expanded.index(expanded[jump].split()[1] + ":")
            bodies.append([line for line in expanded[start + 1 : jump + 1] if line])
    count = lambda body, word: sum(line.startswith(word) for line in body)
    body = max(bodies, key=lambda body: count(body, "tdp"))
    limit = AMX_CYCLES["tdp"] * count(body, "tdp")
    cycles = max(limit, AMX_CYCLES["tileload"] * count(body, "tileload"), len(body) / ISSUED)
    touched = stack_accesses(body, lines)
    print(f"| {cpu} | {name} | {cycles:.2f} | {limit:.2f} | {cycles / limit:.2f} | {len(body)} | {len(touched)} |")
    return bool(touched)


def normal(name):
    """Without the crate and the architecture."""
    return re.sub(r"\w+::(x86|aarch64)::", "", name)


def x86_steps(name, tile, body, multiply):
    """k-steps in a turn of the loop."""
    product = {WORDS: "vpmaddwd", BYTES: "vpmaddubsw", DOT: DOT}[multiply]
    return len(arithmetic(body, product)) / (tile[0] * tile[1])


def arm_steps(name, tile, body, multiply):
    per_step = 4 * tile[0] // 2 if "mmla" in multiply else 2 * tile[0]
    return len(arithmetic(body, multiply)) / per_step


def main():
    if not (shutil.which(MCA) and shutil.which("llvm-cxxfilt-19")):
        sudo = [] if os.geteuid() == 0 else ["sudo"]
        run(*sudo, "apt-get", "update", "-qq")
        run(*sudo, "apt-get", "-y", "-qq", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends", "install", "llvm-19")
    print("| CPU | kernel | cycles | limit | ratio | instructions | stack |")
    print("|---|---|---|---|---|---|---|")
    functions = assembly("x86_64-unknown-linux-gnu")
    spilled = examine(functions, X86_KERNELS, "x86_64", x86_steps)
    spilled += examine_amx(functions)
    compiler = Path("/usr/bin/rustc")
    if compiler.exists() and Path("/usr/lib/rustlib/aarch64-unknown-linux-gnu").exists():
        functions = assembly("aarch64-unknown-linux-gnu", str(compiler))
        spilled += examine(functions, ARM_KERNELS, "aarch64", arm_steps)
    else:
        sys.exit("64-bit Arm left out: run emu/qemu-aarch64.sh first, which installs its compiler")
    sys.exit(f"{spilled} loops touch the stack" if spilled else 0)


main()
