#!/usr/bin/env python3
"""Times whole processes, compared with nft and FireHOL's iprange: `make bench`, as root.

Each row is the median of five runs; runs of two programs that are compared alternate. Memory is the peak of the largest process
of a run. Everything runs in temporary network namespaces.
"""

import argparse
import itertools
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 5
LARGE, SMALL = 500_000, 50_000
SEED = 7
NAMESPACES = ["edgeward-bench-1", "edgeward-bench-2"]

POLICY = """version: 1
name: bench
target: edge-host
region: cn-hangzhou
connection: express-connect
cni: calico-ipip
cluster: {{kind: registered, version: "1.30", api-server: 10.0.0.10}}
networks: {{vpc: [192.168.0.0/16], hosts: [10.0.0.0/24], pods: [172.20.0.0/16]}}
management: {{from: [10.0.0.0/28]}}
dns: {{servers: [10.0.0.53]}}
allow:
- {{id: sites, direction: inbound, peers-file: {list}, ports: [tcp/443]}}
"""
MORE = "- {id: more, direction: inbound, peers: [198.51.100.0/24], ports: [tcp/8443]}\n"


def address(bits):
    return ".".join(str(bits >> shift & 255) for shift in (24, 16, 8, 0))


def random_prefixes(dice, count):
    """Random prefixes of 8 to 32 bits; they may overlap."""
    for _ in range(count):
        length = 8 + dice.getrandbits(16) % 25
        yield f"{address(dice.getrandbits(length) << (32 - length))}/{length}"


def disjoint_prefixes(count):
    """Sorted prefixes with gaps between them."""
    step = (1 << 32) // (count + 10)
    for index in range(count):
        length = max(24 + index % 9, 33 - step.bit_length() + 1)
        size = 1 << (32 - length)
        low = ((index + 5) * step + size - 1) // size * size
        yield f"{address(low)}/{length}"


class Run:
    """One run of a command."""

    def __init__(self, command, namespace=None, expect=(0,), limit=None):
        if namespace:
            command = ["nsenter", f"--net=/run/netns/{namespace}"] + command
        with open(os.devnull, "wb") as nowhere, tempfile.TemporaryFile() as errors:
            begin = time.monotonic()
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=nowhere, stderr=errors, preexec_fn=limit)
            _, status, usage = os.wait4(process.pid, 0)
            self.seconds = time.monotonic() - begin
            process.returncode = os.waitstatus_to_exitcode(status)
            self.processor = usage.ru_utime + usage.ru_stime
            self.mebibytes = usage.ru_maxrss / 1024
            # What a limit ends is a measurement, too.
            self.stopped = limit is not None and process.returncode < 0
            if process.returncode not in expect and not self.stopped:
                errors.seek(0)
                sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read(2000).decode(errors='replace')}")


class Figure:
    """The medians of some runs."""

    def __init__(self, runs):
        self.seconds = statistics.median(run.seconds for run in runs)
        self.mebibytes = statistics.median(run.mebibytes for run in runs)

    def __str__(self):
        digits = 4 if self.seconds < 0.02 else 3 if self.seconds < 1 else 2
        seconds = f"{self.seconds:.{digits}f} s"
        return f"{seconds}, {self.mebibytes:.0f} MiB"


def alternate(*ways):
    """Figures of several functions, each of which does one run; they alternate, after one round of warm-up."""
    rounds = [[way() for way in ways] for _ in range(RUNS + 1)][1:]
    return [Figure(runs) for runs in zip(*rounds)]


class Table:
    """The results, printed as a Markdown table for docs/performance.md."""

    def __init__(self):
        self.failed = False
        print("| what | edgeward | compared with | ratio | limit |\n|---|---|---|---|---|", flush=True)

    def row(self, what, figure, beside="", ratio="", bar="", holds=True):
        self.failed |= not holds
        verdict = "" if holds else " **missed**"
        print(f"| {what} | {figure} | {beside} | {ratio} | {bar}{verdict} |", flush=True)

    def beside(self, what, figure, other, name, most_time, most_memory=None, limit=None):
        times, memory = figure.seconds / other.seconds, figure.mebibytes / other.mebibytes
        bars, holds = [f"time {most_time:.2f}"], times <= most_time
        if most_memory:
            bars.append(f"memory {most_memory:.2f}")
            holds &= memory <= most_memory
        if limit:
            bars.append(f"{limit} MiB")
            holds &= figure.mebibytes <= limit
        self.row(what, figure, f"{name}: {other}", f"time {times:.3f}, memory {memory:.2f}", ", ".join(bars), holds)

    def within(self, what, figure, seconds, mebibytes=None):
        holds = figure.seconds <= seconds and (mebibytes is None or figure.mebibytes <= mebibytes)
        bar = f"{seconds} s" if mebibytes is None else f"{seconds} s, {mebibytes} MiB"
        self.row(what, figure, bar=bar, holds=holds)

    def growth(self, what, small, large, most):
        ratio = large.seconds / small.seconds
        self.row(f"{what}, from {SMALL:,} to {LARGE:,}", large, f"{SMALL:,}: {small}", f"{ratio:.1f}", f"{most}", ratio <= most)


