// Package freeport names TCP ports for programs that tests and benchmarks start and that want to be told one.
//
// The ports lie below those that a system gives to whoever asks for any (from 32768 on Linux, from 49152 elsewhere), so nobody
// else is given one before the program has it, or while the program is away to be started again.
package freeport

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

const (
	first      = 20000
	count      = 12000
	perProcess = 100 // so that processes that go on at the same time rarely name the same ones
)

var named atomic.Uint32

// Address names an address of 127.0.0.1, with a port that nobody listens on and that this process has not named lately.
func Address() (string, error) {
	start := first + os.Getpid()%(count/perProcess)*perProcess
	for range perProcess {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(start+int(named.Add(1)%perProcess)))
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no port is free: end programs that listen on 127.0.0.1, from " + strconv.Itoa(start) + " on")
}
