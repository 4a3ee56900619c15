package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"pulsevault/pkg/token"
)

const secretFile = ".hmac-secret"

// developmentSecret returns the secret kept in dir, and makes one if there is none. Processes that come at once get the
// same one.
func developmentSecret(dir string) (string, error) {
	path := filepath.Join(dir, secretFile)
	if secret, err := readSecret(path); !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	fresh := make([]byte, token.MinSecret)
	_, _ = rand.Read(fresh) // never fails
	temp, err := os.CreateTemp(dir, ".tmp-secret-*")
	if err != nil {
		return "", fmt.Errorf("make a development secret: %w", err)
	}
	_, err = temp.WriteString(hex.EncodeToString(fresh)) // of a file of mode 0600
	err = errors.Join(err, temp.Sync(), temp.Close())
	if err == nil {
		err = os.Link(temp.Name(), path) // fails if another process was first
	}
	_ = os.Remove(temp.Name())
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("make a development secret: %w", err)
	}
	return readSecret(path)
}

func readSecret(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the development secret: %w", err)
	}
	if len(data) < token.MinSecret {
		return "", fmt.Errorf("the development secret in %s is too short; remove the file and start again", path)
	}
	return string(data), nil
}
