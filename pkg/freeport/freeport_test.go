package freeport_test

import (
	"net"
	"testing"

	"pulsevault/pkg/freeport"
)

func TestAddressIsNobodysElse(t *testing.T) {
	taken := map[string]bool{}
	for range 50 {
		address, err := freeport.Address()
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		if taken[address] {
			t.Errorf("%s was named twice", address)
		}
		taken[address] = true
	}
	for range 100 { // goes round, past those that are in use
		address, err := freeport.Address()
		if err != nil || taken[address] {
			t.Fatalf("%s, %v", address, err)
		}
	}
}
