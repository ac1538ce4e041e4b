"""Who may use the administration: tokens, roles, browsers, pages of other sites, certificates."""

import hashlib
import html
import json
import re
import ssl
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.wasp.conftest import Run, Running
from tests.wasp.operating import Answer, ask, done
from vespiary.cli.main import main
from vespiary.wasp import FileError, check

TOKEN, READ_TOKEN = "correct horse battery", "staple correct horse"
A = """\
[endpoints.a]
url = "tcp://127.0.0.1:0"
plugin = "plug.py:Greeter"
framing = "line"
"""
TEXT = f"""\
[admin]
url = "http://127.0.0.1:{{port}}/"
token = "{TOKEN}"
read_token = "{READ_TOKEN}"
audit_file = "audit.jsonl"
{A}"""


@pytest.fixture
def server(run: Run, port: int) -> Running:
    """A server with both tokens."""
    started = run(TEXT.format(port=port))
    started.serves(3)
    return started


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def log_in(port: int, token: str) -> Answer:
    """What a browser gets that sends the form of the log-in page."""
    page = ask(port, "GET", "/login")
    csrf = re.search(r'name="csrf" value="(\w+)"', page.text)
    assert csrf
    fields = {"token": token, "csrf": csrf[1]}
    return ask(port, "POST", "/login", fields, Origin=f"http://127.0.0.1:{port}")


def cookie_of(answer: Answer) -> str:
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.mark.usefixtures("server")
def test_a_token_says_which_role_a_program_has(port: int) -> None:
    assert ask(port, "GET", "/healthz").status == 200
    for path in ("/status", "/metrics", "/snapshot", "/connections", "/log", "/audit"):
        assert ask(port, "GET", path).status == 401
        assert ask(port, "GET", path, sent=bearer("wrong wrong wrong")).status == 401
        assert ask(port, "GET", path, sent=bearer(READ_TOKEN)).status == 200
        assert ask(port, "GET", path, sent=bearer(TOKEN)).status == 200
    for path in ("/reload", "/endpoints/a/suspend", "/connections/0.a.1/tap", "/log-level"):
        assert ask(port, "POST", path).status == 401
        refused = ask(port, "POST", path, sent=bearer(READ_TOKEN))
        assert (refused.status, refused.text) == (403, "this is for the role admin only\n")
    assert ask(port, "POST", "/endpoints/a/suspend", sent=bearer(TOKEN)).status == 200


@pytest.mark.usefixtures("server")
def test_a_browser_gets_a_cookie_for_a_token(port: int, folder: Path) -> None:
    assert ask(port, "GET", "/dashboard").headers["location"] == "/login"
    assert log_in(port, "wrong wrong wrong").status == 403
    answer = log_in(port, TOKEN)
    assert (answer.status, answer.headers["location"]) == (303, "/dashboard")
    flags = answer.headers["set-cookie"]
    assert "HttpOnly" in flags
    assert "SameSite=Strict" in flags
    assert TOKEN not in flags
    cookie = cookie_of(answer)
    page = ask(port, "GET", "/dashboard", Cookie=cookie)
    assert page.status == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    entries = [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]
    assert [entry["what"] for entry in entries] == ["log in", "log in"]
    role, until, signed = cookie.partition("=")[2].split(".")
    forged = f"vespiary={role}.{int(until) + 1}.{signed}"
    assert ask(port, "GET", "/status", Cookie=forged).status == 401
    reader = cookie_of(log_in(port, READ_TOKEN))
    raised = reader.replace("reader.", "admin.")
    assert ask(port, "GET", "/status", Cookie=reader).status == 200
    assert ask(port, "GET", "/status", Cookie=raised).status == 401
    assert "hx-post" not in ask(port, "GET", "/dashboard/endpoints", Cookie=reader).text


def test_a_cookie_that_nobody_has_given_is_not_one(server: Running, port: int) -> None:
    cookie = cookie_of(log_in(port, TOKEN))
    name, _, value = cookie.partition("=")
    role, until, signed = value.split(".")
    wrong = [f"{role}.{until}.\xe9", f"{role}.\xb2.{signed}", f"{role}.{until}", "..", "\xe9.1.1"]
    for one in [*wrong, f"reader.{until}.{signed}", f"{role}.{until}9.{signed}"]:
        assert ask(port, "GET", "/status", sent={"Cookie": f"{name}={one}"}).status == 401, one
    assert ask(port, "GET", "/status", sent={"Cookie": cookie}).status == 200
    assert "Traceback" not in server.log


