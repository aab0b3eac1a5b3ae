"""Compares qgemm with other software, byte for byte. See README.md."""

import argparse
import importlib
import re
import sys
import time
import zlib
from pathlib import Path

import numpy as np

import cases
from qgemm import Call, Qgemm

MODULES = ["onnxruntime_checks", "onnx_reference_checks", "litert_checks", "gemmlowp_checks", "groupwise_checks"]

README = Path(__file__).with_name("README.md")
COLUMNS = ("software", "operator", "qgemm", "cases", "values", "differ", "left out")
# A control must have differed at least once after this many cases.
MIN_CONTROL_CASES = 100


def differences(expected, got, compared):
    """The number of elements that differ in any bit, or None if types or shapes differ."""
    if expected.dtype != got.dtype or expected.shape != got.shape:
        return None
    width = np.dtype(f"u{expected.dtype.itemsize}")
    unequal = np.ascontiguousarray(expected).view(width) != np.ascontiguousarray(got).view(width)
    return int(np.count_nonzero(unequal & compared))


class Tally:
    """The results of one check."""

    def __init__(self, check):
        self.check = check
        # Cases: all, those that differ, those of which some elements are left out.
        self.cases, self.wrong, self.partial = 0, 0, 0
        # Elements: compared, and left out.
        self.values, self.excluded = 0, 0
        # By control: how often it was tried, and how often it differed.
        self.controls = {}

    def add(self, qgemm, case, keep):
        """Compares one case. If it differs, calls `keep(difference in words, case)`."""
        got, bad = qgemm.run(case.call), []
        assert got.keys() == case.expected.keys(), (got.keys(), case.expected.keys())
        for name, expected in case.expected.items():
            compared = np.broadcast_to(case.compared.get(name, True), expected.shape)
            self.values += int(np.count_nonzero(compared))
            self.excluded += expected.size - int(np.count_nonzero(compared))
            if count := differences(expected, got[name], compared):
                bad.append(f"{name}: {count} of {expected.size} values")
            elif count is None:
                bad.append(f"{name}: {got[name].dtype}{got[name].shape}, not {expected.dtype}{expected.shape}")
        self.cases += 1
        self.partial += bool(case.compared)
        if bad:
            self.wrong += 1
            keep("; ".join(bad), case)
        for name, control in case.controls.items():
            if isinstance(control, Call):
                result, expected = qgemm.run(control), case.expected
            else:
                result, expected = got, control
            tried, differ = self.controls.get(name, (0, 0))
            differs = any(
                differences(e, result[n], np.broadcast_to(case.compared.get(n, True), e.shape)) != 0
                for n, e in expected.items()
            )
            self.controls[name] = (tried + 1, differ + differs)

    def failures(self):
        """Why the check failed, in words; nothing if it passed."""
        if not self.cases:
            yield "did not run"
        if self.wrong:
            yield f"{self.wrong} of {self.cases} cases differ"
        for control, (tried, differ) in self.controls.items():
            if not differ and tried >= MIN_CONTROL_CASES:
                yield f"the control '{control}' never differed in {tried} cases: the check cannot tell"

    def line(self):
        """The results as a line of the output."""
        parts = [f"{self.check.id:44} = {self.check.setting:34} cases {self.cases:5}  values {self.values:11,}"]
        parts.append(f"differ {self.wrong}")
        if self.excluded:
            parts.append(f"values left out {self.excluded:,}")
        parts += [f"control '{c}' differs in {d} of {n}" for c, (n, d) in self.controls.items()]
        return "  ".join(parts)

    def row(self):
        """A row of the table in README.md."""
        cells = [self.check.framework, self.check.name, self.check.setting]
        cells += [f"{n:,}" for n in (self.cases, self.values, self.wrong, self.excluded)]
        return f"| {' | '.join(cells)} |"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--driver", required=True, help="the program that runs qgemm")
    parser.add_argument("--cases", type=int, default=300, help="cases per check (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="only checks whose name holds this")
    parser.add_argument("--failures", type=Path, default=Path("."), help="folder for cases that differ")
    parser.add_argument("--table", type=Path, help="write the rows of README.md's table here")
    parser.add_argument("--perturb", action="store_true", help="flip a bit of every result: all checks must fail")
    return parser.parse_args()


def planned(only):
    """The checks whose name contains `only`. Exits if the checks are not those of README.md's table."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.read_text().splitlines()]
    listed = {f"{cells[0]}/{cells[1]}" for cells in rows if len(cells) == len(COLUMNS)}
    exist = {c.id for c in cases.CHECKS}
    if missing := listed - exist - {f"{COLUMNS[0]}/{COLUMNS[1]}", "---/---"}:
        sys.exit(f"in README.md's table, but not run: {sorted(missing)}")
    if unlisted := exist - listed:
        sys.exit(f"not in README.md's table: {sorted(unlisted)}")
    chosen = [c for c in cases.CHECKS if only in c.id]
    return chosen or sys.exit(f"no check's name holds '{only}'")


def compare(check, qgemm, options):
    """Runs the cases of one check."""
    tally = Tally(check)
    count = max(1, round(options.cases * check.weight))
    for index in range(options.first, options.first + count):

        def keep(what, case):
            if options.perturb or tally.wrong > 3:
                return
            name = re.sub("[^a-z0-9]+", "-", f"{check.id}-{options.seed}-{index}".lower())
            file = options.failures / f"{name}.safetensors"
            file.write_bytes(case.call.blob([(f"expected.{n}", e) for n, e in case.expected.items()]))
            print(
                f"DIFFERS {check.id}: {what}; {case.call.op} {case.call.parameters}\n"
                f"  again: conformance/run.sh --only '{check.id}' --seed {options.seed} --first {index} --cases 1\n"
                f"  qgemm alone: cargo run --release -p qgemm-conformance -- {file}"
            )

        rng = np.random.default_rng([options.seed, zlib.crc32(check.id.encode()), index])
        tally.add(qgemm, check.case(rng), keep)
    return tally


def main():
    options = arguments()
    for module in MODULES:
        importlib.import_module(module).report()
    checks = planned(options.only)
    options.failures.mkdir(parents=True, exist_ok=True)
    qgemm = Qgemm(options.driver, options.perturb)
    tallies = []
    for check in checks:
        start = time.monotonic()
        tallies.append(tally := compare(check, qgemm, options))
        if not options.perturb:
            print(f"{tally.line()}  ({time.monotonic() - start:.1f} s)", flush=True)
            for failure in tally.failures():
                print(f"FAILED {check.id}: {failure}", flush=True)
    qgemm.close()

    if options.table:
        options.table.write_text("\n".join(t.row() for t in tallies) + "\n")
    if options.perturb:
        blind = [t.check.id for t in tallies if t.wrong < t.cases - t.partial or not t.wrong]
        for name in blind:
            print(f"FAILED {name}: did not notice a wrong bit")
        print(f"one wrong bit in every result: noticed by {len(tallies) - len(blind)} of {len(tallies)} checks")
        sys.exit(1 if blind else 0)
    wrong = sum(any(t.failures()) for t in tallies)
    print(f"\n{sum(t.cases for t in tallies):,} cases, {sum(t.values for t in tallies):,} values")
    print(f"{len(tallies) - wrong} passed, {wrong} failed")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
