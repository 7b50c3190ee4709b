# SPDX-License-Identifier: Apache-2.0
"""TLS as clients do it: contexts, and certificates made by openssl for a test."""

import ssl
import subprocess


def trusting(server, **options):
    """A context that trusts the demo's certificate and nothing else."""
    context = ssl.create_default_context(cafile=str(server.folder / "tls-certificate.pem"))
    for name, value in options.items():
        setattr(context, name, value)
    return context


def blind(**options):
    """A context that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in options.items():
        setattr(context, name, value)
    return context


def make_certificate(folder, name, *names, days=30, ca=None):
    """Writes NAME.pem and NAME.key for these DNS names, signed by itself or by `ca`."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", str(days), "-keyout", str(key), "-out", str(certificate)]
    command += ["-subj", f"/CN={names[0]}"]
    if ca is None:
        command += ["-addext", "subjectAltName=" + ",".join(f"DNS:{one}" for one in names)]
    else:
        command += ["-CA", str(ca[0]), "-CAkey", str(ca[1])]
        command += ["-addext", "extendedKeyUsage=clientAuth"]
        command += ["-addext", "basicConstraints=CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
