// Echo on Go's standard library: `go_echo tcp|udp|tls PORT [CERTIFICATE KEY]`.
package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"runtime"
)

const bufferBytes = 64 * 1024

func echo(connection net.Conn) {
	defer connection.Close()
	buffer := make([]byte, bufferBytes)
	for {
		count, err := connection.Read(buffer)
		if err != nil {
			return
		}
		if _, err := connection.Write(buffer[:count]); err != nil {
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

func datagrams(address, port string) {
	socket, err := net.ListenPacket("udp", address)
	check(err)
	fmt.Println("READY " + port)
	buffer := make([]byte, bufferBytes)
	connection := socket.(*net.UDPConn)
	for {
		count, peer, err := connection.ReadFromUDPAddrPort(buffer)
		if err != nil {
			continue
		}
		connection.WriteToUDPAddrPort(buffer[:count], peer)
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	kind, port := os.Args[1], os.Args[2]
	address := "127.0.0.1:" + port
	if kind == "udp" {
		datagrams(address, port)
	}
	listener, err := net.Listen("tcp", address)
	check(err)
	if kind == "tls" {
		pair, err := tls.LoadX509KeyPair(os.Args[3], os.Args[4])
		check(err)
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	}
	fmt.Println("READY " + port)
	for {
		connection, err := listener.Accept()
		check(err)
		go echo(connection)
	}
}
