// WebSocket echo on Bun's own server (uWebSockets inside), without compression.
const port = Number(process.argv[2]);
Bun.serve({
  hostname: "127.0.0.1",
  port,
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response("this server speaks WebSocket\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 * 1024 * 1024,
    backpressureLimit: 64 * 1024 * 1024,
    idleTimeout: 0,
    message(socket, message) {
      socket.send(message);
    },
  },
});
console.log(`READY ${port}`);
