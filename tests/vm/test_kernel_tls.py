# SPDX-License-Identifier: Apache-2.0
"""Kernel TLS, on a kernel that has it.

The unit tests themselves are run in the machine: downloads compared octet by octet in both versions
of the protocol, a client that asks for new keys, slow clients, both I/O back ends. First without
the kernel's module, then with the module and no cipher, which must both fall back.
"""

import pathlib
import re
import tempfile
import unittest

from harness import settings
from vm import guest

CIPHERS = (
    "gf128mul ghash-generic ctr gcm libchacha chacha_generic libpoly1305 poly1305_generic "
    "chacha20poly1305"
).split()
QUICK = "tls_kernel/@(the_probe*|*both_versions|*new_keys*|a_setting*)"

SCRIPT = """
RESTANTE_KERNEL_TLS=0 /test_tls_kernel --filter 'tls_kernel/*probe*' && echo good-without-module
insmod /tls.ko
RESTANTE_KERNEL_TLS=0 /test_tls_kernel --filter 'tls_kernel/@(the_probe*|*both_versions)' \
    && echo good-without-cipher
for module in {ciphers}; do insmod /$module.ko; done
RESTANTE_KERNEL_TLS=1 /test_tls_kernel {filter} && echo good-with-all
for name in {others}; do
    RESTANTE_KERNEL_TLS_ALWAYS=1 /$name && echo good-$name
done
cat /proc/net/tls_stat
"""


class KernelTls(unittest.TestCase):
    def test_downloads_are_the_same_whoever_encrypts(self):
        others = ["test_conn_tls", "test_tls_injection", "test_tls_server"] if settings.LONG else []
        try:
            root = guest.fetch(settings.TOOLS.parent / "vm")
        except guest.Missing as missing:
            self.skipTest(str(missing))
        with tempfile.TemporaryDirectory() as name:
            machine = guest.Guest(root, pathlib.Path(name))
            for module in ["tls", *CIPHERS]:
                machine.add_module(module)
            for program in ["test_tls_kernel", *others]:
                machine.add_program(settings.BUILD / "tests/unit" / program)
            script = SCRIPT.format(
                ciphers=" ".join(CIPHERS),
                filter="" if settings.LONG else f"--filter '{QUICK}'",
                others=" ".join(others),
            )
            output = machine.run(script, 3000 if settings.LONG else 250)
        wanted = ["without-module", "without-cipher", "with-all", *others]
        for part in [f"good-{part}" for part in wanted] + ["the-script-has-ended"]:
            self.assertIn(part, output, output)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
        counts = re.findall(r"Tested: (\d+) \| Passing: (\d+)", plain)
        self.assertEqual(len(counts), len(wanted), output)
        for tested, passing in counts:
            self.assertGreater(int(tested), 0, output)
            self.assertEqual(tested, passing, output)
        sent = re.search(r"TlsTxSw\s+(\d+)", output)
        self.assertIsNotNone(sent, output)
        self.assertGreaterEqual(int(sent[1]), 4, "the kernel has encrypted for some connections")
        errors = re.search(r"TlsDecryptError\s+(\d+)", output)
        self.assertEqual(int(errors[1]), 0)


if __name__ == "__main__":
    unittest.main()
