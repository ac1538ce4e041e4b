// WebSocket echo on Bun's own server (uWebSockets inside), without compression; with TLS if there are
// a certificate and a key: `bun_ws.js PORT [CERTIFICATE KEY]`.
const port = Number(process.argv[2]);
const [certificate, key] = process.argv.slice(3);
Bun.serve({
  hostname: "127.0.0.1",
  port,
  tls: certificate ? { cert: Bun.file(certificate), key: Bun.file(key) } : undefined,
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
