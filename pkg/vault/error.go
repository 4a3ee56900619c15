package vault

import (
	"errors"
	"fmt"
)

// Kind says what went wrong in terms of the domain. Package web holds the one table from kinds to HTTP statuses.
type Kind int

// The kinds of error. Internal is the zero value: whatever nobody classified is our own fault.
const (
	Internal      Kind = iota
	Invalid            // the request cannot be understood or asks for something outside the limits
	Unauthorized       // no valid token or credential
	Forbidden          // it is known who asks, and they may never do that
	NotFound           // there is no such thing, or none that the caller may know of
	Conflict           // the thing is not in a state that allows this now
	TooLarge           // more bytes than are accepted
	Unsupported        // a media type that is not accepted
	Unprocessable      // understood, but what it claims is not true of the bytes
	NoSpace            // the disk could not hold it
	Unavailable        // something we depend on is down; try again
)

// Error is an error whose Message may be shown to a caller: it says what happened and what to do, and holds no path,
// no stack and nobody else's data. Err, what lies beneath, is for the log only.
type Error struct {
	Kind    Kind
	Code    string         // stable, snake_case, such as "upload_incomplete"
	Message string         // for people
	Details map[string]any // further members of the answer, such as offsets
	Err     error
}

// Error gives the whole story, for logs.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return e.Code + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error of a kind. The message is formatted and shown to callers.
func Errorf(kind Kind, code, format string, args ...any) *Error {
	return &Error{Kind: kind, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e that carries its cause for the log.
func (e *Error) Because(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// KindOf returns the kind of the first Error in err's chain, Internal if there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// NoUpload is what is said of an upload that is not there, and in the same words of one that is not the caller's.
func NoUpload() *Error {
	return Errorf(NotFound, "upload_not_found", "there is no such upload; create one with POST /uploads")
}

// NoVideo is the same of videos.
func NoVideo() *Error { return Errorf(NotFound, "video_not_found", "there is no such video") }

func invalid(code, message string) error { return &Error{Kind: Invalid, Code: code, Message: message} }
