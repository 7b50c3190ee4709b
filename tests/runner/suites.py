# SPDX-License-Identifier: Apache-2.0
"""The suites: what each runs, what it needs built, and how long it may take."""

import sys

from runner.jobs import Job

PYTHON = [sys.executable, "-B", "-u", "-m"]
BACK_ENDS = ("io_uring", "epoll")

# A limit ends what hangs; how busy the machine is, is not its business.
PATIENCE = 3


def build_job(kind, work, slots, folder=None, needs=()):
    return Job(
        f"build-{kind}",
        PYTHON + ["runner.builds", kind, str(work / (folder or kind))],
        needs=needs,
        slots=slots,
        limit_s=PATIENCE * 600,
        suite=False,
    )


def python_job(
    name, package, work, kind="plain", io="auto", long=False, limit_s=300, extra=False
):
    """A Python suite against one build and one back end."""
    sanitized = kind != "plain"
    return Job(
        name,
        PYTHON + ["runner.pyunit", package],
        needs=[f"build-{kind}"],
        limit_s=7200 if long else PATIENCE * limit_s,
        environment={
            "RESTANTE_BUILD": str(work / kind),
            "RESTANTE_IO": io,
            "RESTANTE_SLOW": "4" if sanitized else "1",
            "RESTANTE_SANITIZED": "1" if sanitized else "",
            "RESTANTE_LONG": "1" if long else "",
        },
        extra=extra,
    )


def programs_job(name, suite, work, kind, long=False, limit_s=300, extra=False, needs=None):
    return Job(
        name,
        PYTHON + ["runner.programs", str(work / kind), suite],
        needs=needs or [f"build-{kind}"],
        limit_s=7200 if long else PATIENCE * limit_s,
        environment={"RESTANTE_LONG": "1" if long else ""},
        extra=extra,
    )


def all_jobs(work, slots, long):
    """Every job in the order in which they are started: the builds, then long suites first."""
    jobs = [build_job(kind, work, slots) for kind in ("plain", "asan", "tsan", "fuzz")]
    jobs.append(Job("check", PYTHON + ["check"], limit_s=PATIENCE * 60))
    jobs.append(build_job("plain-unit", work, slots, folder="plain", needs=["build-plain"]))
    for io in BACK_ENDS:
        # What differs between the back ends is in asan-conformance, for both.
        extra = io != BACK_ENDS[0]
        jobs.append(
            python_job(
                f"asan-blackbox-{io}", "blackbox", work, "asan", io, limit_s=400, extra=extra
            )
        )
    for io in BACK_ENDS:
        # The long forms once: they are about the store, not about how octets come and go.
        is_long = long and io == "io_uring"
        jobs.append(python_job(f"blackbox-{io}", "blackbox", work, io=io, long=is_long))
    jobs += [
        python_job("crash", "crash", work, long=long),
        Job(
            "fuzz",
            PYTHON + ["fuzz.drive", str(work / "fuzz")],
            needs=["build-fuzz"],
            limit_s=7200 if long else PATIENCE * 200,
            environment={"RESTANTE_LONG": "1" if long else ""},
        ),
        python_job("interop", "interop", work, long=long),
        python_job("scale", "scale", work, long=long),
        python_job("loadgen", "loadgen", work),
        python_job("vm", "vm", work, long=long, limit_s=900),
        python_job("guard", "guard", work, limit_s=600),
        python_job("compare", "compare", work, long=long),
        programs_job("proof", "proof", work, "plain", long=long, limit_s=1000),
        programs_job("asan-proof", "proof", work, "asan", limit_s=1000),
        programs_job("asan-unit", "unit", work, "asan"),
        programs_job("unit", "unit", work, "plain", extra=True, needs=["build-plain-unit"]),
        programs_job("threads", "threads", work, "plain"),
        programs_job("tsan-threads", "threads", work, "tsan"),
        programs_job("conformance", "conformance", work, "plain"),
        programs_job("asan-conformance", "conformance", work, "asan"),
    ]
    for io in BACK_ENDS:
        jobs.append(python_job(f"dialogues-{io}", "dialogues", work, io=io))
    for io in BACK_ENDS:
        jobs.append(python_job(f"asan-dialogues-{io}", "dialogues", work, "asan", io))
    for package in ("interop", "crash"):
        jobs.append(
            python_job(f"asan-{package}", package, work, "asan", limit_s=1200, extra=True)
        )
    return jobs
