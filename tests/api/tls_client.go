// tls_client PORT CA VERSION NAME ALPN CONNECTIONS [CERTIFICATE KEY]: requests over https, each on
// a connection of its own, which resumes the session of the one before.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strconv"
)

const request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	words := os.Args[1:]
	authority, err := os.ReadFile(words[1])
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	version := uint16(tls.VersionTLS13)
	if words[2] == "1.2" {
		version = tls.VersionTLS12
	}
	config := &tls.Config{
		RootCAs:            roots,
		MinVersion:         version,
		MaxVersion:         version,
		ServerName:         words[3],
		NextProtos:         []string{words[4]},
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	if len(words) > 6 {
		pair, err := tls.LoadX509KeyPair(words[6], words[7])
		check(err)
		config.Certificates = []tls.Certificate{pair}
	}
	count, err := strconv.Atoi(words[5])
	check(err)
	for range count {
		connection, err := tls.Dial("tcp", "127.0.0.1:"+words[0], config)
		check(err)
		_, err = io.WriteString(connection, request)
		check(err)
		body, err := io.ReadAll(connection)
		check(err)
		os.Stdout.Write(body)
		connection.Close()
	}
}
