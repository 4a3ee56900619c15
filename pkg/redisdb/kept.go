package redisdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"pulsevault/pkg/internal/durable"
)

// isKept tells the keys that outlive an embedded Redis.
func isKept(key string) bool {
	switch key {
	case UploadsCompletedKey, TranscodeSuccessKey, TranscodeFailedKey:
		return true
	}
	return strings.HasPrefix(key, auditHeadPrefix)
}

// save writes the keys that are kept, with their values, if there is anything new. Whoever loses the last of it to a
// crash counts a little less, and has heads that are a little older, which are in their chains too.
func (e *Embedded) save() error {
	now := map[string]string{}
	for _, key := range e.server.Keys() {
		if !isKept(key) {
			continue
		}
		if value, err := e.server.Get(key); err == nil { // else it is gone, or of another type
			now[key] = value
		}
	}
	if maps.Equal(now, e.saved) {
		return nil
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(e.cfg.Dir, keptFile), data, durable.FileMode); err != nil {
		return err
	}
	e.saved = now
	return nil
}

// restore starts with nothing if the file is damaged: it is no reason not to serve.
func (e *Embedded) restore() {
	kept, err := readKept(e.cfg.Dir)
	if err != nil {
		e.cfg.Logger.Warn("totals and audit heads cannot be restored", "err", err)
		return
	}
	for key, value := range kept {
		if isKept(key) {
			_ = e.server.Set(key, value) // fails only on a key of another type
		}
	}
	e.saved = kept
}

func readKept(dir string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(dir, keptFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var kept map[string]string
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("%s: %w", keptFile, err)
	}
	return kept, nil
}

// KeptHead returns the head of an audit chain that the embedded Redis of a folder kept when it last ran; ok is false if
// there is none.
func KeptHead(dir, category string) (head []byte, ok bool, err error) {
	kept, err := readKept(dir)
	if err != nil {
		return nil, false, fmt.Errorf("redisdb: read head of %s: %w", category, err)
	}
	value, ok := kept[AuditHeadKey(category)]
	return []byte(value), ok, nil
}

// Forget removes what the embedded Redis of a folder kept when it last ran, for a folder that is to get other content.
func Forget(dir string) error { return durable.Remove(filepath.Join(dir, keptFile)) }