@pytest.mark.usefixtures("server")
def test_a_change_by_a_browser_needs_the_token_of_our_page(port: int) -> None:
    cookie = cookie_of(log_in(port, TOKEN))
    origin = f"http://127.0.0.1:{port}"
    page = html.unescape(ask(port, "GET", "/dashboard/endpoints", Cookie=cookie).text)
    csrf = re.search(r'"X-CSRF-Token": "(\w+)"', page)
    assert csrf
    path = "/endpoints/a/suspend"
    without = ask(port, "POST", path, Cookie=cookie, Origin=origin)
    assert without.status == 403
    assert "this page is not of this server" in without.text
    wrong = ask(port, "POST", path, Cookie=cookie, Origin=origin, X_CSRF_Token="0" * 64)
    assert wrong.status == 403
    token = {"X-CSRF-Token": csrf[1]}
    for foreign in ("https://example.com", f"https://127.0.0.1:{port}", "http://127.0.0.1", "null"):
        assert ask(port, "POST", path, Cookie=cookie, Origin=foreign, sent=token).status == 403
    cross = ask(port, "POST", path, Cookie=cookie, Sec_Fetch_Site="cross-site", sent=token)
    assert cross.status == 403
    done = ask(port, "POST", path, Cookie=cookie, Origin=origin, HX_Request="true", sent=token)
    assert (done.status, done.text) == (200, '<p class="done">a: suspend</p>')


def test_a_page_on_a_loopback_address_is_for_loopback_names(run: Run, port: int) -> None:
    run(f'[admin]\nurl = "http://127.0.0.1:{port}/"\nhosts = ["admin.test"]\n{A}').serves(3)
    for host, status in (
        (f"127.0.0.1:{port}", 200),
        (f"localhost:{port}", 200),
        (f"[::1]:{port}", 200),
        (f"admin.test:{port}", 200),
        (f"example.com:{port}", 403),
        (f"127.0.0.1.example.com:{port}", 403),
    ):
        assert ask(port, "GET", "/dashboard", Host=host).status == status, host
    # Without a token, a page of another site is refused all the same.
    assert ask(port, "POST", "/reload", Origin="https://example.com").status == 403
    assert ask(port, "POST", "/reload", Origin=f"http://127.0.0.1:{port}").status == 403
    assert ask(port, "POST", "/reload").status == 200


@pytest.mark.usefixtures("server")
def test_the_live_numbers_are_for_those_who_may_look(port: int) -> None:
    url = f"ws://127.0.0.1:{port}/live"
    for headers, status in (
        ({}, 401),
        ({"Origin": "https://example.com", **bearer(TOKEN)}, 403),
        ({"Host": f"example.com:{port}", **bearer(TOKEN)}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
            pass
        assert refused.value.response.status_code in (status, 400)
    with connect(url, additional_headers=bearer(READ_TOKEN)) as live:
        first, second = json.loads(live.recv()), json.loads(live.recv())
    assert first["endpoints"][0]["name"] == "a"
    assert second["time"] > first["time"]


def test_a_client_certificate_is_enough_and_may_be_for_reading(
    run: Run, port: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("127.0.0.1", "admin.test", "reader.test"):
        made = CliRunner().invoke(main, ["cert", name, "--folder", str(folder)])
        assert made.exit_code == 0, made.output
    reader = ssl.PEM_cert_to_DER_cert(first_certificate(folder / "reader.test.pem"))
    names = {"certificate": "127.0.0.1", "key": "127.0.0.1-key", "client_ca": "vespiary-ca"}
    tls = ", ".join(f'{key} = "{name}.pem"' for key, name in names.items())
    run(
        f"""\
[admin]
url = "https://127.0.0.1:{port}/"
tls = {{ {tls} }}
read_certificates = ["{hashlib.sha256(reader).hexdigest()}"]
{A}"""
    ).serves(3)

    def post(name: str) -> int:
        context = ssl.create_default_context(cafile=str(folder / "vespiary-ca.pem"))
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}-key.pem")
        connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        connection.request("POST", "/reload")
        status = connection.getresponse().status
        connection.close()
        return status

    assert post("admin.test") == 200
    assert post("reader.test") == 403
    monkeypatch.setenv("VESPIARY_ADMIN_CERTIFICATE", str(folder / "reader.test.pem"))
    monkeypatch.setenv("VESPIARY_ADMIN_KEY", str(folder / "reader.test-key.pem"))
    assert "a: serving" in done(folder, "status")


def first_certificate(path: Path) -> str:
    """The first certificate of a file, as PEM."""
    end = "-----END CERTIFICATE-----"
    return path.read_text().partition(end)[0] + end + "\n"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('url = "http://0.0.0.0:9180/"', "admin.token: is missing: 0.0.0.0 is not a loopback"),
        ('url = "https://127.0.0.1:9180/"', "admin.tls: is missing"),
        ('url = "http://127.0.0.1:1/"\ntls = { certificate = "x" }', "admin.tls: is for https://"),
        (f'url = "http://127.0.0.1:1/"\nread_token = "{READ_TOKEN}"', "nobody could change"),
        (
            f'url = "http://127.0.0.1:1/"\ntoken = "{TOKEN}"\nread_token = "{TOKEN}"',
            "admin.read_token: is the same as token",
        ),
        (
            'url = "http://127.0.0.1:1/"\nread_certificates = ["12:34"]',
            "expected the SHA-256 of a certificate",
        ),
    ],
)
def test_a_table_that_would_leave_it_open_is_an_error(folder: Path, table: str, words: str) -> None:
    (folder / "wasp.toml").write_text(f"[admin]\n{table}\n{A}")
    with pytest.raises(FileError) as got:
        check(folder / "wasp.toml")
    assert words in str(got.value)
