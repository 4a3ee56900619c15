package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// trust is in the certificates that the stack's file holds or has held: nginx shows the one of before until it is told to read the
// file again.
type trust struct {
	file, name string
	mu         sync.Mutex
	roots      *x509.CertPool
}

// read adds what is in the file now.
func (t *trust) read() error {
	certificate, err := os.ReadFile(t.file)
	if err != nil {
		return fmt.Errorf("read the certificate of the stack: %w", err)
	}
	if !t.roots.AppendCertsFromPEM(certificate) {
		return errors.New("fullchain.pem holds no certificate")
	}
	return nil
}

func (t *trust) config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // verify does it, by the certificates of now
		VerifyConnection:   t.verify,
	}
}

func (t *trust) verify(c tls.ConnectionState) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.read(); err != nil {
		return err
	}
	_, err := c.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: t.roots, DNSName: t.name, CurrentTime: time.Now()})
	return err
}
