// Package metadata keeps one meta.json per video and moves it from state to state without losing a write.
//
// meta.json is one line of compact JSON with sorted keys, such as
//
//	{"attempt":0,"checksum":"5c11…","contentType":"video/mp4","filename":"gait.mp4", … ,"status":"uploaded", … ,"version":"1.0"}
//
// checksum is the lower-case hex SHA-256 of exactly the bytes of the file with the checksum member and its comma cut out:
//
//	$ sed -E 's/"checksum":"[0-9a-f]{64}",//' meta.json | sha256sum
//
// A file whose checksum does not match stops whatever wanted to write; it is never started afresh. The client's own
// object stands under "metadata" and overrides nothing. Names in it that are also names of ours are written with an
// escape ("\u0073tatus"), the same to every JSON parser, so that a text search for "status":" finds ours and only ours.
package metadata

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pulsevault/pkg/vault"
)

// Version is the version of the format, in every file.
const Version = "1.0"

const checksumKey = `"checksum":"`

// Marshal returns the content of meta.json for v.
func Marshal(v vault.Video) ([]byte, error) {
	if len(v.Metadata) > 0 {
		object, err := Object(v.Metadata)
		if err != nil {
			return nil, err
		}
		v.Metadata = disguise(object)
	}
	members, err := split(v)
	if err != nil {
		return nil, err
	}
	unsummed, err := encode(members)
	if err != nil {
		return nil, err
	}
	members["checksum"] = json.RawMessage(`"` + sum(unsummed) + `"`)
	return encode(members)
}

// Unmarshal reads the content of a meta.json. Anything that its checksum does not vouch for is an error.
func Unmarshal(data []byte) (vault.Video, error) {
	unsummed, checksum, err := cut(data)
	if err != nil {
		return vault.Video{}, err
	}
	if sum(unsummed) != checksum {
		return vault.Video{}, errors.New("metadata: meta.json does not match its checksum: it was changed or damaged")
	}
	var v vault.Video
	if err := json.Unmarshal(data, &v); err != nil {
		return vault.Video{}, fmt.Errorf("metadata: meta.json: %w", err)
	}
	if v.Version != Version {
		return vault.Video{}, fmt.Errorf("metadata: meta.json has version %q, this program knows %q", v.Version, Version)
	}
	if len(v.Metadata) > 0 {
		v.Metadata, err = Object(v.Metadata)
	}
	return v, err
}

// Object returns raw, which must be a JSON object, in compact form with sorted keys.
func Object(raw json.RawMessage) (json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || object == nil {
		return nil, errors.New("metadata: not a JSON object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("metadata: more than one JSON value")
	}
	return encode(object)
}

// disguise escapes the first letter of each of our own names where the client's object uses it. In compact JSON the
// text "name": stands only at the end of a key.
func disguise(object []byte) []byte {
	for _, name := range []string{"checksum", "status"} {
		plain := name + `":`
		escaped := fmt.Sprintf(`\u%04x%s":`, name[0], name[1:])
		object = bytes.ReplaceAll(object, []byte(`"`+plain), []byte(`"`+escaped))
	}
	return object
}

func split(v vault.Video) (map[string]json.RawMessage, error) {
	data, err := encode(v)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	return members, json.Unmarshal(data, &members)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// cut takes the checksum member out. It is the first place where its key stands: attempt, a number, is the only member
// before it.
func cut(data []byte) (unsummed []byte, checksum string, err error) {
	i := bytes.Index(data, []byte(checksumKey))
	end := i + len(checksumKey) + 2*sha256.Size
	if i < 0 || len(data) < end+2 || string(data[end:end+2]) != `",` {
		return nil, "", errors.New("metadata: meta.json has no checksum")
	}
	return append(bytes.Clone(data[:i]), data[end+2:]...), string(data[i+len(checksumKey) : end]), nil
}

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}
