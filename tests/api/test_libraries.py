"""Other people's libraries inside the loop, beside Vespiary's connections."""

import asyncio
import sys
from pathlib import Path

import aiohttp
import aiohttp.web
import httpx
import websockets.asyncio.client
import websockets.asyncio.server

import vespiary

from .kit import Echo, echo, serving, turns


async def test_an_aiohttp_server_and_client_live_in_the_loop() -> None:
    async def hello(request: aiohttp.web.Request) -> aiohttp.web.Response:
        await turns(1)
        return aiohttp.web.Response(text=f"hello {request.match_info['name']}")

    application = aiohttp.web.Application()
    application.router.add_get("/{name}", hello)
    runner = aiohttp.web.AppRunner(application)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]

    async def ask(connection: vespiary.Connection) -> None:
        async with aiohttp.ClientSession() as session:
            async for name in connection:
                async with session.get(f"http://127.0.0.1:{port}/{name}") as response:
                    connection.send(await response.text())

    async with serving(ask) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(str(number))
        for number, client in enumerate(clients):
            assert await client.receive() == f"hello {number}"
            client.close()
    await runner.cleanup()


async def test_httpx_asks_a_server_of_ours_in_the_same_loop() -> None:
    class Pages(vespiary.Handler):
        async def on_request(self, request: vespiary.Request) -> vespiary.Response:
            await turns(1)
            return request.respond(200, request.path)

    async with (
        serving(Pages, "http://127.0.0.1:0/") as server,
        httpx.AsyncClient(base_url=server.urls[0], trust_env=False) as client,
    ):
        responses = await asyncio.gather(*(client.get(f"/{number}") for number in range(50)))
        assert [response.text for response in responses] == [f"/{it}" for it in range(50)]


async def test_websockets_serves_and_connects_in_the_loop() -> None:
    async def repeat(connection: websockets.asyncio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with websockets.asyncio.server.serve(repeat, "127.0.0.1", 0) as theirs:
        port = next(iter(theirs.sockets)).getsockname()[1]
        async with (
            serving(Echo) as ours,
            vespiary.connect(f"ws://127.0.0.1:{port}/") as to_them,
            websockets.asyncio.client.connect(ours.urls[0]) as to_us,
        ):
            for number in range(50):
                to_them.send(str(number))
                await to_us.send(str(number))
                assert await to_them.receive() == str(number)
                assert await to_us.recv() == str(number)


async def test_streams_of_asyncio_echo_much_in_both_directions() -> None:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    payload = bytes(range(256)) * 20_000
    server = await asyncio.start_server(repeat, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

        async def send() -> None:
            writer.write(payload)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.ensure_future(send())
        assert await reader.read() == payload
        await sending
        writer.close()
        await writer.wait_closed()


async def test_streams_of_asyncio_talk_to_a_server_of_ours() -> None:
    async with serving(echo, "tcp://127.0.0.1:0", framing="line") as server:
        host, port = server.urls[0].removeprefix("tcp://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.writelines([b"one\n", b"two\n"])
        assert await reader.readline() == b"one\n"
        assert await reader.readline() == b"two\n"
        writer.close()
        await writer.wait_closed()


async def test_unix_streams_of_asyncio_work(tmp_path: Path) -> None:
    async with serving(Echo, f"unix://{tmp_path}/echo.sock"):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "echo.sock"))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()


async def test_datagrams_of_asyncio_work() -> None:
    received: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    class Receiver(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.set_result(data)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Receiver, ("127.0.0.1", 0))
    address = transport.get_extra_info("sockname")
    sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=address)
    sender.sendto(b"datagram")
    assert await received == b"datagram"
    sender.close()
    transport.close()


async def test_subprocesses_are_started_talked_to_and_waited_for() -> None:
    script = "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(b"hello\n" * 20_000)
    assert output == b"HELLO\n" * 20_000
    assert process.returncode == 3


async def test_a_handler_may_run_a_subprocess() -> None:
    async def calculate(connection: vespiary.Connection) -> None:
        async for expression in connection:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", f"print({expression})", stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
            connection.send(output.decode().strip())

    async with serving(calculate) as server, vespiary.connect(server.urls[0]) as client:
        client.send("6 * 7")
        assert await client.receive() == "42"


async def test_threads_and_executors_work() -> None:
    loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(sum, [1, 2, 3]) == 6
    results = await asyncio.gather(
        *(loop.run_in_executor(None, pow, 2, number) for number in range(100))
    )
    assert list(results) == [2**number for number in range(100)]


async def test_queues_locks_and_events_connect_handlers() -> None:
    queue: asyncio.Queue[tuple[int, str]] = asyncio.Queue(maxsize=3)
    lock = asyncio.Lock()
    counter = 0

    async def enqueue(connection: vespiary.Connection) -> None:
        nonlocal counter
        async for message in connection:
            async with lock:
                counter += 1
                number = counter
                await asyncio.sleep(0)
            await queue.put((number, message))
            connection.send(str(number))

    async with serving(enqueue) as server:
        clients = [await vespiary.connect(server.urls[0]) for _ in range(5)]
        for client in clients:
            client.send("x")
        taken = [await queue.get() for _ in clients]
        numbers = [int(await client.receive()) for client in clients]
        assert sorted(number for number, _ in taken) == sorted(numbers) == [1, 2, 3, 4, 5]
        for client in clients:
            client.close()


async def test_task_groups_and_timeouts_cover_connections() -> None:
    async with serving(echo) as server:

        async def talk(number: int) -> str:
            async with vespiary.connect(server.urls[0]) as client, asyncio.timeout(5):
                client.send(str(number))
                heard: str = await client.receive()
                return heard

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(talk(number)) for number in range(20)]
        assert [task.result() for task in tasks] == [str(number) for number in range(20)]
