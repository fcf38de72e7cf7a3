#!/usr/bin/env python3
"""Measures how time and memory grow with a policy: `make bench`, as root.

Policies of several shapes, each with twice as many rows as the one before. Times are processor time (user and system) of whole
processes: other work on the host changes them less than the time that passes. The exponent is that of the growth over the last two
doublings: 1 is linear, 2 quadratic. `nft -c -f` reads the compiled text in a network namespace of its own.
"""

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile

from processes import NAMESPACES, Run, address, make_namespace, remove_namespaces

SIZES = [1_000, 2_000, 4_000, 8_000, 16_000]
# In seconds of processor time; a run that needs more is given up, and so are larger ones.
MAX_SECONDS = 60
MAX_BYTES = 8 << 30
# n log n is 1.08 from 4,000 to 16,000. The rest is for tables that no longer fit into the cache, and for noise.
MAX_EXPONENT = 1.5
# Times near that of an empty policy say nothing about growth.
MIN_SECONDS = 0.1

HEAD = """version: 1
name: growth
target: {target}
region: cn-hangzhou
connection: express-connect
cni: calico-ipip
cluster: {{kind: registered, version: "1.30", api-server: 10.0.0.10}}
networks: {{vpc: [192.168.0.0/16], hosts: [10.0.0.0/24], pods: [172.20.0.0/16]}}
management: {{from: [10.0.0.0/28]}}
dns: {{servers: [10.0.0.53]}}
gateway: {{stateless: {stateless}}}
allow:
"""


def peer(number):
    """Addresses with gaps between them."""
    return address(0x0B00_0000 + 4 * number)


def cloud(number):
    """Addresses inside the VPC, with gaps between them."""
    return address(0xC0A8_0000 + 2 * number)


# What row `i` of `n` permits: its peers and its services.
SHAPES = {
    "distinct peers and ports": lambda i, n: ([peer(i)], [f"tcp/{2 * i + 1}"]),
    "distinct peers, one port": lambda i, n: ([peer(i)], ["tcp/443"]),
    "one peer, distinct ports": lambda i, n: ([peer(0)], [f"tcp/{2 * i + 1}"]),
    "copies of one row": lambda i, n: ([peer(0)], ["tcp/443"]),
    "nested port ranges": lambda i, n: ([peer(0)], [f"tcp/{i + 1}-{65535 - i}"]),
    "port ranges that overlap": lambda i, n: ([peer(i)], [f"tcp/{i + 1}-{i + n}"]),
    "a peer that all have": lambda i, n: (["12.0.0.1", peer(i)], ["tcp/443"]),
    "a name in each row": lambda i, n: ([f"h{i}.example.com"], [f"tcp/{2 * i + 1}"]),
    "a warning for each row": lambda i, n: (["8.0.0.0/8"], [f"tcp/{2 * i + 1}"]),
    "an error in each row": lambda i, n: ([peer(i) + "/7"], [f"tcp/{2 * i + 1}"]),
    "one row with all peers": lambda i, n: ([peer(i) for i in range(n)], ["tcp/443"]) if i == 0 else None,
    "one row with all ports": lambda i, n: ([peer(0)], [f"tcp/{2 * i + 1}" for i in range(n)]) if i == 0 else None,
    "gateway, port ranges that overlap": lambda i, n: ([cloud(i)], [f"tcp/{i + 1}-{i + n}"]),
    "stateless gateway, port ranges that overlap": lambda i, n: ([cloud(i)], [f"tcp/{i + 1}-{i + n}"]),
    "gateway, distinct peers and ports": lambda i, n: ([cloud(i)], [f"tcp/{2 * i + 1}"]),
    "stateless gateway, distinct peers and ports": lambda i, n: ([cloud(i)], [f"tcp/{2 * i + 1}"]),
}
# Shapes that verbs other than `check` refuse.
INVALID = ["an error in each row"]
# Shapes that are measured with all verbs.
COMPILED = [
    "distinct peers and ports",
    "distinct peers, one port",
    "nested port ranges",
    "port ranges that overlap",
    "gateway, port ranges that overlap",
    "stateless gateway, port ranges that overlap",
    "a name in each row",
    "one row with all peers",
    "gateway, distinct peers and ports",
    "stateless gateway, distinct peers and ports",
]


def policy(shape, rows):
    target = "idc-gateway" if "gateway" in shape else "edge-host"
    direction = "outbound" if "gateway" in shape or "name" in shape else "inbound"
    text = HEAD.format(target=target, stateless=str("stateless" in shape).lower())
    for index in range(rows):
        row = SHAPES[shape](index, rows)
        if row:
            peers, ports = (", ".join(words) for words in row)
            text += f"- {{id: row-{index}, direction: {direction}, peers: [{peers}], ports: [{ports}]}}\n"
    return text if text.count("\n- ") else text.replace("allow:\n", "allow: []\n")