def write_inputs(folder):
    def write(name, text):
        with open(os.path.join(folder, name), "w", encoding="ascii") as file:
            file.write(text)

    for count in (SMALL, LARGE):
        prefixes = list(disjoint_prefixes(count))
        before = "table inet bench {\n\tset sites {\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = {\n"
        write(f"{count}.nft", before + ",\n".join(prefixes) + "\n\t\t}\n\t}\n}\n")
        # Lists from other sources are not sorted.
        random.Random(SEED).shuffle(prefixes)
        write(f"{count}.txt", "\n".join(prefixes) + "\n")
        write(f"{count}-all.txt", "\n".join(prefixes) + "\n")
        write(f"{count}-less.txt", "\n".join(prefixes[1:]) + "\n")
        write(f"{count}.yaml", POLICY.format(list=f"{count}.txt"))
        write(f"{count}-more.yaml", POLICY.format(list=f"{count}.txt") + MORE)
    write("random.txt", "\n".join(random_prefixes(random.Random(SEED), 1_000_000)) + "\n")


class Bench:
    """The measurements, with inputs in a folder."""

    def __init__(self, program, folder, table):
        self.program, self.folder, self.table = program, folder, table

    def path(self, name):
        return os.path.join(self.folder, name)

    def edgeward(self, *arguments, namespace=None, expect=(0,)):
        return Run([self.program, *arguments], namespace, expect)

    def state(self, name="state"):
        return ["--state-dir", self.path(name)]

    def cold(self, count):
        """The first apply, on a host without a table."""
        shutil.rmtree(self.path("state"), ignore_errors=True)
        subprocess.run(["ip", "netns", "delete", NAMESPACES[0]], stderr=subprocess.DEVNULL)
        make_namespace(NAMESPACES[0])
        return self.edgeward("apply", self.path(f"{count}.yaml"), *self.state(), namespace=NAMESPACES[0])

    def nft_load(self):
        subprocess.run(["ip", "netns", "delete", NAMESPACES[1]], stderr=subprocess.DEVNULL)
        make_namespace(NAMESPACES[1])
        return Run(["nft", "-f", self.path(f"{LARGE}.nft")], NAMESPACES[1])

    def aggregate(self):
        ours, theirs = alternate(
            lambda: self.edgeward("aggregate", self.path("random.txt")), lambda: Run(["iprange", self.path("random.txt")])
        )
        self.table.beside("`aggregate` of 1,000,000 random prefixes", ours, theirs, "iprange", 0.5, 2)

    def offline(self):
        compiled = {}
        for count in (SMALL, LARGE):
            policy, text = self.path(f"{count}.yaml"), self.path(f"{count}.out.nft")
            compiled[count], = alternate(lambda: self.edgeward("compile", policy, "-o", text))
        self.table.within(f"`compile` with {LARGE:,} prefixes, proof included", compiled[LARGE], 3, 1024)
        self.table.growth("`compile`", compiled[SMALL], compiled[LARGE], 15)
        different = {}
        for count in (SMALL, LARGE):
            policy, text = self.path(f"{count}-more.yaml"), self.path(f"{count}.out.nft")
            different[count], = alternate(lambda: self.edgeward("diff", policy, "--against", text, expect=(1,)))
        self.table.within(f"`diff` against a file with {LARGE:,} prefixes", different[LARGE], 3, 1024)
        self.table.growth("`diff` against a file", different[SMALL], different[LARGE], 15)
        probe = ["--from", "203.0.113.1", "--to", "10.0.0.20", "--proto", "tcp", "--dport", "443"]
        explained, = alternate(lambda: self.edgeward("explain", self.path(f"{LARGE}.yaml"), *probe))
        self.table.within(f"`explain` with {LARGE:,} prefixes", explained, 3, 1024)

    def examples(self, policies):
        names = sorted(name for name in os.listdir(policies) if name.endswith(".yaml") and not name.endswith(".lock.yaml"))
        sizes = {}
        for name in names:
            self.edgeward("compile", os.path.join(policies, name), "-o", self.path("example.nft"))
            sizes[name] = os.path.getsize(self.path("example.nft"))
        name = max(sizes, key=sizes.get)
        largest = os.path.join(policies, name)
        compiled, = alternate(lambda: self.edgeward("compile", largest))
        self.table.within(f"`compile` of the largest example, {name}", compiled, 0.030)
        probe = ["--from", "10.0.0.20", "--to", "192.168.10.20", "--proto", "tcp", "--dport", "6443"]
        probe += ["--hook", "forward" if "gateway" in name else "output"]
        explained, = alternate(lambda: self.edgeward("explain", largest, *probe))
        self.table.within("`explain` on it", explained, 0.030)

    def life(self, policies):
        """The verbs of a host with one example, and a program that does nothing, started in the same way."""
        def is_of_host(name):
            if not name.endswith(".yaml"):
                return False
            with open(os.path.join(policies, name), encoding="utf-8") as file:
                return "target: edge-host\n" in file.read()

        policy = max(filter(is_of_host, os.listdir(policies)), key=lambda name: os.path.getsize(os.path.join(policies, name)))
        run = lambda *arguments: self.edgeward(*arguments, *self.state("life"), namespace=NAMESPACES[0])

        def apply():
            shutil.rmtree(self.path("life"), ignore_errors=True)
            subprocess.run(["ip", "netns", "delete", NAMESPACES[0]], stderr=subprocess.DEVNULL)
            make_namespace(NAMESPACES[0])
            return run("apply", os.path.join(policies, policy), "--force")

        def boot():
            subprocess.run(["ip", "netns", "exec", NAMESPACES[0], "nft", "delete", "table", "inet", "edgeward"], check=True)
            return run("boot")

        ways = [apply, boot, lambda: run("status"), lambda: Run(["true"], NAMESPACES[0])]
        *figures, nothing = alternate(*ways)
        names = [f"first `apply` of an example, {policy}", "`boot` with its rules", "`status` of it"]
        for name, figure, limit in zip(names, figures, (0.010, 0.005, 0.005)):
            ratio = f"time {figure.seconds / nothing.seconds:.1f}"
            self.table.row(name, figure, f"`true`: {nothing}", ratio, f"{limit} s", figure.seconds <= limit)

    def live(self):
        ours, theirs = alternate(lambda: self.cold(LARGE), self.nft_load)
        self.table.beside(f"first `apply` of {LARGE:,} prefixes", ours, theirs, "`nft -f`", 0.75, 0.25)
        small, = alternate(lambda: self.cold(SMALL))
        self.table.growth("first `apply`", small, ours, 15)
        self.cold(LARGE)
        policy, more = self.path(f"{LARGE}.yaml"), self.path(f"{LARGE}-more.yaml")
        refreshes, elements = itertools.count(1), itertools.count(1)

        def refresh():
            which = "less" if next(refreshes) % 2 else "all"
            shutil.copy(self.path(f"{LARGE}-{which}.txt"), self.path(f"{LARGE}.txt"))
            return self.edgeward("apply", policy, *self.state(), namespace=NAMESPACES[0])

        def add_element():
            element = f"{{ 1.2.3.{next(elements)} }}"
            return Run(["nft", "add", "element", "inet", "bench", "sites", element], NAMESPACES[1])

        ours, theirs = alternate(refresh, add_element)
        self.table.beside(f"`apply` that changes 1 of {LARGE:,} elements", ours, theirs, "`nft add element`", 0.02, limit=50)
        shutil.copy(self.path(f"{LARGE}-all.txt"), self.path(f"{LARGE}.txt"))
        self.edgeward("apply", policy, *self.state(), namespace=NAMESPACES[0])
        again, _ = alternate(
            lambda: self.edgeward("apply", more, *self.state(), namespace=NAMESPACES[0]),
            lambda: self.edgeward("apply", policy, *self.state(), namespace=NAMESPACES[0]),
        )
        self.table.within(f"`apply` that adds a flow next to {LARGE:,} prefixes", again, 0.5)
        compared, = alternate(lambda: self.edgeward("diff", more, *self.state(), namespace=NAMESPACES[0], expect=(1,)))
        self.table.within(f"`diff` against the kernel with {LARGE:,} prefixes", compared, 2)
        generation, = alternate(lambda: self.edgeward("diff", more, "--against", "1", *self.state(), expect=(1,)))
        self.table.within(f"`diff` against a generation with {LARGE:,} prefixes", generation, 3, 1024)
        status, = alternate(lambda: self.edgeward("status", *self.state(), namespace=NAMESPACES[0]))
        self.table.within(f"`status` with {LARGE:,} prefixes", status, 2)


def make_namespace(name):
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)


def remove_namespaces():
    for name in NAMESPACES:
        subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("program", help="the release build of edgeward")
    arguments.add_argument("--inputs", help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if arguments.inputs:
        return write_inputs(arguments.inputs)
    program = os.path.abspath(arguments.program)
    policies = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "policies")
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        remove_namespaces()
        try:
            for name in NAMESPACES:
                make_namespace(name)
            # In a separate process: the kernel counts the memory of the parent in the peak of its children.
            subprocess.run([sys.executable, __file__, program, "--inputs", folder], check=True)
            bench = Bench(program, folder, table)
            bench.examples(policies)
            bench.aggregate()
            bench.offline()
            bench.life(policies)
            bench.live()
        finally:
            remove_namespaces()
    sys.exit(1 if table.failed else 0)


if __name__ == "__main__":
    main()
