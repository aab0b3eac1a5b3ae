#!/usr/bin/env python3
"""Keeps the inputs of a corpus that together cover most, at most so many: prune.py CORPUS CONTROL_FILE MOST.

The control file is the one that libFuzzer writes while it merges, with the features that each input covers."""

import heapq
import pathlib
import sys


def features_by_file(control):
    """Features (edges and counters) of each input, by the name of its file."""
    lines = control.read_text().splitlines()
    count = int(lines[0])
    names = [pathlib.Path(line).name for line in lines[2 : 2 + count]]
    found = {}
    for line in lines[2 + count :]:
        kind, number, *features = line.split()
        if kind == "FT":
            found[names[int(number)]] = set(features)
    return found


def choose(found, most):
    """The names that cover most: each is the one that adds most to those before it."""
    chosen, covered = [], set()
    # What an input adds only shrinks: the first whose number is up to date adds most.
    queue = [(-len(features), name) for name, features in found.items()]
    heapq.heapify(queue)
    while queue and len(chosen) < most:
        _, name = heapq.heappop(queue)
        added = len(found[name] - covered)
        if queue and added < -queue[0][0]:
            heapq.heappush(queue, (-added, name))
        elif added:
            covered |= found[name]
            chosen.append(name)
    return chosen, len(covered)


def main():
    corpus, control, most = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    found = features_by_file(control)
    everything = len(set().union(*found.values()))
    chosen, covered = choose(found, most)
    files = [file for file in corpus.iterdir() if file.is_file()]
    for file in files:
        if file.name not in chosen:
            file.unlink()
    kept = sum(file.stat().st_size for file in files if file.exists())
    print(f"{corpus.name}: {len(chosen)} of {len(files)} inputs, {kept} bytes, {covered} of {everything} features")


main()
