"""Whether a kit's certificate is good, and why a connection fails, in words that can be acted on.

NVFlare's own programs try again and again without saying why, so this looks by itself: at the
certificate's dates, and by one TLS handshake with the coordinator.
"""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

from cryptography import x509

from fednnunet.errors import InputError
from fednnunet.federation.engines.network.kit import Kit

WARN_DAYS = 30
_DAY_S = 86_400
_TIMEOUT_S = 5.0
_MEND_NEW = "ask for a new kit (fednnunet_provision --authority), and put its startup in this one"


def certificate_of(folder: Path) -> Path:
    """The certificate in a kit."""
    own = [folder / "startup" / name for name in ("client.crt", "server.crt")]
    return next((path for path in own if path.is_file()), own[0])


def days_left(folder: Path) -> float:
    """Days until a kit's certificate expires; raises InputError where it is not valid now."""
    path = certificate_of(folder)
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(
            f"the kit's certificate cannot be read: {error}", where=str(path), mend=_MEND_NEW
        ) from None
    begin, end = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
    now = time.time()
    if now < begin:
        raise InputError(
            f"the kit's certificate begins {(begin - now) / 3600:.1f} hours from now",
            where=str(path),
            mend="set this machine's clock; if it is right, the clock of the machine that made "
            "the kits is wrong",
        )
    if now >= end:
        raise InputError(
            f"the kit's certificate expired {(now - end) / _DAY_S:.0f} days ago",
            where=str(path),
            mend=_MEND_NEW,
        )
    return (end - now) / _DAY_S


def check_key(folder: Path) -> None:
    """Raise InputError where a site's kit has not the private key of its certificate."""
    path = folder / "startup" / "client.key"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate_of(folder), path)
    except FileNotFoundError:
        raise InputError(
            "the kit has no private key",
            where=str(path),
            mend="put in the one that the kit was made for: fednnunet_provision federation.toml "
            "-o REQUEST_FOLDER --complete KIT",
        ) from None
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"certificate and private key of the kit do not belong together: {error}",
            where=str(path),
            mend=_MEND_NEW,
        ) from None


def why_unreachable(folder: Path, kit: Kit) -> str:
    """Why the coordinator cannot be reached with this kit: one sentence, or "" if it can be."""
    place = f"{kit.host}:{kit.port}"
    startup = folder / "startup"
    context = ssl.create_default_context(cafile=str(startup / "rootCA.pem"))
    context.load_cert_chain(certificate_of(folder), startup / "client.key")
    try:
        with (
            socket.create_connection((kit.host, kit.port), timeout=_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=kit.host) as secure,
        ):
            secure.settimeout(1.0)
            try:
                secure.recv(1)  # a refused certificate shows only now
            except TimeoutError:
                return ""
    except ssl.SSLCertVerificationError as error:
        if error.verify_code in (18, 19, 20, 7):
            return f"the coordinator at {place} is of another federation than this kit"
        if error.verify_code in (9, 10):
            return f"the coordinator's certificate is not valid now: check the clocks ({place})"
        return f"the coordinator's certificate is not of {kit.host}: {error.verify_message}"
    except ssl.SSLError as error:
        return f"the coordinator at {place} refuses this kit's certificate: {error.reason}"
    except socket.gaierror:
        return f"no machine is known as {kit.host}: check the name server, or the kit's host"
    except OSError as error:
        return f"no coordinator answers at {place}: {error.strerror or error}"
    return ""
