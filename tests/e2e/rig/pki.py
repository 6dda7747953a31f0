"""A throw-away certificate authority and the key pairs of a control plane, made anew for each run.

    authority = Authority("lastlight-test", directory)
    cert, key = authority.issue("kube-apiserver", hosts=["localhost", "127.0.0.1", "::1"])

All files are PEM below `directory`; `authority.ca_file` is what clients trust.
"""

import base64
import datetime
import ipaddress
import json
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


def _write(path, content):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(content)
    return path


def _private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(common_name, organization=None):
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def signing_key_pair(directory, name):
    """An RSA pair for ServiceAccount tokens: (private PEM file, public PEM file)."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return _write(os.path.join(directory, f"{name}.key"), _private_pem(key)), _write(os.path.join(directory, f"{name}.pub"), public)


def resigned(token, key_file, **claims):
    """The JSON Web Token (RFC 7519, RS256) with other claims, signed anew."""
    header, payload, _ = token.split(".")
    wanted = {**json.loads(base64.urlsafe_b64decode(payload + "==")), **claims}
    with open(key_file, "rb") as pem:
        key = serialization.load_pem_private_key(pem.read(), None)
    body = header.encode() + b"." + base64.urlsafe_b64encode(json.dumps(wanted).encode()).rstrip(b"=")
    return (body + b"." + base64.urlsafe_b64encode(key.sign(body, padding.PKCS1v15(), hashes.SHA256())).rstrip(b"=")).decode()


class Authority:
    """Issues certificates that are valid for a day around now."""

    def __init__(self, name, directory):
        self.directory = str(directory)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = _name(name)
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
                              data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False)
        cert = (self._certificate(self._subject, self._key.public_key())
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .sign(self._key, hashes.SHA256()))
        self.ca_file = _write(os.path.join(self.directory, "ca.crt"), cert.public_bytes(serialization.Encoding.PEM))

    def _certificate(self, subject, public_key):
        now = datetime.datetime.utcnow()
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(self._subject).public_key(public_key)
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
                .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False))

    def issue(self, name, hosts=(), organization=None):
        """(certificate file, key file) for a server of `hosts`, or for a client named `name` in group `organization`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._certificate(_name(name, organization), key.public_key())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_alternative(host) for host in hosts]), critical=False)
        cert = builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        stem = os.path.join(self.directory, name.replace(":", "_"))
        return _write(stem + ".crt", cert), _write(stem + ".key", _private_pem(key))


def _alternative(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
