"""`vespiary.StaticFiles`: which file a path is, and what is sent of it."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

import vespiary
from vespiary.http._beneath import open_beneath, walk

from .folders import LARGE, OLD, fields, files
from .kit import HTTP


async def test_a_file_is_sent_with_what_describes_it(folder: Path) -> None:
    async with files(folder) as client:
        reply = await client.ask("GET", "/a.txt?x=1")
    assert (reply.status, reply.body) == (200, b"hello")
    etag = fields(reply).pop("etag")
    assert etag.startswith('"')
    assert not etag.startswith("W/")
    assert fields(reply) == {
        "content-type": "text/plain; charset=utf-8",
        "content-length": "5",
        "etag": etag,
        "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        "accept-ranges": "bytes",
    }


@pytest.mark.parametrize("name", ["a.txt", "none.bin", "large.bin"])
async def test_head_has_the_fields_of_get(folder: Path, name: str) -> None:
    async with files(folder) as client:
        get = await client.ask("GET", f"/{name}")
        head = await client.ask("HEAD", f"/{name}", Range="bytes=0-1")
    assert (head.status, head.body) == (200, b"")
    assert fields(head) == fields(get)
    assert get.body == (folder / name).read_bytes()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
async def test_other_methods_are_refused(folder: Path, method: str) -> None:
    async with files(folder) as client:
        reply = await client.ask(method, "/a.txt")
    assert (reply.status, fields(reply)["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/", b"<h1>front"),
        ("/sub/", b"<h1>sub"),
        ("/%61.txt", b"hello"),
        ("/caf%C3%A9%201.txt", b"coffee"),
        ("/sub/deep/app.js", b"app()"),
    ],
)
async def test_paths_of_files(folder: Path, target: str, content: bytes) -> None:
    async with files(folder) as client:
        reply = await client.ask("GET", target)
    assert (reply.status, reply.body) == (200, content)


@pytest.mark.parametrize(
    "target",
    [
        "/../secret.txt",
        "/..%2Fsecret.txt",
        "/%2e%2e/secret.txt",
        "/sub/../../secret.txt",
        "/sub/../a.txt",
        "/./a.txt",
        "//a.txt",
        "//etc/passwd",
        "/sub//index.html",
        "/sub%2Findex.html",
        "/..\\secret.txt",
        "/a.txt/",
        "/a.txt/b",
        "/%",
        "/%zz",
        "/%ff",
        "/.env",
        "/.git/config",
        "/empty/",
        "/empty",
        "/sub/deep",
        "/missing",
        "/leaving.txt",
        "/absolute.txt",
        "/outside/secret.txt",
        "/loop",
        "/pipe",
        f"/{'x' * 300}",
    ],
)
async def test_what_is_not_in_the_folder_is_404(folder: Path, target: str) -> None:
    (folder / "leaving.txt").symlink_to("../secret.txt")
    (folder / "absolute.txt").symlink_to(folder / "a.txt")
    (folder / "outside").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    async with files(folder) as client:
        reply = await client.ask("GET", target)
        assert (reply.status, reply.body) == (404, b"Not Found\n")
        assert (await client.ask("GET", "/a.txt")).status == 200


async def test_links_within_the_folder_are_followed(folder: Path) -> None:
    (folder / "sub" / "link.txt").symlink_to("../a.txt")
    (folder / "other").symlink_to("sub/deep")
    async with files(folder) as client:
        assert (await client.ask("GET", "/sub/link.txt")).body == b"hello"
        assert (await client.ask("GET", "/other/app.js")).body == b"app()"


@pytest.mark.parametrize("opens", [open_beneath, walk])
def test_both_ways_to_open_beneath_a_folder_agree(folder: Path, opens: Any) -> None:
    (folder / "in").symlink_to("sub/../a.txt")
    (folder / "out").symlink_to("sub/../../secret.txt")
    (folder / "absolute").symlink_to("/etc/passwd")
    (folder / "loop").symlink_to("loop")
    found: dict[str, object] = {}
    base = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    names = [
        "a.txt",
        "in",
        "out",
        "absolute",
        "loop",
        "../secret.txt",
        "/etc/passwd",
        "sub/../a.txt",
    ]
    for name in [*names, "missing", "a.txt/", "sub/", "sub//deep/./app.js", ""]:
        try:
            opened = opens(base, name.encode())
        except OSError as error:
            found[name] = error.strerror
        else:
            found[name] = os.fstat(opened).st_ino
            os.close(opened)
    os.close(base)
    inode = (folder / "a.txt").stat().st_ino
    beyond, missing = os.strerror(18), os.strerror(2)
    assert {name: found[name] for name in ("a.txt", "in", "sub/../a.txt")} == dict.fromkeys(
        ("a.txt", "in", "sub/../a.txt"), inode
    )
    for name in ("out", "absolute", "../secret.txt", "/etc/passwd"):
        assert found[name] == beyond, name
    assert found["missing"] == missing
    assert found["loop"] == os.strerror(40)
    assert found["a.txt/"] == os.strerror(20)
    assert found["sub/"] == (folder / "sub").stat().st_ino
    assert found["sub//deep/./app.js"] == (folder / "sub/deep/app.js").stat().st_ino


@pytest.mark.parametrize(
    ("target", "place"), [("/sub", "/sub/"), ("/sub?a=1&b", "/sub/?a=1&b"), ("/s%75b", "/s%75b/")]
)
async def test_a_folder_without_its_slash_is_redirected(
    folder: Path, target: str, place: str
) -> None:
    async with files(folder) as client:
        reply = await client.ask("GET", target)
    assert (reply.status, fields(reply)["location"]) == (301, place)


async def test_dot_files_are_served_if_that_is_wanted(folder: Path) -> None:
    async with files(folder, dot_files=True) as client:
        assert (await client.ask("GET", "/.env")).body == b"key"
        assert (await client.ask("GET", "/.git/config")).body == b"key"
        assert (await client.ask("GET", "/.git/../a.txt")).status == 404


async def test_a_mounted_folder(folder: Path) -> None:
    async with files(folder, f"{HTTP}/assets/v1/{{rest:path}}") as client:
        assert (await client.ask("GET", "/assets/v1/a.txt")).body == b"hello"
        assert (await client.ask("GET", "/assets/v1/")).body == b"<h1>front"
        place = fields(await client.ask("GET", "/assets/v1/sub"))["location"]
        assert place == "/assets/v1/sub/"
        assert (await client.ask("GET", "/assets/v1/assets/v1/a.txt")).status == 404
        assert (await client.ask("GET", "/a.txt")).status == 404


async def test_a_folder_may_be_replaced_while_it_is_served(folder: Path) -> None:
    current = folder.parent / "current"
    current.symlink_to(folder)
    other = folder.parent / "new"
    other.mkdir()
    (other / "a.txt").write_text("new")
    async with files(current) as client:
        assert (await client.ask("GET", "/a.txt")).body == b"hello"
        (folder.parent / "next").symlink_to(other)
        (folder.parent / "next").rename(current)
        assert (await client.ask("GET", "/a.txt")).body == b"new"
        current.unlink()
        assert (await client.ask("GET", "/a.txt")).status == 404


async def test_conditions_end_with_304_and_412(folder: Path) -> None:
    async with files(folder, cache_control={"*.txt": "no-cache"}) as client:
        etag = fields(await client.ask("GET", "/a.txt"))["etag"]
        same = await client.ask("GET", "/a.txt", If_None_Match=f'"x", W/{etag}')
        assert (same.status, same.body) == (304, b"")
        assert fields(same) == {
            "etag": etag,
            "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
            "accept-ranges": "bytes",
            "cache-control": "no-cache",
        }
        other = await client.ask("GET", "/a.txt", If_Match='"x"')
        assert other.status == 412
        # What would not be 200 is not conditional (RFC 9110 section 13.2.1).
        assert (await client.ask("GET", "/missing", If_Match="*")).status == 404
        (folder / "a.txt").write_text("changed")
        assert (await client.ask("GET", "/a.txt", If_None_Match=etag)).body == b"changed"


@pytest.mark.parametrize(
    ("value", "content", "place"),
    [
        ("bytes=0-99", LARGE[:100], "bytes 0-99/1255000"),
        ("bytes=-100", LARGE[-100:], "bytes 1254900-1254999/1255000"),
        ("bytes=700000-", LARGE[700_000:], "bytes 700000-1254999/1255000"),
    ],
)
async def test_a_range(folder: Path, value: str, content: bytes, place: str) -> None:
    async with files(folder) as client:
        reply = await client.ask("GET", "/large.bin", Range=value)
        assert (reply.status, reply.body) == (206, content)
        assert fields(reply)["content-range"] == place
        etag = fields(reply)["etag"]
        reply = await client.ask("GET", "/large.bin", Range=value, If_Range=etag)
        assert reply.status == 206
        reply = await client.ask("GET", "/large.bin", Range=value, If_Range='"x"')
        assert (reply.status, reply.body) == (200, LARGE)


async def test_a_range_beyond_the_file_is_416(folder: Path) -> None:
    async with files(folder) as client:
        reply = await client.ask("GET", "/a.txt", Range="bytes=5-")
    assert (reply.status, fields(reply)["content-range"]) == (416, "bytes */5")


async def test_several_ranges_come_as_parts(folder: Path) -> None:
    async with files(folder) as client:
        reply = await client.ask("GET", "/large.bin", Range="bytes=0-9,600000-1199999,-1")
    kind = fields(reply)["content-type"]
    assert reply.status == 206
    assert kind.startswith("multipart/byteranges; boundary=")
    assert "content-range" not in fields(reply)
    limit = kind.partition("=")[2].encode()
    parts = reply.body.split(b"--" + limit)
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    contents = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in parts[1:-1]]
    assert contents == [LARGE[:10], LARGE[600_000:1_200_000], LARGE[-1:]]


async def test_a_compressed_file_is_sent_to_clients_that_accept_it(folder: Path) -> None:
    packed = gzip.compress(b"app()")
    (folder / "sub/deep/app.js.gz").write_bytes(packed)
    (folder / "a.txt.gz").write_bytes(b"older")
    os.utime(folder / "a.txt.gz", (OLD - 60, OLD - 60))
    async with files(folder, precompressed=True) as client:
        plain = await client.ask("GET", "/sub/deep/app.js")
        assert (plain.body, fields(plain)["vary"]) == (b"app()", "Accept-Encoding")
        assert "content-encoding" not in fields(plain)
        reply = await client.ask("GET", "/sub/deep/app.js", Accept_Encoding="br, gzip;q=0.5")
        assert (reply.body, fields(reply)["content-encoding"]) == (packed, "gzip")
        assert fields(reply)["content-type"] == "text/javascript; charset=utf-8"
        assert fields(reply)["vary"] == "Accept-Encoding"
        assert fields(reply)["etag"] != fields(plain)["etag"]
        (folder / "sub/deep/app.js.br").write_bytes(b"brotli")
        reply = await client.ask("GET", "/sub/deep/app.js", Accept_Encoding="gzip, br")
        assert fields(reply)["content-encoding"] == "br"
        for refused in ("gzip;q=0, br;q=0", "identity, gzip;q=0.5", "deflate"):
            reply = await client.ask("GET", "/sub/deep/app.js", Accept_Encoding=refused)
            assert reply.body == b"app()", refused
        # It was made of what the file was before.
        assert (await client.ask("GET", "/a.txt", Accept_Encoding="gzip")).body == b"hello"
    async with files(folder) as client:
        reply = await client.ask("GET", "/sub/deep/app.js", Accept_Encoding="gzip")
        assert (reply.body, "vary" in fields(reply)) == (b"app()", False)
        reply = await client.ask("GET", "/sub/deep/app.js.gz")
        assert fields(reply)["content-type"] == "application/gzip"
        assert "content-encoding" not in fields(reply)


async def test_media_types(folder: Path) -> None:
    expected = {
        "x.html": "text/html; charset=utf-8",
        "x.CSS": "text/css; charset=utf-8",
        "x.mjs": "text/javascript; charset=utf-8",
        "x.json": "application/json",
        "x.svg": "image/svg+xml",
        "x.wasm": "application/wasm",
        "x.woff2": "font/woff2",
        "x.tar.gz": "application/gzip",
        "x.bee": "text/x-bee; charset=utf-8",
        "x": "application/octet-stream",
        "x.unknown": "application/octet-stream",
    }
    for name in expected:
        (folder / name).write_bytes(b"x")
    async with files(folder, media_types={".bee": "text/x-bee"}) as client:
        found = {
            name: fields(await client.ask("GET", f"/{name}"))["content-type"] for name in expected
        }
    assert found == expected


async def test_cache_control_by_the_first_pattern_that_fits(folder: Path) -> None:
    control = {"sub/deep/*": "immutable", "*.html": "no-cache", "/a.*": "max-age=60"}
    async with files(folder, cache_control=control) as client:
        found = {
            target: fields(await client.ask("GET", target)).get("cache-control")
            for target in ("/", "/sub/", "/sub/deep/app.js", "/a.txt", "/large.bin")
        }
    assert found == {
        "/": "no-cache",
        "/sub/": "no-cache",
        "/sub/deep/app.js": "immutable",
        "/a.txt": "max-age=60",
        "/large.bin": None,
    }


async def test_a_page_for_what_is_missing(folder: Path) -> None:
    async with files(folder, not_found="404.html") as client:
        for method in ("GET", "HEAD"):
            reply = await client.ask(method, "/missing", Range="bytes=0-1", If_None_Match="*")
            assert reply.status == 404
            assert fields(reply)["content-type"] == "text/html; charset=utf-8"
            assert fields(reply)["content-length"] == "11"
        (folder / "404.html").unlink()
        assert (await client.ask("GET", "/missing")).body == b"Not Found\n"


async def test_a_fallback_for_pages_that_do_not_exist(folder: Path) -> None:
    async with files(folder, fallback="index.html") as client:
        for target in ("/users/7", "/missing", "/empty/"):
            reply = await client.ask("GET", target)
            assert (reply.status, reply.body) == (200, b"<h1>front"), target
        assert (await client.ask("GET", "/app.1.js", Accept="*/*")).status == 404
        page = await client.ask("GET", "/users/a.b", Accept="text/html,*/*")
        assert page.body == b"<h1>front"
        etag = fields(page)["etag"]
        assert (await client.ask("GET", "/users/7", If_None_Match=etag)).status == 304
        assert (await client.ask("GET", "/../secret.txt")).status == 404


@pytest.mark.parametrize(
    ("options", "subject", "words"),
    [
        ({"folder": "missing"}, "folder", "does not exist"),
        ({"folder": "a.txt"}, "folder", "is not a folder"),
        ({"index": "index.html"}, "index", "is a list of names of files"),
        ({"index": ["a/b"]}, "index", "is a list of names of files"),
        ({"precompressed": 1}, "precompressed", "is True or False"),
        ({"dot_files": "no"}, "dot_files", "is True or False"),
        ({"not_found": "no.html"}, "not_found", "does not exist"),
        ({"fallback": "../secret.txt"}, "fallback", "is the path of a file in the folder"),
        ({"cache_control": ["x"]}, "cache_control", "is a mapping from patterns"),
        ({"cache_control": {"*": "a\nb"}}, "cache_control", "a header field cannot have"),
        ({"media_types": {"x": "text/plain"}}, "media_types", "from ends of names"),
        ({"media_types": {".x": "text"}}, "media_types", "from ends of names"),
    ],
)
async def test_options_that_are_wrong(
    folder: Path, options: dict[str, Any], subject: str, words: str
) -> None:
    place = folder / options.get("folder", "")
    options = {name: value for name, value in options.items() if name != "folder"}
    with pytest.raises(vespiary.ConfigurationError, match=words) as caught:
        vespiary.StaticFiles(place, **options)
    assert caught.value.subject == subject


async def test_files_are_served_over_http_only(folder: Path) -> None:
    server = vespiary.Server()
    for url in ("tcp://127.0.0.1:0", "ws://127.0.0.1:0"):
        with pytest.raises(vespiary.ConfigurationError, match="StaticFiles"):
            server.add(vespiary.StaticFiles(folder), url)
