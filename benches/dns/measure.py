"""Runs the three servers of benches/dns.sh and dnsperf against them in turn, and prints what came of it."""

import argparse
import json
import os
import pathlib
import platform
import re
import socket
import statistics
import struct
import subprocess
import sys
import time

PORTS = {"nearport": 5301, "gdnsd": 5302, "knot": 5303}
KINDS = ("plain", "subnet")
TICK = os.sysconf("SC_CLK_TCK")


def commands(work, program):
    return {
        "nearport": [program, "serve", "--role", "locate", "--config", f"{work}/nearport/nearport.toml"],
        "gdnsd": ["gdnsd", "-c", f"{work}/gdnsd", "start"],
        "knot": ["knotd", "-c", f"{work}/knot/knot.conf"],
    }


def ask(port, octets, timeout=1):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(timeout)
        one.connect(("127.0.0.1", port))
        one.send(octets)
        return one.recv(2048)


def address(answer):
    """The one address of an answer, and the scope of its client subnet."""
    counts = struct.unpack(">HHHH", answer[4:12])
    if answer[3] & 15 or counts[1] != 1:
        raise ValueError(f"not one answer: {answer.hex()}")
    at = 12
    while answer[at]:
        at += 1 + answer[at]
    at += 5
    at += 2 if answer[at] >= 0xC0 else 0
    length = struct.unpack(">H", answer[at + 8 : at + 10])[0]
    data = answer[at + 10 : at + 10 + length]
    return ".".join(str(octet) for octet in data)


def start(name, command, log):
    # One core for all of its threads.
    process = subprocess.Popen(["taskset", "-c", "0", *command], stdout=log, stderr=log)
    question = bytes.fromhex("000100000001000000000000") + b"\x02im\x05bench\x07example\x00\x00\x01\x00\x01"
    for _ in range(200):
        if process.poll() is not None:
            sys.exit(f"{name} ended: see {log.name}")
        try:
            address(ask(PORTS[name], question, 0.25))
            return process
        except (OSError, ValueError):
            time.sleep(0.1)
    sys.exit(f"{name} does not answer: see {log.name}")


def messages(path, count):
    octets, at, found = path.read_bytes(), 0, []
    while at < len(octets) and len(found) < count:
        (length,) = struct.unpack(">H", octets[at : at + 2])
        found.append(octets[at + 2 : at + 2 + length])
        at += 2 + length
    return found


def agreement(work):
    """How many of some hundred clients each of the others sends where gdnsd does. knot and gdnsd go by continent; we by round trips."""
    asked = messages(work / "subnet.bin", 500)
    said = {name: [address(ask(port, one)) for one in asked] for name, port in PORTS.items()}
    return {
        name: round(sum(a == b for a, b in zip(said[name], said["gdnsd"])) / len(asked), 3)
        for name in PORTS
    }


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def once(work, name, pid, kind, seconds):
    cores = os.cpu_count()
    rest = "1" if cores == 2 else f"1-{cores - 1}"
    command = ["taskset", "-c", rest, "dnsperf", "-s", "127.0.0.1", "-p", str(PORTS[name]), "-B",
               "-d", f"{work}/{kind}.bin", "-l", str(seconds), "-c", "16", "-T", str(max(1, cores - 1)), "-q", "1000", "-t", "1"]
    before = cpu_s(pid)
    output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60)
    used = cpu_s(pid) - before
    number = lambda label: float(re.search(rf"{label}:\s+([\d.]+)", output.stdout).group(1))
    try:
        answers, lost = number("Queries completed"), number("Queries lost")
        codes = re.search(r"Response codes:\s+(.*)", output.stdout).group(1)
        rate = number("Queries per second")
    except AttributeError:
        sys.exit(f"dnsperf: {output.stdout}\n{output.stderr}")
    if not codes.startswith("NOERROR") or "," in codes:
        sys.exit(f"{name} says {codes}")
    cpu_ns = used / answers * 1e9
    return {"rate": rate, "cpu_ns": cpu_ns, "busy": rate * cpu_ns / 1e9, "lost": lost}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    args = parser.parse_args()
    processes, logs = {}, []
    try:
        for name, command in commands(args.work, os.path.abspath(args.program)).items():
            logs.append(open(args.work / f"{name}.log", "wb"))
            processes[name] = start(name, command, logs[-1])
        same = agreement(args.work)
        runs = {(name, kind): [] for name in PORTS for kind in KINDS}
        for at in range(args.rounds + 1):
            for kind in KINDS:
                for name in PORTS:
                    # The first round warms up and does not count.
                    run = once(args.work, name, processes[name].pid, kind, 2 if at == 0 else args.seconds)
                    if at > 0:
                        runs[name, kind].append(run)
                        print(f"round {at} {kind:6} {name:8} {run['rate']:9.0f}/s {run['cpu_ns']:6.0f} ns", file=sys.stderr)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait(20)
        for log in logs:
            log.close()
    report(args, runs, same)


def report(args, runs, same):
    median = lambda name, kind, what: statistics.median(run[what] for run in runs[name, kind])
    rows, ratios = [], {}
    print(f"medians of {args.rounds} rounds of {args.seconds} s, interleaved; server on one core, dnsperf on the others")
    print(f"{'queries':8} {'server':9} {'answers/s':>10} {'CPU/answer':>11} {'core busy':>10} {'per core':>10} {'lost':>6}")
    for kind in KINDS:
        for name in PORTS:
            cpu = median(name, kind, "cpu_ns")
            row = {"queries": kind, "server": name, "rate": round(median(name, kind, "rate")), "cpu_ns": round(cpu),
                   "busy": round(median(name, kind, "busy"), 3), "per_core": round(1e9 / cpu),
                   "lost": sum(run["lost"] for run in runs[name, kind]), "runs": runs[name, kind]}
            rows.append(row)
            print(f"{kind:8} {name:9} {row['rate']:10} {row['cpu_ns']:8} ns {row['busy']:10.0%} {row['per_core']:8}/s {row['lost']:6.0f}")
        for other in ("gdnsd", "knot"):
            # The same round, so that what the machine does meanwhile is in both.
            rate = statistics.median(a["rate"] / b["rate"] for a, b in zip(runs["nearport", kind], runs[other, kind]))
            cpu = statistics.median(b["cpu_ns"] / a["cpu_ns"] for a, b in zip(runs["nearport", kind], runs[other, kind]))
            ratios[f"{kind}/{other}"] = {"rate": round(rate, 3), "per_core": round(cpu, 3)}
            print(f"{kind:8} nearport : {other}  {rate:.2f} in answers/s, {cpu:.2f} in answers per CPU second")
    print(f"sent where gdnsd sends them: knot {same['knot']:.0%}, nearport {same['nearport']:.0%} (it goes by round trips, not by continents)")
    version = lambda command: subprocess.run(command, capture_output=True, text=True).stdout.strip().splitlines()[:1]
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", cpuinfo)
    print(json.dumps({
        "bench": "dns", "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "rounds": args.rounds, "seconds": args.seconds,
        "machine": {"cpu": model.group(1) if model else "", "cores": os.cpu_count(), "kernel": platform.release()},
        "versions": {"knot": version(["knotd", "-V"]), "nearport": version([os.path.abspath(args.program), "--version"])},
        "results": rows, "ratios": ratios, "agreement": same,
    }))


main()
