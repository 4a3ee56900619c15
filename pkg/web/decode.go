package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pulsevault/pkg/vault"
)

// maxJSON is the largest JSON body that is read, in bytes.
const maxJSON = 64 << 10

// bodyTimeout is how long a client may take to send a JSON body.
const bodyTimeout = 30 * time.Second

// DecodeJSON reads a request's body, one JSON object, into the struct that v points at. Unknown members, names that stand
// twice in one object and wrong types are refused with a message that names them, a body over 64 KiB is too large. Names
// must be those of v to the letter.
func DecodeJSON(w http.ResponseWriter, r *http.Request, v any) error {
	data, err := readBody(w, r)
	if err != nil {
		return err
	}
	if !utf8.Valid(data) { // encoding/json would replace what is not (RFC 8259, section 8.1)
		return notAnObject(errors.New("not UTF-8"))
	}
	if err := json.Unmarshal(data, v); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) && wrongType.Field != "" {
			return vault.Errorf(vault.Invalid, "invalid_json", "%q must be %s", wrongType.Field, typeName(wrongType.Type.String())).Because(err)
		}
		return notAnObject(err)
	}
	return checkNames(data, memberNames(v))
}

func notAnObject(cause error) error {
	return vault.Errorf(vault.Invalid, "invalid_json", "the body must be one JSON object").Because(cause)
}

func errBodyTooLarge() error {
	return vault.Errorf(vault.TooLarge, "body_too_large", "a JSON body may have at most %d bytes", maxJSON)
}

// readBody reads the body of a request. One that says beforehand that it is too large is refused unread, so that a client
// that asks first (Expect: 100-continue) need not send it.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength > maxJSON {
		return nil, errBodyTooLarge()
	}
	// Some hosts have no deadlines to set; they have read the body already. One that is left would cancel a request that
	// takes longer, as if its client had gone. But what has not come by then is not waited for again.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	data, err := io.ReadAll(http.MaxBytesReader(innermost(w), r.Body, maxJSON))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, errBodyTooLarge()
	case err != nil:
		return nil, notAnObject(err)
	}
	_ = control.SetReadDeadline(time.Time{})
	return data, nil
}

// innermost is the server's own writer. Told by http.MaxBytesReader that a body was cut short, it gives the client time
// to read the answer before it closes the connection; it does not see that through a wrapper.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}

// memberNames are the names that encoding/json gives the fields of the struct that v points at; all have tags.
func memberNames(v any) (names []string) {
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// checkNames refuses what encoding/json lets pass in valid JSON: a value that is no object, members in another letter case
// than those known, and a name that stands twice in one object, of which RFC 8259, section 4, leaves open which one counts.
func checkNames(data []byte, known []string) error {
	if data = bytes.TrimSpace(data); data[0] != '{' {
		return notAnObject(nil)
	}
	var open []map[string]bool // the names of each object that is open; nil for an array
	isName := false            // whether the next string is one
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '{':
			open, isName = append(open, map[string]bool{}), true
		case '[':
			open, isName = append(open, nil), false
		case '}', ']':
			open = open[:len(open)-1]
		case ',':
			isName = open[len(open)-1] != nil
		case '"':
			start := i
			for i++; data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
			if !isName {
				continue
			}
			isName = false
			if err := checkName(data[start:i+1], open, known); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkName takes up a name, as it is quoted, among those of the innermost of the open objects.
func checkName(quoted []byte, open []map[string]bool, known []string) error {
	name := string(quoted[1 : len(quoted)-1])
	if strings.Contains(name, `\`) {
		if err := json.Unmarshal(quoted, &name); err != nil {
			return notAnObject(err)
		}
	}
	names := open[len(open)-1]
	switch {
	case len(open) == 1 && !slices.Contains(known, name):
		return vault.Errorf(vault.Invalid, "unknown_field", "there is no field %q", name)
	case names[name]:
		return vault.Errorf(vault.Invalid, "invalid_json", "%q stands twice in one object", name)
	}
	names[name] = true
	return nil
}

func typeName(goType string) string {
	switch {
	case strings.Contains(goType, "int"):
		return "a whole number"
	case strings.Contains(goType, "string"):
		return "a string"
	}
	return "an object"
}
