// WebSocket echo on Go's net/http with gorilla/websocket, and a page for other requests; over TLS
// if there are a certificate and a key: `go_ws PORT [CERTIFICATE KEY]`.
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"

	"github.com/gorilla/websocket"
)

const bufferBytes = 64 * 1024

var upgrader = websocket.Upgrader{ReadBufferSize: bufferBytes, WriteBufferSize: bufferBytes}

func echo(writer http.ResponseWriter, request *http.Request) {
	if !websocket.IsWebSocketUpgrade(request) {
		writer.Write([]byte("hello\n"))
		return
	}
	connection, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		return
	}
	defer connection.Close()
	for {
		kind, message, err := connection.ReadMessage()
		if err != nil || connection.WriteMessage(kind, message) != nil {
			return
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	port := os.Args[1]
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	check(err)
	fmt.Println("READY " + port)
	server := http.Server{Handler: http.HandlerFunc(echo)}
	if len(os.Args) > 2 {
		check(server.ServeTLS(listener, os.Args[2], os.Args[3]))
	}
	check(server.Serve(listener))
}
