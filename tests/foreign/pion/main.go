// pion's TURN client (Debian's 2.1): two allocations, data from relay to relay by channels, which it binds by itself.
// ../README.md describes its arguments.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"os"
	"time"

	"github.com/pion/turn/v2"
)

// Sizes around the padding of streams, and those of a call.
var sizes = []int{1, 2, 3, 4, 5, 160, 999, 1200}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func message(size int) []byte {
	made := make([]byte, size)
	for i := range made {
		made[i] = byte(size*31 + i*7)
	}
	return made
}

func connect(transport, host, server, ca string) net.PacketConn {
	switch transport {
	case "udp":
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		check(err)
		return conn
	case "tcp":
		conn, err := net.Dial("tcp", server)
		check(err)
		return turn.NewSTUNConn(conn)
	}
	pem, err := os.ReadFile(ca)
	check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		log.Fatal("no certificate in ", ca)
	}
	conn, err := tls.Dial("tcp", server, &tls.Config{RootCAs: roots, ServerName: host})
	check(err)
	return turn.NewSTUNConn(conn)
}

func main() {
	transport, host, port, username, password, ca := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]
	server := net.JoinHostPort(host, port)
	time.AfterFunc(30*time.Second, func() { log.Fatal("timed out") })
	var ends []net.PacketConn
	for i := 0; i < 2; i++ {
		client, err := turn.NewClient(&turn.ClientConfig{
			STUNServerAddr: server,
			TURNServerAddr: server,
			Conn:           connect(transport, host, server, ca),
			Username:       username,
			Password:       password,
		})
		check(err)
		check(client.Listen())
		end, err := client.Allocate()
		check(err)
		ends = append(ends, end)
	}
	// The first datagram to a peer waits for its permission, and may arrive before the other end has permitted this one.
	for i, end := range ends {
		_, err := end.WriteTo([]byte("permits"), ends[1-i].LocalAddr())
		check(err)
	}
	total := 0
	for i, end := range ends {
		peer := ends[1-i]
		// All are sent at once: on streams, this version reads a message of up to 4 bytes only when more data has come.
		for _, size := range sizes {
			_, err := end.WriteTo(message(size), peer.LocalAddr())
			check(err)
		}
		buffer := make([]byte, 2000)
		for _, size := range sizes {
			n, from, err := peer.ReadFrom(buffer)
			check(err)
			if bytes.Equal(buffer[:n], []byte("permits")) {
				n, from, err = peer.ReadFrom(buffer)
				check(err)
			}
			if from.String() != end.LocalAddr().String() {
				log.Fatal("data from ", from)
			}
			if !bytes.Equal(buffer[:n], message(size)) {
				log.Fatalf("%d other bytes instead of %d", n, size)
			}
		}
	}
	for _, size := range sizes {
		total += size
	}
	fmt.Printf("relayed %d bytes each way\n", total)
}
