"""Keys and certificates: a realm's CA, and what it signs for its nodes.

All keys are ECDSA P-256, which every TLS library takes. A node's certificate names its id (CN), its
name (OU) and its realm (O), and is valid for both directions of a TLS link.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hydramesh.errors import (
    CertificateExpired,
    CertificateInvalid,
    ClockSkew,
    MessageTooLarge,
    WrongRealm,
)
from hydramesh.identity.names import GATE_NAME, check_name, is_node_id, node_id

PIN_BYTES = 16
#: Certificates begin this long before they are signed, so that clocks may differ by as much.
SKEW_LIMIT_S = 300
DEFAULT_LIFE_S = 24 * 3600
MAX_CERTIFICATE_BYTES = 4096
_AUTHORITY_LIFE_S = 20 * 365 * 24 * 3600

PrivateKey = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """What a verified certificate says. Times are seconds since 1970."""

    nid: str
    name: str
    realm_id: str
    not_before: float
    not_after: float
    public_key: bytes
    der: bytes
    authority: bool = False

    def renew_at(self) -> float:
        """When to ask for the next one: at two thirds of what is left after the clock allowance."""
        begin = self.not_before + SKEW_LIMIT_S
        return begin + (self.not_after - begin) * 2 / 3


def new_key() -> PrivateKey:
    """A fresh private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """The private key as PEM (PKCS 8, not encrypted: the file's mode protects it)."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def load_key(pem: bytes) -> PrivateKey:
    """Read a private key; the error does not show it."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateInvalid("a private key cannot be read", why="not a PEM key") from None
    return _p256(key)


def _p256(key: object) -> PrivateKey:
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise CertificateInvalid("a private key is not an ECDSA P-256 key")
    return key


def public_bytes(key: PrivateKey | ec.EllipticCurvePublicKey) -> bytes:
    """The public key as DER."""
    public = key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def pem(der: bytes) -> bytes:
    """A certificate as PEM."""
    return load_certificate(der).public_bytes(serialization.Encoding.PEM)


def der_of_pem(text: bytes) -> bytes:
    """A certificate of a PEM file as DER."""
    try:
        return x509.load_pem_x509_certificate(text).public_bytes(serialization.Encoding.DER)
    except ValueError:
        raise CertificateInvalid("a certificate cannot be read", why="not PEM") from None


def load_certificate(der: bytes) -> x509.Certificate:
    """Parse a certificate from anywhere."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise MessageTooLarge("a certificate is too long", why=f"{len(der)} bytes")
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise CertificateInvalid("a certificate cannot be read", why="not DER") from None


def pin(ca_der: bytes) -> bytes:
    """What an invite pins: the first 16 bytes of the SHA-256 of the CA's certificate."""
    return hashlib.sha256(ca_der).digest()[:PIN_BYTES]


def realm_id(ca_der: bytes) -> str:
    """The realm's id: its pin in hex digits."""
    return pin(ca_der).hex()


def _time(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)


def make_authority(realm: str, now: float) -> tuple[PrivateKey, bytes]:
    """A new CA for a realm: its key, and its certificate as DER."""
    key = new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, check_name(realm, "realm"))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - 24 * 3600))
        .not_valid_after(_time(now + _AUTHORITY_LIFE_S))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    return key, certificate.public_bytes(serialization.Encoding.DER)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def load_public(der: bytes) -> ec.EllipticCurvePublicKey:
    """Parse a public key from anywhere."""
    try:
        key = serialization.load_der_public_key(der[:512])
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateInvalid("a public key cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise CertificateInvalid("a public key is not an ECDSA P-256 key")
    return key


def sign_node(
    ca_key: PrivateKey,
    ca_der: bytes,
    public_key: bytes,
    name: str,
    now: float,
    life_s: float,
    *,
    authority: bool = False,
) -> bytes:
    """A certificate for a node's public key, as DER. The caller has made sure who asks.

    ``authority``: the node may admit others.
    """
    public = load_public(public_key)
    nid = node_id(public_key)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, realm_id(ca_der)),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, check_name(name)),
            x509.NameAttribute(NameOID.COMMON_NAME, nid),
        ]
    )
    names = [x509.DNSName(f"{nid}.node"), *([x509.DNSName(GATE_NAME)] if authority else [])]
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(load_certificate(ca_der).subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(now - SKEW_LIMIT_S))
        .not_valid_after(_time(now + life_s))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _attribute(name: x509.Name, oid: x509.ObjectIdentifier) -> str:
    found = name.get_attributes_for_oid(oid)
    value = found[0].value if len(found) == 1 else ""
    return value if isinstance(value, str) else ""


def read_node(der: bytes, ca_der: bytes) -> NodeCertificate:
    """Verify a node's certificate against the realm's CA, all but its times."""
    certificate = load_certificate(der)
    try:
        certificate.verify_directly_issued_by(load_certificate(ca_der))
    except (ValueError, TypeError, InvalidSignature):
        raise WrongRealm(
            "the certificate is of another realm",
            why=f"it was not signed by the CA of realm {realm_id(ca_der)[:8]}",
            next_step="ask for an invite to the realm that you mean",
        ) from None
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateInvalid("the certificate's key is of the wrong kind")
    public = public_bytes(key)
    nid = _attribute(certificate.subject, NameOID.COMMON_NAME)
    name = _attribute(certificate.subject, NameOID.ORGANIZATIONAL_UNIT_NAME)
    if not is_node_id(nid) or nid != node_id(public):
        raise CertificateInvalid("the certificate's node id does not fit its key")
    return NodeCertificate(
        nid=nid,
        name=check_name(name),
        realm_id=_attribute(certificate.subject, NameOID.ORGANIZATION_NAME),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        public_key=public,
        der=der,
        authority=_admits(certificate),
    )


def _admits(certificate: x509.Certificate) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False
    return GATE_NAME in names.get_values_for_type(x509.DNSName)


def check_times(certificate: NodeCertificate, now: float) -> None:
    """Refuse a certificate that is not valid at this time."""
    if now < certificate.not_before:
        raise ClockSkew(
            f"the certificate of {certificate.nid} begins in the future",
            why=f"in {span_text(certificate.not_before - now)}, by this machine's clock",
            next_step="set this machine's clock: timedatectl set-ntp true",
        )
    if now > certificate.not_after:
        raise CertificateExpired(
            f"the certificate of {certificate.nid} has ended",
            why=f"{span_text(now - certificate.not_after)} ago, by this machine's clock",
            next_step="it is renewed once the realm's authority is reached: hydramesh doctor",
        )


def verify_node(der: bytes, ca_der: bytes, now: float) -> NodeCertificate:
    """Verify a node's certificate: signed by this CA, well formed, valid now."""
    certificate = read_node(der, ca_der)
    check_times(certificate, now)
    return certificate


def sign(key: PrivateKey, message: bytes) -> bytes:
    """An ECDSA signature of a message."""
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def signature_holds(public: ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """Whether the key's owner signed the message."""
    try:
        public.verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def span_text(seconds: float) -> str:
    """A span of time for people.

    >>> span_text(42), span_text(3 * 3600 + 120), span_text(3 * 86400)
    ('42 s', '3 h 2 min', '3 d 0 h')
    """
    whole = int(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
