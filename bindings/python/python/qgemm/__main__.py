"""`python -m qgemm`: the kernels and caches of this CPU, as text, or with --json as JSON."""

import argparse
import json

import qgemm


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m qgemm", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON [default: text]")
    arguments = parser.parse_args()
    info = qgemm.info()
    if arguments.json:
        print(json.dumps(info, indent=2))
        return
    caches = {level: size >> 10 for level, size in info["caches"].items()}
    print(f"qgemm     {info['version']}")
    print(f"arch      {info['arch']}")
    print(f"cores     {info['cores']}")
    print(f"caches    L1d {caches['l1d']} KiB, L2 {caches['l2']} KiB, L3 {caches['l3']} KiB")
    print(f"\n{'kernel':<22} {'isa':<12} {'mr':>3} {'nr':>3} {'kr':>3}")
    for kernel in info["kernels"]:
        chosen = "  chosen" if kernel["name"] in info["chosen"] else ""
        print("{name:<22} {isa:<12} {mr:>3} {nr:>3} {kr:>3}".format(**kernel) + chosen)
    print("\ngroup-wise kernel")
    for name in info["groupwise_kernels"]:
        print(f"{name:<22}" + ("  chosen" if name == info["chosen_groupwise"] else ""))


if __name__ == "__main__":
    main()
