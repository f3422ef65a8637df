"""Start-up kits: a root certificate, and a folder for each participant that it vouches for.

Who holds the root's private key, `authority/`, can let anyone in. It is needed for nothing but to
make further kits, so it belongs on a disk that is not connected.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate
from cryptography.x509.oid import NameOID
from nvflare.lighter.constants import CtxKey, PropKey
from nvflare.lighter.entity import Project
from nvflare.lighter.impl.cert import DEFAULT_CERT_VALID_DAYS, CertBuilder
from nvflare.lighter.impl.signature import SignatureBuilder
from nvflare.lighter.impl.static_file import StaticFileBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provisioner import Provisioner
from nvflare.lighter.utils import Identity, generate_cert, serialize_cert

from fednnunet import records
from fednnunet.errors import FedNNUNetError, InputError
from fednnunet.federation.engines.network.certificate_request import Request
from fednnunet.federation.engines.network.flare.permissions import (
    ROLE,
    authorization,
    coordinator_resources,
    site_resources,
)
from fednnunet.federation.engines.network.kit import FEDERATION, FILE, Kit, Role
from fednnunet.files import private_files, write_text

ADMIN = "admin@fednnunet.org"
PROJECT = "fednnunet"
_ROOT_DAYS = 3650  # of the root; participants' certificates last 360 days
_ORGANISATION = "fednnunet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """For whom kits are made: sites, and the coordinator's host and port; `federation` is the
    federation file's text, which each kit holds. The sites of `requests` have private keys of their
    own: their kits get a certificate for it and no key."""

    sites: tuple[str, ...]
    host: str
    port: int
    federation: str
    requests: tuple[Request, ...] = ()


class _Quiet:
    """Collects what NVFlare has to say, for an error."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str) -> None:
        """Take a line."""

    debug = info

    def warning(self, text: str) -> None:
        """Take a line."""
        self.lines.append(str(text))

    error = warning


def make_kits(wanted: Wanted, out: Path, authority: Path | None = None) -> tuple[Path, ...]:
    """Write `out/coordinator`, `out/admin`, `out/NAME` of each site and `out/authority`.

    With the `authority` of earlier kits, the new ones are of the same federation: their
    certificates begin now, and old kits hold until theirs expire. Only their owner can read the
    kits. Raises FedNNUNetError where NVFlare makes none.
    """
    with private_files(), tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        made = _provision(wanted, Path(scratch), authority)
        root = (made / wanted.host / "startup" / "rootCA.pem").read_bytes()
        identity = hashlib.sha256(root).hexdigest()
        if authority is None:
            _keep_authority(Path(scratch) / PROJECT / "state" / "cert.json", out / "authority")
        kits = [
            _place(made / wanted.host, out / "coordinator", "coordinator", identity, wanted),
            _place(made / ADMIN, out / "admin", "admin", identity, wanted),
        ]
        for site in wanted.sites:
            kits.append(_place(made / site, out / site, "site", identity, wanted))
        root_key = _root(authority or out / "authority")
        for request in wanted.requests:
            _certify(request, out / request.site / "startup", **root_key)
    return tuple(kits)


def _certify(
    request: Request, startup: Path, serialized_root_cert: bytes, root_private_key: Any
) -> None:
    """Replace the certificate of a site's kit by one for its own key, and take the key out."""
    root = load_pem_x509_certificate(serialized_root_cert)
    issuer = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    certificate = generate_cert(
        subject=Identity(request.site, _ORGANISATION),
        issuer=Identity(issuer),
        signing_pri_key=root_private_key,
        subject_pub_key=request.public_key,
        valid_days=DEFAULT_CERT_VALID_DAYS,
    )
    (startup / "client.crt").write_bytes(serialize_cert(certificate))
    (startup / "client.key").unlink()


def _project(wanted: Wanted, authority: Path | None) -> Project:
    """NVFlare's description of who takes part; it raises ValueError for names it does not take."""
    project = Project(name=PROJECT, description="", **(_root(authority) if authority else {}))
    project.set_server(
        wanted.host,
        _ORGANISATION,
        {
            PropKey.FED_LEARN_PORT: wanted.port,
            PropKey.ADMIN_PORT: wanted.port,
            PropKey.DEFAULT_HOST: wanted.host,
            PropKey.HOST_NAMES: [wanted.host],
        },
    )
    for site in wanted.sites:
        project.add_client(site, _ORGANISATION, {})
    project.add_admin(ADMIN, _ORGANISATION, {PropKey.ROLE: ROLE})
    return project


def _provision(wanted: Wanted, scratch: Path, authority: Path | None) -> Path:
    try:
        project = _project(wanted, authority)
    except ValueError as error:
        raise _no_kits(str(error)) from None
    builders = [
        WorkspaceBuilder(template_file="master_template.yml"),
        StaticFileBuilder(config_folder="config", scheme="tcp"),
        CertBuilder(root_valid_days=_ROOT_DAYS),
        SignatureBuilder(),
    ]
    log = _Quiet()
    context = Provisioner(str(scratch), builders).provision(project, logger=log)
    if context.get(CtxKey.BUILD_ERROR):
        raise _no_kits("; ".join(log.lines))
    return Path(context[CtxKey.CURRENT_PROD_DIR])


def _no_kits(why: str) -> FedNNUNetError:
    return FedNNUNetError(
        f"NVFlare makes no kits: {why[:500]}",
        mend="correct the names of sites and host in the federation file",
    )


def _root(authority: Path) -> dict[str, Any]:
    """The root's certificate and private key, as NVFlare takes them."""
    try:
        certificate = (authority / "rootCA.pem").read_bytes()
        key = load_pem_private_key((authority / "rootCA.key").read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise InputError(
            f"the folder is no authority: {error}",
            where=str(authority),
            mend="give the folder `authority` that the first fednnunet_provision made",
        ) from None
    return {"serialized_root_cert": certificate, "root_private_key": key}


def _keep_authority(state: Path, folder: Path) -> None:
    """Keep the root's certificate and key, and no participant's."""
    found = json.loads(state.read_text(encoding="utf-8"))
    write_text(folder / "rootCA.pem", found["root_cert"])
    write_text(folder / "rootCA.key", found["root_pri_key"])


def _place(made: Path, kit: Path, role: Role, identity: str, wanted: Wanted) -> Path:
    """Put NVFlare's kit in its place, without its scripts and with our permissions."""
    shutil.copytree(made, kit, ignore=shutil.ignore_patterns("*.sh", "*.ipynb", "readme.txt"))
    name = made.name if role == "site" else role
    records.write(
        Kit(role=role, name=name, federation=identity, host=wanted.host, port=wanted.port),
        kit / FILE,
    )
    if role == "admin":
        return kit
    write_text(kit / FEDERATION, wanted.federation)
    records.write(authorization(), kit / "local" / "authorization.json")
    if role == "site":
        records.write(site_resources(), kit / "local" / "resources.json")
    return kit


def use_store(kit: Path, store: Path) -> None:
    """Have the coordinator's NVFlare keep its jobs in an empty folder `store`."""
    shutil.rmtree(store, ignore_errors=True)
    store.mkdir(parents=True)
    records.write(coordinator_resources(str(store)), kit / "local" / "resources.json")
