"""Settings, the files of TLS and bearers."""

import asyncio
import datetime as dt
import os
import threading

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served import serving

import jotsmith
from jotsmith import Error, SettingError, aio
from jotsmith._core.settings import server

SERVER = "server"


class Authority:
    """Issues certificates."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("ca", self.key.public_key(), ca=True)

    def _sign(self, name, public, *, ca=False):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        now = dt.datetime.now(dt.timezone.utc)
        names = [x509.DNSName("localhost" if name == SERVER else name)]
        builder = x509.CertificateBuilder(issuer, subject, public, x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(self, name):
        key = ec.generate_private_key(ec.SECP256R1())
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private, self._sign(name, key.public_key()).public_bytes(pem)

    def locked(self):
        format_, lock = serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
        return self.key.private_bytes(serialization.Encoding.PEM, format_, lock)


class Stage:
    """A server over TLS and the files of a client."""

    def __init__(self, directory):
        self.authority = Authority()
        self.directory = directory
        self.settings = {
            "tls_ca": directory / "ca.pem",
            "tls_cert": directory / "me.pem",
            "tls_key": directory / "me.key",
        }
        (directory / "ca.pem").write_bytes(self.authority.pem())
        self.become("first")

    def become(self, name):
        key, certificate = self.authority.issue(name)
        (self.directory / "me.key").write_bytes(key)
        (self.directory / "me.pem").write_bytes(certificate)

    def serving(self):
        own = self.authority.issue(SERVER)
        return serving(grpc.ssl_server_credentials([own], self.authority.pem(), require_client_auth=True))


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_a_new_certificate_counts_and_cuts_nothing_off(stage):
    with stage.serving() as (service, address), jotsmith.connect(address, **stage.settings) as client:
        with client.watch("p") as tokens:
            next(tokens)
            client.token("p")
            stage.become("second")
            client.token("q")
            assert service.callers == ["first", "first", "second"]
            service.more.set()
            assert next(tokens).reveal() == "token-4"
            assert len(service.callers) == 4
            assert service.callers[3] == "first"  # the same stream
            (stage.directory / "me.pem").write_text("half")
            client.token("r")
            (stage.directory / "me.key").unlink()
            client.token("s")
            assert service.callers[4:] == ["second", "second"]
            stage.become("third")
            client.token("t")
        assert service.callers[6:] == ["third"]


def test_a_new_certificate_counts_with_asyncio(stage):
    async def main():
        with stage.serving() as (service, address):
            async with aio.connect(address, **stage.settings) as client, client.watch("p") as tokens:
                await anext(tokens)
                stage.become("second")
                await asyncio.gather(*(client.token("p", {"n": n}) for n in range(20)))
                service.more.set()
                await anext(tokens)
                assert service.callers == ["first", *["second"] * 20, "first"]

    asyncio.run(main())


def test_calls_under_way_outlive_the_files(stage):
    with stage.serving() as (service, address), jotsmith.connect(address, **stage.settings) as client:
        client.token("p")
        service.hold.clear()
        got = []
        caller = threading.Thread(target=lambda: got.append(client.token("q").reveal()))
        caller.start()
        service.waiting.acquire()
        service.waiting.acquire()
        stage.become("second")
        other = threading.Thread(target=lambda: got.append(client.token("r").reveal()))
        other.start()
        service.waiting.acquire()
        service.hold.set()
        caller.join()
        other.join()
        assert len(got) == 2
        assert service.callers == ["first", "first", "second"]


def test_a_bearer_is_read_for_each_call(tmp_path):
    path = tmp_path / "id"
    path.write_text("a.b.c \n")
    with serving() as (service, address), jotsmith.connect(address, bearer_file=path) as client:
        client.token("p")
        path.write_text("d.e.f")
        client.token("q")
        assert [sent["authorization"] for sent in service.sent] == ["Bearer a.b.c", "Bearer d.e.f"]
        path.unlink()
        with pytest.raises(Error) as failed:
            client.token("r")
        assert failed.value.code is grpc.StatusCode.UNAUTHENTICATED
        assert len(service.sent) == 2
        assert service.sent[0]["user-agent"].startswith("jotsmith-python")


def test_wrong_settings_are_errors_at_once(stage, tmp_path):
    ca, cert, key = stage.settings.values()
    other = tmp_path / "other.key"
    other.write_bytes(stage.authority.issue("other")[0])
    locked = tmp_path / "locked.key"
    locked.write_bytes(stage.authority.locked())
    long = tmp_path / "long"
    long.write_text("x" * 8194)
    spaced = tmp_path / "spaced"
    spaced.write_text("a b")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for address, settings, says in (
        ("unix:///s", {"tls_ca": ca}, "TLS"),
        ("unix:///s", {"tls_server_name": "x"}, "TLS"),
        ("somewhere", {"bearer": "x"}, "somewhere"),
        ("http://host:1", {"bearer": "x"}, "HOST:PORT"),
        ("::1:8443", {"bearer": "x"}, "HOST:PORT"),
        ("host:8443", {"tls_ca": ca}, "wants a client certificate"),
        ("host:8443", {"tls_ca": ca, "tls_cert": cert}, "go together"),
        ("host:8443", {"tls_ca": ca, "tls_key": key}, "go together"),
        ("host:8443", {"tls_ca": tmp_path / "nowhere.pem", "bearer": "x"}, "nowhere.pem"),
        ("host:8443", {"tls_ca": key, "bearer": "x"}, "no PEM certificate"),
        ("host:8443", {"tls_ca": ca, "tls_cert": cert, "tls_key": other}, "client certificate"),
        ("host:8443", {"tls_ca": ca, "tls_cert": key, "tls_key": key}, "client certificate"),
        ("host:8443", {"tls_ca": ca, "tls_cert": cert, "tls_key": locked}, "client certificate"),
        ("unix:///s", {"bearer": "a b"}, "not a token"),
        ("unix:///s", {"bearer": "a\n"}, "not a token"),
        ("unix:///s", {"bearer_file": tmp_path}, "regular"),
        ("unix:///s", {"bearer_file": pipe}, "regular"),
        ("unix:///s", {"bearer_file": long}, "longer"),
        ("unix:///s", {"bearer_file": spaced}, "alone"),
        ("unix:///s", {"timeout": -1}, "timeout"),
        ("localhost:1", {"plaintext_loopback": True}, "plaintext is for"),
        ("192.0.2.1:443", {"plaintext_loopback": True}, "plaintext is for"),
        ("::1:1", {"plaintext_loopback": True}, "plaintext is for"),
        ("[::ffff:127.0.0.1]:1", {"plaintext_loopback": True}, "plaintext is for"),
        ("127.0.0.1:x", {"plaintext_loopback": True}, "plaintext is for"),
        ("127.0.0.1", {"plaintext_loopback": True}, "plaintext is for"),
        ("unix:///s", {"plaintext_loopback": True}, "plaintext is for"),
        ("127.0.0.1:1", {"plaintext_loopback": True, "tls_ca": ca}, "exclude"),
        ("[::1]:1", {"plaintext_loopback": True, "bearer": "x"}, "not sent in plaintext"),
    ):
        for connect in (jotsmith.connect, aio.connect):
            with pytest.raises(SettingError, match=says):
                connect(address, **settings)
    with pytest.raises(TypeError):
        jotsmith.connect("unix:///s", tls_c=ca)


def test_what_is_not_set_comes_from_the_environment(stage, monkeypatch):
    assert server(None).target == "unix:///run/jotsmith/jotsmith.sock"
    ca, cert, key = (str(path) for path in stage.settings.values())
    (stage.directory / "id").write_text("x")
    for name, value in (
        ("ADDRESS", "host:8443"),
        *(("TLS_CA", ca), ("TLS_CERT", cert), ("TLS_KEY", key), ("TLS_SERVER_NAME", "name.example")),
        ("BEARER_FILE", str(stage.directory / "id")),
    ):
        monkeypatch.setenv(f"JOTSMITH_{name}", value)
    found = server(None)
    assert found.target == "dns:///host:8443"
    assert (str(found.tls.ca), str(found.tls.cert), str(found.tls.key)) == (ca, cert, key)
    assert ("grpc.ssl_target_name_override", "name.example") in found.options
    assert found.bearer.read() == "x"
    # The variables of TLS may be there for another server.
    assert server("unix:///s").tls is None
    assert server("host:1", bearer="y").bearer.read() == "y"
    with pytest.raises(SettingError, match="go together"):
        server("host:1", tls_cert=cert)
    for name in ("TLS_CA", "TLS_CERT", "TLS_KEY", "TLS_SERVER_NAME", "BEARER_FILE"):
        monkeypatch.delenv(f"JOTSMITH_{name}")
    monkeypatch.setenv("JOTSMITH_PLAINTEXT_LOOPBACK", "true")
    assert server("[::1]:1").target == "ipv6:[::1]:1"
    assert server("127.0.0.1:1").target == "ipv4:127.0.0.1:1"
