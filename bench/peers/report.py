# SPDX-License-Identifier: Apache-2.0
"""What was measured, as one page for people; the JSON document beside it has every single run."""

import statistics


def median(runs, *path):
    values = []
    for run in runs:
        for name in path:
            run = (run or {}).get(name)
        if run is not None:
            values.append(run)
    return statistics.median(values) if values else None


def figure(value, digits=0):
    if value is None:
        return "-"
    return f"{value:,.{digits}f}" if value < 100 else f"{value:,.0f}"


def spread(runs):
    """Lowest to highest processor time of the rounds."""
    values = [run["server_cpu_us"] for run in runs]
    return f"{figure(min(values), 1)} to {figure(max(values), 1)}" if len(values) > 1 else ""


def ratio(value, base):
    return f"{value / base:.2f}" if value and base else "-"


def workload_table(name, about, by_server):
    """One row for each server, the rounds' medians."""
    lines = [
        f"### {name}: {about}",
        "",
        "| server | CPU us each | rounds | of restante's | of the floor's | rate /s | p50 us "
        "| p99 us | p99.9 us | errors |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    base = median(by_server.get("restante", []), "server_cpu_us")
    floor = median(by_server.get("floor", []), "server_cpu_us")
    for server, runs in by_server.items():
        cpu = median(runs, "server_cpu_us")
        cells = [server, figure(cpu, 1), spread(runs), ratio(cpu, base), ratio(cpu, floor)]
        cells.append(figure(median(runs, "rate")))
        cells += [figure(median(runs, "latency_us", point)) for point in ("p50", "p99", "p999")]
        cells.append(str(sum(run["errors"] for run in runs)))
        lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def storage_table(document):
    lines = [
        "### Memory and disk",
        "",
        "| server | private memory a session | sessions | disk a message of "
        f"{document['message_octets']} octets | loaded over 16 connections, /s |",
        "|---|---|---|---|---|",
    ]
    for name, server in document["servers"].items():
        memory, disk = server.get("memory_per_session"), server.get("disk_per_message")
        cells = [name]
        cells.append(f"{memory / 1024:,.1f} KB" if memory is not None else "-")
        cells.append(str(server.get("sessions", "-")))
        cells.append(f"{disk:,.0f} octets" if disk is not None else "-")
        cells.append(f"{server['load_rate']:,.0f}" if "load_rate" in server else "-")
        lines.append("| " + " | ".join(cells) + " |")
    return lines + [""]


def apart(ours, theirs):
    """How much more one is than the other: the median of neighbours, since what disturbs one
    disturbs the other; without neighbours that of the medians.
    """
    if len(ours) == len(theirs) and all(ours) and all(theirs):
        return statistics.median(their / our for our, their in zip(ours, theirs, strict=True)) - 1
    base = statistics.median(ours)
    return statistics.median(theirs) / base - 1 if base else 0


def agreement_table(workloads):
    """Server CPU of the same workload by restante-bench and by somebody else's generator."""
    rows = []
    for name, again in workloads.items():
        first = workloads.get(again.get("again") or "", {}).get("servers", {})
        for server, runs in again["servers"].items():
            ours, theirs = (
                [run["server_cpu_us"] for run in one] for one in (first.get(server, []), runs)
            )
            if ours and theirs:
                cells = [again["again"], name, server]
                cells += [
                    f"{figure(statistics.median(one), 1)} ({figure(min(one), 1)})"
                    for one in (ours, theirs)
                ]
                cells.append(f"{100 * apart(ours, theirs):+.0f} %")
                rows.append("| " + " | ".join(cells) + " |")
    if not rows:
        return []
    head = "| workload | again as | server | us by restante-bench | us by the other | difference |"
    about = "Medians (lowest); the difference is the median of neighbouring runs."
    lines = ["### Do the generators agree?", "", about, "", head, "|---|---|---|---|---|---|"]
    return lines + rows + [""]


def machine_lines(document):
    machine = document["machine"]
    return [
        f"{document['date']}; {machine['processor']}, {machine['processors']} processors, kernel "
        f"{machine['kernel']}, {machine['file_system']}; load average {machine['load']} before and "
        f"{document['load_after']} after.",
        f"Servers on processor {document['server_cpus']}, generators on {document['load_cpus']}; "
        f"{document['rounds']} rounds in alternation, {document['seconds']} s each; "
        f"{document['users']} users with {document['messages']} messages each. Medians of rounds. "
        f"{document['minutes']:.0f} minutes in all.",
        f"Processor time by {document['accounting']}: every process of the server and the kernel's "
        "work for it, children that have ended included.",
        "",
    ]


def render(document):
    lines = ["# Restante and its peers", ""] + machine_lines(document)
    lines += ["| server | version | how |", "|---|---|---|"]
    for name, server in document["servers"].items():
        lines.append(f"| {name} | {server['version']} | {server['about']} |")
    lines.append("")
    for name, workload in document["workloads"].items():
        lines += workload_table(name, workload["about"], workload["servers"])
    lines += agreement_table(document["workloads"])
    lines += storage_table(document)
    for name, why in document["missing"].items():
        lines.append(f"Not measured: {name}: {why}")
    return "\n".join(lines) + "\n"
