// A WebSocket server on Bun that publishes each message to all connections, by Bun's own topics.
// The moment stands in front: nanoseconds since 1970 in 20 digits.
const port = Number(process.argv[2]);
const server = Bun.serve({
  hostname: "127.0.0.1",
  port,
  fetch(request, server) {
    if (server.upgrade(request)) return;
    return new Response("this server speaks WebSocket\n", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 * 1024 * 1024,
    idleTimeout: 0,
    open(socket) {
      socket.subscribe("everybody");
    },
    message(socket, message) {
      const moment = String(Math.round((performance.timeOrigin + performance.now()) * 1e6)).padStart(20, "0");
      server.publish("everybody", moment + message);
    },
  },
});
console.log(`READY ${port}`);
