# SPDX-License-Identifier: Apache-2.0
"""An issuer of tokens (RFC 7519), made of the openssl program."""

import base64
import json
import subprocess
import time


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """One RSA key and what is signed with it."""

    def __init__(self, folder, name="issuer"):
        self.name = name
        self.key = folder / f"{name}.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", str(self.key), "2048"], check=True, capture_output=True
        )

    def public(self):
        """The public half as one key of a JWK set (RFC 7517)."""
        text = subprocess.run(
            ["openssl", "rsa", "-in", str(self.key), "-noout", "-modulus"],
            check=True, capture_output=True, text=True,
        ).stdout
        modulus = bytes.fromhex(text.strip().split("=")[1])
        return {
            "kty": "RSA", "kid": self.name, "use": "sig", "alg": "RS256",
            "n": b64url(modulus), "e": b64url(b"\1\0\1"),
        }

    def token(self, octets=None, algorithm="RS256", **claims):
        """A token that is good for five minutes, unless the claims say otherwise; a claim that is
        None is left out. `octets`: at least so long.
        """
        said = {"iss": "https://issuer.test", "aud": "mail", "exp": int(time.time()) + 300}
        said.update(claims)
        said = {name: value for name, value in said.items() if value is not None}
        if octets is not None:
            said["padding"] = "x" * (octets * 3 // 4 - 300)
        header = {"alg": algorithm, "typ": "JWT", "kid": self.name}
        text = ".".join(b64url(json.dumps(part).encode()) for part in (header, said))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", str(self.key)],
            input=text.encode(), check=True, capture_output=True,
        ).stdout
        return f"{text}.{b64url(signature) if algorithm != 'none' else ''}"


def write_set(path, *issuers):
    """A JWK set of the issuers' public keys."""
    path.write_text(json.dumps({"keys": [issuer.public() for issuer in issuers]}))