def lockfile(rows):
    seen = "first-seen: 2026-01-01T00:00:00Z, last-seen: 2026-01-01T00:00:00Z"
    row = "- {{name: h{0}.example.com, addresses: [{{address: {1}, {2}}}]}}\n"
    return "version: 1\nnames:\n" + "".join(row.format(index, peer(index), seen) for index in range(rows))


def limit():
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))


class Bench:
    """The measurements, with inputs in a folder."""

    def __init__(self, folder, programs, sizes):
        self.folder, self.programs, self.sizes = folder, programs, sizes
        self.failed = False

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def commands(self, verb, program, shape, rows):
        """The command of a verb; None if a former one gave it nothing to read."""
        own, other, text = (self.path(name) for name in (f"{rows}.yaml", f"{rows}-less.yaml", f"{rows}.nft"))
        probe = ["--from", peer(rows // 2), "--to", "10.0.0.20", "--proto", "tcp", "--dport", "443"]
        if "gateway" in shape:
            probe = ["--from", "10.0.0.20", "--to", cloud(rows // 2), "--proto", "tcp", "--dport", "443", "--hook", "forward"]
        return {
            "check": [program, "check", own],
            "compile": [program, "compile", own, "-o", text],
            "explain": [program, "explain", own, *probe],
            "flows": [program, "flows", own],
            # Against a policy without any of the rows.
            "diff": [program, "diff", own, "--against", other, "--format", "json"],
            "`nft -c -f`": ["nft", "-c", "-f", text],
        }[verb]

    def measure(self, verb, name, shape):
        """A line of the table: the runs by size, until one is given up."""
        cells, known = [], []
        for rows in self.sizes:
            self.write(f"{rows}.yaml", policy(shape, rows))
            self.write(f"{rows}-less.yaml", policy(shape, 0))
            if "name" in shape:
                self.write(f"{rows}.lock.yaml", lockfile(rows))
            command = self.commands(verb, self.programs[name], shape, rows)
            if verb == "`nft -c -f`" and not os.path.exists(self.path(f"{rows}.nft")):
                cells.append("")
                continue
            space = NAMESPACES[0] if verb.startswith("`nft") else None
            run = Run(command, space, expect=(0, 1, 2), limit=limit)
            if run.stopped:
                cells.append(f"more than {MAX_SECONDS} s or {MAX_BYTES >> 30} GiB")
                break
            known.append((rows, run.processor))
            cells.append(f"{run.processor:.2f} s, {run.mebibytes:.0f} MiB")
        cells += [""] * (len(self.sizes) - len(cells))
        self.row(verb, name, shape, cells, exponent(known))

    def row(self, verb, name, shape, cells, power):
        missed = power is not None and power > MAX_EXPONENT and name == "edgeward" and not verb.startswith("`nft")
        self.failed |= missed
        power = "" if power is None else f"{power:.2f}" + (" **missed**" if missed else "")
        build = f" ({name})" if len(self.programs) > 1 and not verb.startswith("`nft") else ""
        print(f"| {verb}{build} | {shape} | {' | '.join(cells)} | {power} |", flush=True)

    def all(self, verbs, shapes):
        print("| verb | rows | " + " | ".join(f"{size:,}" for size in self.sizes) + " | exponent |")
        print("|---|---|" + "---:|" * (len(self.sizes) + 1))
        for shape in shapes:
            for name in os.listdir(self.folder):
                os.remove(self.path(name))
            for verb in [verb for verb in verbs if verb == "check" or shape in COMPILED]:
                names = list(self.programs) if not verb.startswith("`nft") else ["edgeward"]
                for name in names:
                    self.measure(verb, name, shape)


def exponent(known):
    """The exponent of the growth over the last two doublings; None if the times are too short to say."""
    if len(known) < 3 or known[-1][1] < MIN_SECONDS:
        return None
    (small, less), (large, more) = known[-3], known[-1]
    return math.log(more / max(less, 0.01)) / math.log(large / small)


def main():
    verbs = ["check", "compile", "explain", "flows", "diff", "`nft -c -f`"]
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", help="the release build of edgeward")
    arguments.add_argument("--before", help="another build, measured beside it")
    arguments.add_argument("--sizes", type=lambda text: [int(size) for size in text.split(",")], default=SIZES)
    arguments.add_argument("--verb", action="append", choices=verbs, help="only these")
    arguments.add_argument("--shape", action="append", choices=SHAPES, help="only these")
    arguments = arguments.parse_args()
    programs = {"before": arguments.before} if arguments.before else {}
    programs["edgeward"] = arguments.program
    programs = {name: os.path.abspath(program) for name, program in programs.items()}
    with tempfile.TemporaryDirectory() as folder:
        remove_namespaces()
        try:
            make_namespace(NAMESPACES[0])
            bench = Bench(folder, programs, arguments.sizes)
            bench.all(arguments.verb or verbs, arguments.shape or list(SHAPES))
        finally:
            remove_namespaces()
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main()
