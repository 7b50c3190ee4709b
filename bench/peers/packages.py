# SPDX-License-Identifier: Apache-2.0
"""Other servers come from Debian's packages. None of their services is left running or enabled: we
start our own instances with configurations of our own.
"""

import os
import pathlib
import shutil
import subprocess

from peers import ending

POLICY = pathlib.Path("/usr/sbin/policy-rc.d")
DENY = "#!/bin/sh\n# Made by bench/compare while it installs; removed again.\nexit 101\n"


class Missing(Exception):
    """A server that cannot be had here; the text says why."""


def installed(package):
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "installed"


def version(package):
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def run(*command):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # An interrupted dpkg leaves packages half configured: we end after it. A session of its own
    # keeps a terminal's signals away.
    with ending.held():
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            check=False,
        )
    return done.returncode, done.stdout


def enabled():
    """What would be started with the machine: units of systemd, and scripts of old."""
    links = list(pathlib.Path("/etc/systemd/system").glob("*.wants/*"))
    links += pathlib.Path("/etc").glob("rc[2-5].d/S*")
    return set(links)


def install(packages):
    """Installs what is missing, with no service started, and disables those that came with it."""
    if not shutil.which("apt-get"):
        raise Missing("this is not a Debian system")
    wanted = [package for package in packages if not installed(package)]
    if not wanted:
        return []
    if os.geteuid() != 0:
        raise Missing(f"not installed, and only root can: apt-get install {' '.join(wanted)}")
    print(f"installing {' '.join(wanted)}, without starting anything", flush=True)
    with ending.held():
        enabled_before = enabled()
        own_policy = not POLICY.exists()
        if own_policy:
            POLICY.write_text(DENY, encoding="ascii")
            POLICY.chmod(0o755)
        try:
            run("apt-get", "update", "-qq")
            code, text = run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *wanted)
        finally:
            if own_policy:
                POLICY.unlink()
            disable(enabled() - enabled_before)
    if code != 0:
        raise Missing(f"apt-get could not install {' '.join(wanted)}:\n{text[-1500:]}")
    return wanted


def unpack(names, folder):
    """Packages that exclude one another, or would put files where the machine has its own: unpacked
    below `folder`, not installed, without what is installed already. Returns the version of the
    first.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    script = (
        'cd "$1" && apt-get download -qq -o APT::Sandbox::User=root "$2" && '
        'dpkg-deb -f "$2"_*.deb Version >"$2.version" && dpkg-deb -x "$2"_*.deb . && '
        'rm -f "$2"_*.deb'
    )
    for name in names:
        done = folder / f"{name}.version"
        if done.exists() or (name != names[0] and installed(name)):
            continue
        code, text = run("sh", "-c", script, "sh", str(folder), name)
        if code != 0:
            raise Missing(f"apt-get could not download {name}: {text[-500:]}")
    return (folder / f"{names[0]}.version").read_text(encoding="ascii").strip()


def disable(links):
    """A package that was just installed must not come up at the next start of the machine."""
    for link in sorted(links):
        if link.parent.name.endswith(".wants"):
            run("systemctl", "disable", link.name)
        else:
            run("update-rc.d", link.name[3:], "disable")
        if link in enabled():
            link.unlink()


def purge(packages):
    if packages:
        print(f"removing {' '.join(packages)}", flush=True)
        run("apt-get", "purge", "-y", "-qq", "--autoremove", *packages)
