"""Certificates for tests, signed by themselves, in the form of a Secret of the type kubernetes.io/tls."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["make_pair", "mount"]


def make_pair(name: str, directory: Path) -> None:
    """Write tls.crt and tls.key of a certificate for localhost whose common name is `name`."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (directory / "tls.key").write_bytes(private)


def mount(directory: Path, content: Path) -> None:
    """Show the files of `content` in `directory` as the kubelet shows a Secret: links that are swapped at once."""
    directory.mkdir(exist_ok=True)
    following = directory / "..next"
    following.symlink_to(content)
    following.replace(directory / "..data")
    for file in content.iterdir():
        if not (directory / file.name).is_symlink():
            (directory / file.name).symlink_to(Path("..data") / file.name)
